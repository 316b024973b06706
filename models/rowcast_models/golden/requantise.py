"""From int32 sums to bytes: the rounding of the reference runtimes, and how its parameters are coded for the hardware.

All functions work on whole arrays in int64 and broadcast `multiplier`, `shift` and `bias` (usually a value a channel).
A *multiplier* is a non-negative integer below 2^31; with its shift it stands for a real scale:
TFLITE `multiplier * 2^-(31 + shift)`, ONNX and SINGLE `multiplier * 2^-shift`.
"""

import math

import numpy as np

from rowcast.isa import PostMode

__all__ = [
    "ScaleError", "bypass", "decode_params", "encode_params", "postprocess", "quantise_multiplier_average",
    "quantise_multiplier_onnx", "quantise_multiplier_tflite", "requantise", "requantise_onnx", "requantise_single",
    "requantise_tflite", "wrap_int32",
]  # fmt: skip

ONNX_BITS = 24  # significant bits of a float32
MIN_SHIFT, MAX_SHIFT = 21, 63  # total right shifts that the hardware does, see `encode_params`


class ScaleError(ValueError):
    """A real scale that no multiplier and shift stand for."""


def _int64(*values):
    return [np.asarray(value).astype(np.int64) for value in values]


def _check(multiplier, shift, low, high):
    if np.any(multiplier < 0) or np.any(multiplier >= 1 << 31):
        raise ValueError(f"multiplier must be from 0 to 2^31 - 1, not {multiplier!r}")
    if np.any(shift < low) or np.any(shift > high):
        raise ValueError(f"shift must be from {low} to {high}, not {shift!r}")


def wrap_int32(value):
    """The low 32 bits as a signed number, int64."""
    return np.asarray(value).astype(np.int64).astype(np.int32).astype(np.int64)


# Requantisation -------------------------------------------------------------------------------------------------


def requantise_tflite(acc, multiplier, shift):
    """gemmlowp's MultiplyByQuantizedMultiplier: saturating rounding doubling high multiply, then rounding right shift.

    The first rounding `floor((acc * multiplier + 2^30) / 2^31)` takes ties up, the second, by `shift` bits, away from
    zero.  A negative `shift` is a left shift of `acc` beforehand, exact (the C code overflows where this does not).

    Parameters
    ----------
    acc : integers within int32.
    multiplier : from 0 to 2^31 - 1.
    shift : right shift, from -30 to 31; TensorFlow Lite's `shift` with the opposite sign.
    """
    acc, multiplier, shift = _int64(acc, multiplier, shift)
    _check(multiplier, shift, -30, 31)
    product = acc * multiplier
    left = np.maximum(-shift, 0)
    once = (product + (1 << 30 - left)) >> 31 - left
    mask = (1 << np.maximum(shift, 0)) - 1
    threshold = (mask >> 1) + (once < 0)
    return (once >> np.maximum(shift, 0)) + ((once & mask) > threshold)


def _round_half_even(value, drop):
    """Non-negative integers divided by 2^drop, ties to even."""
    kept, rest, half = value >> drop, value & ((1 << drop) - 1), (1 << drop) >> 1
    return kept + ((rest > half) | ((rest == half) & (half > 0) & (kept & 1 == 1)))


def _bit_length(value):
    """Bits of non-negative int64; the float's exponent is one too high where it was rounded up to a power of two."""
    exponent = np.frexp(value.astype(np.float64))[1].astype(np.int64)
    return exponent - (value >> np.maximum(exponent - 1, 0) == 0) * (exponent > 0)


