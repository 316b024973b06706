"""LoadUnit against a memory with latency, stalls and errors: every word written, in order, compared with a twin."""

import random
from collections import deque

import pytest
from amaranth import Module, ResetInserter, Signal
from amaranth.back import rtlil
from amaranth.sim import Simulator
from rowcast import isa
from rowcast.config import PRESETS, Config
from rowcast.dma_load import LoadUnit
from rowcast.dma_rows import space_words
from rowcast.registers import Error

WINDOW = (0x1000, 0x9000)
DATA_BASE = 0x1FC0
OTHER = dict(act_words=1024, filter_buffer_words=512, param_channels=16)
CONFIGS = {
    "base": Config(**OTHER),
    "lanes4": Config(lanes=4, dram_bytes=4, burst_beats=4, outstanding_reads=1, **OTHER),
    "dram2": Config(lanes=8, dram_bytes=16, burst_beats=8, outstanding_reads=16, **OTHER),
    "dram4": Config(lanes=4, dram_bytes=16, burst_beats=256, outstanding_reads=4, **OTHER),
    "lanes16": Config(lanes=16, dram_bytes=32, burst_beats=4, outstanding_reads=2, address_width=20, **OTHER),
    "wide": Config(lanes=8, dram_bytes=64, act_banks=8, burst_beats=16, address_width=64, **OTHER),
}


def packed(name, index=0, signal=0, **fields):
    """The instruction as a unit's queue delivers it."""
    instruction = isa.make(name, **fields)
    instruction.signal = signal
    value = int.from_bytes(isa.encode(instruction), "little")
    return {
        "opcode": value & 31,
        "signal": signal,
        "payload": value >> isa.PAYLOAD_START,
        "index": index,
    }


def memory_byte(address):
    return (address * 167 + (address >> 8) * 59 + 11) & 0xFF


def memory(address, count):
    return int.from_bytes(bytes(memory_byte(address + i) for i in range(count)), "little")


def expected_writes(config, program):
    """[(space, word address, word)] of the whole program, and after how many of them each LOAD is complete."""
    writes, complete, stride = [], [], (0, 0)
    for name, fields in program:
        if name == "LOAD_STRIDE":
            stride = fields["dram_stride"], fields["buffer_stride"]
            continue
        for row in range(fields["rows"]):
            for word in range(fields["words"]):
                dram = fields["dram"] + row * stride[0] + word
                buffer = fields["buffer"] + row * stride[1] + word
                writes.append((fields["space"], buffer, memory(DATA_BASE + dram * config.lanes, config.lanes)))
        complete.append(len(writes))
    return writes, complete


