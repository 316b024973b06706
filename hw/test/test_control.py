"""ControlUnit: each way through its states."""

import random

import pytest
from amaranth.sim import Simulator

from rowcast.control import CLEAR_CYCLES, QUIET_CYCLES, ControlUnit
from rowcast.registers import Error


def simulate(script, sources=4):
    """Run `script(ctx, dut)`; returns the number of cycles in which each strobe was up."""
    dut, seen = ControlUnit(sources=sources), dict.fromkeys(("begin", "done_event", "error_event", "clear"), 0)

    async def monitor(ctx):
        while True:
            _, _, *values = await ctx.tick().sample(*(getattr(dut, name) for name in seen))
            for name, value in zip(seen, values):
                seen[name] += value

    async def main(ctx):
        ctx.set(dut.quiet, 1)
        ctx.set(dut.axi_idle, 1)
        await ctx.tick()
        await script(ctx, dut)
        await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(monitor, background=True)
    sim.add_testbench(main)
    sim.run()
    return seen


async def strobe(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


def state(ctx, dut):
    return "".join(name[0] for name in ("busy", "done", "error", "stop", "run", "clear") if ctx.get(getattr(dut, name)))


async def fail(ctx, dut, *reports):
    for source, code, index in reports:
        ctx.set(dut.errors[source].valid, 1)
        ctx.set(dut.errors[source].code, code)
        ctx.set(dut.errors[source].index, index)


def test_run():
    async def script(ctx, dut):
        assert state(ctx, dut) == ""
        for _ in range(2):
            await strobe(ctx, dut.start)
            assert state(ctx, dut) == "b" and ctx.get(dut.begin)
            await ctx.tick()
            assert state(ctx, dut) == "br" and not ctx.get(dut.begin)
            ctx.set(dut.quiet, 0)
            await ctx.tick().repeat(20)
            await strobe(ctx, dut.start)  # ignored
            ctx.set(dut.ended, 1)
            await ctx.tick().repeat(20)
            ctx.set(dut.quiet, 1)  # for too short a time
            await ctx.tick().repeat(QUIET_CYCLES - 1)
            ctx.set(dut.quiet, 0)
            await ctx.tick()
            assert state(ctx, dut) == "br"
            ctx.set(dut.quiet, 1)
            await ctx.tick().repeat(QUIET_CYCLES)
            assert state(ctx, dut) == "d"
            ctx.set(dut.ended, 0)
            await ctx.tick().repeat(5)
            assert state(ctx, dut) == "d" and ctx.get(dut.error_code) == 0

    assert simulate(script) == {"begin": 2, "done_event": 2, "error_event": 0, "clear": 0}


@pytest.mark.parametrize("sources", [1, 4, 8, 9])
def test_error(sources):
    """The first error counts, of several at once the lowest source; the engine is held until a soft reset."""
    rng = random.Random(sources)

    async def script(ctx, dut):
        for turn in range(4):
            await strobe(ctx, dut.start)
            ctx.set(dut.quiet, 0)
            ctx.set(dut.axi_idle, 0)
            await ctx.tick().repeat(rng.randrange(1, 30))
            at_once = sorted(rng.sample(range(sources), rng.randrange(1, sources + 1)))
            reports = [(source, rng.randrange(1, 10), rng.getrandbits(24)) for source in at_once]
            await fail(ctx, dut, *reports)
            await ctx.tick().repeat(2)
            assert state(ctx, dut) == "bsr"
            later = [(source, 15, 0) for source in range(sources) if source not in at_once]
            await fail(ctx, dut, *later)
            await ctx.tick().repeat(20)
            assert state(ctx, dut) == "bsr"
            ctx.set(dut.axi_idle, 1)
            await ctx.tick().repeat(QUIET_CYCLES)
            assert state(ctx, dut) == "es"
            await strobe(ctx, dut.start)  # ignored
            await ctx.tick().repeat(10)
            assert state(ctx, dut) == "es"
            assert (ctx.get(dut.error_code), ctx.get(dut.error_index)) == reports[0][1:]
            await strobe(ctx, dut.soft_reset)
            await ctx.tick().repeat(QUIET_CYCLES)
            assert state(ctx, dut) == "bsc"
            for report in dut.errors:
                ctx.set(report.valid, 0)
            await ctx.tick().repeat(CLEAR_CYCLES)
            assert state(ctx, dut) == "" and ctx.get(dut.error_code) == 0 and ctx.get(dut.error_index) == 0

    expected = {"begin": 4, "done_event": 0, "error_event": 4, "clear": 4 * CLEAR_CYCLES}
    assert simulate(script, sources) == expected


def test_error_beats_end():
    """An error while the engine falls quiet is not lost, even in the last cycle."""

    for cycle in range(QUIET_CYCLES):

        async def script(ctx, dut, cycle=cycle):
            await strobe(ctx, dut.start)
            ctx.set(dut.ended, 1)
            for _ in range(cycle):
                await ctx.tick()
            await fail(ctx, dut, (2, Error.WRITE_RESPONSE, 7))
            await ctx.tick().repeat(2 * QUIET_CYCLES + 4)
            assert state(ctx, dut) == "es"
            assert (ctx.get(dut.error_code), ctx.get(dut.error_index)) == (Error.WRITE_RESPONSE, 7)

        assert simulate(script) == {"begin": 1, "done_event": 0, "error_event": 1, "clear": 0}


@pytest.mark.parametrize("when", ["idle", "run", "stop", "reset"])
def test_soft_reset(when):
    """From every state: nothing is cleared before AXI is idle."""

    async def script(ctx, dut):
        if when != "idle":
            await strobe(ctx, dut.start)
        if when == "stop":
            await fail(ctx, dut, (0, 1, 1))
            await ctx.tick().repeat(3)
        ctx.set(dut.axi_idle, 0)
        ctx.set(dut.quiet, 0)
        await strobe(ctx, dut.soft_reset)
        await ctx.tick().repeat(20)
        if when == "reset":
            await strobe(ctx, dut.soft_reset)
        await strobe(ctx, dut.start)  # ignored
        await ctx.tick().repeat(20)
        assert state(ctx, dut) == "bs"
        ctx.set(dut.axi_idle, 1)
        await ctx.tick().repeat(QUIET_CYCLES)
        assert state(ctx, dut) == "bsc"
        ctx.set(dut.errors[0].valid, 0)
        ctx.set(dut.quiet, 1)
        await ctx.tick().repeat(CLEAR_CYCLES)
        assert state(ctx, dut) == ""
        await strobe(ctx, dut.start)
        await ctx.tick()
        assert state(ctx, dut) == "br"

    runs = 1 + (when != "idle")
    assert simulate(script) == {"begin": runs, "done_event": 0, "error_event": 0, "clear": CLEAR_CYCLES}


def test_start_with_soft_reset():
    async def script(ctx, dut):
        ctx.set(dut.start, 1)
        await strobe(ctx, dut.soft_reset)
        ctx.set(dut.start, 0)
        await ctx.tick().repeat(QUIET_CYCLES + CLEAR_CYCLES)
        assert state(ctx, dut) == ""

    assert simulate(script)["begin"] == 0


def test_sources():
    with pytest.raises(ValueError, match="^sources must be at least 1, not 0$"):
        ControlUnit(sources=0)
