"""Loop nests against counting in Python, with and without registers ahead."""

import random

import pytest
from amaranth.sim import Simulator

from rowcast.loops import LoopNest


def turns(counts):
    """What each turn of a nest shows: at_last, inner_last, advance as bits; last."""
    place = [0] * len(counts)
    while True:
        at_last = [index == count - 1 for index, count in zip(place, counts)]
        inner = [all(at_last[:i]) for i in range(len(counts))]
        advance = [a and not b for a, b in zip(inner, at_last)]
        yield (*(sum(bit << i for i, bit in enumerate(bits)) for bits in (at_last, inner, advance)), all(at_last))
        if all(at_last):
            return
        level = advance.index(True)
        place = [0] * level + [place[level] + 1] + place[level + 1 :]


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("levels", [1, 3, 5])
def test_turns(levels, ahead):
    rng = random.Random(levels)
    dut = LoopNest([4] * levels, ahead=ahead)
    checked = 0

    async def load(ctx, counts):
        for port, count in zip(dut.counts, counts):
            ctx.set(port, count)
        if ahead:
            ctx.set(dut.singles, sum((count == 1) << i for i, count in enumerate(counts)))
            ctx.set(dut.fresh, 1)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)

    async def bench(ctx):
        nonlocal checked
        for _ in range(25):
            counts = [rng.choice([1, 1, 2, 3, 4]) for _ in range(levels)]
            await load(ctx, counts)
            for again in range(2):  # the second time by the restart after the last turn
                broken = rng.randrange(20) if rng.random() < 0.3 and again else None
                for turn, expected in enumerate(turns(counts)):
                    if turn == broken:
                        break
                    while rng.random() < 0.3:
                        if ahead:
                            ctx.set(dut.fresh, rng.random() < 0.5)
                        await ctx.tick()
                    if ahead:
                        ctx.set(dut.fresh, 0)
                    found = tuple(ctx.get(s) for s in (dut.at_last, dut.inner_last, dut.advance, dut.last))
                    assert found == expected, f"turn {turn} of {counts}"
                    ctx.set(dut.step, 1)
                    await ctx.tick()
                    ctx.set(dut.step, 0)
                    checked += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert checked > 100
