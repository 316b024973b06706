"""DMA, feeders, and COMPUTE with its PE of a compact accelerator, each against a few lines of Python."""

import random

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from rowcast import isa
from rowcast.compact.array import Pe
from rowcast.compact.compute import Compute
from rowcast.compact.dma import Dma
from rowcast.compact.feeders import FilterFeeder, IfmapFeeder
from rowcast.config import PRESETS
from rowcast.isa import Space
from rowcast.registers import Error

MICRO = PRESETS["micro"].replace(act_words=256, filter_words=64, ifmap_words=64, psum_pixels=8)
LANES4 = MICRO.replace(lanes=4, dram_bytes=4, burst_beats=4)
CONFIGS = {"lanes 8": MICRO, "lanes 4": LANES4}


def offer(ctx, dut, name, **fields):
    """Put an instruction before a unit."""
    value = int.from_bytes(isa.encode(isa.make(name, **fields)), "little")
    ctx.set(dut.opcode, value & 31)
    ctx.set(dut.payload, value >> isa.PAYLOAD_START)


def simulate(dut, *benches, background=()):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    for bench in background:
        sim.add_testbench(bench, background=True)
    for bench in benches:
        sim.add_testbench(bench)
    sim.run()


# DMA --------------------------------------------------------------------------------------------------------------------


