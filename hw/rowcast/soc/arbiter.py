"""Two managers on one memory: the accelerator, and a host that asks for a beat now and then."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..skid import Skid
from .bus import memory_signature

__all__ = ["MemoryArbiter"]

FETCHES = 4  # read bursts of the instruction fetch, beside `outstanding_reads` of LOAD
WRITES = 15  # write bursts of the main manager under way


class MemoryArbiter(wiring.Component):
    """`main` may have many bursts under way, `side` one read and one write at a time.

    When both ask, the one that went last lets the other go first: neither waits for more than one burst of the other.
    A burst of `side` costs `main` its beats, and a write also the time in which the data of main's earlier addresses
    are sent.  Addresses take a cycle, one a cycle, through a `Skid`; the other channels are combinational.  Each manager gets its answers
    in its own order; an `ar.id` passes through and tells nothing here.  `side` must take its beats and its answer at
    once, or `main` waits too.

    Members
    -------
    main, side : managers.
    bus : the memory.
    """

    main: wiring.PureInterface
    side: wiring.PureInterface
    bus: wiring.PureInterface

    def __init__(self, config):
        self.config = config
        signature = memory_signature(config)
        super().__init__({"main": In(signature), "side": In(signature), "bus": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.reads = reads = _Turns(address=self.bus.ar, most=self.config.outstanding_reads + FETCHES)
        m.submodules.writes = writes = _Turns(address=self.bus.aw, most=WRITES)
        for turns, channel in ((reads, "ar"), (writes, "aw")):
            wiring.connect(m, wiring.flipped(getattr(self.main, channel)), turns.main)
            wiring.connect(m, wiring.flipped(getattr(self.side, channel)), turns.side)
            wiring.connect(m, turns.bus, wiring.flipped(getattr(self.bus, channel)))
        for turns, channel in ((reads, "r"), (writes, "b")):
            self._answers(m, turns, channel)
        self._data(m, writes)
        m.d.comb += reads.side_may.eq(1), reads.main_may.eq(1)
        return m

    def _answers(self, m, turns, channel):
        main, side, bus = (getattr(port, channel) for port in (self.main, self.side, self.bus))
        last = bus.payload.last if channel == "r" else 1
        m.d.comb += [
            main.payload.eq(bus.payload),
            side.payload.eq(bus.payload),
            main.valid.eq(bus.valid & ~turns.side_next),
            side.valid.eq(bus.valid & turns.side_next),
            bus.ready.eq(Mux(turns.side_next, side.ready, main.ready)),
            turns.main_over.eq(main.valid & main.ready & last),
            turns.side_over.eq(side.valid & side.ready & last),
        ]

    def _data(self, m, turns):
        """Side's address waits until the data of main's are sent, and main's addresses until side's data are."""
        main, side, bus = self.main.w, self.side.w, self.bus.w
        main_owes = Signal(range(WRITES + 1))  # bursts whose last beat was not sent yet
        side_owes = Signal()  # the same
        owes = Signal()
        next_main_owes = Signal(range(WRITES + 1))
        main_sent = Signal()
        side_sent = Signal()
        m.d.comb += [
            next_main_owes.eq(main_owes + turns.main_taken - main_sent),
            bus.payload.eq(Mux(side_owes, side.payload, main.payload)),
            bus.valid.eq(Mux(side_owes, side.valid, main.valid & owes)),
            side.ready.eq(bus.ready & side_owes),
            main.ready.eq(bus.ready & ~side_owes & owes),
            side_sent.eq(side.valid & side.ready & side.payload.last),
            main_sent.eq(main.valid & main.ready & main.payload.last),
            turns.side_may.eq(~owes),
            turns.main_may.eq(~side_owes & ~turns.side_first),
        ]
        m.d.sync += [
            main_owes.eq(next_main_owes),
            owes.eq(next_main_owes != 0),
            side_owes.eq(turns.side_taken | (side_owes & ~side_sent)),
        ]


class _Turns(wiring.Component):
    """The addresses of two managers in turn, and whose answer is the next.

    Parameters
    ----------
    address : stream of whose kind the addresses are.
    most : bursts of `main` under way.

    Members
    -------
    main, side, bus : addresses.
    main_may, side_may : an address can be given now.
    side_first : side asks, and it is its turn.
    main_taken, side_taken : strobes; an address was.
    main_over, side_over : strobes; a burst was answered.
    side_next : the next answer is side's.
    """

    def __init__(self, *, address, most):
        self.most, self.address = most, address
        signature = address.signature
        strobes = ("main_may", "side_may", "main_over", "side_over")
        super().__init__(
            {
                **{"main": In(signature), "side": In(signature), "bus": Out(signature)},
                **dict.fromkeys(strobes, In(1)),
                **dict.fromkeys(("side_first", "main_taken", "side_taken", "side_next"), Out(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        main, side, bus = self.main, self.side, self.bus
        m.submodules.chosen = chosen = Skid(self.address.payload.shape())
        side_was_last = Signal()
        pending = Signal()
        under_way = Signal(bits_for(self.most))
        ahead = Signal(bits_for(self.most))
        remaining = Signal.like(under_way)
        room = Signal(init=1)
        next_under_way = Signal.like(under_way)
        m.d.comb += [
            self.side_first.eq(side.valid & ~pending & ~(side_was_last & main.valid)),
            side.ready.eq(chosen.i.ready & self.side_first & self.side_may),
            main.ready.eq(chosen.i.ready & self.main_may & room & ~side.ready),
            self.side_taken.eq(side.valid & side.ready),
            self.main_taken.eq(main.valid & main.ready),
            remaining.eq(under_way - self.main_over),
            next_under_way.eq(remaining + self.main_taken),
            chosen.i.valid.eq(self.main_taken | self.side_taken),
            chosen.i.payload.eq(Mux(side.ready, side.payload, main.payload)),
        ]
        wiring.connect(m, chosen.o, wiring.flipped(bus))
        with m.If(self.main_taken | self.side_taken):
            m.d.sync += side_was_last.eq(self.side_taken)
        m.d.sync += [under_way.eq(next_under_way), room.eq(next_under_way != self.most)]
        with m.If(self.side_taken):
            m.d.sync += [pending.eq(1), ahead.eq(remaining), self.side_next.eq(remaining == 0)]
        with m.Else():
            with m.If(self.main_over & (ahead != 0)):
                m.d.sync += ahead.eq(ahead - 1)
            with m.If(self.main_over & (ahead == 1)):
                m.d.sync += self.side_next.eq(pending)
            with m.If(self.side_over):
                m.d.sync += [pending.eq(0), self.side_next.eq(0)]
        return m
