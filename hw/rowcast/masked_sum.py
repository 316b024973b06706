"""A sum of which one operand can be left out."""

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["MaskedSum"]


class MaskedSum(wiring.Component):
    """sum = b + (a if a_enable else 0), modulo 2**width; combinational.

    A module of its own, since the carry cells of ECP5 have the mask for nothing (`techmap/ecp5.v`), but Yosys makes a LUT
    a bit of it.

    Parameters
    ----------
    width : bits of the operands and of the sum; even.
    """

    a: Signal
    a_enable: Signal
    b: Signal
    sum: Signal

    def __init__(self, width):
        self.width = width
        super().__init__({"a": In(signed(width)), "a_enable": In(1), "b": In(signed(width)), "sum": Out(signed(width))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.sum.eq((self.a & self.a_enable.replicate(self.width).as_signed()) + self.b)
        return m