class DmaBench:
    """A Dma with memory and on-chip memories that are Python lists."""

    BASE = 40  # beats

    def __init__(self, config, seed, *, stall):
        self.dut, self.config, self.rng, self.stall = Dma(config), config, random.Random(seed), stall
        bits = config.word_bits
        self.memory = [self.rng.getrandbits(bits) for _ in range(1024)]
        self.act = [self.rng.getrandbits(bits) for _ in range(config.act_words)]
        self.filter = [0] * config.filter_buffer_words
        self.param = {}
        self.done = []
        self.bad_reads, self.bad_writes = (), ()
        self.bursts = []

    def waits(self):
        return self.rng.random() < self.stall

    async def reads(self, ctx):
        dut = self.dut
        while True:
            ctx.set(dut.ar.ready, 0)
            while not ctx.get(dut.ar.valid) or self.waits():
                await ctx.tick()
            ctx.set(dut.ar.ready, 1)
            first, beats = ctx.get(dut.ar.payload.addr) // self.config.dram_bytes, ctx.get(dut.ar.payload.len) + 1
            self.burst(first, beats)
            await ctx.tick()
            ctx.set(dut.ar.ready, 0)
            for beat in range(first, first + beats):
                while self.waits():
                    await ctx.tick()
                for name, value in dict(data=self.memory[beat], resp=2 * (beat in self.bad_reads)).items():
                    ctx.set(getattr(dut.r.payload, name), value)
                ctx.set(dut.r.valid, 1)
                await ctx.tick().until(dut.r.ready)
                ctx.set(dut.r.valid, 0)

    async def writes(self, ctx):
        dut = self.dut
        while True:
            ctx.set(dut.aw.ready, 0)
            while not ctx.get(dut.aw.valid) or self.waits():
                await ctx.tick()
            ctx.set(dut.aw.ready, 1)
            first, beats = ctx.get(dut.aw.payload.addr) // self.config.dram_bytes, ctx.get(dut.aw.payload.len) + 1
            self.burst(first, beats)
            await ctx.tick()
            ctx.set(dut.aw.ready, 0)
            bad = False
            for beat in range(first, first + beats):
                while self.waits():
                    await ctx.tick()
                ctx.set(dut.w.ready, 1)
                data, strb, last = await ctx.tick().sample(
                    dut.w.payload.data, dut.w.payload.strb, dut.w.payload.last
                ).until(dut.w.valid)  # fmt: skip
                ctx.set(dut.w.ready, 0)
                assert strb == (1 << self.config.dram_bytes) - 1 and last == (beat == first + beats - 1)
                self.memory[beat] = data
                bad |= beat in self.bad_writes
            while self.waits():
                await ctx.tick()
            ctx.set(dut.b.payload.resp, 2 * bad)
            ctx.set(dut.b.valid, 1)
            await ctx.tick().until(dut.b.ready)
            ctx.set(dut.b.valid, 0)

    def burst(self, first, beats):
        assert first // self.config.burst_beats == (first + beats - 1) // self.config.burst_beats
        self.bursts.append((first, beats))

    async def chip(self, ctx):
        """The memories on chip, a cycle from an address to its data; and what is complete."""
        dut, read = self.dut, None
        while True:
            ctx.set(dut.act_data, self.act[read] if read is not None else 0)
            names = ("buffer", "data", "act_write", "filter_write", "param_write", "param_item", "param_address",
                     "act_read", "load_done", "store_done")  # fmt: skip
            _, _, *values = await ctx.tick().sample(*(getattr(dut, name) for name in names))
            now = dict(zip(names, values, strict=True))
            read = now["buffer"] % len(self.act) if now["act_read"] else None
            if now["act_write"]:
                self.act[now["buffer"]] = now["data"]
            if now["filter_write"]:
                self.filter[now["buffer"]] = now["data"]
            if now["param_write"]:
                self.param[now["param_address"]] = now["param_item"]
            self.done += ["LOAD"] * now["load_done"] + ["STORE"] * now["store_done"]

    def expect(self, program):
        """What memory and the memories on chip hold in the end."""
        memory, act, filters, param = list(self.memory), list(self.act), list(self.filter), {}
        strides = {"LOAD": (0, 0), "STORE": (0, 0)}
        items = self.config.lanes // 4
        for name, f in program:
            if name.endswith("_STRIDE"):
                strides[name.removesuffix("_STRIDE")] = f["dram_stride"], f["buffer_stride"]
                continue
            for row in range(f["rows"]):
                for word in range(f["words"]):
                    dram = self.BASE + f["dram"] + row * strides[name][0] + word
                    buffer = f["buffer"] + row * strides[name][1] + word
                    if name == "STORE":
                        memory[dram] = act[buffer]
                    elif f["space"] == Space.ACT:
                        act[buffer] = memory[dram]
                    elif f["space"] == Space.FILTER:
                        filters[buffer] = memory[dram]
                    else:
                        for i in range(items):
                            param[buffer * items + i] = memory[dram] >> 32 * i & 0xFFFFFFFF
        return memory, act, filters, param

    def run(self, program, *, until=None):
        async def control(ctx):
            dut = self.dut
            ctx.set(dut.data_base, self.BASE)
            for name, fields in program:
                while not ctx.get(dut.idle):
                    ctx.set(dut.allowed, not self.waits())
                    await ctx.tick()
                    if until is not None and until(ctx):
                        return
                offer(ctx, dut, name, **fields)
                which = dut.load if name.startswith("LOAD") else dut.store
                ctx.set(which, 1)
                await ctx.tick()
                ctx.set(which, 0)
            ctx.set(dut.allowed, 1)
            while not (until(ctx) if until is not None else ctx.get(dut.idle)):
                await ctx.tick()
            await ctx.tick().repeat(20)

        simulate(self.dut, control, background=(self.reads, self.writes, self.chip))


def random_transfers(config, rng, count):
    program = []
    for _ in range(count):
        name = rng.choice(("LOAD", "LOAD", "STORE"))
        if rng.random() < 0.4:
            program.append((f"{name}_STRIDE", dict(dram_stride=rng.randrange(40), buffer_stride=rng.randrange(30))))
        rows, words = rng.choice((1, 1, 2, 4)), rng.choice((1, 2, 5, 16, 17, 40))
        space = Space.ACT if name == "STORE" else rng.choice(tuple(Space))
        program.append((name, dict(space=space, dram=rng.randrange(700), buffer=rng.randrange(50), words=words, rows=rows)))
    return program


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("stall", [0, 0.4])
def test_transfers(name, stall):
    bench = DmaBench(CONFIGS[name], 3, stall=stall)
    program = random_transfers(CONFIGS[name], bench.rng, 30)
    want = bench.expect(program)
    bench.run(program)
    assert (bench.memory, bench.act, bench.filter, bench.param) == want
    assert bench.done == [name.removesuffix("_STRIDE") for name, _ in program]


