"""The multiplier of a lane: a device's multiplier, or LUTs and carry chains."""

from amaranth import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .hierarchy import place

__all__ = ["LutMultiplier", "Multiplier", "PairProduct"]


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
        a = Signal(signed(8), reset_less=True)
        b = Signal(signed(8), reset_less=True)
        product = Signal(signed(16), reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), product.eq(a * b)]
        m.d.comb += self.p.eq(product)
        return m


class LutMultiplier(Multiplier):
    """`Multiplier` in LUTs: the same contract, but `p` is the sum of two registers, for a flip-flop behind it to take.

    Four products of `a` with two bits of `b` each are added in a tree; the register is before its last adder, where the
    fewest bits are: 24.  So one adder lies behind the register, and two in front of it.
    """

    def elaborate(self, platform):
        m = Module()
        a = Signal(8, reset_less=True)
        b = Signal(8, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b)]
        pairs = []
        for i in range(4):
            pair = PairProduct(signed_bits=i == 3)
            name = "rowcast_pair_product_signed" if pair.signed_bits else "rowcast_pair_product"
            m.submodules[f"pair{i}"] = place(pair, name, platform)
            m.d.comb += [pair.a.eq(a), pair.b.eq(b.word_select(i, 2))]
            pairs.append(pair.p)
        low = Signal(signed(12), reset_less=True)
        high = Signal(signed(12), reset_less=True)
        m.d.sync += [low.eq(_join(pairs[0], pairs[1], 2)), high.eq(_join(pairs[2], pairs[3], 2))]
        m.d.comb += self.p.eq(_join(low, high, 4))
        return m


def _join(low, high, shift):
    """low + high * 2**shift, with an adder only where they overlap."""
    return Cat(low[:shift], (low >> shift) + high)


class PairProduct(wiring.Component):
    """p = a * b, a an int8 and b of two bits: combinational, 10 LUT4 as carry cells of ECP5 (see `synthesis/ecp5.v`).

    Parameters
    ----------
    signed_bits : b is int2, not uint2.

    Members
    -------
    a : the operand, 8 bits taken as signed.
    b : its two bits.
    p : int10.
    """

    a: Signal
    b: Signal
    p: Signal

    def __init__(self, *, signed_bits):
        self.signed_bits = signed_bits
        super().__init__({"a": In(8), "b": In(2), "p": Out(signed(10))})

    def elaborate(self, platform):
        m = Module()
        first = Signal(signed(8))
        second = Signal(signed(8))
        a = self.a.as_signed()
        m.d.comb += [first.eq(a & self.b[0].replicate(8).as_signed()), second.eq(a & self.b[1].replicate(8).as_signed())]
        twice = Cat(Const(0, 1), second).as_signed()
        m.d.comb += self.p.eq(first - twice if self.signed_bits else first + twice)
        return m
