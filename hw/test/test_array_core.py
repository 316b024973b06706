"""The array against its twin: random flits, records and drains at the full rate, and the documented latencies."""

import random

import numpy as np
import pytest
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from rowcast.array_core import PEArray
from rowcast.config import Config

SMALL = dict(filter_words=64, ifmap_words=32, psum_pixels=8)
CONFIGS = {
    "1x1x4": Config(rows=1, columns=1, lanes=4, **SMALL),
    "2x3x4": Config(rows=2, columns=3, lanes=4, **SMALL),
    "3x1x8, 2 words": Config(rows=3, columns=1, lanes=8, noc_words=2, **SMALL),
    "1x2x16, 4 words": Config(rows=1, columns=2, lanes=16, noc_words=4, dram_bytes=16, **SMALL),
}


class ArrayTwin:
    """The array without its pipeline: int8 scratchpads, exact accumulators, int32 psums, all [row, column, ...]."""

    def __init__(self, config):
        self.config, place = config, (config.rows, config.columns)
        self.filters = np.zeros((*place, config.filter_words, config.lanes), np.int64)
        self.ifmaps = np.zeros((*place, config.ifmap_words * config.lanes), np.int64)
        self.psums = np.zeros((*place, config.psum_pixels * config.lanes), np.int64)
        self.accumulators = np.zeros((*place, config.lanes), np.int64)
        self.ids = {"filter": np.zeros((*place, 2), int), "ifmap": np.zeros((*place, 2), int)}

    def flit(self, kind, flit):
        config, ids = self.config, self.ids[kind]
        row, column = flit["row_tag"], flit["column_tag"]
        if flit["config"]:
            ids[row, :, 0] = flit["data"] & ((1 << config.tag_width) - 1)
            ids[row, column, 1] = flit["data"] >> config.tag_width
            return
        hit = (ids[..., 0] == row) & (ids[..., 1] == column)
        size = config.noc_words * config.lanes
        values = np.frombuffer(flit["data"].to_bytes(size, "little"), np.int8)
        if kind == "filter":
            first = flit["entry"] * config.noc_words
            self.filters[hit, first : first + config.noc_words] = values.reshape(config.noc_words, config.lanes)
        else:
            self.ifmaps[hit, flit["entry"] * size : (flit["entry"] + 1) * size] = values

    def record(self, record):
        lanes = self.config.lanes
        if record.get("mac"):
            byte = record["ifmap_byte"]
            first = byte // lanes * lanes
            pixel = self.ifmaps[..., first : first + lanes] if record["depthwise"] else self.ifmaps[..., byte, None]
            self.accumulators += self.filters[..., record["filter_word"], :] * pixel
        if record.get("capture"):
            place = slice(record["pixel"] * lanes, (record["pixel"] + 1) * lanes)
            if record["first"]:
                self.psums[..., place] = self.accumulators
            elif not record["discard"]:
                self.psums[..., place] += self.accumulators
            self.accumulators[:] = 0


def run(dut, records, flits):
    """Drive a record and two flits a cycle.  Returns (cycle, psums of all columns) for every `o_valid`."""
    seen = []

    async def bench(ctx):
        for cycle in range(len(records) + dut.psum_latency + dut.drain_latency(0)):
            record = records[cycle] if cycle < len(records) else {}
            ctx.set(dut.control, {name: int(value) for name, value in record.items()})
            for kind in ("filter", "ifmap"):
                flit = flits[cycle].get(kind) if cycle < len(flits) else None
                ctx.set(getattr(dut, f"{kind}_valid"), int(flit is not None))
                if flit is not None:
                    ctx.set(getattr(dut, f"{kind}_flit"), flit)
            if ctx.get(dut.o_valid):
                seen.append((cycle, [ctx.get(psum) for psum in dut.o_psum]))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return seen


def random_data(rng, config):
    """A flit's data; extreme values are common, so that the widths are tested."""
    size = config.noc_words * config.lanes
    if rng.random() < 0.3:
        return int.from_bytes(bytes([rng.choice((0x80, 0x7F))] * size), "little")
    return rng.getrandbits(8 * size)


