"""What the units of the compiled RTL did, as a trace."""

from dataclasses import dataclass

import numpy as np
from rowcast.registers import CAUSES

from .trace import TraceSpan, write_trace

__all__ = ["Timeline", "Window", "spans_of", "write_runs"]

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
    most : spans; with so many the recording ends.  A quarter of a million are some 25 MB as JSON.
    """

    first: int = 0
    last: int = 1 << 62
    most: int = 250_000

    def __post_init__(self):
        if not 0 <= self.first < self.last:
            raise ValueError(f"a window must be of cycles from 0 on, not {self.first}:{self.last}")


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


def spans_of(runs):
    """`trace.TraceSpan`s of runs, one after the other: (program, `results.Run` with a timeline).

    Layers of the whole runs, then a track a unit: LOAD to POST are busy, or wait for a token of another unit, or have
    no instruction; COMPUTE is busy while it has a pass.  The cause is that of `registers.CAUSES`, known one cycle later
    than what the units do.
    """
    spans, begin = [], 0
    for program, run in runs:
        for layer, spent in zip(program.layers, run.layers, strict=True):
            if spent.cycles:
                start = begin + spent.first
                spans.append(TraceSpan(LAYERS, layer.name, start, start + spent.cycles, spent.causes))
        for track, state, start, end in run.timeline.spans.tolist():
            names = ("", *CAUSES) if TRACKS[track] == CAUSE else ("", BUSY, WAITS)
            spans.append(TraceSpan(TRACKS[track], names[state], begin + start, begin + end))
        begin += run.cycles
    return spans


def write_runs(path, runs, *, process="rowcast"):
    """Write the trace of such runs."""
    write_trace(path, spans_of(runs), process=process, tracks=(LAYERS, CAUSE, *UNITS, VECTOR))
