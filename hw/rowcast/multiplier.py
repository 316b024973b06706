"""The multiplier of a lane."""

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Multiplier"]


class Multiplier(wiring.Component):
    """p = a * b, int8 x int8, exact in 16 bits.  One product a cycle, latency `LATENCY`.

    Operands and product are registered.  A module of its own, so that a device's multiplier with its own registers can
    take its place.  No reset: what is under way flushes by itself.

    Members
    -------
    a, b : int8 operands.
    p : int16 product of the operands of `LATENCY` cycles ago.
    """

    LATENCY = 2

    a: Signal
    b: Signal
    p: Signal

    def __init__(self):
        super().__init__({"a": In(signed(8)), "b": In(signed(8)), "p": Out(signed(16))})

    def elaborate(self, platform):
        m = Module()
        a, b = Signal(signed(8), reset_less=True), Signal(signed(8), reset_less=True)
        product = Signal(signed(16), reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), product.eq(a * b)]
        m.d.comb += self.p.eq(product)
        return m
