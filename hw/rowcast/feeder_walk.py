"""Where the IFMAP unit is in an ifmap: a loop nest with running sums."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .loops import LoopNest

__all__ = ["AffineWalk", "LEVELS", "WALK_BASE", "WALK_DELTA"]

LEVELS = 6
COUNT_BITS, STEP_BITS, SHIFT_BITS = 12, 20, 10  # of IFMAP_LOOP: turns, address step, coordinate step
ADDRESS_BITS = 22  # signed: padding may lie well before the first and after the last word of the largest memory
COORDINATE_BITS = 16  # signed: any height and width of 14 bits, and as much padding on each side

WALK_DELTA = data.StructLayout({"step": signed(STEP_BITS), "dy": signed(SHIFT_BITS), "dx": signed(SHIFT_BITS)})
WALK_BASE = data.StructLayout({"address": signed(20), "y": signed(14), "x": signed(14)})


class AffineWalk(wiring.Component):
    """A loop nest of six levels with an address and two coordinates that are running sums.

    `start` loads the nest; from the next cycle on `leaves`, `first` and `last` belong to the first turn.  `step` goes
    to the next turn, and from the next cycle on `address`, `y` and `x` are those of the turn that was left: one stage
    later, because the choice of the level's steps and the sum are a cycle each.  The steps stand in distributed RAM,
    one entry a level: a multiplexer over six levels would be four times as large.

    Members
    -------
    write, level, count, delta : set a level's turns and steps; not while the nest runs.
    start, base : strobe, and the sums of the first turn. 
    step : strobe.
    fresh : up with `start`, down with `step` (see `LoopNest`).
    first, last, leaves : of the current turn; bit i of `leaves`: all levels below i are in their last turn.
    address, y, x : of the turn before.
    """

    write: Signal
    level: Signal
    count: Signal
    delta: data.View
    start: Signal
    base: data.View
    step: Signal
    fresh: Signal
    first: Signal
    last: Signal
    leaves: Signal
    address: Signal
    y: Signal
    x: Signal

    def __init__(self):
        super().__init__(
            {
                "write": In(1),
                "level": In(range(LEVELS)),
                "count": In(COUNT_BITS),
                "delta": In(WALK_DELTA),
                "start": In(1),
                "base": In(WALK_BASE),
                "step": In(1),
                "fresh": In(1),
                "first": Out(1),
                "last": Out(1),
                "leaves": Out(LEVELS),
                "address": Out(signed(ADDRESS_BITS)),
                "y": Out(signed(COORDINATE_BITS)),
                "x": Out(signed(COORDINATE_BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.nest = nest = LoopNest([COUNT_BITS] * LEVELS, ahead=True)
        m.submodules.deltas = deltas = Memory(shape=WALK_DELTA, depth=8, init=[])
        write, read = deltas.write_port(), deltas.read_port(domain="comb")

        m.d.comb += [write.addr.eq(self.level), write.data.eq(self.delta), write.en.eq(self.write)]
        for i, count in enumerate(nest.counts):
            turns, single = Signal(COUNT_BITS, init=1, name=f"turns{i}"), Signal(init=1, name=f"single{i}")
            m.d.comb += [count.eq(turns), nest.singles[i].eq(single)]
            with m.If(self.write & (self.level == i)):
                m.d.sync += [turns.eq(self.count), single.eq(self.count == 1)]
        m.d.comb += [
            nest.start.eq(self.start),
            nest.fresh.eq(self.fresh),
            nest.step.eq(self.step),
            self.last.eq(nest.last),
            self.leaves.eq(nest.inner_last),
            # The number of the one level that advances.
            *(
                read.addr[bit].eq(Cat(nest.advance[i] for i in range(LEVELS) if i >> bit & 1).any())
                for bit in range(len(read.addr))
            ),
        ]
        base = Signal(WALK_BASE, reset_less=True)
        delta = Signal(WALK_DELTA, reset_less=True)
        with m.If(~self.first):  # a start comes when the turns before it are over
            m.d.sync += base.eq(self.base)
        with m.If(self.start):
            m.d.sync += self.first.eq(1)
        with m.Elif(self.step):
            m.d.sync += self.first.eq(0)
        with m.If(self.step):
            m.d.sync += [
                delta.eq(read.data),
                self.address.eq(Mux(self.first, base.address, self.address + delta.step)),
                self.y.eq(Mux(self.first, base.y, self.y + delta.dy)),
                self.x.eq(Mux(self.first, base.x, self.x + delta.dx)),
            ]
        return m
