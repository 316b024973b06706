"""SOFTMAX."""

import numpy as np

from ...frontend import OperatorKind

__all__ = ["OPERATOR"]

SCALED_DIFF_BITS, ACC_BITS = 5, 12  # integer bits of the exponents, of the sum


def _saturate(value):
    return np.clip(value, -(1 << 31), (1 << 31) - 1)


def _srdhm(a, b):
    """gemmlowp's SaturatingRoundingDoublingHighMul, int64 arrays of int32 values."""
    product = a * b
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    high = np.sign(total) * (np.abs(total) >> 31)
    return np.where((a == b) & (a == -(1 << 31)), (1 << 31) - 1, high)


def _rounding_shift(value, shift):
    """Division by 2^shift, to nearest, ties away from zero."""
    mask = (1 << shift) - 1
    return (value >> shift) + ((value & mask) > (mask >> 1) + (value < 0))


def _shift_left(value, shift):
    return _saturate(value << shift)


_EXP_MINUS_1_8, _ONE_THIRD = 1895147668, 715827883
# exp(-2^k) for k from -2 up, Q0.31 (gemmlowp/fixedpoint.h).
_BARREL = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))


def _exp_between_minus_quarter_and_0(a):
    """Q0.31 to Q0.31: the Taylor series of order 4 around -1/8."""
    x = a + (1 << 28)
    x2 = _srdhm(x, x)
    x3 = _srdhm(x2, x)
    x4_over_4 = _rounding_shift(_srdhm(x2, x2), 2)
    series = _rounding_shift(_srdhm(x4_over_4 + x3, np.int64(_ONE_THIRD)) + x2, 1)
    return _saturate(_EXP_MINUS_1_8 + _srdhm(np.int64(_EXP_MINUS_1_8), x + series))


def _exp(a):
    """exp of Q5.26 values up to 0, Q0.31."""
    fractional = 31 - SCALED_DIFF_BITS
    quarter = 1 << (fractional - 2)
    mask = quarter - 1
    rest = (a & mask) - quarter
    result = _exp_between_minus_quarter_and_0(_shift_left(rest, SCALED_DIFF_BITS))
    remainder = rest - a
    for exponent, multiplier in _BARREL:
        if SCALED_DIFF_BITS > exponent:
            bit = 1 << (fractional + exponent)
            result = np.where(remainder & bit, _srdhm(result, np.int64(multiplier)), result)
    return np.where(a == 0, (1 << 31) - 1, result)


def _one_over_one_plus(a):
    """1 / (1 + a) of Q0.31 in [0, 1), Q0.31: three steps of Newton and Raphson on the half denominator."""
    half = (a + ((1 << 31) - 1) + 1) >> 1  # RoundingHalfSum with one; both positive
    x = 1515870810 + _srdhm(half, np.int64(-1010580540))  # 48/17 - 32/17 d, Q2.29
    for _ in range(3):
        correction = (1 << 29) - _srdhm(half, x)
        x = x + _shift_left(_srdhm(x, correction), 2)
    return _shift_left(x, 1)


def golden(op, x):
    """Fixed-point softmax over the last axis (`reference/softmax.h`): exponents in Q5.26, sum in Q12.19, the reciprocal by
    Newton and Raphson; the output has scale 1/256 and zero point -128.

    x : int8 [..., C].
    """
    scale = float(op.input_quantisation[0].scale[0])
    real = min(float(np.float32(op.attributes["beta"])) * scale * (1 << (31 - SCALED_DIFF_BITS)), float((1 << 31) - 1))
    fraction, exponent = np.frexp(real)
    multiplier, left = int(np.floor(fraction * (1 << 31) + 0.5)), int(exponent)
    if multiplier == 1 << 31:
        multiplier, left = multiplier >> 1, left + 1
    diff_min = -int(np.floor(((1 << SCALED_DIFF_BITS) - 1) * (1 << (31 - SCALED_DIFF_BITS)) / (1 << left) if left >= 0
                             else ((1 << SCALED_DIFF_BITS) - 1) * (1 << (31 - SCALED_DIFF_BITS)) * 2.0**-left))  # fmt: skip
    flat = x.reshape(-1, x.shape[-1]).astype(np.int64)
    diff = flat - flat.max(axis=1, keepdims=True)
    seen = diff >= diff_min
    scaled = np.where(seen, diff, 0)
    scaled = _srdhm(scaled << max(left, 0), np.int64(multiplier))
    if left < 0:
        scaled = _rounding_shift(scaled, -left)
    exponents = np.where(seen, _exp(scaled), 0)
    total = np.where(seen, _rounding_shift(exponents, ACC_BITS), 0).sum(axis=1, keepdims=True)
    bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)
    headroom = 32 - bits
    over_unit = ACC_BITS - headroom
    shifted = (total << headroom) - (1 << 31)
    inverse = _one_over_one_plus(shifted)
    product = _srdhm(np.broadcast_to(inverse, exponents.shape), exponents)
    shift = over_unit + 31 - 8
    made = np.zeros_like(product)
    for amount in np.unique(shift):  # a row has one
        rows = shift[:, 0] == amount
        made[rows] = _rounding_shift(product[rows], int(amount))
    made = np.where(seen, np.clip(made - 128, -128, 127), -128)
    return (made.astype(np.int8).reshape(x.shape),)


OPERATOR = OperatorKind(
    kind="SOFTMAX", golden=golden, lower=None, supports="int8 over the last axis, any beta; on the host",
    source="reference/softmax.h, gemmlowp/fixedpoint.h",
)  # fmt: skip
