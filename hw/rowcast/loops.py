"""The counters of an affine loop nest."""

from amaranth import Cat, Const, Module, Mux, Signal
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
    ahead : `inner_last` and `last` are registers, made a cycle ahead; whoever drives the counts drives `singles` too.

    Members
    -------
    counts : turns of each level, at least 1, stable while the nest runs.
    singles : with `ahead`: the levels whose count is 1; as stable.
    start, step : strobes.
    fresh : with `ahead`: up with `start`, down with `step`, else anything; says early what a strobe would do.
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

    def __init__(self, widths, *, ahead=False):
        self.widths, self.ahead = tuple(widths), ahead
        levels = len(self.widths)
        super().__init__(
            {
                **{f"count{i}": In(width) for i, width in enumerate(self.widths)},
                **({"singles": In(levels), "fresh": In(1)} if ahead else {}),
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
        singles = self.singles if self.ahead else Cat(count == 1 for count in self.counts)
        fresh = self.fresh if self.ahead else self.start
        following = []  # whether each level is in its last turn after a `step`
        for i, width in enumerate(self.widths):
            left = Signal(width, name=f"left{i}")  # turns after this one
            load = Signal(name=f"load{i}")  # if anything changes
            one_left = left == 1
            if self.ahead:
                one_left = Signal(name=f"one_left{i}")
            m.d.comb += [
                self.advance[i].eq(self.inner_last[i] & ~self.at_last[i]),
                load.eq(fresh | self.at_last[i]),
            ]
            # What is loaded does not depend on `step`, which may come late: it only enables.
            with m.If(self.start | (self.step & self.inner_last[i])):
                m.d.sync += left.eq(Mux(load, self.counts[i], left) - 1)
                if self.ahead:
                    m.d.sync += one_left.eq(Mux(load, self.counts[i] == 2, left == 2))
                else:
                    m.d.sync += self.at_last[i].eq(Mux(load, singles[i], one_left))
            following.append(
                Mux(self.inner_last[i], Mux(self.at_last[i], singles[i], one_left), self.at_last[i])
            )
        if self.ahead:
            levels = len(following)
            m.d.comb += self.inner_last[0].eq(1)
            ends = [Mux(fresh, singles[:i].all(), Cat(following[:i]).all()) for i in range(1, levels + 1)]
            with m.If(self.start | self.step):
                m.d.sync += [self.at_last.eq(Mux(fresh, singles, Cat(following))), self.last.eq(ends[-1])]
                m.d.sync += self.inner_last[1:].eq(Cat(ends[:-1]))
        else:
            inner = Const(1)
            for i in range(len(self.widths)):
                m.d.comb += self.inner_last[i].eq(inner)
                inner = self.inner_last[i] & self.at_last[i]
            m.d.comb += self.last.eq(inner)
        return m
