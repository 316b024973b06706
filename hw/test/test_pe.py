"""The multiplier, and one PE strobe by strobe."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rowcast import schedule
from rowcast.config import Config
from rowcast.multiplier import Multiplier
from rowcast.pe import PE


def test_multiplier():
    rng = random.Random(1)
    edges = (-128, -127, -1, 0, 1, 127)
    pairs = [(a, b) for a in edges for b in edges]
    pairs += [(rng.randrange(-128, 128), rng.randrange(-128, 128)) for _ in range(200)]
    dut, seen = Multiplier(), []

    async def bench(ctx):
        for a, b in pairs + [(0, 0)] * Multiplier.LATENCY:
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            seen.append(ctx.get(dut.p))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    assert seen[Multiplier.LATENCY :] == [a * b for a, b in pairs]


class Bench(wiring.Component):
    """A PE behind a schedule and a row register."""

    def __init__(self, config):
        self.schedule, self.pe = schedule.Schedule(config), PE(config)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.schedule, m.submodules.pe = self.schedule, self.pe
        m.d.sync += [self.pe.strobes.eq(self.schedule.strobes), self.pe.strobes.drain.eq(self.schedule.drain[0])]
        return m


def drive(config, records, flits, psum_in=0):
    """Records at the schedule, (kind, entry, data) flits at the X buses; `psum_out` of every cycle."""
    dut, seen = Bench(config), []

    async def bench(ctx):
        ctx.set(dut.pe.psum_in, psum_in)
        for cycle in range(len(records)):
            ctx.set(dut.schedule.control, records[cycle])
            for kind in ("filter", "ifmap"):
                flit = flits.get((cycle, kind))
                ctx.set(getattr(dut.pe, f"{kind}_valid"), int(flit is not None))
                if flit is not None:
                    ctx.set(getattr(dut.pe, f"{kind}_flit"), dict(config=0, column_tag=0, entry=flit[0], data=flit[1]))
            seen.append(ctx.get(dut.pe.psum_out))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return seen


def pack(values):
    """Signed bytes as one number, lowest first."""
    return int.from_bytes(bytes(value & 0xFF for value in values), "little")


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_one_pixel_again_and_again(lanes):
    """Captures exactly `lanes` apart that all add to the same pixel: the read must see the write before."""
    sizes = dict(filter_words=64, ifmap_words=32, psum_pixels=4)
    config = Config(rows=1, columns=1, lanes=lanes, dram_bytes=max(8, lanes), **sizes)
    weights = [random.Random(lanes).randrange(-128, 128) for _ in range(lanes)]
    flits = {(0, "filter"): (5, pack(weights)), (0, "ifmap"): (3, pack(range(-2, lanes - 2)))}
    mac, turns = dict(mac=1, filter_word=5, ifmap_byte=3 * lanes + 1), 6
    records = [{} for _ in range(10)] + [dict(capture=1, discard=1)] + [{}] * (lanes - 1)
    for turn in range(turns):
        records += [mac] * (lanes - 1) + [dict(mac, capture=1, first=int(turn == 0), pixel=2)]
    records += [{}] * (lanes - 1)
    drained = len(records)
    records += [dict(drain=1, drain_psum=2 * lanes + lane) for lane in range(lanes)] + [{}] * 20
    seen = drive(config, records, flits)
    first = drained + schedule.REGISTERS + schedule.DRAIN_OUT
    # The last lane's sum is written just before its drain would read it `lanes` cycles later.
    assert seen[first : first + lanes] == [-1 * weight * lanes * turns for weight in weights]
    assert not any(seen[:first]) and not any(seen[first + lanes :])


@pytest.mark.parametrize("lanes", [4, 8])
def test_depthwise_and_broadcast(lanes):
    """The same operands in both modes, mode changing from cycle to cycle; other psums pass through the chain."""
    config = Config(rows=1, columns=1, lanes=lanes, filter_words=64, ifmap_words=32, psum_pixels=4)
    rng = random.Random(lanes)
    weights, pixels = ([rng.randrange(-128, 128) for _ in range(lanes)] for _ in range(2))
    flits = {(0, "filter"): (0, pack(weights)), (0, "ifmap"): (0, pack(pixels))}
    records, expected = [{} for _ in range(10)] + [dict(capture=1, discard=1)] + [{}] * lanes, [0] * lanes
    for _ in range(20):
        depthwise, byte = rng.randrange(2), rng.randrange(lanes)
        records.append(dict(mac=rng.randrange(2), filter_word=0, ifmap_byte=byte, depthwise=depthwise))
        if records[-1]["mac"]:
            used = pixels if depthwise else [pixels[byte]] * lanes
            expected = [e + w * p for e, w, p in zip(expected, weights, used, strict=True)]
    records += [dict(capture=1, first=1, pixel=1)] + [{}] * (2 * lanes)
    drained = len(records)
    records += [dict(drain=1, drain_psum=lanes + lane) for lane in range(lanes)] + [{}] * 20
    seen = drive(config, records, flits)
    first = drained + schedule.REGISTERS + schedule.DRAIN_OUT
    assert seen[first : first + lanes] == expected
    assert drive(config, [{}] * 5, {}, psum_in=-7)[1:] == [-7] * 4
