"""What a run of a program gives, and its comparison with the golden."""

from dataclasses import dataclass, field

import numpy as np
from rowcast.registers import CAUSES

__all__ = ["Difference", "Run", "compare", "describe_difference"]


@dataclass
class Run:
    """One inference.

    Members
    -------
    tensors : int8 arrays by name: all that the program keeps in memory.
    counters : the hardware's counters by name (`registers.COUNTERS`); empty if the backend has none.
    layers : `verilated.LayerCycles` of each layer, in order.
    timeline : `timeline.Timeline` if one was recorded.
    """

    tensors: dict
    counters: dict = field(default_factory=dict)
    layers: list = field(default_factory=list)
    timeline: object = None

    @property
    def cycles(self):
        """Cycles from start to interrupt, or 0 if the backend has no cycles."""
        return self.counters.get("cycles", 0)

    @property
    def causes(self):
        """Cycles by cause."""
        return {cause: self.counters.get(f"cause_{cause}", 0) for cause in CAUSES}


@dataclass(frozen=True)
class Difference:
    """The first element in which a tensor differs from the golden, and how many do."""

    tensor: str
    index: tuple
    got: int
    want: int
    count: int
    size: int

    def __str__(self):
        return (
            f"tensor {self.tensor!r}: {self.count} of {self.size} elements differ, first at {list(self.index)}: "
            f"{self.got}, golden {self.want}"
        )


def compare(tensors, golden):
    """Differences of every tensor that is in both, in the golden's order; a tensor of another shape differs wholly."""
    found = []
    for name, want in golden.items():
        if name not in tensors:
            continue
        got = tensors[name]
        if got.shape != want.shape:
            raise ValueError(f"tensor {name!r} has shape {got.shape}, the golden's {want.shape}")
        wrong = np.argwhere(got != want)
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            found.append(Difference(name, at, int(got[at]), int(want[at]), len(wrong), want.size))
    return found


def describe_difference(name, got, want, wrong, *, who):
    """The first element in which two arrays of any type differ, and how many do (`wrong`, bool), in the words `who`."""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"tensor {name!r}: {int(wrong.sum())} of {wrong.size} elements differ, first at {list(at)}: "
        f"{who[0]} {got[at]}, {who[1]} {want[at]}"
    )