@pytest.mark.parametrize("what", ["read", "write"])
def test_memory_errors(what):
    bench = DmaBench(MICRO, 1, stall=0.2)
    bench.bad_reads = bench.bad_writes = (bench.BASE + 21,)
    name = "LOAD" if what == "read" else "STORE"
    program = [(name, dict(dram=5, buffer=0, words=60, rows=1)), (name, dict(dram=0, buffer=0, words=1, rows=1))]
    codes = []

    def until(ctx):
        codes.append(ctx.get(bench.dut.error.code))
        return ctx.get(bench.dut.error.valid) and ctx.get(bench.dut.quiet)

    bench.run(program, until=until)
    assert codes[-1] == (Error.READ_RESPONSE if what == "read" else Error.WRITE_RESPONSE)
    assert bench.done == []
    assert sum(beats for _, beats in bench.bursts) < 60  # the burst under way was the last one


# Feeders ----------------------------------------------------------------------------------------------------------------


def drive_feeder(dut, program, halves, *, seed, sample, wait=0):
    """Give a feeder its instructions; free a half now and then; returns what it wrote, in order, and when halves were full."""
    rng, wrote, filled, freed = random.Random(seed), [], [], []

    async def bench(ctx):
        queue, previous = list(program), None
        number = 0
        for cycle in range(20_000):
            ctx.set(dut.freed, 0)
            if len(filled) > len(freed) and rng.random() < 0.02:
                freed.append(cycle)
                ctx.set(dut.freed, 1)
            if hasattr(dut, "grant"):
                ctx.set(dut.grant, rng.random() >= wait)
            ctx.set(dut.take, 0)
            if queue and ctx.get(dut.idle):
                offer(ctx, dut, queue[0][0], **queue[0][1])
                ctx.set(dut.take, 1)
                if not (hasattr(dut, "hold") and ctx.get(dut.hold)):
                    queue.pop(0)
            now, address = sample(ctx, previous)
            if now is not None:
                wrote.append(now)
            previous = address
            if ctx.get(dut.filled):
                filled.append(cycle)
                assert len(wrote) == halves[number][1], f"half {number} is full too early or too late"
                number += 1
            await ctx.tick()
            assert len(filled) <= len(freed) + 2
            if len(filled) == len(halves) and not queue and ctx.get(dut.idle):
                return
        raise AssertionError(f"{len(filled)} of {len(halves)} halves in 20,000 cycles")

    simulate(dut, bench)
    return wrote


def test_filters():
    rng, dut = random.Random(8), FilterFeeder(MICRO)
    program, want, halves, half = [("FILTER_ID", {})], [], [], 0
    for _ in range(8):
        flits, chunks = rng.choice((1, 2, 9, 32)), rng.choice((1, 2, 3))
        start = rng.randrange(100)
        program.append(("FILTER_RUN", dict(buffer=start, flits=flits, groups_column=1, groups_row=1, chunks=chunks)))
        for chunk in range(chunks):
            want += [(half * 32 + i, start + chunk * flits + i) for i in range(flits)]
            half ^= 1
            halves.append((half, len(want)))

    def sample(ctx, previous):
        """(entry, address read a cycle ago)."""
        return (ctx.get(dut.entry), previous) if ctx.get(dut.write) else None, ctx.get(dut.address)

    assert drive_feeder(dut, program, halves, seed=2, sample=sample) == want


