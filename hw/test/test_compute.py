"""The sequencer alone against its twin, and whole passes of sequencer and array against numpy."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rowcast import isa, schedule
from rowcast.array_core import PEArray
from rowcast.compute import ComputeUnit
from rowcast.config import Config
from rowcast.registers import CAUSES, Error

SMALL = dict(filter_words=64, ifmap_words=64, psum_pixels=16)


def instruction(name, *, index=0, **fields):
    """The payload of the unit's stream."""
    value = int.from_bytes(isa.encode(isa.make(name, **fields)), "little")
    return dict(
        opcode=isa.FORMATS[name].opcode, signal=0, payload=value >> isa.PAYLOAD_START, index=index
    )


@dataclass
class Run:
    """One COMPUTE_RUN and its loops: counts and steps, innermost first (c, s, r, x, y)."""

    counts: tuple
    steps: tuple
    chunks: int = 1
    first: int = 1
    last: int = 1
    depthwise: int = 0

    def instructions(self, before=None):
        """Its instructions; loops that are those of `before` are left out."""
        made = []
        if before is None or (before.counts, before.steps) != (self.counts, self.steps):
            c, s, r, x, y = zip(self.counts, self.steps, strict=True)
            made.append(instruction("COMPUTE_LOOP_K", count_c=c[0], step_c=c[1], count_s=s[0], step_s=s[1],
                                    count_r=r[0], step_r=r[1]))  # fmt: skip
            made.append(instruction("COMPUTE_LOOP_P", count_x=x[0], step_x=x[1], count_y=y[0], step_y=y[1]))
        made.append(instruction("COMPUTE_RUN", chunks=self.chunks, first=self.first, last=self.last,
                                depthwise=self.depthwise))  # fmt: skip
        return made


