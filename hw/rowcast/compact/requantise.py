"""From an int32 sum to a byte, some bits of the multiplier a cycle."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..isa import PostMode

__all__ = ["SerialRequantise"]

FACTOR_BITS = 36  # 34 of the multiplier as `encode_params` makes it, and 2 so that the other shifts are multiples of 4
POINT = 24  # the total shift is POINT + 4 x steps
RESULT_BITS = 10  # |result| >= 512 stays outside int8 whatever the zero point
TAIL_BITS = 12  # a product moves to the left by this at most
PRODUCT_BITS = 36


class SerialRequantise(wiring.Component):
    """`requantise.Requantise` without its mode ONNX, `bits` bits of the multiplier in a cycle.

    A multiplication by shifting and adding, low bits first: what leaves at the right goes into `tail`, whose first bit
    is in the end the half that decides about rounding, and from there into `sticky`.  Then the product moves on, to the
    right or back to the left, until the binary point is at the border of both.

    `start` with a sum; after 36 / bits + 2 cycles, and 4 / bits for each step of the scale from 3, `ready` is up and
    `value` is the byte.

    Parameters
    ----------
    bits : 1, 2 or 4.

    Members
    -------
    start, total : strobe, sum with bias.
    factor, factor_high : low 32 bits of the multiplier, from the cycle after `start`, and the other 2.
    align, steps : see `requantise.scale_layout`; from the cycle of `start` on.
    mode, zero_point, low, high : as in `Requantise`.
    ready : `value` is there, until the next `start`.
    """

    def __init__(self, *, bits):
        if bits not in (1, 2, 4):
            raise ValueError(f"bits must be 1, 2 or 4, not {bits!r}")
        self.bits = bits
        super().__init__(
            {
                "start": In(1),
                "total": In(signed(32)),
                "factor": In(32),
                "factor_high": In(2),
                "align": In(2),
                "steps": In(4),
                "mode": In(PostMode),
                "zero_point": In(signed(9)),
                "low": In(signed(8)),
                "high": In(signed(8)),
                "ready": Out(1),
                "value": Out(signed(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self.bits
        total = Signal(signed(32), reset_less=True)
        product = Signal(signed(PRODUCT_BITS), reset_less=True)  # above the bits that have left
        tail = Signal(TAIL_BITS, reset_less=True)
        sticky = Signal(reset_less=True)
        over = Signal(reset_less=True)
        turn = Signal(range(FACTOR_BITS // bits + 1))
        twice = Signal()  # TFLITE rounds a first time, at bit 31 + align
        m.d.comb += twice.eq((self.mode == PostMode.TFLITE) & ((self.steps > 2) | ((self.steps == 2) & ~self.align[1])))

        fetching = Signal()
        multiplying = Signal()
        moving = Signal()
        left = Signal()
        settled = Signal()  # `product` and `tail` are what they should be
        digit, kept = self._digit(m, turn, twice)  # of the turn before: the way from a memory's output is long
        value, out = product, []
        for i in range(bits):  # one addition after the other
            added = Signal(signed(PRODUCT_BITS), name=f"added{i}")
            m.d.comb += added.eq(value + Mux(digit[i] & multiplying, total, 0))
            out.append(added[0] & (kept[i] | ~multiplying))
            value = added >> 1

        fits = Signal()  # all bits from the sign of a result upwards are equal
        sign = product[-1]
        m.d.comb += fits.eq((product[RESULT_BITS - 1 : -1] ^ sign.replicate(PRODUCT_BITS - RESULT_BITS)) == 0)
        shifts = Signal(5)
        with m.If(self.start):
            m.d.sync += [total.eq(self.total), product.eq(0), tail.eq(0), sticky.eq(0), over.eq(0)]
            m.d.sync += [turn.eq(0), fetching.eq(1), self.ready.eq(0), moving.eq(0), settled.eq(0)]
            with m.Switch(Cat(self.align, twice)):
                for a in range(4):
                    with m.Case(4 + a):  # what the first rounding adds
                        m.d.sync += product.eq(1 << 30 + a)
        with m.If(multiplying | (moving & ~left)):
            m.d.sync += [
                product.eq(value),
                tail.eq(Cat(tail[bits:], *out)),
                sticky.eq(sticky | tail[:bits].any()),
            ]
        m.d.sync += multiplying.eq(fetching)
        with m.If(fetching):
            m.d.sync += turn.eq(turn + 1)
            with m.If(turn == FACTOR_BITS // bits - 1):
                m.d.sync += fetching.eq(0)
        with m.If(multiplying & ~fetching):
            # Places still to go: 4 steps - 12, to the left if that is negative.
            steps = Signal(4)
            m.d.comb += steps.eq(Mux(self.mode == PostMode.BYPASS, 0, self.steps))
            m.d.sync += [left.eq(steps < 3), moving.eq(steps != 3), settled.eq(steps == 3)]
            m.d.sync += shifts.eq(Mux(steps < 3, 3 - steps, steps - 3) << exact_log2(4 // bits))
        with m.If(moving):
            m.d.sync += shifts.eq(shifts - 1)
            with m.If(left):
                m.d.sync += [
                    product[:RESULT_BITS].eq(Cat(tail[-bits:], product)),
                    tail.eq(Cat(Const(0, bits), tail)),
                    over.eq(over | ~self._room(product, bits)),
                ]
            with m.If(shifts == 1):
                m.d.sync += [moving.eq(0), settled.eq(1)]

        # Rounding, zero point, limits.
        up = Signal()
        half, below = tail[-1], tail[:-1].any() | sticky
        once = (self.mode == PostMode.TFLITE) & ~twice
        m.d.comb += up.eq(half & (once | ~sign | below))
        sum_ = Signal(signed(RESULT_BITS + 1))
        m.d.comb += sum_.eq(product[:RESULT_BITS].as_signed() + self.zero_point + up)
        outside = Signal()
        m.d.comb += outside.eq(over | ~fits)
        with m.If(settled):
            m.d.sync += [self.value.eq(sum_), self.ready.eq(1), settled.eq(0)]
            with m.If(Mux(outside, sign, sum_ < self.low)):
                m.d.sync += self.value.eq(self.low)
            with m.Elif(Mux(outside, ~sign, sum_ > self.high)):
                m.d.sync += self.value.eq(self.high)
        return m

    def _digit(self, m, turn, twice):
        """The multiplier's bits of a turn, and which of the bits that leave in it are kept, a cycle later."""
        bits, turns = self.bits, FACTOR_BITS // self.bits
        factor = Cat(self.factor, self.factor_high, Const(0, 2))
        digit = Signal(bits, reset_less=True)
        kept = Signal(bits, reset_less=True)
        with m.If(self.mode == PostMode.BYPASS):
            m.d.sync += digit.eq(Mux(turn == POINT // bits, 1 << POINT % bits, 0))
        with m.Else():
            with m.Switch(turn):
                for t in range(turns):
                    with m.Case(t):
                        m.d.sync += digit.eq(factor[bits * t : bits * t + bits])
        m.d.sync += kept.eq(~twice.replicate(bits))
        for i in range(bits):  # the first rounding of TFLITE drops the bits up to 30 + align
            for t in range(turns):
                if bits * t + i > 30:
                    with m.If((turn == t) & (self.align <= bits * t + i - 31)):
                        m.d.sync += kept[i].eq(1)
        return digit, kept

    @staticmethod
    def _room(product, bits):
        """Whether the product keeps its sign when it moves to the left by `bits` places."""
        top = product[RESULT_BITS - 1 - bits :]
        return top.all() | ~top.any()
