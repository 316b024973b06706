"""BurstSplitter against its twin, and the windows' borders."""

import random

import pytest
from amaranth.sim import Simulator
from rowcast.config import Config
from rowcast.dma_burst import BurstSplitter, split_bursts
from rowcast.registers import Error

CONFIGS = {
    "base": Config(),
    "longest": Config(lanes=16, dram_bytes=16, burst_beats=256),
    "shortest": Config(lanes=4, dram_bytes=4, burst_beats=4),
    "wide": Config(dram_bytes=64, act_banks=8, burst_beats=64, address_width=64),
    "narrow": Config(dram_bytes=32, burst_beats=16, address_width=20),
}


def splitter(config):
    return BurstSplitter(config, tag=8, window_error=Error.READ_WINDOW)


def run(dut, rows, *, base=0, window, stall=0.0, limit=9000):
    """[(cycle, address, beats, last, tag)] that the splitter makes of rows (beat, beats), and the tag of a fault."""
    rng, bursts, fault = random.Random(5), [], []

    async def feed(ctx):
        ctx.set(dut.data_base, base)
        ctx.set(dut.window_base, window[0])
        ctx.set(dut.window_limit, window[1])
        for tag, (beat, beats) in enumerate(rows):
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(dut.i.payload, {"beat": beat, "more": beats - 1, "tag": tag})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def take(ctx):
        stand = None
        for cycle in range(limit):
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, burst, bad, bad_tag = await ctx.tick().sample(
                dut.o.valid, dut.o.payload, dut.fault, dut.fault_tag
            )
            now = (burst.addr, burst.len + 1, burst.last, burst.tag) if valid else None
            assert stand is None or now == stand
            stand = None if ready else now
            if valid and ready:
                bursts.append((cycle, *now))
                if burst.last and burst.tag == len(rows) - 1:
                    return
            if bad:
                fault.append(bad_tag)
                return
        raise AssertionError("the splitter never finishes")

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(feed, background=True)
    sim.add_testbench(take)
    sim.run()
    return bursts, fault[0] if fault else None


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("name", CONFIGS)
def test_twin(name, stall):
    config, rng = CONFIGS[name], random.Random(2)
    base = 5 * config.dram_bytes
    top = (1 << 20) // config.dram_bytes - 1100
    rows = [(rng.randrange(top), rng.choice((1, 2, 3, 32, 33, 150, 300))) for _ in range(40)]
    bursts, fault = run(splitter(config), rows, base=base, window=(0, (1 << 20) - 1), stall=stall)
    expected = []
    for tag, (beat, beats) in enumerate(rows):
        pieces = split_bursts(config, address=base + beat * config.dram_bytes, beats=beats)
        expected += [(*piece, int(piece is pieces[-1]), tag) for piece in pieces]
    assert fault is None
    for i, (got, want) in enumerate(zip(bursts, expected)):
        assert got[1:] == want, f"burst {i}"
        first, last = got[1], got[1] + got[2] * config.dram_bytes - 1
        assert first // 4096 == last // 4096 and got[2] <= config.burst_beats
    assert len(bursts) == len(expected)
    if not stall:  # latency 3, a burst a cycle, a row in two cycles
        rows_before = [tag for *_, tag in bursts]
        assert [cycle for cycle, *_ in bursts] == [3 + i + tag for i, tag in enumerate(rows_before)]


@pytest.mark.parametrize("beat, beats, inside", [
    (16, 48, True), (15, 1, False), (16, 49, False), (63, 1, True), (64, 1, False), (0, 65536, False),
    ((1 << 29) - 1, 20, False), ((1 << 29) + 16, 8, False), ((1 << 32) + 16, 8, False), ((1 << 33) - 1, 40, False),
])  # fmt: skip
def test_window(beat, beats, inside):
    bursts, fault = run(splitter(CONFIGS["base"]), [(beat, beats)], window=(16 * 8, 64 * 8))
    assert (fault is None) == inside
    assert bool(bursts) == inside


@pytest.mark.parametrize("window, inside", [
    ((121, 512), False), ((120, 512), True), ((127, 512), False), ((128, 512), False), ((0, 127), False),
    ((0, 128), True), ((0, 135), True),
])  # fmt: skip
def test_window_in_mid_beat(window, inside):
    """A row of the one beat [120, 128)."""
    assert (run(splitter(CONFIGS["base"]), [(15, 1)], window=window)[1] is None) == inside


def test_nothing_follows_a_fault():
    dut = splitter(CONFIGS["base"])
    bursts, fault = run(dut, [(0, 4), (100, 4), (0, 4)], window=(0, 256))
    assert fault == 1 and [tag for *_, tag in bursts] == [0]
