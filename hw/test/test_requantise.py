"""The requantiser against the golden, in sums that are chosen to hit its corners."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from rowcast.isa import PostMode
from rowcast.requantise import Requantise, scale_layout
from rowcast_models.golden.requantise import encode_params, postprocess, quantise_multiplier_average

SEED = 7


def scale_bits(items):
    """Rows of `encode_params` as the parameter memory holds them."""
    bias, low, last = (items[:, i].astype(object) for i in range(3))
    return (bias | low << 32 | last << 64).tolist()


def parameters(rng, mode, count):
    """Multipliers and shifts of every magnitude that the mode has."""
    multiplier = rng.integers(1 << 30, 1 << 31, count)
    multiplier[::5] = (multiplier[::5] >> 28) << 28  # few significant bits: ties
    if mode == PostMode.TFLITE:
        multiplier[1::9] >>= rng.integers(0, 31, multiplier[1::9].size)
        shift = rng.integers(-3, 20, count)
        shift[::10] = rng.integers(-30, 32, shift[::10].size)
        return multiplier, shift
    if mode == PostMode.ONNX:
        shift = rng.integers(20, 44, count)
        shift[::10] = rng.integers(0, 80, shift[::10].size)
        return multiplier >> 7, shift
    shift = rng.integers(28, 50, count)
    shift[::10] = rng.integers(0, 80, shift[::10].size)
    for i in range(3, count, 4):
        multiplier[i], shift[i] = quantise_multiplier_average(int(rng.integers(1, 300)))
    return multiplier, shift


def sums(rng, mode, multiplier, shift):
    """Sums that scale to a value near a half or an integer within int8's reach, and random ones."""
    count = multiplier.size
    total = shift + (31 if mode == PostMode.TFLITE else 0)
    target = rng.integers(-600, 600, count) / 2
    exact = target * 2.0**total / np.maximum(multiplier, 1)
    near = np.rint(np.clip(exact, -(2.0**31), 2.0**31 - 1)).astype(np.int64) + rng.integers(-1, 2, count)
    acc = np.clip(near, -(2**31), 2**31 - 1)
    acc[::6] = rng.integers(-(2**31), 2**31, acc[::6].size) >> rng.integers(0, 31, acc[::6].size)
    acc[:4] = [-(2**31), 2**31 - 1, 0, -1]
    return acc


def onnx_edges(rng, count):
    """Products exactly at, and one next to, the largest distance from a half that float32 still rounds to the half."""
    rows = []
    while len(rows) < count:
        total = int(rng.integers(25, 44))
        q = int(rng.integers(0, 1 << int(rng.integers(0, 9))))
        half = (2 * q + 1) << (total - 1)
        for side in (1, -1):
            lead = (half - (side < 0)).bit_length() - 1
            product = half + side * (1 << max(lead - 24, 0)) + int(rng.integers(-1, 2))
            # A factor of 24 bits that divides the product and leaves one of at most 31 bits.
            for factor in range(int(rng.integers(1, 200)), 0, -1):
                if product % factor == 0 and product // factor < 1 << 24:
                    break
            else:
                continue
            if product // factor >= 1 << 23 and total < 60:
                rows.append((factor * (1 if rng.integers(2) else -1), product // factor, total))
    return (np.array(column) for column in zip(*rows[:count]))


def run(acc, bits, mode, zero_point, low, high):
    """One item a cycle, and the values `LATENCY` cycles later."""
    dut = Requantise()
    values = []

    async def testbench(ctx):
        for name, value in (("mode", mode), ("zero_point", zero_point), ("low", low), ("high", high)):
            ctx.set(getattr(dut, name), value)
        raw = dut.scale.as_value()
        for item in range(len(acc) + dut.LATENCY):
            if item < len(acc):
                ctx.set(dut.acc, acc[item])
                ctx.set(raw, bits[item])
            _, _, value = await ctx.tick().sample(dut.value)
            values.append(value)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return np.array(values[dut.LATENCY :])


def compare(acc, bias, multiplier, shift, mode, zero_point, low, high):
    items = encode_params(bias, multiplier, shift, mode)
    want = postprocess(acc, bias, multiplier, shift, mode, zero_point, low, high)
    got = run(acc.tolist(), scale_bits(items), mode, zero_point, low, high)
    wrong = np.flatnonzero(got != want)
    if wrong.size:
        i = wrong[0]
        pytest.fail(
            f"{wrong.size} of {acc.size} wrong, first item {i}: acc {acc[i]}, bias {bias[i]}, "
            f"multiplier {multiplier[i]}, shift {shift[i]}, mode {mode!r}, zero point {zero_point}: "
            f"got {got[i]}, want {want[i]}"
        )


@pytest.mark.parametrize("mode", list(PostMode))
@pytest.mark.parametrize("limits", [(0, -128, 127), (-77, -100, 20), (255, -128, 127), (-256, -128, 127)])
def test_equals_golden(mode, limits):
    rng = np.random.default_rng([SEED, int(mode), limits[0] & 0xFFFF])
    count = 700
    multiplier, shift = parameters(rng, mode, count)
    acc = sums(rng, mode, multiplier, shift)
    bias = np.where(rng.integers(0, 2, count), 0, rng.integers(-(2**31), 2**31, count))
    acc = (acc - bias + 2**31) % 2**32 - 2**31  # the sum with the bias, wrapped, is the chosen one
    compare(acc, bias, multiplier, shift, mode, *limits)


def test_onnx_edges():
    rng = np.random.default_rng(SEED + 1)
    acc, multiplier, shift = onnx_edges(rng, 2000)
    compare(acc, np.zeros_like(acc), multiplier, shift, PostMode.ONNX, 0, -128, 127)
    compare(acc, np.zeros_like(acc), multiplier, shift, PostMode.ONNX, -250, -128, 127)


def test_bypass_ignores_the_parameters():
    rng = np.random.default_rng(SEED + 2)
    acc = rng.integers(-300, 300, 200)
    got = run(acc.tolist(), [int(rng.integers(1 << 62)) for _ in acc], PostMode.BYPASS, 0, -128, 127)
    assert np.array_equal(got, np.clip(acc, -128, 127))


def test_scale_layout():
    assert scale_layout().size == 72
