"""The serial requantiser and the POST unit of a compact accelerator, against numpy."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from rowcast import isa
from rowcast.compact.post import Post
from rowcast.compact.requantise import SerialRequantise
from rowcast.config import PRESETS
from rowcast.isa import PostMode, PostSource
from rowcast.registers import Error
from rowcast_models.golden.requantise import encode_params, postprocess, quantise_multiplier_average

CONFIG = PRESETS["micro"].replace(psum_pixels=16, act_words=256)
MODES = (PostMode.TFLITE, PostMode.SINGLE, PostMode.BYPASS)


def cases(rng, mode, count):
    """Multipliers and shifts of all sizes, and sums that scale to a value at or near a half within int8's reach."""
    multiplier = rng.integers(1 << 30, 1 << 31, count)
    multiplier[::5] = (multiplier[::5] >> 28) << 28  # few significant bits: ties
    shift = rng.integers(28, 50, count)
    shift[::7] = rng.integers(21, 62, shift[::7].size)
    for i in range(3, count, 4):
        if mode == PostMode.SINGLE:
            multiplier[i], shift[i] = quantise_multiplier_average(int(rng.integers(1, 300)))
    exact = rng.integers(-600, 600, count) / 2 * 2.0**shift / multiplier
    acc = np.rint(np.clip(exact, -(2.0**31), 2.0**31 - 2)).astype(np.int64) + rng.integers(0, 2, count)
    acc[::6] = rng.integers(-(2**31), 2**31, acc[::6].size) >> rng.integers(0, 31, acc[::6].size)
    acc[:4] = [-(2**31), 2**31 - 1, 0, -1]
    return multiplier, shift - 31 if mode == PostMode.TFLITE else shift, acc


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name.lower())
def test_values_and_latency(mode, bits):
    dut, rng, count = SerialRequantise(bits=bits), np.random.default_rng(bits), 250
    multiplier, shift, acc = cases(rng, mode, count)
    if mode == PostMode.BYPASS:
        acc[::2] >>= 22
    limits = np.sort(rng.integers(-128, 128, (count, 2)))
    limits[::2] = -128, 127
    zero = rng.integers(-256, 256, count)
    items = encode_params(np.zeros(count, int), multiplier, shift, mode)

    async def bench(ctx):
        ctx.set(dut.mode, mode)
        for i in range(count):
            low, high = limits[i].tolist()
            want = postprocess(acc[i], 0, multiplier[i], shift[i], mode, zero[i], low, high).item()
            last = int(items[i, 2])
            align, steps = last & 3, last >> 2 & 15
            for name, value in dict(zero_point=int(zero[i]), low=low, high=high, align=align, steps=steps,
                                    factor_high=last >> 6, factor=0x5A5A5A5A, total=int(acc[i]), start=1).items():  # fmt: skip
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            for name, value in dict(factor=int(items[i, 1]), start=0, total=99).items():
                ctx.set(getattr(dut, name), value)
            cycles = 36 // bits + 2 + abs(3 - (0 if mode == PostMode.BYPASS else steps)) * (4 // bits)
            for _ in range(cycles):
                assert not ctx.get(dut.ready)
                await ctx.tick()
            got = ctx.get(dut.value)
            assert ctx.get(dut.ready)
            assert got == want, f"item {i}: {acc[i]} x {multiplier[i]} >> {shift[i]}: {got}, golden {want}"

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("bits", [0, 3, 8])
def test_bits(bits):
    with pytest.raises(ValueError, match="bits must be 1, 2 or 4"):
        SerialRequantise(bits=bits)


class PostBench:
    """A Post with psums of its own and a memory that lets it wait."""

    def __init__(self, seed):
        self.dut, self.random = Post(CONFIG), random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.psums = self.rng.integers(-40_000, 40_000, CONFIG.psum_pixels * CONFIG.lanes)
        self.memory = np.zeros((CONFIG.act_words, CONFIG.lanes), np.int64)
        self.freed = self.done = 0
        self.asked = None

    async def tick(self, ctx):
        """One cycle of what is around the unit."""
        dut = self.dut
        ctx.set(dut.drained, ctx.get(dut.drain) and self.random.random() < 0.6)
        ctx.set(dut.psum, int(self.psums[self.asked]) if self.asked is not None else 12345)
        self.asked = ctx.get(dut.drain_psum) if ctx.get(dut.drained) else None
        ctx.set(dut.grant, ctx.get(dut.write) and self.random.random() < 0.6)
        if ctx.get(dut.grant):
            value = ctx.get(dut.byte)
            self.memory[ctx.get(dut.address), ctx.get(dut.lane)] = value - 256 * (value > 127)
        self.freed += ctx.get(dut.psum_freed)
        await ctx.tick()
        self.done += ctx.get(dut.done)

    async def load(self, ctx, items):
        """Items of the PARAM space."""
        for address, item in items.items():
            for name, value in dict(param_write=1, param_address=address, param_item=int(item) & 0xFFFFFFFF).items():
                ctx.set(getattr(self.dut, name), value)
            await self.tick(ctx)
        ctx.set(self.dut.param_write, 0)

    async def give(self, ctx, name, **fields):
        """One instruction, when the unit is idle; then until it is complete, or has failed."""
        while not ctx.get(self.dut.idle):
            await self.tick(ctx)
        value = int.from_bytes(isa.encode(isa.make(name, **fields)), "little")
        for port, bits in dict(take=1, opcode=value & 31, payload=value >> isa.PAYLOAD_START).items():
            ctx.set(getattr(self.dut, port), bits)
        before = self.done
        await self.tick(ctx)
        ctx.set(self.dut.take, 0)
        while self.done == before and not ctx.get(self.dut.error.valid):
            await self.tick(ctx)

    def run(self, process):
        sim = Simulator(self.dut)
        sim.add_clock(1e-6)
        sim.add_testbench(process)
        sim.run()