def random_program(config, rng, count):
    words = config.dram_words
    program, strides = [], (0, 0)
    for _ in range(count):
        if rng.random() < 0.4:
            strides = rng.randrange(40), rng.randrange(40)
            strides = strides[0], strides[1] - (strides[1] - strides[0]) % words if strides[1] >= words else strides[0]
            program.append(("LOAD_STRIDE", dict(dram_stride=strides[0], buffer_stride=strides[1])))
        space = rng.choice((0, 0, 1, 2))
        rows, length = rng.choice((1, 1, 2, 5)), rng.choice((1, 2, 3, 7, 8, 9, 40, 70))
        room = space_words(config, space) - (rows - 1) * strides[1] - length
        if room < words:
            continue
        dram, buffer = rng.randrange(1200 * 8 // config.lanes), rng.randrange(room)
        if space != isa.Space.PARAM:
            dram += (buffer - dram) % words
        program.append(("LOAD", dict(space=space, dram=dram, buffer=buffer, words=length, rows=rows)))
    return program


class Bench:
    """One cycle at a time: the memory, the on-chip memories and the instruction queue around a LoadUnit.

    The read of a burst answers `latency` cycles after its address, then a beat a cycle; with `stall` every handshake
    waits at random.
    """

    def __init__(self, config, *, seed=0, stall=0.0, latency=30, bad_address=None):
        self.config, self.rng, self.stall, self.latency = config, random.Random(seed), stall, latency
        self.bad_address = bad_address
        self.dut, self.reset = LoadUnit(config), Signal()
        self.queue, self.writes, self.signals, self.bursts, self.beat_cycles = deque(), [], [], [], []
        self.pending, self.cycle, self.beat = deque(), 0, None
        self.stand, self.offered, self.refuse = None, False, False

    def run(self, body):
        m = Module()
        m.submodules.dut = ResetInserter(self.reset)(self.dut)
        sim = Simulator(m)
        sim.add_clock(1e-8)

        async def testbench(ctx):
            ctx.set(self.dut.data_base, DATA_BASE)
            ctx.set(self.dut.window_base, WINDOW[0])
            ctx.set(self.dut.window_limit, WINDOW[1])
            await body(ctx)

        sim.add_testbench(testbench)
        sim.run()

    async def step(self, ctx):
        """One clock cycle."""
        dut, go = self.dut, lambda: self.rng.random() >= self.stall
        if self.beat is None and self.pending and self.pending[0][0] <= self.cycle and go():
            self.beat = self.pending.popleft()[1:]
        if self.beat is not None:
            address, last = self.beat
            resp = 2 if address == self.bad_address else 0
            ctx.set(dut.r.payload, {"data": memory(address, self.config.dram_bytes), "resp": resp, "last": last})
        offer = self.offered or (bool(self.queue) and go())
        if offer:
            ctx.set(dut.i.payload, self.queue[0])
        ctx.set(dut.i.valid, offer)
        ctx.set(dut.r.valid, self.beat is not None)
        ctx.set(dut.ar.ready, go())
        for signal in (dut.act_write.grant, dut.filter_write.grant, dut.param.ready):
            ctx.set(signal, go() and not self.refuse)
        port = ctx.get(dut.act_write.grant), ctx.get(dut.filter_write.grant)
        (
            _, _, i_ready, ar_valid, ar_ready, ar, r_ready, act, act_at, act_data, act_mask, fil, fil_at, fil_data,
            fil_mask, par, par_ready, par_at, par_data, signal, outstanding, idle,
        ) = await ctx.tick().sample(
            dut.i.ready, dut.ar.valid, dut.ar.ready, dut.ar.payload, dut.r.ready,
            dut.act_write.request, dut.act_write.address, dut.act_write.data, dut.act_write.mask,
            dut.filter_write.request, dut.filter_write.address, dut.filter_write.data, dut.filter_write.mask,
            dut.param.valid, dut.param.ready, dut.param.payload.address, dut.param.payload.data,
            dut.signal, dut.outstanding, dut.idle,
        )  # fmt: skip
        self.offered = offer and not i_ready
        if offer and i_ready:
            self.queue.popleft()
        address = (ar.addr, ar.len) if ar_valid else None
        assert self.stand is None or self.stand == address, f"AR changed while waiting: {self.stand} {address}"
        self.stand = address if not ar_ready else None
        if ar_valid and ar_ready:
            self._burst(*address)
        if self.beat is not None and r_ready:
            self.beat_cycles.append(self.cycle)
            self.beat = None
        if act and port[0]:
            self._write(isa.Space.ACT, act_at, act_data, act_mask)
        if fil and port[1]:
            self._write(isa.Space.FILTER, fil_at, fil_data, fil_mask)
        if par and par_ready:
            self.writes.append((isa.Space.PARAM, par_at, par_data))
        if signal:
            self.signals.append((signal, len(self.writes)))
        assert outstanding <= self.config.outstanding_reads and idle == (outstanding == 0)
        assert idle or ar_valid or self.pending or self.beat is not None or self.beat_cycles[-1] == self.cycle
        self.cycle += 1

    def _burst(self, address, more):
        size = self.config.dram_bytes
        assert address % size == 0 and more < self.config.burst_beats
        stop = address + (more + 1) * size
        assert address // 4096 == (stop - 1) // 4096
        assert WINDOW[0] <= address and stop <= WINDOW[1]
        self.bursts.append((address, more + 1))
        for beat in range(more + 1):
            self.pending.append((self.cycle + self.latency, address + beat * size, beat == more))

    def _write(self, space, address, data, mask):
        assert address % self.config.dram_words == 0 and mask
        for word in range(self.config.dram_words):
            if mask >> word & 1:
                value = data >> word * self.config.word_bits & (1 << self.config.word_bits) - 1
                self.writes.append((space, address + word, value))

    async def finish(self, ctx, limit=20000):
        """Until nothing is at work."""
        for _ in range(limit):
            await self.step(ctx)
            if not self.queue and not ctx.get(self.dut.busy) and ctx.get(self.dut.idle):
                await self.step(ctx)
                return
        raise AssertionError("the unit never finishes")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_elaborate(name):
    assert rtlil.convert(LoadUnit(PRESETS[name]))


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("name", CONFIGS)
def test_words(name, stall):
    config, rng = CONFIGS[name], random.Random(7)
    program = random_program(config, rng, 18)
    writes, complete = expected_writes(config, program)
    bench = Bench(config, seed=3, stall=stall, latency=rng.choice((1, 12)))
    for index, (name, fields) in enumerate(program):
        bench.queue.append(packed(name, index, 1 + index % 31 if name == "LOAD" else 0, **fields))

    async def body(ctx):
        await bench.finish(ctx)
        assert not ctx.get(bench.dut.error.valid), ctx.get(bench.dut.error)

    bench.run(body)
    for i, (got, want) in enumerate(zip(bench.writes, writes)):
        assert got == want, f"write {i}"
    assert len(bench.writes) == len(writes)
    masks = [1 + i % 31 for i, (name, _) in enumerate(program) if name == "LOAD"]
    assert [mask for mask, _ in bench.signals] == masks
    for (_, count), want in zip(bench.signals, complete):
        assert want <= count <= want + config.dram_words


@pytest.mark.parametrize("space", isa.Space)
def test_a_beat_a_cycle(space):
    """Across bursts, misaligned rows and instructions, with 30 cycles of latency."""
    bench = Bench(Config(), latency=30)
    bench.queue.append(packed("LOAD_STRIDE", dram_stride=70, buffer_stride=64))
    for i in range(4):
        bench.queue.append(packed("LOAD", i, 1, space=space, dram=3 + 64 * i, buffer=5, words=64, rows=2))

    async def body(ctx):
        await bench.finish(ctx)

    bench.run(body)
    assert len(bench.beat_cycles) == 4 * 128
    assert bench.beat_cycles[-1] - bench.beat_cycles[0] == 4 * 128 - 1
    assert len(bench.signals) == 4


@pytest.mark.parametrize("words", [2, 4, 8])
def test_short_rows(words):
    """One address a row: rows of 2 beats keep the memory busy too, as far as `outstanding_reads` allows."""
    bench = Bench(Config(outstanding_reads=16), latency=10)
    bench.queue.append(packed("LOAD_STRIDE", dram_stride=64, buffer_stride=words))
    for i in range(4):
        bench.queue.append(packed("LOAD", i, 1, dram=i * 8, buffer=0, words=words, rows=8))

    async def body(ctx):
        await bench.finish(ctx)

    bench.run(body)
    assert bench.beat_cycles[-1] - bench.beat_cycles[0] == 32 * words - 1


def test_latency():
    """First address 6 cycles after the instruction, `signal` two cycles after the last beat."""
    bench, seen = Bench(Config(), latency=1), []
    bench.queue.append(packed("LOAD", 0, 5, dram=0, buffer=0, words=1, rows=1))

    async def body(ctx):
        while len(bench.signals) == 0:
            if ctx.get(bench.dut.ar.valid):
                seen.append(bench.cycle)
            await bench.step(ctx)

    bench.run(body)
    assert seen == [6]
    assert bench.cycle - 1 == bench.beat_cycles[0] + 2


GOOD = dict(space=0, dram=8, buffer=8, words=8, rows=1)
PAST = (WINDOW[1] - DATA_BASE) // 8  # first word past the window
BAD = {
    "no words": (dict(GOOD, words=0), Error.FIELD),
    "no rows": (dict(GOOD, rows=0), Error.FIELD),
    "no such space": (dict(GOOD, space=3), Error.FIELD),
    "not aligned": (dict(GOOD, buffer=9), Error.FIELD),
    "second row not aligned": (dict(GOOD, rows=2, stride=(5, 4)), Error.FIELD),
    "ACT": (dict(GOOD, buffer=1016, words=9), Error.BUFFER_RANGE),
    "ACT second row": (dict(GOOD, buffer=1008, rows=2, stride=(10, 10)), Error.BUFFER_RANGE),
    "ACT wraps": (dict(GOOD, buffer=0, rows=2, stride=(0, (1 << 20) - 2)), Error.BUFFER_RANGE),
    "FILTER": (dict(GOOD, space=1, buffer=506), Error.BUFFER_RANGE),
    "PARAM": (dict(GOOD, space=2, buffer=409), Error.BUFFER_RANGE),
    "window": (dict(GOOD, dram=PAST - 6), Error.READ_WINDOW),
    "window second row": (dict(GOOD, dram=PAST - 16, rows=2, stride=(10, 0)), Error.READ_WINDOW),
    "address wraps": (dict(GOOD, dram=0x20000000 - (DATA_BASE - WINDOW[0]) // 8 - 8, words=20), Error.READ_WINDOW),
    "beyond 32 bits": (dict(GOOD, dram=0xFFFFFFF8, rows=2, stride=(16, 0)), Error.READ_WINDOW),
}


@pytest.mark.parametrize("what", BAD)
def test_error(what):
    fields, code = dict(BAD[what][0]), BAD[what][1]
    config = Config(dram_bytes=16, **OTHER)
    stride = fields.pop("stride", (0, 0))
    bench = Bench(config, stall=0.2)
    bench.queue.extend(
        [
            packed("LOAD", 70, 1, **GOOD),
            packed("LOAD_STRIDE", 71, dram_stride=stride[0], buffer_stride=stride[1]),
            packed("LOAD", 72, 1, **fields),
            packed("LOAD", 73, 1, **GOOD),
        ]
    )

    async def body(ctx):
        for _ in range(150):
            await bench.step(ctx)
        error = bench.dut.error
        assert (ctx.get(error.valid), ctx.get(error.code), ctx.get(error.index)) == (1, code, 72)
        assert ctx.get(bench.dut.idle) and not bench.pending
        await reset_and_load(bench, ctx)

    bench.run(body)


def test_exact_limits():
    """The last word of each memory on chip, of the window, and its first one."""
    config = CONFIGS["base"]
    bench = Bench(config)
    program = [
        ("LOAD", dict(GOOD, buffer=1016)), ("LOAD", dict(GOOD, space=1, buffer=504)),
        ("LOAD", dict(GOOD, space=2, buffer=408)), ("LOAD", dict(GOOD, dram=PAST - 8)),
    ]  # fmt: skip
    bench.queue.extend(packed(name, **fields) for name, fields in program)

    async def body(ctx):
        await bench.finish(ctx)
        assert not ctx.get(bench.dut.error.valid)
        ctx.set(bench.dut.window_base, DATA_BASE + 64)
        bench.queue.append(packed("LOAD", **GOOD))
        await bench.finish(ctx)
        assert not ctx.get(bench.dut.error.valid)
        ctx.set(bench.dut.window_base, DATA_BASE + 65)
        bench.queue.append(packed("LOAD", **GOOD))
        for _ in range(20):
            await bench.step(ctx)
        assert ctx.get(bench.dut.error.code) == Error.READ_WINDOW

    bench.run(body)
    assert bench.writes == expected_writes(config, program + [("LOAD", GOOD)])[0]


async def reset_and_load(bench, ctx):
    """The soft reset, and then a run as if nothing had been."""
    ctx.set(bench.dut.stop, 0)
    ctx.set(bench.reset, 1)
    bench.queue.clear()
    bench.offered, bench.refuse = False, False
    await bench.step(ctx)
    ctx.set(bench.reset, 0)
    bench.writes.clear()
    bench.bad_address = None
    bench.queue.append(packed("LOAD", **GOOD))
    await bench.finish(ctx)
    assert bench.writes == expected_writes(bench.config, [("LOAD", GOOD)])[0]


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_bad_response(stall):
    """What comes after the bad beat is taken and dropped; the words before it are there, no token is made."""
    bench = Bench(Config(burst_beats=4, **OTHER), stall=stall, latency=5, bad_address=DATA_BASE + 8 * 30)
    for i in range(4):
        bench.queue.append(packed("LOAD", i, 1, dram=20 * i, buffer=20 * i, words=20, rows=1))

    async def body(ctx):
        for _ in range(150):
            await bench.step(ctx)
        error = bench.dut.error
        assert (ctx.get(error.valid), ctx.get(error.code), ctx.get(error.index)) == (1, Error.READ_RESPONSE, 1)
        assert ctx.get(bench.dut.idle) and not bench.pending and len(bench.signals) == 1
        assert [at for _, at, _ in bench.writes[:30]] == list(range(30))
        assert len(bench.writes) <= 31
        await reset_and_load(bench, ctx)

    bench.run(body)


@pytest.mark.parametrize("no_grant", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_stop(seed, no_grant):
    """After `stop`: no new address, all that was asked for is taken even if no memory takes a write, idle stays."""
    rng = random.Random(seed)
    bench = Bench(Config(burst_beats=4, **OTHER), seed=seed, stall=rng.choice((0.0, 0.5)), latency=rng.choice((1, 20)))
    for i in range(10):
        bench.queue.append(packed("LOAD", i, 1, dram=20 * i, buffer=20 * i, words=20, rows=1))

    async def body(ctx):
        for _ in range(rng.randrange(8, 80)):
            await bench.step(ctx)
        ctx.set(bench.dut.stop, 1)
        bench.refuse = no_grant
        await bench.step(ctx)  # it is heeded from the next cycle on
        standing = ctx.get(bench.dut.ar.valid)
        bursts, idle = len(bench.bursts), False
        for _ in range(150):
            await bench.step(ctx)
            assert len(bench.bursts) <= bursts + standing
            assert ctx.get(bench.dut.idle) or not idle
            idle = ctx.get(bench.dut.idle)
        assert idle and not bench.pending and not ctx.get(bench.dut.error.valid)
        await reset_and_load(bench, ctx)

    bench.run(body)
