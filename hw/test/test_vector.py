"""Reduction of windows against numpy."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from rowcast import Config
from rowcast.isa import PostSource
from rowcast.vector import VectorFront


def windows(rng, source, lanes, count):
    """A list of windows: bytes int8 [turns, lanes of all words], padding bool [turns]."""
    made = []
    for _ in range(count):
        words = 2 if source in (PostSource.ADD, PostSource.MUL) else int(rng.choice([1, 2, 3, 9]))
        data = rng.integers(-128, 128, (words, lanes))
        pad = rng.integers(0, 3, words) == 0 if words != 2 else np.zeros(words, bool)
        made.append((data, pad if rng.integers(8) else np.ones(words, bool) if words != 2 else pad))
    return made


def expected(source, data, pad):
    kept = data[~pad]
    if source == PostSource.MAX:
        return kept.max(axis=0, initial=-128).tolist(), len(kept)
    if source == PostSource.SUM:
        return kept.sum(axis=0).tolist(), len(kept)
    return ((data[0] & 255) | (data[1] & 255) << 8).tolist(), 2


def pack(values):
    return sum((int(value) & 255) << 8 * i for i, value in enumerate(values))


def run(config, source, wins, idle, stall, seed):
    dut = VectorFront(config)
    rng = np.random.default_rng(seed)
    words = []
    for data, pad in wins:
        words += [(pack(d), int(p), int(i == len(data) - 1)) for i, (d, p) in enumerate(zip(data, pad))]
    results, cycles = [], 0

    async def feed(ctx):
        ctx.set(dut.source, source)
        await ctx.tick()
        for data, pad, last in words:
            while rng.random() < idle:
                await ctx.tick()
            ctx.set(dut.i.payload, {"data": data, "pad": pad, "last": last})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def collect(ctx):
        nonlocal cycles
        while len(results) < len(wins):
            ctx.set(dut.o.ready, int(rng.random() >= stall))
            _, _, valid, ready, payload = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            cycles += 1
            if valid and ready:
                results.append(([value for word in payload["words"] for value in word], payload["count"]))
            assert cycles < 100 * len(words) + 100, "no progress"

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed, background=True)
    simulator.add_testbench(collect)
    simulator.run()
    return results, cycles, len(words)


@pytest.mark.parametrize("lanes, noc_words", [(4, 1), (8, 1), (8, 2), (4, 4)])
@pytest.mark.parametrize("source", [PostSource.MAX, PostSource.SUM, PostSource.ADD])
@pytest.mark.parametrize("idle, stall", [(0, 0), (0.4, 0.5)])
def test_reduction(source, lanes, noc_words, idle, stall):
    config = Config(lanes=lanes, noc_words=noc_words)
    seed = [int(source), lanes, noc_words, int(idle * 10)]
    wins = windows(np.random.default_rng(seed), source, lanes * noc_words, 40)
    results, cycles, words = run(config, source, wins, idle, stall, seed)
    for i, (got, (data, pad)) in enumerate(zip(results, wins)):
        if source == PostSource.ADD:  # the upper bits mean nothing
            got = [value & 0xFFFF for value in got[0]], got[1]
        assert got == expected(source, data, pad), f"window {i} of seed {seed}"
    if not idle:
        assert cycles == 1 + words + 2  # `source`; a turn a cycle; result two cycles after its last turn


def test_longest_sum():
    dut = VectorFront(Config(lanes=4))
    words = 1 << 14

    async def testbench(ctx):
        ctx.set(dut.source, PostSource.SUM)
        await ctx.tick()
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, {"data": 0x80808080, "pad": 0, "last": 0})
        await ctx.tick().repeat(words - 1)
        ctx.set(dut.i.payload.last, 1)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().until(dut.o.valid)
        assert [ctx.get(value) for value in (dut.o.payload["words"][0][i] for i in range(4))] == [-128 * words] * 4
        assert ctx.get(dut.o.payload.count) == words

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
