"""Counters against sums, CauseEncoder against its rules."""

import random

import pytest
from amaranth.sim import Simulator

from rowcast import Config, isa
from rowcast.counters import EVENTS, CauseEncoder, Counters, event_width
from rowcast.isa import Unit
from rowcast.registers import CAUSES, COUNTERS


def simulate(dut, script):
    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(script)
    sim.run()


async def read(ctx, dut, name):
    """The counter's value and the latency."""
    ctx.set(dut.select, COUNTERS.index(name))
    ctx.set(dut.read, 1)
    await ctx.tick()
    ctx.set(dut.read, 0)
    for latency in range(1, 100):
        _, _, done, value = await ctx.tick().sample(dut.done, dut.value)
        if done:
            return value, latency
    raise TimeoutError


async def drive(ctx, dut, rng, density, cycles, model):
    """Random events, with pauses of `run`; the model counts in Python."""
    for _ in range(cycles):
        run, cause = rng.random() < 0.9, rng.randrange(len(CAUSES))
        ctx.set(dut.run, run)
        ctx.set(dut.cause, cause)
        for name in EVENTS:
            top = (1 << event_width(dut.config, name)) - 1
            value = top if density == 1 else rng.randint(0, top) if rng.random() < density else 0
            ctx.set(getattr(dut, name), value)
            model[name] += value * run
        model["cycles"] += run
        model[f"cause_{CAUSES[cause]}"] += run
        await ctx.tick()
    ctx.set(dut.run, 0)


@pytest.mark.parametrize("config", [Config(), Config(counter_width=64, columns=32, lanes=4)], ids=["base", "wide"])
@pytest.mark.parametrize("density", [0.1, 0.5, 1])
def test_exact(config, density):
    """After a run every counter is exact, at once; a clear makes all 0; the next run counts from there."""
    rng = random.Random(f"{config.columns} {density}")
    dut = Counters(config)

    async def script(ctx):
        for length in (rng.randrange(100, 200), 1, 33):
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            model = dict.fromkeys(COUNTERS, 0)
            await drive(ctx, dut, rng, density, length, model)
            for name in rng.sample(COUNTERS, len(COUNTERS)):
                value, latency = await read(ctx, dut, name)
                assert value == model[name], name
                assert 4 <= latency <= len(COUNTERS) + 3
            assert sum(model[f"cause_{cause}"] for cause in CAUSES) == model["cycles"]

    simulate(dut, script)


def test_clear_at_any_turn():
    """The clear comes at each phase of the round, in the middle of a run."""
    rng = random.Random(3)
    dut = Counters(Config())

    async def script(ctx):
        for phase in range(len(COUNTERS) + 3):
            await drive(ctx, dut, rng, 1, 40 + phase, dict.fromkeys(COUNTERS, 0))
            ctx.set(dut.run, 1)
            ctx.set(dut.clear, 1)  # this cycle does not count
            await ctx.tick()
            ctx.set(dut.clear, 0)
            model = dict.fromkeys(COUNTERS, 0)
            await drive(ctx, dut, rng, 0.7, 5, model)
            for name in ("cycles", COUNTERS[rng.randrange(len(COUNTERS))], COUNTERS[-1]):
                value, _ = await read(ctx, dut, name)
                assert value == model[name], (phase, name)

    simulate(dut, script)


def test_carry():
    """Beyond 32 bits, and around: the memory is set by hand."""
    dut = Counters(Config(counter_width=33))

    async def script(ctx):
        memory = dut.ram.memory.data
        await ctx.tick().repeat(2 * len(COUNTERS))
        ctx.set(memory[COUNTERS.index("cycles")], (1 << 32) - 3)
        ctx.set(memory[COUNTERS.index("psums")], (1 << 33) - 2)
        ctx.set(dut.run, 1)
        ctx.set(dut.psums, 1)
        await ctx.tick().repeat(7)
        ctx.set(dut.run, 0)
        assert (await read(ctx, dut, "cycles"))[0] == (1 << 32) + 4
        assert (await read(ctx, dut, "psums"))[0] == 5

    simulate(dut, script)


def expected_cause(s):
    """The rules, in Python."""

    def lacks(unit, token):
        return s[f"{unit}_missing"] >> token & 1

    if s["computing"]:
        return "computing"
    if s["wait_filter"]:
        return "load" if lacks("filter", Unit.LOAD) else "filters"
    if s["wait_ifmap"]:
        if lacks("ifmap", Unit.LOAD):
            return "load"
        if lacks("ifmap", Unit.POST):
            return "vector" if s["vector"] else "drain"
        return "ifmap"
    if s["wait_psum"]:
        return "store" if lacks("post", Unit.STORE) else "load" if lacks("post", Unit.LOAD) else "drain"
    for flag, cause in (("vector", "vector"), ("post_busy", "drain"), ("load_busy", "load"), ("store_busy", "store")):
        if s[flag]:
            return cause
    return "instruction"


def test_causes():
    rng = random.Random(5)
    dut = CauseEncoder()
    flags = ("vector", "post_busy", "load_busy", "store_busy")
    seen = set()

    async def script(ctx):
        for _ in range(1500):
            state = {name: rng.getrandbits(1) for name in flags}
            state |= {f"{u}_missing": rng.getrandbits(isa.TOKEN_UNITS) for u in ("filter", "ifmap", "post")}
            report = rng.choice(["computing", "wait_filter", "wait_ifmap", "wait_psum", None])
            state |= {name: int(name == report) for name in ("computing", "wait_filter", "wait_ifmap", "wait_psum")}
            for name, value in state.items():
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            assert CAUSES[ctx.get(dut.cause)] == expected_cause(state), state
            seen.add((report, expected_cause(state)))

    simulate(dut, script)
    assert len(seen) == 1 + 2 + 4 + 3 + 5