def sequence(runs, config):
    """Twin: the MAC records of the runs, as dicts."""
    half_bytes, records, half, psum_half = config.ifmap_words * config.lanes // 2, [], 0, 0
    for run in runs:
        total = int(np.prod(run.counts))
        dot = int(np.prod(run.counts[:3]))
        for chunk in range(run.chunks):
            offset = 0
            for turn in range(total):
                capture = (turn + 1) % dot == 0
                records.append(
                    dict(
                        filter_word=half * config.filter_words // 2 + turn % dot,
                        ifmap_byte=half * half_bytes + offset % half_bytes,
                        depthwise=run.depthwise,
                        capture=int(capture),
                        **(dict(discard=0, first=int(run.first and chunk == 0),
                                pixel=psum_half * config.psum_pixels // 2 + turn // dot) if capture else {}),
                    )
                )  # fmt: skip
                left = turn + 1
                for count, step in zip(run.counts, run.steps, strict=True):
                    if left % count:
                        offset += step
                        break
                    left //= count
            half ^= 1
        psum_half ^= run.last
    return records


def random_runs(rng, config, count):
    """Runs that fit the scratchpads, in passes of one or two runs, some with the loops of the run before."""
    runs, open_pass = [], False
    for _ in range(count):
        if runs and rng.random() < 0.5:
            counts, steps = runs[-1].counts, runs[-1].steps
        else:
            pixels = (rng.randint(1, 4), rng.randint(1, config.psum_pixels // 8))
            if open_pass:  # a pass has one patch
                pixels = runs[-1].counts[3:]
            counts = (rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 2), *pixels)
            steps = tuple(rng.randint(-40, 40) for _ in range(5))
        last = int(rng.random() < 0.6)
        runs.append(Run(counts, steps, rng.randint(1, 3), int(not open_pass), last, rng.randrange(2)))
        open_pass = not last
    runs[-1].last = 1
    return runs


@dataclass
class Trace:
    """What a sequencer did, by cycle."""

    records: list = field(default_factory=list)
    filled: list = field(default_factory=list)
    freed: list = field(default_factory=list)
    causes: list = field(default_factory=list)
    drains: list = field(default_factory=list)
    handshakes: list = field(default_factory=list)


def run_unit(config, instructions, cycles, *, rng=None, drain=False):
    """Run a sequencer; with `rng` instructions, fills and frees come late at random, without they are always there."""
    dut, trace = ComputeUnit(config), Trace()
    names = list(dut.control.shape().members)

    async def bench(ctx):
        waiting, fills, frees, offered = list(instructions), {"filter": 2, "ifmap": 2}, [], False
        command, stands = None, False  # a command's row stands a cycle before it
        for cycle in range(cycles):
            late = rng is not None
            if waiting and not offered and not (late and rng.random() < 0.5):
                ctx.set(dut.i.payload, waiting[0])
                offered = True
            ctx.set(dut.i.valid, int(offered))
            for kind, free in fills.items():
                now = int(free > 0 and not (late and rng.random() < 0.9))
                fills[kind] -= now
                ctx.set(getattr(dut, f"{kind}_filled"), now)
            ready = [when for when in frees if when <= cycle]
            now = int(bool(ready) and not (late and rng.random() < 0.9))
            if now:
                frees.remove(ready[0])
            ctx.set(dut.psum_freed, now)
            stands = command is not None
            if drain and command is None and rng.random() < 0.7:
                row = trace.handshakes[-1][1] if trace.handshakes else 0
                command = (rng.randrange(config.rows), rng.randrange(config.psum_pixels * config.lanes))
                ctx.set(dut.drain_row, command[0])
                ctx.set(dut.drain_psum, command[1])
                stands = command[0] <= row
            ctx.set(dut.drain, int(stands))

            record = ctx.get(dut.control)
            trace.records.append({name: record[name] for name in names})
            trace.causes.append(CAUSES[ctx.get(dut.cause)])
            assert ctx.get(dut.mac_cycle) == trace.records[-1]["mac"]
            if stands and ctx.get(dut.drain_ready) and cycle + 1 < cycles:
                trace.handshakes.append((cycle, *command))
                command = None
            for kind in fills:
                fills[kind] += ctx.get(getattr(dut, f"{kind}_freed"))
            if ctx.get(dut.filter_freed):
                trace.freed.append(cycle)
            if ctx.get(dut.psum_filled):
                trace.filled.append(cycle)
                frees.append(cycle + 1)
            if offered and ctx.get(dut.i.ready):
                waiting.pop(0)
                offered = False
            await ctx.tick()
        trace.busy = ctx.get(dut.busy)
        trace.error = {name: ctx.get(getattr(dut.error, name)) for name in ("valid", "code", "index")}
        trace.left = len(waiting)

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return trace


def program(runs):
    return [made for before, run in zip([None, *runs], runs, strict=False) for made in run.instructions(before)]


def check(trace, runs, config):
    """Records, captures and drains are the twin's, and keep the array's rules."""
    macs = [(cycle, record) for cycle, record in enumerate(trace.records) if record["mac"]]
    expected = sequence(runs, config)
    for number, ((_, got), want) in enumerate(zip(macs, expected, strict=True)):
        assert {name: got[name] for name in want} == want, f"MAC {number}"
    captures = [cycle for cycle, record in enumerate(trace.records) if record["capture"]]
    assert trace.records[captures[0]]["discard"] and captures[0] < macs[0][0]
    assert all(b - a >= config.lanes for a, b in zip(captures, captures[1:], strict=False))
    assert len(trace.filled) == sum(run.last for run in runs) and not trace.busy and not trace.error["valid"]
    lengths = [int(np.prod(run.counts)) for run in runs for _ in range(run.chunks)]
    assert trace.freed == [macs[end - 1][0] for end in np.cumsum(lengths)]

    drains = [(cycle, r["drain_row"], r["drain_psum"]) for cycle, r in enumerate(trace.records) if r["drain"]]
    assert drains == [(cycle + 1, row, psum) for cycle, row, psum in trace.handshakes]
    modify = [c for c in captures if not trace.records[c]["first"] and not trace.records[c]["discard"]]
    blocked = {c + i for c in modify for i in range(config.lanes)}
    assert not blocked & {cycle for cycle, *_ in drains}
    arrivals = [cycle + schedule.drain_latency(config, row) for cycle, row, _ in drains]
    assert all(a < b for a, b in zip(arrivals, arrivals[1:], strict=False))


@pytest.mark.parametrize("lanes, rows, seed", [(4, 1, 0), (4, 3, 1), (8, 4, 2), (16, 2, 3)])
def test_random_programs(lanes, rows, seed):
    rng = random.Random(seed)
    config = Config(rows=rows, columns=1, lanes=lanes, dram_bytes=max(8, lanes), **SMALL)
    runs = random_runs(rng, config, 10)
    dots = sum(int(np.prod(run.counts[3:])) * max(lanes, int(np.prod(run.counts[:3]))) * run.chunks for run in runs)
    trace = run_unit(config, program(runs), 2 * dots + 1000, rng=rng, drain=True)
    check(trace, runs, config)
    assert len(trace.handshakes) > 20


@pytest.mark.parametrize("lanes", [4, 8])
def test_no_bubbles(lanes):
    """With everything there in time: a MAC a cycle through pixels, chunks, runs and passes."""
    config = Config(rows=2, columns=1, lanes=lanes, **SMALL)
    loops = dict(counts=(lanes, 2, 1, 3, 2), steps=(1, 2, 3, 4, 5))
    runs = [Run(**loops, chunks=3), Run(**loops, last=0), Run(**loops, first=0), Run(**loops)]
    trace = run_unit(config, program(runs), 72 * lanes + 100)
    check(trace, runs, config)
    macs = [cycle for cycle, record in enumerate(trace.records) if record["mac"]]
    assert macs == list(range(macs[0], macs[0] + 6 * 12 * lanes))
    assert trace.causes.count("computing") in (len(macs), len(macs) + 1)  # the cycle in which the first chunk is let go
    # A drain of the cycle of `psum_filled` is in the next record, and sees the pass.
    last = [cycle for cycle, record in enumerate(trace.records) if record["capture"]][-1]
    assert trace.filled[-1] + 1 == last + schedule.capture_to_drain(config)


def test_new_loops_cost_one_cycle():
    config = Config(rows=1, columns=1, lanes=4, **SMALL)
    runs = [Run((4, 2, 1, 2, i), (1, 8, 0, 1, i)) for i in (1, 2, 1)]
    trace = run_unit(config, program(runs), 200)
    check(trace, runs, config)
    macs = [cycle for cycle, record in enumerate(trace.records) if record["mac"]]
    assert macs[-1] - macs[0] + 1 == len(macs) + 2


def test_short_dot_products_wait():
    """Three MACs with eight lanes: a pixel every eight cycles, and no cause but computing."""
    config = Config(rows=1, columns=1, lanes=8, **SMALL)
    runs = [Run((3, 1, 1, 4, 1), (1, 0, 0, 1, 0))]
    trace = run_unit(config, program(runs), 100)
    check(trace, runs, config)
    captures = [cycle for cycle, record in enumerate(trace.records) if record["capture"]]
    assert np.diff(captures[1:]).tolist() == [8, 8, 8]


def test_causes():
    """Nothing to do, then no filters, then no ifmap, then no psum half."""
    config = Config(rows=1, columns=1, lanes=4, **SMALL)
    dut, seen = ComputeUnit(config), []

    async def program_bench(ctx):
        await ctx.tick().repeat(5)
        for made in program([Run((1, 1, 1, 1, 1), (0, 0, 0, 0, 0))] * 3):
            ctx.set(dut.i.payload, made)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def bench(ctx):
        for cycle in range(12 + 3 * 32):
            turn, when = divmod(cycle - 12, 32)
            if cycle == 0 or when == 0:
                seen.append([])
            ctx.set(dut.filter_filled, int(turn < 3 and when == 8))
            ctx.set(dut.ifmap_filled, int(turn < 3 and when == 16))
            ctx.set(dut.psum_freed, int(turn == 2 and when == 24))
            cause = CAUSES[ctx.get(dut.cause)]
            if seen[-1][-1:] != [cause]:
                seen[-1].append(cause)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(program_bench)
    sim.add_testbench(bench)
    sim.run()
    assert seen == [
        ["instruction", "filters"],
        ["filters", "ifmap", "computing", "filters"],
        ["filters", "ifmap", "computing", "filters"],
        ["filters", "ifmap", "drain", "computing", "instruction"],
    ], seen


@pytest.mark.parametrize(
    "bad",
    [
        instruction("COMPUTE_LOOP_K", index=77, count_c=1, count_s=0, count_r=1),
        instruction("COMPUTE_LOOP_P", index=77, count_x=1, count_y=0),
        instruction("COMPUTE_RUN", index=77, chunks=0),
        instruction("LOAD", index=77),
    ],
)
def test_errors(bad):
    """A zero count or a foreign opcode: FIELD, the instruction's index, and nothing is taken or done any more."""
    config = Config(rows=1, columns=1, lanes=4, **SMALL)
    run = Run((4, 1, 1, 2, 1), (1, 0, 0, 4, 0))
    trace = run_unit(config, [bad, *run.instructions()], 100)
    assert trace.error["valid"] and trace.error["code"] == Error.FIELD and trace.error["index"] == 77
    assert trace.left == 3 and not any(record["mac"] for record in trace.records)


# Whole passes ---------------------------------------------------------------------------------------------------------


class Core(wiring.Component):
    """Sequencer and array."""

    def __init__(self, config):
        self.unit, self.array = ComputeUnit(config), PEArray(config)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit, m.submodules.array = self.unit, self.array
        m.d.comb += self.array.control.eq(self.unit.control)
        return m


@dataclass
class Pass:
    """A convolution layer's piece: int8 filters and ifmap; how the PEs share it.

    Every PE has filter group `groups[row][column]` and pixel group `patches[row][column]`; a pixel group is rows of
    pixels from y0 on.  Chunks cut the channel words.
    """

    filters: np.ndarray  # [groups, lanes, R, S, C]; depthwise [groups, lanes, R, S, 1]
    ifmap: np.ndarray  # [H, W, C]
    stride: int
    dilation: int
    chunks: int
    groups: list
    patches: list
    patch: tuple  # pixels y, x of a group
    depthwise: bool = False


def convolve(piece, group, patch):
    """Twin: psums [pixels, lanes] of one PE, int64 and exact."""
    _, lanes, R, S, _ = piece.filters.shape
    height, width = piece.patch
    out = np.zeros((height, width, lanes), np.int64)
    ifmap, filters = piece.ifmap.astype(np.int64), piece.filters[group].astype(np.int64)
    for y in range(height):
        for x in range(width):
            for r in range(R):
                for s in range(S):
                    row = (patch * height + y) * piece.stride + r * piece.dilation
                    pixel = ifmap[row, x * piece.stride + s * piece.dilation]
                    if piece.depthwise:
                        out[y, x] += filters[:, r, s, 0] * pixel[group * lanes : (group + 1) * lanes]
                    else:
                        out[y, x] += filters[:, r, s] @ pixel
    return out.reshape(-1, lanes)


def word(values):
    return int.from_bytes(np.asarray(values, np.int8).tobytes(), "little")


def id_flits(config, tags):
    """Config flits for `tags[row][column]` = (row ID, PE's ID)."""
    return [
        dict(config=1, row_tag=row, column_tag=column, entry=0, data=tag[0] | tag[1] << config.tag_width)
        for row, line in enumerate(tags)
        for column, tag in enumerate(line)
    ]


def deliver(config, half, words_of_tag, spad_words):
    """Data flits of one chunk: `words_of_tag` maps a tag to its words, from the start of the half."""
    flits, n = [], config.noc_words
    for tag, words in sorted(words_of_tag.items()):
        words = words + [0] * (-len(words) % n)
        for i in range(0, len(words), n):
            data = sum(value << (j * config.word_bits) for j, value in enumerate(words[i : i + n]))
            entry = (half * spad_words // 2 + i) // n
            flits.append(dict(config=0, row_tag=tag[0], column_tag=tag[1], entry=entry, data=data))
    return flits


def compile_pass(config, piece):
    """The run, and for both networks a list of chunks: flits before the chunk may be filled."""
    groups, lanes, R, S, C = piece.filters.shape
    height, width = piece.patch
    window = tuple(
        (pixels - 1) * piece.stride + (size - 1) * piece.dilation + 1
        for pixels, size in zip(piece.patch, (R, S), strict=True)
    )
    channels = 1 if piece.depthwise else C // piece.chunks  # of a chunk
    words = -(-channels // lanes)
    pixel_bytes, line_bytes = words * lanes, window[1] * words * lanes
    # The ifmap tag: who has the same pixels (depthwise: and the same channels).
    filter_tags = [[(group // 2, group % 2) for group in line] for line in piece.groups]
    ifmap_tags = [
        [(patch, group if piece.depthwise else 0) for patch, group in zip(*lines, strict=True)]
        for lines in zip(piece.patches, piece.groups, strict=True)
    ]
    # A row has one ID: the tests' mappings keep to that.
    filters, ifmaps = [], []
    for chunk in range(piece.chunks):
        c0 = chunk * channels
        weights = {
            (group // 2, group % 2): [
                word(piece.filters[group, :, r, s, c0 + c]) for r in range(R) for s in range(S) for c in range(channels)
            ]
            for group in set(sum(piece.groups, []))
        }
        pixels = {}
        for patch, group in set(zip(sum(piece.patches, []), sum(piece.groups, []), strict=True)):
            y0 = patch * height * piece.stride
            area = piece.ifmap[y0 : y0 + window[0], : window[1]]
            if piece.depthwise:
                area = area[..., group * lanes : (group + 1) * lanes]
            else:
                area = np.pad(area[..., c0 : c0 + channels], ((0, 0), (0, 0), (0, words * lanes - channels)))
            pixels[patch, group if piece.depthwise else 0] = [word(area[y, x, w * lanes : (w + 1) * lanes])
                for y in range(window[0]) for x in range(window[1]) for w in range(words)]  # fmt: skip
        filters.append(weights)
        ifmaps.append(pixels)
    # Steps are deltas: what all inner loops have added is taken back.
    places = [(channels, 1), (S, piece.dilation * pixel_bytes), (R, piece.dilation * line_bytes),
              (width, piece.stride * pixel_bytes), (height, piece.stride * line_bytes)]  # fmt: skip
    steps, behind = [], 0
    for count, distance in places:
        steps.append(distance - behind)
        behind += (count - 1) * distance
    run = Run(tuple(count for count, _ in places), tuple(steps), piece.chunks, depthwise=int(piece.depthwise))
    return run, (filter_tags, filters), (ifmap_tags, ifmaps)


def run_passes(config, pieces, rng, stall):
    """All passes, with drains while the next one computes.  Returns psums [pass][row, column, pixel, lane]."""
    dut = Core(config)
    compiled = [compile_pass(config, piece) for piece in pieces]
    runs = [run for run, *_ in compiled]
    queues = {"filter": [], "ifmap": []}  # (flits of a chunk)
    for kind, position, spad_words in (("filter", 1, config.filter_words), ("ifmap", 2, config.ifmap_words)):
        half = 0
        for item in compiled:
            tags, chunks = item[position]
            for number, words in enumerate(chunks):
                flits = id_flits(config, tags) if number == 0 else []
                queues[kind].append(flits + deliver(config, half, words, spad_words))
                half ^= 1
    results, lanes = [], config.lanes

    async def feed(ctx, kind):
        free = 2
        for flits in queues[kind]:
            free += await idle(ctx, kind, lambda free: free > 0, free) if free == 0 else 0
            free -= 1
            for flit in flits:
                while rng.random() < stall:
                    free += await step(ctx, kind)
                ctx.set(getattr(dut.array, f"{kind}_flit"), flit)
                ctx.set(getattr(dut.array, f"{kind}_valid"), 1)
                free += await step(ctx, kind)
                ctx.set(getattr(dut.array, f"{kind}_valid"), 0)
            ctx.set(getattr(dut.unit, f"{kind}_filled"), 1)
            free += await step(ctx, kind)
            ctx.set(getattr(dut.unit, f"{kind}_filled"), 0)

    async def step(ctx, kind):
        *_, freed = await ctx.tick().sample(getattr(dut.unit, f"{kind}_freed"))
        return freed

    async def idle(ctx, kind, until, free):
        gained = 0
        while not until(free + gained):
            gained += await step(ctx, kind)
        return gained

    async def filters(ctx):
        await feed(ctx, "filter")

    async def ifmaps(ctx):
        await feed(ctx, "ifmap")

    async def program_bench(ctx):
        for made in program(runs):
            ctx.set(dut.unit.i.payload, made)
            ctx.set(dut.unit.i.valid, 1)
            await ctx.tick().until(dut.unit.i.ready)
            ctx.set(dut.unit.i.valid, 0)

    filled = [0]

    async def count_filled(ctx):
        while True:
            *_, now = await ctx.tick().sample(dut.unit.psum_filled)
            filled[0] += now

    async def drain(ctx):
        for number, piece in enumerate(pieces):
            while filled[0] <= number:
                await ctx.tick()
            half = number % 2 * config.psum_pixels // 2
            ctx.set(dut.unit.drain_row, config.rows - 1)
            await ctx.tick()
            for row in reversed(range(config.rows)):
                for psum in range(half * lanes, (half + piece.patch[0] * piece.patch[1]) * lanes):
                    while rng.random() < stall:
                        await ctx.tick()
                    ctx.set(dut.unit.drain, 1)
                    ctx.set(dut.unit.drain_row, row)
                    ctx.set(dut.unit.drain_psum, psum)
                    await ctx.tick().until(dut.unit.drain_ready)
                    ctx.set(dut.unit.drain, 0)
            ctx.set(dut.unit.psum_freed, 1)
            await ctx.tick()
            ctx.set(dut.unit.psum_freed, 0)

    async def collect(ctx):
        for piece in pieces:
            pixels = piece.patch[0] * piece.patch[1]
            got = np.zeros((config.rows, config.columns, pixels, lanes), np.int64)
            for row in reversed(range(config.rows)):
                for i in range(pixels * lanes):
                    psums = await ctx.tick().sample(*dut.array.o_psum).until(dut.array.o_valid)
                    got[row, :, i // lanes, i % lanes] = psums
            results.append(got)

    async def watchdog(ctx):
        for _ in range(20000):
            await ctx.tick()
        raise TimeoutError(f"only {len(results)} of {len(pieces)} passes")

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    for bench in (program_bench, filters, ifmaps, drain, collect):
        sim.add_testbench(bench)
    for bench in (count_filled, watchdog):
        sim.add_testbench(bench, background=True)
    sim.run()
    return results


def random_piece(rng, config, *, R, S, C, patch, chunks, stride=1, dilation=1, groups, patches, depthwise=False):
    """A pass with random data, full range."""
    numbers = np.random.default_rng(rng.randrange(1 << 30))
    num_groups = 1 + max(map(max, groups))
    height = (1 + max(map(max, patches))) * patch[0] * stride + (R - 1) * dilation + 1
    width = (patch[1] - 1) * stride + (S - 1) * dilation + 1
    channels = num_groups * config.lanes if depthwise else C
    filters = numbers.integers(-128, 128, (num_groups, config.lanes, R, S, 1 if depthwise else C), np.int8)
    ifmap = numbers.integers(-128, 128, (height, width, channels), np.int8)
    return Pass(filters, ifmap, stride, dilation, chunks, groups, patches, patch, depthwise)


def check_passes(config, pieces, seed, stall):
    rng = random.Random(seed)
    pieces = [random_piece(rng, config, **piece) for piece in pieces]
    results = run_passes(config, pieces, rng, stall)
    for number, (piece, got) in enumerate(zip(pieces, results, strict=True)):
        for row in range(config.rows):
            for column in range(config.columns):
                want = convolve(piece, piece.groups[row][column], piece.patches[row][column])
                np.testing.assert_array_equal(got[row, column], want, f"pass {number}, PE {row}, {column}, seed {seed}")


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_passes_on_a_grid(stall):
    """Filter groups across columns, pixel groups down rows; one group everywhere; every row the same patch."""
    config = Config(rows=2, columns=2, lanes=4, **SMALL)
    split = dict(groups=[[0, 1], [0, 1]], patches=[[0, 0], [1, 1]])
    pieces = [
        dict(R=3, S=3, C=8, patch=(2, 3), chunks=4, **split),  # accumulates over chunks
        dict(R=1, S=1, C=32, patch=(2, 4), chunks=2, groups=[[0, 0], [0, 0]], patches=[[0, 0], [1, 1]]),
        dict(R=1, S=1, C=4, patch=(1, 1), chunks=1, groups=[[0, 1], [2, 3]], patches=[[0, 0], [0, 0]]),
        dict(R=1, S=1, C=4, patch=(1, 1), chunks=1, **split),  # the same loops: no bubble
        dict(R=1, S=1, C=16, patch=(1, 1), chunks=4, **split),  # adds to one pixel every `lanes` cycles
        dict(R=3, S=2, C=1, patch=(2, 2), chunks=1, stride=2, **split),
    ]
    check_passes(config, pieces, f"grid {stall}", stall)


@pytest.mark.parametrize("lanes, noc_words", [(4, 1), (8, 2), (16, 4)])
def test_passes_of_one_pe(lanes, noc_words):
    """Strides, dilation, depthwise, other lanes and wider networks."""
    config = Config(rows=1, columns=1, lanes=lanes, noc_words=noc_words, dram_bytes=max(8, lanes), **SMALL)
    one = dict(groups=[[0]], patches=[[0]])
    pieces = [
        dict(R=3, S=3, C=3, patch=(2, 2), chunks=1, stride=2, **one),
        dict(R=2, S=3, C=2, patch=(1, 4), chunks=2, dilation=2, **one),
        dict(R=3, S=3, C=1, patch=(2, 2), chunks=1, depthwise=True, **one),
        dict(R=1, S=1, C=2, patch=(2, 3), chunks=1, **one),  # shorter than `lanes`
    ]
    check_passes(config, pieces, f"one {lanes} {noc_words}", 0.1)


def test_passes_depthwise_on_a_column():
    config = Config(rows=3, columns=1, lanes=8, **SMALL)
    deep = dict(groups=[[0], [1], [0]], patches=[[0], [1], [2]])
    pieces = [
        dict(R=3, S=3, C=1, patch=(2, 2), chunks=1, depthwise=True, **deep),
        dict(R=2, S=2, C=1, patch=(1, 2), chunks=1, stride=2, depthwise=True, **deep),
    ]
    check_passes(config, pieces, "depthwise", 0.0)
