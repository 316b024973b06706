"""HARD_SWISH."""

import numpy as np

from ...golden.requantise import quantise_multiplier_tflite
from . import _tables

__all__ = ["OPERATOR"]

LOW, HIGH = -(1 << 15), (1 << 15) - 1


def _multiplier16(scale):
    """(16-bit multiplier, exponent) of a real scale: the upper half of the 31-bit one, rounded."""
    multiplier, right = quantise_multiplier_tflite(scale)
    return min((multiplier + (1 << 15)) >> 16, HIGH), -right


def _doubled_high(a, b, *, rounding):
    """Upper 16 bits of twice the product of int16 values, saturated; divisions truncate."""
    product = a * b
    if rounding:
        product = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.minimum(np.sign(product) * (np.abs(product) >> 15), HIGH)


def _divided(x, shift):
    """x / 2^shift to nearest, ties away from zero."""
    mask = (1 << shift) - 1
    return (x >> shift) + ((x & mask) > (mask >> 1) + (x < 0))


def _table(op):
    """x * relu6(x + 3) / 6 in 16-bit fixed point: x with 7 more bits, times the second factor in Q0.15."""
    sx, zx, sy, zy = _tables.integers(op)
    hires = np.float32(np.float32(1 / 128) * np.float32(sx))
    out, exponent = _multiplier16(float(np.float32(hires / np.float32(sy))))
    slope, steps = _multiplier16(float(np.float32(hires / np.float32(3 / 32768))))
    x = (np.arange(-128, 128, dtype=np.int64) - zx) << 7
    scaled = _doubled_high(x, out, rounding=True)
    factor = np.clip(x << max(steps - 1, 0), LOW, HIGH)
    factor = _doubled_high(factor, slope, rounding=True)
    if steps > 0:
        factor = np.clip(factor << 1, LOW, HIGH)
    elif steps < 0:
        factor = _divided(factor, -steps)
    factor = (factor + (1 << 15)) >> 1
    made = _doubled_high(factor, scaled, rounding=False)
    made = _divided(made, -exponent) if exponent < 0 else made
    return np.clip(made + zy, -128, 127).astype(np.int8)


OPERATOR = _tables.kind(
    "HARD_SWISH", _table, supports="int8, as long as the output's step is at least 1/128 of the input's", source="reference/hard_swish.h"
)