@pytest.mark.parametrize("seed", range(3))
def test_runs(seed):
    """Halves in turn, loops, slots, tables; whole words of the memory."""
    bench = PostBench(seed)
    rng, channels, lanes = bench.rng, CONFIG.param_channels, CONFIG.lanes
    mode = (PostMode.TFLITE, PostMode.SINGLE, PostMode.BYPASS)[seed]
    multiplier, shift = rng.integers(1 << 30, 1 << 31, channels), rng.integers(36, 42, channels)
    shift = shift - 31 if mode == PostMode.TFLITE else shift
    bias, table = rng.integers(-5000, 5000, channels), rng.integers(-128, 128, 256)
    items = encode_params(bias, multiplier, shift, PostMode.SINGLE if mode == PostMode.BYPASS else mode).ravel()
    want = np.zeros_like(bench.memory)

    async def process(ctx):
        await bench.load(ctx, dict(enumerate(items)))
        await bench.load(ctx, {4 * channels + i: entry for i, entry in enumerate(table)})
        for run in range(5):
            slot, use_table = int(rng.integers(0, channels // lanes)), int(rng.integers(0, 2))
            zero, low, high = int(rng.integers(-50, 50)), -100, int(rng.integers(50, 128))
            x, y = ((1, 1), (3, 2), (8, 1), (2, 4), (1, 8))[run]
            step_x, step_y = int(rng.integers(-8, 9)), int(rng.integers(20, 25))
            await bench.give(ctx, "POST_SET", mode=mode, zero_point=zero, low=low, high=high, table=use_table)
            await bench.give(ctx, "POST_LOOP", count_x=x, step_x=step_x, count_y=y, step_y=step_y)
            base = 60
            for pixel in range(x * y):
                at = base + (pixel // x) * (step_y + (x - 1) * step_x) + pixel % x * step_x
                for lane in range(lanes):
                    psum = bench.psums[(run % 2) * len(bench.psums) // 2 + pixel * lanes + lane]
                    channel = slot * lanes + lane
                    scale = (0, 0, 0) if mode == PostMode.BYPASS else (bias[channel], multiplier[channel], shift[channel])
                    want[at, lane] = postprocess(psum, *scale, mode, zero, low, high, table if use_table else None)
            ctx.set(bench.dut.psum_filled, 1)
            await bench.tick(ctx)
            ctx.set(bench.dut.psum_filled, 0)
            await bench.give(ctx, "POST_RUN", source=PostSource.DRAIN, buffer=base, slot=slot, rows=1)
            assert bench.freed == run + 1
            np.testing.assert_array_equal(bench.memory, want, f"run {run}, seed {seed}")
            bench.memory[:], want[:] = 0, 0
        await bench.give(ctx, "POST_PE", valid=1)
        await bench.give(ctx, "MARK", layer=3)
        assert ctx.get(bench.dut.layer) == 3
        assert not ctx.get(bench.dut.error.valid)

    if mode == PostMode.BYPASS:  # bytes and a little more
        bench.psums >>= 8
    bench.run(process)


@pytest.mark.parametrize("setting, run", [
    ({"mode": PostMode.ONNX}, {"source": PostSource.DRAIN}),
    *(({"mode": PostMode.TFLITE}, {"source": source}) for source in PostSource if source != PostSource.DRAIN),
])  # fmt: skip
def test_what_is_not_there(setting, run):
    bench = PostBench(0)

    async def process(ctx):
        await bench.give(ctx, "POST_SET", **setting)
        await bench.give(ctx, "POST_RUN", rows=1, **run)
        assert ctx.get(bench.dut.error.code) == Error.FIELD

    bench.run(process)
