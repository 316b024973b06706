"""The counters of an affine loop nest."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LoopNest"]


class LoopNest(wiring.Component):
    """Counters of a loop nest, level 0 innermost; one turn of the innermost loop a cycle.

    `start` loads the nest: from the next cycle on the first turn is current.  `step` goes to the next turn.  In every turn
    `inner_last[i]` says that all levels below i are in their last turn, so a `step` leaves level i's body; `at_last[i]` that
    level i itself is; `last` that the whole nest is.  The level that a `step` advances is the i with
    `inner_last[i]` and not `at_last[i]`: `advance[i]`.  A step in the last turn restarts the nest.

    Parameters
    ----------
    widths : bits of each level's count.

    Members
    -------
    counts : turns of each level, at least 1, stable while the nest runs.
    start, step : strobes.
    at_last, inner_last, advance : a bit for each level.
    last : the last turn of all.
    """

    counts: list
    start: Signal
    step: Signal
    at_last: Signal
    inner_last: Signal
    advance: Signal
    last: Signal

    def __init__(self, widths):
        self.widths = tuple(widths)
        levels = len(self.widths)
        super().__init__(
            {
                **{f"count{i}": In(width) for i, width in enumerate(self.widths)},
                "start": In(1),
                "step": In(1),
                "at_last": Out(levels),
                "inner_last": Out(levels),
                "advance": Out(levels),
                "last": Out(1),
            }
        )
        self.counts = [getattr(self, f"count{i}") for i in range(levels)]

    def elaborate(self, platform):
        m = Module()
        inner = 1
        for i, width in enumerate(self.widths):
            left = Signal(width, name=f"left{i}")  # turns after this one
            m.d.comb += [
                self.inner_last[i].eq(inner),
                self.advance[i].eq(self.inner_last[i] & ~self.at_last[i]),
            ]
            with m.If(self.start | (self.step & self.inner_last[i] & self.at_last[i])):
                m.d.sync += [left.eq(self.counts[i] - 1), self.at_last[i].eq(self.counts[i] == 1)]
            with m.Elif(self.step & self.inner_last[i]):
                m.d.sync += [left.eq(left - 1), self.at_last[i].eq(left == 1)]
            inner = self.inner_last[i] & self.at_last[i]
        m.d.comb += self.last.eq(inner)
        return m
