"""A register on a stream whose ready is a register too: it cuts every path through it, in both directions."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Skid"]


class Skid(wiring.Component):
    """Two places between a stream's ends: latency 1, one a cycle.

    `i.ready` depends on nothing of the same cycle: what comes in while the front place does not empty goes to the place behind
    it, and then nothing more is taken.

    Parameters
    ----------
    shape : of the payload.

    Members
    -------
    i, o : the stream's ends.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape):
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        front = Signal(self.shape, reset_less=True)
        back = Signal(self.shape, reset_less=True)
        spilt = Signal()
        free = Signal()
        ready = Signal(init=1)  # the opposite of `spilt`: a register of its own, for that one has many to serve
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(ready),
            self.o.payload.eq(front),
        ]
        with m.If(~spilt):
            m.d.sync += back.eq(self.i.payload)
        with m.If(free):
            m.d.sync += [front.eq(Mux(spilt, back, self.i.payload)), self.o.valid.eq(spilt | self.i.valid)]
            m.d.sync += [spilt.eq(0), ready.eq(1)]
        with m.Elif(self.i.valid):
            m.d.sync += [spilt.eq(1), ready.eq(0)]
        return m