def requantise_onnx(acc, multiplier, shift):
    """ONNX Runtime's `rint(float32(acc) * scale)` in integers, for a `scale` of 24 significant bits.

    The product is rounded to 24 significant bits, then to an integer, both half to even.  Equal to float32 arithmetic
    while |acc| <= 2^24 and nothing is subnormal.

    Parameters
    ----------
    acc : integers within int32.
    multiplier : from 0 to 2^24 - 1.
    shift : right shift, from 0.
    """
    acc, multiplier, shift = _int64(acc, multiplier, shift)
    _check(multiplier, shift, 0, 1 << 10)
    if np.any(multiplier >= 1 << ONNX_BITS):
        raise ValueError(f"multiplier must be below 2^{ONNX_BITS} for ONNX, not {multiplier!r}")
    product = np.abs(acc) * multiplier
    drop = np.maximum(_bit_length(product) - ONNX_BITS, 0)
    rounded = _round_half_even(product, drop) << drop
    return np.sign(acc) * _round_half_even(rounded, np.minimum(shift, 62))


def requantise_single(acc, multiplier, shift):
    """`acc * multiplier / 2^shift`, rounded once, ties away from zero; `shift` from 0."""
    acc, multiplier, shift = _int64(acc, multiplier, shift)
    _check(multiplier, shift, 0, 1 << 10)
    shift = np.minimum(shift, 63)
    product = np.abs(acc) * multiplier
    # The half is added to the quotient and not to the product, which has up to 62 bits.
    guard = np.where(shift > 0, product >> np.maximum(shift - 1, 0) & 1, 0)
    return np.sign(acc) * ((product >> shift) + guard)


def bypass(acc, multiplier=0, shift=0):
    """The sum as it is."""
    acc, _, _ = _int64(acc, multiplier, shift)
    return acc


_FUNCTIONS = {
    PostMode.TFLITE: requantise_tflite,
    PostMode.ONNX: requantise_onnx,
    PostMode.SINGLE: requantise_single,
    PostMode.BYPASS: bypass,
}


def requantise(acc, multiplier, shift, mode):
    """The sum scaled in the way of a `PostMode`, int64."""
    return _FUNCTIONS[PostMode(mode)](acc, multiplier, shift)


def postprocess(acc, bias, multiplier, shift, mode, zero_point=0, low=-128, high=127, table=None):
    """All that a post-processor does to a sum: `clamp(requantise(acc + bias) + zero_point, low, high)`, then the table.

    `acc + bias` wraps as int32 does; BYPASS adds no bias.

    Parameters
    ----------
    acc : integers [..., channels].
    bias, multiplier, shift : integers, usually [channels].
    mode : PostMode.
    zero_point, low, high : integers, or integers [channels].
    table : None, or int8 [256]: entry b + 128 is what byte b becomes.

    Returns
    -------
    int8 [..., channels]
    """
    total = wrap_int32(acc) if mode == PostMode.BYPASS else wrap_int32(wrap_int32(acc) + wrap_int32(bias))
    value = np.clip(requantise(total, multiplier, shift, mode) + zero_point, low, high)
    if table is not None:
        value = np.asarray(table)[value + 128]
    return value.astype(np.int8)


# Multipliers ----------------------------------------------------------------------------------------------------


def quantise_multiplier_tflite(scale):
    """TensorFlow Lite's QuantizeMultiplier of one real scale: (multiplier, right shift) for `requantise_tflite`."""
    if not 0 <= scale < math.inf:
        raise ScaleError(f"scale must be finite and not negative, not {scale!r}")
    fraction, exponent = math.frexp(float(scale))
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier >> 1, exponent + 1
    if multiplier == 0 or exponent < -31:
        return 0, 0
    if exponent > 30:
        return (1 << 31) - 1, -30
    return multiplier, -exponent


def quantise_multiplier_onnx(scale):
    """(multiplier, right shift) for `requantise_onnx` with `float32(scale) == multiplier * 2^-shift` exactly.

    Raises
    ------
    ScaleError
        The scale is negative, not finite, or 2^24 and more: every sum but 0 would saturate.
    """
    scale = float(np.float32(scale))
    if not 0 <= scale < 1 << ONNX_BITS:
        raise ScaleError(f"scale must be from 0 to below 2^24, not {scale!r}")
    if scale == 0:
        return 0, 0
    fraction, exponent = math.frexp(scale)
    return int(fraction * (1 << ONNX_BITS)), ONNX_BITS - exponent


