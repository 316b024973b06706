"""The golden requantisation against the arithmetic it stands for, written down independently."""

import math

import numpy as np
import pytest

from rowcast.isa import PostMode
from rowcast_models.golden import requantise as golden

RNG_SEED = 20240


def gemmlowp(acc, multiplier, shift):
    """MultiplyByQuantizedMultiplier in Python's integers, line by line after gemmlowp/fixedpoint.h."""
    left, right = max(-shift, 0), max(shift, 0)
    product = acc * (1 << left) * multiplier
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    total = product + nudge
    high = abs(total) >> 31
    high = high if total >= 0 else -high
    mask = (1 << right) - 1
    remainder = high & mask
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if remainder > threshold else 0)


def accumulators(rng, count):
    """Random int32 of every magnitude, and the extremes."""
    magnitude = rng.integers(0, 1 << 31, count) >> rng.integers(0, 31, count)
    values = np.where(rng.integers(0, 2, count) == 1, magnitude, -magnitude)
    values[:8] = [0, 1, -1, 2**31 - 1, -(2**31), -(2**31) + 1, 2**30, -(2**30)]
    return values


def test_tflite_equals_gemmlowp():
    rng = np.random.default_rng(RNG_SEED)
    count = 20000
    acc = accumulators(rng, count)
    multiplier = rng.integers(1 << 30, 1 << 31, count)
    multiplier[::7] = 1 << 30  # many ties
    multiplier[1::7] >>= rng.integers(0, 31, multiplier[1::7].size)
    shift = rng.integers(-30, 32, count)
    got = golden.requantise_tflite(acc, multiplier, shift)
    want = [gemmlowp(*row) for row in zip(acc.tolist(), multiplier.tolist(), shift.tolist())]
    assert got.tolist() == want


def test_tflite_ties():
    # The first rounding takes ties up, the second away from zero.
    assert golden.requantise_tflite([1, -1, 3, -3], 1 << 30, 0).tolist() == [1, 0, 2, -1]
    assert golden.requantise_tflite([4, -4, 12, -12], 1 << 30, 2).tolist() == [1, -1, 2, -2]


def float32_rint(acc, scale):
    return np.rint(np.float32(acc) * np.float32(scale)).astype(np.int64)


def test_onnx_equals_float32():
    rng = np.random.default_rng(RNG_SEED + 1)
    for _ in range(150):
        scale = np.float32(2.0 ** rng.uniform(-22, 3))
        multiplier, shift = golden.quantise_multiplier_onnx(scale)
        assert multiplier * 2.0**-shift == float(scale) and 1 << 23 <= multiplier < 1 << 24
        reach = min(1 << 24, int(600 / scale) + 2)
        acc = rng.integers(-reach, reach + 1, 20000)
        np.testing.assert_array_equal(golden.requantise_onnx(acc, multiplier, shift), float32_rint(acc, scale))


def test_onnx_ties():
    # Sums whose product lies within a few 24-bit roundings of a half: acc = (q + 1/2) / scale, nearest integers.
    rng = np.random.default_rng(RNG_SEED + 2)
    count = 400000
    multiplier = rng.integers(1 << 23, 1 << 24, count)
    multiplier[::2] = (multiplier[::2] >> 20) << 20
    shift = rng.integers(24, 47, count)
    half = rng.integers(0, 200, count) + 0.5
    acc = np.rint(half * 2.0**shift / multiplier).astype(np.int64) + rng.integers(-1, 2, count)
    keep = np.abs(acc) < 1 << 24
    acc, multiplier, shift = np.where(rng.integers(0, 2, count), acc, -acc)[keep], multiplier[keep], shift[keep]
    want = float32_rint(acc, (multiplier * 2.0**-shift).astype(np.float32))
    np.testing.assert_array_equal(golden.requantise_onnx(acc, multiplier, shift), want)
    one_rounding = np.rint(acc * (multiplier * 2.0**-shift)).astype(np.int64)  # exact in float64
    assert np.any(one_rounding != want), "the sums do not reach the case that needs two roundings"


def test_single_ties_away():
    assert golden.requantise_single([1, -1, 3, -3, 0], 1, 1).tolist() == [1, -1, 2, -2, 0]
    rng = np.random.default_rng(RNG_SEED + 3)
    acc, multiplier, shift = accumulators(rng, 5000), rng.integers(0, 1 << 31, 5000), rng.integers(0, 70, 5000)
    want = []
    for a, m, s in zip(acc.tolist(), multiplier.tolist(), shift.tolist()):
        magnitude = (abs(a) * m + (1 << s >> 1)) >> s
        want.append(magnitude if a >= 0 else -magnitude)
    assert golden.requantise_single(acc, multiplier, shift).tolist() == want


