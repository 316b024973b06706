"""Fifo against a Python queue, with stalls at both ends."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from rowcast.fifo import Fifo


def run(depth, offers, takes, cycles=600):
    """Items through a Fifo; the cycles in which one went in and came out."""
    rng, dut, inside = random.Random(depth), Fifo(16, depth=depth), deque()
    went_in, came_out = [], []

    async def testbench(ctx):
        number = 0
        for cycle in range(cycles):
            ctx.set(dut.i.payload, number)
            ctx.set(dut.i.valid, rng.random() < offers)
            ctx.set(dut.o.ready, rng.random() < takes)
            _, _, valid, ready, o_valid, o_ready, payload = await ctx.tick().sample(
                dut.i.valid, dut.i.ready, dut.o.valid, dut.o.ready, dut.o.payload
            )
            assert ready == (len(inside) < depth) and o_valid == (len(inside) > 0)
            if o_valid and o_ready:
                assert payload == inside.popleft()
                came_out.append(cycle)
            if valid and ready:
                inside.append(number)
                went_in.append(cycle)
                number += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return went_in, came_out


@pytest.mark.parametrize("depth", [2, 4, 16])
@pytest.mark.parametrize("offers, takes", [(0.5, 0.5), (0.9, 0.3), (0.3, 0.9)])
def test_random_stalls(depth, offers, takes):
    went_in, came_out = run(depth, offers, takes)
    assert len(came_out) > 100 and len(went_in) - len(came_out) <= depth


@pytest.mark.parametrize("depth", [2, 16])
def test_one_a_cycle(depth):
    went_in, came_out = run(depth, 1, 1)
    assert went_in == list(range(600)) and came_out == list(range(1, 600))


@pytest.mark.parametrize("depth", [0, 1, 3, 12])
def test_depth(depth):
    with pytest.raises(ValueError, match="depth must be a power of two from 2 upwards, not "):
        Fifo(8, depth=depth)