def quantise_multiplier_average(count):
    """(multiplier, right shift) with which `requantise_single` divides by `count` as TensorFlow Lite's average pooling.

    `(acc > 0 ? acc + count / 2 : acc - count / 2) / count`, truncating, for |acc| <= 128 x count.  The multiplier is
    2^shift / count rounded up, so a tie stays one or rises above it; the error |acc| x 2^-shift is below the distance
    of the next lower value from its tie, 1 / (2 count), as long as 256 count^2 < 2^shift, which holds to 2^21.
    """
    if not 1 <= count <= 1 << 21:
        raise ValueError(f"count must be from 1 to 2^21, not {count!r}")
    shift = 30 + (count - 1).bit_length()
    return -(-(1 << shift) // count), shift


# The parameter memory -------------------------------------------------------------------------------------------


def encode_params(bias, multiplier, shift, mode):
    """Parameters as the hardware keeps them: uint32 [channels, 4], items bias, multiplier, shift, 0.

    The hardware computes `(acc + bias) * M / 2^(24 + 4 t)`, with M of 34 bits, and rounds it as the mode says; a total
    right shift T of `multiplier` is made a multiple of 4 by M = multiplier * 2^a, T + a = 24 + 4 t.  So its shifter has
    four levels instead of six.
    Item 1 is the low word of M.  Item 2 has a in bits 0..1, t (0 to 10) in bits 2..5, the upper two bits of M in bits
    6..7.

    T is 31 + shift for TFLITE, else shift.  It must be within 21..63: multipliers are normalised to 31 bits first
    (TFLITE: not past T = 30, since rounding twice begins at 31); then a smaller T means |result| >= 512 for every sum
    but 0, which any zero point leaves saturated, and a larger one means 0.

    Raises
    ------
    ValueError
        A multiplier or shift that the mode does not have.
    """
    bias, multiplier, shift = (v.copy() for v in np.broadcast_arrays(*_int64(bias, multiplier, shift)))
    bias, multiplier, shift = (np.atleast_1d(v) for v in (bias, multiplier, shift))
    items = np.zeros((bias.size, 4), np.uint32)
    if mode == PostMode.BYPASS:
        return items
    requantise(np.zeros_like(bias), multiplier, shift, mode)  # checks
    total, room = shift, 31 - _bit_length(multiplier)
    if mode == PostMode.TFLITE:
        total = 31 + shift
        room = np.clip(30 - total, 0, room)
    multiplier, total = multiplier << room, total + room
    zero = (multiplier == 0) | (total > MAX_SHIFT)
    multiplier = np.where(zero, 0, multiplier)
    total = np.where(zero, MAX_SHIFT - 1, np.maximum(total, MIN_SHIFT))
    align = -total % 4
    multiplier = multiplier << align
    items[:, 0] = bias & 0xFFFFFFFF
    items[:, 1] = multiplier & 0xFFFFFFFF
    items[:, 2] = align | ((total + align) // 4 - 6) << 2 | multiplier >> 32 << 6
    return items


def decode_params(items, mode):
    """(bias, multiplier, shift) that give the same bytes as those that `encode_params` got, int64 [channels] each."""
    items = np.asarray(items).astype(np.int64)
    align, steps, high = items[:, 2] & 3, items[:, 2] >> 2 & 15, items[:, 2] >> 6 & 3
    multiplier, shift = (high << 32 | items[:, 1]) >> align, 24 + 4 * steps - align
    if mode == PostMode.TFLITE:
        shift = shift - 31
    elif mode == PostMode.ONNX:  # was normalised from 24 to 31 bits
        multiplier, shift = multiplier >> 7, shift - 7
    return wrap_int32(items[:, 0]), multiplier, shift
