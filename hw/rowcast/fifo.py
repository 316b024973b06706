"""A short queue in distributed RAM whose ends are registers."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

__all__ = ["Fifo"]


class Fifo(wiring.Component):
    """One in and one out a cycle, also when it is full or has one item; an item is at the other end one cycle later.

    `i.ready` and `o.valid` are registers: they depend on nothing of the same cycle.

    Parameters
    ----------
    shape : of the payload.
    depth : items, a power of two.

    Members
    -------
    i, o : the queue's ends; `o.payload` is a combinational read.

    Raises
    ------
    ValueError
        A depth that is not a power of two.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape, *, depth):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two from 2 upwards, not {depth!r}")
        self.depth = depth
        self.memory = Memory(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1})
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port(domain="comb")
        address_bits = exact_log2(self.depth)
        head = Signal(address_bits)
        tail = Signal(address_bits)
        level = Signal(address_bits + 1)
        single = Signal()  # `level` is 1
        push = Signal()
        pop = Signal()
        m.d.comb += [
            self.i.ready.eq(~level[-1]),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
            write.en.eq(push),
            write.addr.eq(tail),
            write.data.eq(self.i.payload),
            read.addr.eq(head),
            self.o.payload.eq(read.data),
        ]
        with m.If(push):
            m.d.sync += tail.eq(tail + 1)
        with m.If(pop):
            m.d.sync += head.eq(head + 1)
        with m.If(push ^ pop):
            m.d.sync += [
                level.eq(Mux(pop, level - 1, level + 1)),  # `pop` may be late: it goes through no adder
                single.eq(Cat(level == 0, level == 2).bit_select(pop, 1)),
                self.o.valid.eq(push | ~single),
            ]
        return m
