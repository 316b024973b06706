"""From an int32 sum to a byte: bias, multiplier, shift, rounding, zero point, clamp."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .isa import PostMode

__all__ = ["Requantise", "scale_layout"]

SUM_BITS = 32
LOW_BITS = 17  # lower part of both factors: unsigned 17 bits and signed 18 bits fit every side of an 18x18 multiplier
MULTIPLIER_BITS = 2 * LOW_BITS  # 31, and up to 3 places to the left
POINT = 24  # the product's binary point where the shifter does nothing
FRACTION = 26  # bits after the point that decide a tie of ONNX; what lies below is only tested for zero
INTEGER = 9  # |result| >= 512 stays outside int8 whatever the zero point


def scale_layout():
    """A channel's parameters as `encode_params` makes them: a scale of `multiplier` / 2^(24 + 4 `steps`), steps <= 10.

    `align` says how many places the multiplier stands left of its 31 bits.
    """
    return data.StructLayout(
        {
            "bias": signed(SUM_BITS),
            "multiplier_low": 32,
            "align": 2,
            "steps": 4,
            "multiplier_high": MULTIPLIER_BITS - 32,
        }
    )


class Requantise(wiring.Component):
    """`clamp(round((acc + bias) x multiplier / 2^(24 + 4 steps)) + zero_point, low, high)`.  One item a cycle.

    The twin is `postprocess` of the golden, without its table; there stand the exact rules of the modes.  Everything is
    two's complement: q the floor of the scaled sum X, f its fraction; what the modes decide is whether the result is q
    or q + 1.

    TFLITE : 2^30 (times 2^align) is added to the product and all below bit 31 dropped; then q + 1 if f >= 1/2, except
        that a negative X with f = 1/2 stays q.  A total shift below 31 rounds once, ties up.
    SINGLE : as TFLITE's second rounding.
    ONNX : the float32 product X' has 24 significant bits, its last place is u = 2^(e - 23) for the leading one of |X|
        at 2^e.  Halves are even multiples of u in the range that does not saturate, so X' is a tie if |f - 1/2| <=
        u / 2, and the even of q and q + 1 is taken; else X is on the same side of the tie as X'.
    BYPASS : multiplier 2^24, no shift, no bias.

    Members
    -------
    acc : int32 sum.
    scale : the channel's parameters, see `scale_layout`.
    mode, zero_point, low, high : stable while items are under way.
    value : int8, of the inputs of `LATENCY` cycles ago.
    """

    LATENCY = 13

    acc: Signal
    scale: data.View
    mode: Signal
    zero_point: Signal
    low: Signal
    high: Signal
    value: Signal

    def __init__(self):
        super().__init__(
            {
                "acc": In(signed(SUM_BITS)),
                "scale": In(scale_layout()),
                "mode": In(PostMode),
                "zero_point": In(signed(9)),
                "low": In(signed(8)),
                "high": In(signed(8)),
                "value": Out(signed(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        product, steps, once = self._multiply(m)  # cycles 1 to 7
        result, below = self._shift(m, product, steps)  # cycles 8 and 9
        for cycle in (8, 9, 10):
            once = _register(m, once, f"once{cycle}")
        quotient, up = self._round(m, result, below, once)  # cycles 10 and 11
        self._clamp(m, quotient, up)  # cycles 12 and 13
        return m

    def _multiply(self, m):
        """The product, rounded to its bit 31 where TFLITE rounds twice; its steps; whether TFLITE rounds only once."""
        bypass = Signal()
        m.d.comb += bypass.eq(self.mode == PostMode.BYPASS)

        # Cycle 1: BYPASS replaces the parameters by the registers' synchronous reset, not by a multiplexer.
        acc, bias = _register(m, self.acc, "acc1"), _register(m, self.scale.bias, "bias1")
        factor = _register(m, Cat(self.scale.multiplier_low, self.scale.multiplier_high), "factor1")
        steps, align = _register(m, self.scale.steps, "steps1"), _register(m, self.scale.align, "align1")
        with m.If(bypass):
            m.d.sync += [bias.eq(0), factor.eq(1 << POINT), steps.eq(0), align.eq(0)]

        # Cycle 2: sum, wrapping as int32.
        total = _register(m, (acc + bias)[:SUM_BITS].as_signed(), "total2")
        factor = _register(m, factor, "factor2")

        # Cycle 3: the multipliers' own registers, with nothing but the wire to them in front: it can be as long as the device.
        total, factor = _register(m, total, "total3"), _register(m, factor, "factor3")

        # Cycles 4 and 5: four partial products, and a register on their way from the multipliers.
        parts = ((total[:LOW_BITS], total[LOW_BITS:].as_signed()), (factor[:LOW_BITS], factor[LOW_BITS:]))
        products = {}
        for i, left in enumerate(parts[0]):
            for j, right in enumerate(parts[1]):
                part = _register(m, left * right, f"part{i}{j}_4")
                products[i, j] = _register(m, part, f"part{i}{j}_5")
        for cycle in (2, 3, 4):
            steps, align = _register(m, steps, f"steps{cycle}"), _register(m, align, f"align{cycle}")
        # TFLITE rounds at bit 31 if the total shift, 24 + 4 steps - align, is at least 31.
        twice = (self.mode == PostMode.TFLITE) & ((steps > 2) | ((steps == 2) & ~align[1]))
        nudge = _register(m, Cat(twice & (align == i) for i in range(MULTIPLIER_BITS - 30)), "nudge5")
        twice, steps, align = (
            _register(m, value, f"{name}5") for name, value in (("twice", twice), ("steps", steps), ("align", align))
        )

        # Cycle 6: the two middle products; TFLITE's 2^(30 + align) is added to the smaller one, which has the room.
        nudged = Signal(signed(SUM_BITS), name="nudged5")  # no carry out: see the ranges of the parts
        m.d.comb += [
            nudged[: 30 - LOW_BITS].eq(products[1, 0]),
            nudged[30 - LOW_BITS :].eq(products[1, 0][30 - LOW_BITS :] + nudge),
        ]
        middle = _register(m, products[0, 1] + nudged, "middle6")
        outer = _register(m, Cat(products[0, 0], products[1, 1]).as_signed(), "outer6")
        steps, align = _register(m, steps, "steps6"), _register(m, align, "align6")
        twice = _register(m, twice, "twice6")

        # Cycle 7: the product; what TFLITE's first rounding drops is cleared, mostly by the registers' reset.
        product = Signal(signed(SUM_BITS + MULTIPLIER_BITS), name="product7", reset_less=True)
        m.d.sync += product.eq(Cat(outer[:LOW_BITS], (outer[LOW_BITS:].as_signed() + middle)))
        with m.If(twice):
            m.d.sync += product[:31].eq(0)
            for i in range(1, 4):
                with m.If(align >= i):
                    m.d.sync += product[30 + i].eq(0)
        once = _register(m, (self.mode == PostMode.TFLITE) & ~twice, "once7")
        return product, _register(m, steps, "steps7"), once

    def _shift(self, m, product, steps):
        """Sign, overflow, integer and fraction bits of the product; and whether anything lies below them."""
        keep = FRACTION + INTEGER
        value, sign = Cat(Const(0, FRACTION - POINT), product), product[-1]

        # Cycle 8: by 0, 16 or 32 places.  32 go with at most 8 more, and what they cannot bring down is all sign.
        far, some = steps[3], steps[3] | steps[2]
        width = keep + 12
        source = Cat(value, sign.replicate(16))
        shifted = _register(m, Mux(far, source[32:], Mux(steps[2], source[16:], source)[:width])[:width], "shifted8")
        lost = _differs(value[width : width + 16], sign) & ~some | _differs(value[width + 16 :], sign) & ~far
        over = _register(m, lost, "over8")
        below = _register(m, (value[:16].any() & some) | (value[16:32].any() & far), "below8")
        sign, steps = _register(m, sign, "sign8"), _register(m, steps[:2], "steps8")

        # Cycle 9: by 0, 4, 8 or 12 places.
        half = Signal(keep + 4)
        m.d.comb += half.eq(Mux(steps[1], shifted[8:], shifted))
        value = _register(m, Mux(steps[0], half[4:], half)[:keep], "value9")
        lost = (_differs(shifted[keep + 4 :], sign) & ~steps[1]) | (_differs(half[keep:], sign) & ~steps[0])
        over = _register(m, over | lost, "over9")
        below = _register(m, below | (shifted[:8].any() & steps[1]) | (half[:4].any() & steps[0]), "below9")
        sign = _register(m, sign, "sign9")
        layout = data.StructLayout({"fraction": FRACTION, "integer": INTEGER, "sign": 1, "over": 1})
        return data.View(layout, Cat(value, sign, over)), below

    def _round(self, m, result, below, once):
        """The floor of the result, saturated, and whether the result is one more."""
        sign, half, even = result.sign, result.fraction[-1], ~result.integer[0]
        # Digit j after the point, 2 and up; complemented below 1/2, so that a distance from 1/2 starts with zeros.
        digit = {j: result.fraction[FRACTION - j] ^ ~half for j in range(2, FRACTION + 1)}
        # ONNX: |f - 1/2| <= 2^(e - 24) looks at the digits to 24 - e: 16 for the largest e, 26 for |X| < 1/2.
        top = {e: _differs(result.integer[e:], sign) for e in range(INTEGER)}
        top[-1] = top[0] | (half ^ sign)  # |X| >= 2^e

        # Cycle 10: leading one and digits.
        first = FRACTION + 2 - INTEGER - 3  # 16: the digits before it are always looked at
        reached = {j: _register(m, top[24 - j], f"reached{j}_10") for j in range(first, FRACTION)}
        reached[FRACTION] = 1
        digits = {j: _register(m, digit[j], f"digit{j}_10") for j in range(first, FRACTION + 1)}
        near = _register(m, Cat(*(digit[j] for j in range(2, first))).any(), "near10")
        half, below = _register(m, half, "half10"), _register(m, below, "below10")
        even, over = _register(m, even, "even10"), _register(m, result.over, "over10")
        sign, integer = _register(m, sign, "sign10"), _register(m, result.integer, "integer10")

        # Cycle 11: decide.
        above = Signal()
        at = Signal()
        under = Signal()
        tie = Signal()
        up = Signal()
        before = {j: reached[j - 1] if j > first else 0 for j in reached}
        m.d.comb += [
            above.eq(near | Cat(*(digits[j] & ~reached[j] for j in digits)).any()),
            at.eq(Cat(*(digits[j] & reached[j] & ~before[j] for j in digits)).any()),
            under.eq(below | Cat(*(digits[j] & before[j] for j in digits)).any()),
            tie.eq(~above & ~(at & (~half | under))),
        ]
        away = once | ~sign | above | at | under  # TFLITE with one rounding takes ties up
        with m.Switch(self.mode):
            with m.Case(PostMode.ONNX):
                m.d.comb += up.eq(Mux(tie, ~even, half))
            with m.Default():
                m.d.comb += up.eq(half & away)
        saturated = Mux(over, (~sign).replicate(INTEGER), integer)
        return _register(m, Cat(saturated, sign).as_signed(), "quotient11"), _register(m, up, "up11")

    def _clamp(self, m, quotient, up):
        """Zero point and limits; `up` goes in as the carry: one adder, not two."""
        total = Signal(signed(INTEGER + 3), name="total12", reset_less=True)
        m.d.sync += total.eq(Cat(up, quotient).as_signed() + Cat(up, self.zero_point).as_signed())  # cycle 12
        total = total[1:].as_signed()
        m.d.sync += self.value.eq(total)  # cycle 13
        with m.If(total < self.low):
            m.d.sync += self.value.eq(self.low)
        with m.Elif(total > self.high):
            m.d.sync += self.value.eq(self.high)


def _register(m, value, name):
    """The value one cycle later, without a reset."""
    shape = value.shape()
    register = Signal(shape, name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register



def _differs(bits, sign):
    """Whether any bit is not the sign."""
    return (bits ^ sign.replicate(len(bits))).any()
