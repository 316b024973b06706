"""The multicast network: who gets which flit, when, and what does not toggle."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rowcast.config import Config
from rowcast.network import ColumnTap, MulticastNetwork

GRIDS = [(1, 1, 1), (3, 2, 1), (2, 5, 2), (4, 4, 1)]  # rows, columns, words of a flit


class Bench(wiring.Component):
    """A network with a tap for every PE."""

    def __init__(self, config, spad_words):
        self.network = MulticastNetwork(config, spad_words)
        self.taps = [[ColumnTap(config, spad_words) for _ in range(config.columns)] for _ in range(config.rows)]
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.network = self.network
        for row, taps in enumerate(self.taps):
            for column, tap in enumerate(taps):
                m.submodules[f"tap{row}_{column}"] = tap
                m.d.comb += [
                    tap.column.eq(column),
                    tap.i_valid.eq(self.network.o_valid[row]),
                    tap.i_flit.eq(self.network.o_flit[row]),
                ]
        return m


def multicast(flits, rows, columns, tag_width):
    """Twin: for each flit (None for none) the set of PEs that get it."""
    row_ids, ids = [0] * rows, [[0] * columns for _ in range(rows)]
    mask, receivers = (1 << tag_width) - 1, []
    for flit in flits:
        got = set()
        if flit and flit["config"]:
            row, column = flit["row_tag"], flit["column_tag"]
            row_ids[row] = flit["data"] & mask
            ids[row][column] = flit["data"] >> tag_width & mask
        elif flit:
            got = {
                (row, column)
                for row in range(rows)
                for column in range(columns)
                if row_ids[row] == flit["row_tag"] and ids[row][column] == flit["column_tag"]
            }
        receivers.append(got)
    return receivers


def random_flits(rng, config, spad_words, count, idle):
    flits = []
    for _ in range(count):
        if rng.random() < idle:
            flits.append(None)
            continue
        is_config = rng.random() < 0.3
        flits.append(
            {
                "config": int(is_config),
                "row_tag": rng.randrange(config.rows if is_config else 2),
                "column_tag": rng.randrange(config.columns if is_config else 2),
                "entry": rng.randrange(spad_words // config.noc_words),
                "data": rng.randrange(2) | rng.randrange(2) << config.tag_width
                if is_config
                else rng.getrandbits(config.word_bits * config.noc_words),
            }
        )
    return flits


@pytest.mark.parametrize("idle", [0.0, 0.5])
@pytest.mark.parametrize("rows, columns, noc_words", GRIDS)
def test_multicast(rows, columns, noc_words, idle):
    config = Config(rows=rows, columns=columns, noc_words=noc_words)
    spad_words, seed = 64, 100 * rows + 10 * columns + noc_words
    flits = random_flits(random.Random(seed), config, spad_words, 200, idle)
    expected = multicast(flits, rows, columns, config.tag_width)
    dut = Bench(config, spad_words)
    latency = MulticastNetwork.LATENCY + ColumnTap.LATENCY
    seen = []

    async def bench(ctx):
        before = None
        for cycle in range(len(flits) + latency):
            flit = flits[cycle] if cycle < len(flits) else None
            ctx.set(dut.network.i_valid, int(flit is not None))
            if flit is not None:
                for field, value in flit.items():
                    ctx.set(getattr(dut.network.i_flit, field), value)
            got = {
                (row, column): (ctx.get(tap.o_entry), ctx.get(tap.o_data))
                for row, taps in enumerate(dut.taps)
                for column, tap in enumerate(taps)
                if ctx.get(tap.o_valid)
            }
            seen.append(got)
            now = [ctx.get(flit.as_value()) for flit in dut.network.o_flit]
            valid = [ctx.get(valid) for valid in dut.network.o_valid]
            if before is not None:
                for row in range(rows):
                    assert valid[row] or now[row] == before[row], f"row {row} toggled in cycle {cycle}, seed {seed}"
            before = now
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    for cycle, (flit, receivers) in enumerate(zip(flits, expected, strict=True)):
        want = {pe: (flit["entry"], flit["data"]) for pe in receivers}
        assert seen[cycle + latency] == want, f"flit {cycle}, seed {seed}"