def fill(rng, config):
    """Flits that give every PE an ID of its own or a shared one, then fill all scratchpads."""
    flits = []
    ids = {kind: [(r, c) for r in range(config.rows) for c in range(config.columns)] for kind in ("filter", "ifmap")}
    for row in range(config.rows):
        for column in range(config.columns):
            both = {}
            for kind in ids:
                row_id, own = (row if kind == "filter" else row // 2), rng.randrange(2)
                ids[kind][row * config.columns + column] = (row_id, own)
                both[kind] = dict(
                    config=1, row_tag=row, column_tag=column, entry=0, data=row_id | own << config.tag_width
                )
            flits.append(both)
    words = {"filter": config.filter_words, "ifmap": config.ifmap_words}
    streams = {
        kind: [
            dict(config=0, row_tag=tag[0], column_tag=tag[1], entry=entry, data=random_data(rng, config))
            for tag in sorted(set(ids[kind]))
            for entry in range(words[kind] // config.noc_words)
        ]
        for kind in ids
    }
    for i in range(max(map(len, streams.values()))):
        flits.append({kind: stream[i] for kind, stream in streams.items() if i < len(stream)})
    return flits


@pytest.mark.parametrize("idle", [0.0, 0.3])
@pytest.mark.parametrize("name", CONFIGS)
def test_random_records(name, idle):
    """MACs of any addresses, captures as dense as allowed, drains in the allowed cycles between them."""
    config = CONFIGS[name]
    seed = f"{name} {idle}"
    rng = random.Random(seed)
    lanes, dut, twin = config.lanes, PEArray(config), ArrayTwin(config)
    flits = fill(rng, config)
    for both in flits:
        for kind, flit in both.items():
            twin.flit(kind, flit)
    start = len(flits) + PEArray.FLIT_TO_MAC - 1
    records, expected = [{} for _ in range(start)], {}

    pixels = list(range(config.psum_pixels))
    setup = [dict(discard=1, first=0), *(dict(discard=0, first=1, pixel=pixel) for pixel in pixels)]
    last_capture, blocked_until, written, order = -lanes, 0, {}, (0, config.rows - 1)
    for cycle in range(start, start + 500):
        record = {}
        if rng.random() >= idle:
            record = dict(
                mac=1,
                filter_word=rng.randrange(config.filter_words),
                ifmap_byte=rng.randrange(config.ifmap_words * lanes),
                depthwise=rng.random() < 0.3,
            )
        gap = cycle - last_capture
        if gap >= lanes and (rng.random() < 0.7 or gap > config.filter_words // 2 - 2):
            last_capture = cycle
            how = setup.pop(0) if setup else dict(discard=rng.random() < 0.1, first=rng.random() < 0.2)
            pixel = rng.choice(pixels) if rng.random() < 0.5 else records[-lanes].get("pixel", 0)
            record.update({"capture": 1, "pixel": pixel, **how})
            if record["discard"]:
                record["first"] = 0
            elif not record["first"]:
                blocked_until = cycle + lanes
            if not record["discard"]:
                written[record["pixel"]] = cycle
        twin.record(record)
        settled = [p for p, when in written.items() if cycle >= when + dut.capture_to_drain]
        if cycle >= blocked_until and settled and rng.random() < 0.8:
            row = rng.randrange(config.rows)
            if row <= order[1] or cycle - order[0] > row - order[1]:
                order = (cycle, row)
                psum = rng.choice(settled) * lanes + rng.randrange(lanes)
                record.update(drain=1, drain_row=row, drain_psum=psum)
                expected[cycle + dut.drain_latency(row)] = twin.psums[row, :, psum].tolist()
        records.append(record)
    assert len(expected) > 20
    seen = run(dut, records, flits)
    for got, want in zip(seen, sorted(expected.items()), strict=True):
        assert got == want, f"seed {seed!r}"


@pytest.mark.parametrize("name", CONFIGS)
def test_latencies(name):
    """The first MAC that sees a flit, the last that is not hit by the next flit, the first drain of the last lane."""
    config = CONFIGS[name]
    dut, lanes = PEArray(config), config.lanes

    def flit(value):
        data = int.from_bytes(bytes([value] * (config.noc_words * lanes)), "little")
        return dict(config=0, row_tag=0, column_tag=0, entry=0, data=data)

    mac = dict(mac=1, filter_word=0, ifmap_byte=0)
    when = PEArray.FLIT_TO_MAC + 1
    flits = [{} for _ in range(60)]
    flits[1] = {"filter": flit(3), "ifmap": flit(5)}
    flits[when + PEArray.MAC_TO_FLIT] = {"filter": flit(7), "ifmap": flit(9)}
    records = [{} for _ in range(60)]
    records[when - 1] = dict(capture=1, discard=1)
    records[when] = mac
    records[when - 1 + lanes] = dict(capture=1, first=1, pixel=2)
    drained = when - 1 + lanes + dut.capture_to_drain
    for i, row in enumerate(reversed(range(config.rows))):
        records[drained + i] = dict(drain=1, drain_row=row, drain_psum=2 * lanes + lanes - 1)
    seen = run(dut, records, flits)
    assert seen == [
        (drained + i + dut.drain_latency(row), [15] * config.columns)
        for i, row in enumerate(reversed(range(config.rows)))
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_no_psum_comes_out_after_a_reset(name):
    """A reset of one cycle forgets the drains that are on their way."""
    dut, clear = PEArray(CONFIGS[name]), Signal()
    simulator = Simulator(ResetInserter(clear)(dut))
    simulator.add_clock(1e-8)

    async def bench(ctx):
        ctx.set(dut.control.drain, 1)
        await ctx.tick().repeat(40)
        assert ctx.get(dut.o_valid)
        ctx.set(dut.control.drain, 0)
        ctx.set(clear, 1)
        await ctx.tick()
        ctx.set(clear, 0)
        for cycle in range(60):
            assert not ctx.get(dut.o_valid), f"cycle {cycle} after the reset"
            await ctx.tick()

    simulator.add_testbench(bench)
    simulator.run()
