"""What the units of the compiled RTL did, as spans: for `trace.write_trace`."""

from dataclasses import dataclass

import numpy as np

from rowcast.registers import CAUSES

__all__ = ["Timeline", "Window", "spans_of"]

UNITS = ("LOAD", "STORE", "FILTER", "IFMAP", "POST", "COMPUTE")  # as in the register UNITS
VECTOR, CAUSE, LAYERS = "vector run", "cause of the cycle", "layer"
TRACKS = (*UNITS, VECTOR, CAUSE)  # the numbers of harness/timeline.hpp
BUSY, WAITS = "busy", "waits for a token"


@dataclass(frozen=True)
class Window:
    """Cycles of a run to record.

    Parameters
    ----------
    first, last : the first cycle, and the one after the last.
    most : spans; with so many the recording ends.  Half a million are some 50 MB as JSON.
    """

    first: int = 0
    last: int = 1 << 62
    most: int = 500_000

    def __post_init__(self):
        if not 0 <= self.first < self.last:
            raise ValueError(f"a window's cycles must be from 0 on, its end after its start, not {self.first}:{self.last}")


@dataclass(frozen=True, eq=False)
class Timeline:
    """What was recorded.

    Members
    -------
    spans : array with fields track, state, start, end, in cycles of the run.
    end, first : cycles to before which and from which it is complete.
    """

    spans: np.ndarray
    end: int
    first: int


def spans_of(program, run):
    """(track, name, start, end) of a `results.Run` with a timeline: layers of the whole run, then a track a unit.

    LOAD to POST are busy, or wait for a token of another unit, or have no instruction; COMPUTE is busy while it has a
    pass.  The cause is that of `registers.CAUSES`, known one cycle later than what the units do.
    """
    for layer, spent in zip(program.layers, run.layers, strict=True):
        if spent.cycles:
            yield LAYERS, layer.name, spent.first, spent.first + spent.cycles
    recorded = run.timeline.spans
    for number, track in enumerate(TRACKS):
        names = ("", *CAUSES) if track == CAUSE else ("", BUSY, WAITS)
        mine = recorded[recorded["track"] == number]
        for state, start, end in zip(*(mine[field].tolist() for field in ("state", "start", "end"))):
            yield track, names[state], start, end