def average(acc, count):
    """C's `(acc > 0 ? acc + n / 2 : acc - n / 2) / n`."""
    magnitude = (np.abs(acc) + count // 2) // count
    return np.where(acc > 0, magnitude, -magnitude)


@pytest.mark.parametrize("first", [1, 65, 1000, 4000])
def test_average_exhaustive(first):
    for count in range(first, first + (64 if first < 100 else 8)):
        acc = np.arange(-128 * count, 128 * count + 1)
        got = golden.requantise_single(acc, *golden.quantise_multiplier_average(count))
        np.testing.assert_array_equal(got, average(acc, count), err_msg=f"count {count}")


def test_average_edges():
    # The result steps only at its ties: both sides of every tie, for every count.
    steps = np.arange(-129, 129)
    for count in [*range(1, 4200), 12544, 16384, 1 << 18, (1 << 21) - 1]:
        edge = steps * count + count // 2
        acc = np.concatenate([edge - 1, edge, edge + 1, edge + 2])
        acc = acc[np.abs(acc) <= 128 * count]
        got = golden.requantise_single(acc, *golden.quantise_multiplier_average(count))
        assert np.array_equal(got, average(acc, count)), f"count {count}"


def test_multiplier_tflite():
    rng = np.random.default_rng(RNG_SEED + 4)
    for scale in (2.0 ** rng.uniform(-30, 29, 300)).tolist() + [1.0, 0.5, 1 - 2.0**-40]:
        multiplier, shift = golden.quantise_multiplier_tflite(scale)
        assert 1 << 30 <= multiplier < 1 << 31
        assert math.isclose(multiplier * 2.0 ** -(31 + shift), scale, rel_tol=2.0**-31)
    assert golden.quantise_multiplier_tflite(0.0) == (0, 0)
    assert golden.quantise_multiplier_tflite(2.0**-40) == (0, 0)
    assert golden.quantise_multiplier_tflite(2.0**40) == ((1 << 31) - 1, -30)


def test_postprocess():
    table = np.arange(127, -129, -1).astype(np.int8)
    arguments = dict(mode=PostMode.SINGLE, zero_point=3, low=-100, high=90)
    acc = np.array([[10, -20], [1000, 2**31 - 1]])
    got = golden.postprocess(acc, [1, 1], [1, 1], [1, 1], **arguments)
    assert got.dtype == np.int8 and got.tolist() == [[9, -7], [90, -100]]  # 5.5 -> 6, -9.5 -> -10; the last sum wraps
    with_table = golden.postprocess(acc, [1, 1], [1, 1], [1, 1], table=table, **arguments)
    assert with_table.tolist() == [[-10, 6], [-91, 99]]
    assert golden.postprocess([5, -300], 100, 7, 1, PostMode.BYPASS).tolist() == [5, -128]


@pytest.mark.parametrize("mode", [PostMode.TFLITE, PostMode.ONNX, PostMode.SINGLE])
def test_params_keep_the_bytes(mode):
    # What the code of the parameters loses, the clamp would lose anyway.
    rng = np.random.default_rng(RNG_SEED + 5)
    count = 50000
    acc = accumulators(rng, count)
    multiplier = rng.integers(0, 1 << 31, count) >> rng.integers(0, 31, count)
    shift = rng.integers(0, 70, count)
    if mode == PostMode.TFLITE:
        shift = rng.integers(-30, 32, count)
    if mode == PostMode.ONNX:
        multiplier = rng.integers(1 << 23, 1 << 24, count)
    items = golden.encode_params(acc[::-1], multiplier, shift, mode)
    assert items.dtype == np.uint32 and items.shape == (count, 4) and not items[:, 3].any()
    assert items[:, 2].max() < 1 << 8 and (items[:, 2] >> 2 & 15).max() <= 10
    bias, *scale = golden.decode_params(items, mode)
    zero_point = rng.integers(-256, 256, count)
    assert np.array_equal(bias, acc[::-1])
    got = np.clip(golden.requantise(acc, *scale, mode) + zero_point, -128, 127)
    want = np.clip(golden.requantise(acc, multiplier, shift, mode) + zero_point, -128, 127)
    np.testing.assert_array_equal(got, want)


def test_errors():
    with pytest.raises(ValueError, match=r"shift must be from -30 to 31, not array\(32\)"):
        golden.requantise_tflite(1, 1, 32)
    with pytest.raises(ValueError, match="multiplier must be from 0 to 2"):
        golden.requantise_single(1, 1 << 31, 0)
    with pytest.raises(ValueError, match="below 2.24 for ONNX"):
        golden.encode_params(0, 1 << 24, 3, PostMode.ONNX)
    with pytest.raises(ValueError, match="scale must be from 0 to below"):
        golden.quantise_multiplier_onnx(2.0**24)
    with pytest.raises(ValueError, match="count must be from 1"):
        golden.quantise_multiplier_average(0)