@pytest.mark.parametrize("wait", [0, 0.5])
def test_ifmaps(wait):
    """Random nests: addresses modulo the memory, padding where coordinates are outside, halves by level 5."""
    rng, dut = random.Random(9), IfmapFeeder(MICRO)
    program, want, halves, half = [("IFMAP_ID", {})], [], [], 0
    for _ in range(7):
        counts = [rng.randrange(1, 5), rng.randrange(1, 4), rng.randrange(1, 3), 1, 1, rng.randrange(1, 4)]
        steps = [[rng.randrange(-limit, limit) for _ in range(6)] for limit in (60, 4, 4)]
        for pair in range(3):
            level = {}
            for letter, i in (("a", 2 * pair), ("b", 2 * pair + 1)):
                level |= {f"count_{letter}": counts[i], **{f"{n}_{letter}": steps[k][i] for k, n in enumerate(("step", "dy", "dx"))}}
            program.append(("IFMAP_LOOP", dict(pair=pair, **level)))
        height, width, pad = rng.randrange(1, 12), rng.randrange(1, 12), rng.randrange(256)
        program.append(("IFMAP_SET", dict(height=height, width=width, pad=pad)))
        place = [rng.randrange(256), rng.randrange(-3, 8), rng.randrange(-3, 8)]
        program.append(("IFMAP_RUN", dict(buffer=place[0], y=place[1], x=place[2], vector=0)))
        for chunk in range(counts[5]):
            for entry, turn in enumerate(np.ndindex(*counts[2::-1])):
                inside = 0 <= place[1] < height and 0 <= place[2] < width
                want.append((half * 32 + entry, place[0] % 256 if inside else None, None if inside else pad))
                advancing = [2 - axis for axis in (2, 1, 0) if turn[axis] < counts[2 - axis] - 1][:1] or [5]
                for k in range(3):
                    place[k] += steps[k][advancing[0]]
            half ^= 1
            halves.append((half, len(want)))
            assert chunk < counts[5]

    def sample(ctx, previous):
        address = ctx.get(dut.address) if ctx.get(dut.request) and ctx.get(dut.grant) else None
        if not ctx.get(dut.write):
            return None, address
        pad = ctx.get(dut.pad)
        return (ctx.get(dut.entry), None if pad else previous, ctx.get(dut.pad_byte) if pad else None), address

    assert drive_feeder(dut, program, halves, seed=3, sample=sample, wait=wait) == want


# COMPUTE and its PE -------------------------------------------------------------------------------------------------------


