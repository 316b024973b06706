"""Two managers on one memory: the accelerator, and a host that asks for a beat now and then."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .bus import memory_signature

__all__ = ["MemoryArbiter"]

COUNT_BITS = 6  # bursts of the main manager under way; it waits at the last one


class MemoryArbiter(wiring.Component):
    """`main` may have many bursts under way, `side` one read and one write at a time.

    Both wait at most for one burst of the other when they ask at the same time: whoever went last lets the other go
    first.  A read or write of `side` costs `main` the beats of its burst, and a write also the time in which the data
    of addresses that were already given are sent.  Addresses take a cycle, one a cycle; the other channels are
    combinational.  Each manager gets its answers in its own order.  The `id`s pass through: answers are told apart by
    their order.  `side` must take its beats and its answer at once, or `main` waits too.

    Members
    -------
    main, side : managers.
    bus : the memory.
    """

    main: wiring.PureInterface
    side: wiring.PureInterface
    bus: wiring.PureInterface

    def __init__(self, config):
        signature = memory_signature(config)
        super().__init__({"main": In(signature), "side": In(signature), "bus": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        self._reads(m)
        self._writes(m)
        return m

    def _grant(self, m, channel, *, main_may, side_may, name):
        """Addresses of both through a register; (strobe of main's, strobe of side's) that were taken."""
        main, side, bus = (getattr(port, channel) for port in (self.main, self.side, self.bus))
        side_was_last, choose_side, free = (Signal(name=f"{name}_{what}") for what in ("last", "choose", "free"))
        main_taken, side_taken = Signal(name=f"{name}_main"), Signal(name=f"{name}_side")
        m.d.comb += [
            free.eq(~bus.valid | bus.ready),
            choose_side.eq(side.valid & side_may & ~(side_was_last & main.valid)),
            side.ready.eq(free & choose_side),
            main.ready.eq(free & main_may & ~choose_side),
            side_taken.eq(side.ready),
            main_taken.eq(main.ready & main.valid),
        ]
        with m.If(free):
            m.d.sync += [bus.valid.eq(main_taken | side_taken), bus.payload.eq(Mux(choose_side, side.payload, main.payload))]
        with m.If(main_taken | side_taken):
            m.d.sync += side_was_last.eq(side_taken)
        return main_taken, side_taken

    def _order(self, m, *, main_taken, side_taken, main_over, name):
        """(bursts of main under way, whether side's is the next to be answered, whether it is under way).

        `side_taken` begins it; the caller ends it through the third signal.
        """
        under_way, ahead = Signal(COUNT_BITS, name=f"{name}_under_way"), Signal(COUNT_BITS, name=f"{name}_ahead")
        pending, turn = Signal(name=f"{name}_pending"), Signal(name=f"{name}_turn")
        m.d.comb += turn.eq(pending & (ahead == 0))
        after = Signal.like(under_way)
        m.d.comb += after.eq(under_way - main_over)
        m.d.sync += under_way.eq(after + main_taken)
        with m.If(side_taken):
            m.d.sync += [pending.eq(1), ahead.eq(after)]
        with m.Elif(main_over & (ahead != 0)):
            m.d.sync += ahead.eq(ahead - 1)
        return under_way, turn, pending

    def _reads(self, m):
        main, side, bus = self.main, self.side, self.bus
        side_may, main_may, main_over = Signal(), Signal(), Signal()
        taken = self._grant(m, "ar", main_may=main_may, side_may=side_may, name="read")
        under_way, turn, pending = self._order(
            m, main_taken=taken[0], side_taken=taken[1], main_over=main_over, name="read"
        )
        m.d.comb += [
            side_may.eq(~pending),
            main_may.eq(~under_way.all()),
            main.r.payload.eq(bus.r.payload),
            side.r.payload.eq(bus.r.payload),
            main.r.valid.eq(bus.r.valid & ~turn),
            side.r.valid.eq(bus.r.valid & turn),
            bus.r.ready.eq(Mux(turn, side.r.ready, main.r.ready)),
            main_over.eq(main.r.valid & main.r.ready & bus.r.payload.last),
        ]
        with m.If(side.r.valid & side.r.ready & bus.r.payload.last):
            m.d.sync += pending.eq(0)

    def _writes(self, m):
        """Side's address waits until all data of main's addresses are sent; main's addresses wait for side's data."""
        main, side, bus = self.main, self.side, self.bus
        owed, side_owes = Signal(COUNT_BITS, name="main_owes"), Signal()  # bursts whose last beat was not sent yet
        side_may, main_may, main_over, wanted = Signal(), Signal(), Signal(), Signal()
        main_taken, side_taken = self._grant(m, "aw", main_may=main_may, side_may=side_may, name="write")
        under_way, turn, pending = self._order(
            m, main_taken=main_taken, side_taken=side_taken, main_over=main_over, name="write"
        )
        went_last = Signal()
        with m.If(main_taken | side_taken):
            m.d.sync += went_last.eq(side_taken)
        sent = main.w.valid & main.w.ready & main.w.payload.last
        m.d.sync += owed.eq(owed + main_taken - sent)
        m.d.comb += [
            wanted.eq(side.aw.valid & ~pending & ~(went_last & main.aw.valid)),
            side_may.eq(~pending & (owed == 0)),
            main_may.eq(~under_way.all() & ~side_owes & ~wanted),
            bus.w.payload.eq(Mux(side_owes, side.w.payload, main.w.payload)),
            bus.w.valid.eq(Mux(side_owes, side.w.valid, main.w.valid & (owed != 0))),
            side.w.ready.eq(bus.w.ready & side_owes),
            main.w.ready.eq(bus.w.ready & ~side_owes & (owed != 0)),
            main.b.payload.eq(bus.b.payload),
            side.b.payload.eq(bus.b.payload),
            main.b.valid.eq(bus.b.valid & ~turn),
            side.b.valid.eq(bus.b.valid & turn),
            bus.b.ready.eq(Mux(turn, side.b.ready, main.b.ready)),
            main_over.eq(main.b.valid & main.b.ready),
        ]
        with m.If(side_taken):
            m.d.sync += side_owes.eq(1)
        with m.Elif(side.w.valid & side.w.ready & side.w.payload.last):
            m.d.sync += side_owes.eq(0)
        with m.If(side.b.valid & side.b.ready):
            m.d.sync += pending.eq(0)