class ComputeAndPe(wiring.Component):
    """Both, wired as in the accelerator."""

    def __init__(self, config):
        self.compute, self.pe = Compute(config), Pe(config)
        inner = ("opcode", "payload", "take", "filter_filled", "ifmap_filled", "psum_freed", "idle", "freed", "psum_filled")
        outer = ("filter_write", "filter_entry", "filter_data", "ifmap_write", "ifmap_entry", "ifmap_data", "drain",
                 "drain_psum", "drained", "psum")  # fmt: skip
        self.parts = [(self.compute, inner), (self.pe, outer)]
        super().__init__({name: part.signature.members[name] for part, names in self.parts for name in names})

    def elaborate(self, platform):
        m = Module()
        m.submodules.compute, m.submodules.pe = self.compute, self.pe
        for part, names in self.parts:
            for name in names:
                mine, theirs, flow = getattr(self, name), getattr(part, name), part.signature.members[name].flow
                m.d.comb += mine.eq(theirs) if flow == Out else theirs.eq(mine)
                assert flow in (In, Out)
        for name in ("mac", "filter_word", "ifmap_byte", "depthwise", "capture", "first", "pixel"):
            m.d.comb += getattr(self.pe, name).eq(getattr(self.compute, name))
        m.d.comb += self.compute.serial.eq(self.pe.serial)
        return m


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("depthwise", [0, 1])
def test_passes(name, depthwise):
    """Passes of several runs and chunks with random loops, short and long dot products; every psum."""
    config = CONFIGS[name]
    rng, dut = np.random.default_rng([depthwise, config.lanes]), ComputeAndPe(config)
    lanes, half_words, half_bytes = config.lanes, 32, 32 * config.lanes
    half, results = 0, []

    async def give(ctx, name, **fields):
        while not ctx.get(dut.idle):
            await ctx.tick()
        offer(ctx, dut, name, **fields)
        ctx.set(dut.take, 1)
        await ctx.tick()
        ctx.set(dut.take, 0)

    async def fill(ctx, which, words):
        """Write half a scratchpad and say so."""
        for i, word in enumerate(words):
            ctx.set(getattr(dut, f"{which}_write"), 1)
            ctx.set(getattr(dut, f"{which}_entry"), half * half_words + i)
            ctx.set(getattr(dut, f"{which}_data"), int.from_bytes(word.astype(np.int8).tobytes(), "little"))
            await ctx.tick()
        ctx.set(getattr(dut, f"{which}_write"), 0)
        ctx.set(getattr(dut, f"{which}_filled"), 1)
        await ctx.tick()
        ctx.set(getattr(dut, f"{which}_filled"), 0)

    async def drain(ctx, psum_half):
        got = []
        for i in range(config.psum_pixels // 2 * lanes):
            ctx.set(dut.drain, 1)
            ctx.set(dut.drain_psum, psum_half * config.psum_pixels // 2 * lanes + i)
            await ctx.tick().until(dut.drained)
            ctx.set(dut.drain, 0)
            got.append(ctx.get(dut.psum))
            await ctx.tick()
        ctx.set(dut.psum_freed, 1)
        await ctx.tick()
        ctx.set(dut.psum_freed, 0)
        return got

    async def bench(ctx):
        nonlocal half
        for number in range(6):
            counts = [int(rng.integers(1, 4)) for _ in range(3)] + [int(rng.integers(1, 3)) for _ in range(2)]
            steps = rng.integers(-20, 20, 5).tolist()
            await give(ctx, "COMPUTE_LOOP_K", **{f"{w}_{n}": v for w, vs in (("count", counts), ("step", steps))
                                                 for n, v in zip("csr", vs)})  # fmt: skip
            await give(ctx, "COMPUTE_LOOP_P", **{f"{w}_{n}": v for w, vs in (("count", counts[3:]), ("step", steps[3:]))
                                                 for n, v in zip("xy", vs)})  # fmt: skip
            psums = np.zeros((counts[3] * counts[4], lanes), np.int64)
            runs = int(rng.integers(1, 3))
            for run in range(runs):
                chunks = int(rng.integers(1, 3))
                await give(ctx, "COMPUTE_RUN", chunks=chunks, first=run == 0, last=run == runs - 1, depthwise=depthwise)
                for _ in range(chunks):
                    weights = rng.integers(-128, 128, (half_words, lanes))
                    ifmap = rng.integers(-128, 128, (half_words, lanes))
                    await fill(ctx, "filter", weights)
                    await fill(ctx, "ifmap", ifmap)
                    half ^= 1
                    offset, word, pixel = 0, 0, 0
                    for turn in np.ndindex(*counts[::-1]):
                        at = offset % half_bytes
                        row = ifmap[at // lanes] if depthwise else ifmap.ravel()[at]
                        psums[pixel] += weights[word] * row
                        advancing = [4 - axis for axis in (4, 3, 2, 1, 0) if turn[axis] < counts[4 - axis] - 1][:1]
                        word += 1
                        if all(turn[axis] == counts[4 - axis] - 1 for axis in (4, 3, 2)):
                            word, pixel = 0, pixel + 1
                        offset += steps[advancing[0]] if advancing else 0
                    while not ctx.get(dut.freed):
                        await ctx.tick()
            await ctx.tick().until(dut.psum_filled)
            got = np.array(await drain(ctx, number % 2)).reshape(-1, lanes)
            np.testing.assert_array_equal(got[: len(psums)], psums, f"pass {number}")
            results.append(len(psums))

    simulate(dut, bench)
    assert len(results) == 6
