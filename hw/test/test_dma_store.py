"""StoreUnit against a memory with latency, stalls and errors: every byte of the memory compared with a twin."""

import random
from collections import deque

import pytest
from amaranth import Module, ResetInserter, Signal
from amaranth.back import rtlil
from amaranth.sim import Simulator
from rowcast import isa
from rowcast.config import PRESETS, Config
from rowcast.dma_store import BURSTS_OWED, StoreUnit
from rowcast.interfaces import GLB_READ_LATENCY
from rowcast.registers import Error

WINDOW = (0x1000, 0x9000)
DATA_BASE = 0x1FC0
OTHER = dict(act_words=1024, filter_buffer_words=512, param_channels=16)
CONFIGS = {
    "base": Config(**OTHER),
    "lanes4": Config(lanes=4, dram_bytes=4, burst_beats=4, **OTHER),
    "dram2": Config(lanes=8, dram_bytes=16, burst_beats=8, **OTHER),
    "dram4": Config(lanes=4, dram_bytes=16, burst_beats=256, **OTHER),
    "lanes16": Config(lanes=16, dram_bytes=32, burst_beats=4, address_width=20, **OTHER),
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


def act_byte(address):
    return (address * 131 + (address >> 8) * 29 + 7) & 0xFF


def act(word, config, words=1):
    start = word * config.lanes
    return int.from_bytes(bytes(act_byte(start + i) for i in range(words * config.lanes)), "little")


def expected_bytes(config, program):
    """{byte address: value} after the program."""
    memory, stride = {}, (0, 0)
    for name, fields in program:
        if name == "STORE_STRIDE":
            stride = fields["dram_stride"], fields["buffer_stride"]
            continue
        for row in range(fields["rows"]):
            dram = (fields["dram"] + row * stride[0]) * config.lanes + DATA_BASE
            buffer = (fields["buffer"] + row * stride[1]) * config.lanes
            memory |= {dram + i: act_byte(buffer + i) for i in range(fields["words"] * config.lanes)}
    return memory


def random_program(config, rng, count):
    words = config.dram_words
    program, strides = [], (0, 0)
    for _ in range(count):
        if rng.random() < 0.4:
            strides = rng.randrange(40), rng.randrange(40)
            strides = strides[0], strides[1] - (strides[1] - strides[0]) % words if strides[1] >= words else strides[0]
            program.append(("STORE_STRIDE", dict(dram_stride=strides[0], buffer_stride=strides[1])))
        rows, length = rng.choice((1, 1, 2, 5)), rng.choice((1, 2, 3, 7, 8, 9, 40, 70))
        room = 1024 - (rows - 1) * strides[1] - length
        dram, buffer = rng.randrange(1200 * 8 // config.lanes), rng.randrange(room)
        dram += (buffer - dram) % words
        program.append(("STORE", dict(dram=dram, buffer=buffer, words=length, rows=rows)))
    return program


class Bench:
    """One cycle at a time: the memory, the activation memory and the instruction queue around a StoreUnit.

    B comes `latency` cycles after a burst's last beat; with `stall` every handshake waits at random.
    """

    def __init__(self, config, *, seed=0, stall=0.0, latency=20, bad_address=None):
        self.config, self.rng, self.stall, self.latency = config, random.Random(seed), stall, latency
        self.bad_address = bad_address
        self.dut, self.reset = StoreUnit(config), Signal()
        self.queue, self.signals, self.bursts, self.beat_cycles, self.memory = deque(), [], [], [], {}
        self.open, self.answers, self.answer, self.answered = deque(), deque(), None, 0
        self.reads, self.cycle, self.written = deque([None] * GLB_READ_LATENCY), 0, 0
        self.standing, self.offered, self.silent, self.refuse = {}, False, False, False
        self.beat_first = False
        self.early = deque()  # beats taken while their address still stands

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
        if self.answer is None and self.answers and self.answers[0][0] <= self.cycle and go():
            self.answer = self.answers.popleft()[1]
        self.offered = self.offered or (bool(self.queue) and go())
        if self.offered:
            ctx.set(dut.i.payload, self.queue[0])
        ctx.set(dut.i.valid, self.offered)
        ctx.set(dut.b.valid, self.answer is not None)
        ctx.set(dut.b.payload.resp, self.answer or 0)
        aw_ready, w_ready, grant = go(), go(), go() and not self.refuse
        if self.beat_first:
            aw_ready = bool(ctx.get(dut.w.valid))  # a register: it stays until this cycle's edge
        ctx.set(dut.aw.ready, aw_ready)
        ctx.set(dut.w.ready, w_ready)
        ctx.set(dut.act_read.grant, grant)
        word = self.reads.popleft()
        read = self.rng.getrandbits(64) if word is None else act(word, self.config, self.config.dram_words)
        ctx.set(dut.act_read.data, read)  # garbage but in the promised cycle
        _, _, i_ready, aw_valid, aw, w_valid, w, b_ready, request, address, signal, idle = await ctx.tick().sample(
            dut.i.ready, dut.aw.valid, dut.aw.payload, dut.w.valid, dut.w.payload, dut.b.ready,
            dut.act_read.request, dut.act_read.address, dut.signal, dut.idle,
        )  # fmt: skip
        if self.offered and i_ready:
            self.queue.popleft()
            self.offered = False
        self._stable("AW", (aw.addr, aw.len) if aw_valid else None, aw_ready)
        self._stable("W", (w.data, w.strb, w.last) if w_valid else None, w_ready)
        if aw_valid and aw_ready:
            self._burst(aw.addr, aw.len)
        if w_valid:
            assert self.open or (aw_valid and not aw_ready), "a beat before its address"
        if w_valid and w_ready:
            self.beat_cycles.append(self.cycle)
            self._beat(w)
        if self.answer is not None and b_ready:
            self.answer, self.answered = None, self.answered + 1
        self.reads.append(address if request and grant else None)
        assert not request or address % self.config.dram_words == 0
        if signal:
            self.signals.append((signal, self.answered, self.cycle))
        under_way = aw_valid or w_valid or self.open or self.answers or self.answer is not None
        assert not (idle and under_way), "idle with a write under way"
        self.cycle += 1

    def _stable(self, channel, now, ready):
        before = self.standing.get(channel)
        assert before is None or before == now, f"{channel} changed while waiting: {before} {now}"
        self.standing[channel] = None if ready else now

    def _burst(self, address, more):
        size = self.config.dram_bytes
        assert address % size == 0 and more < self.config.burst_beats
        stop = address + (more + 1) * size
        assert address // 4096 == (stop - 1) // 4096
        assert WINDOW[0] <= address and stop <= WINDOW[1]
        self.bursts.append((address, more + 1))
        self.open.append([address, more + 1, address])
        assert len(self.open) <= BURSTS_OWED + 2  # last beats of two more may stand in the places at the pins
        while self.early and self.open:
            self._beat(self.early.popleft())

    def _beat(self, w):
        if not self.open:
            self.early.append(w)
            return
        address, left, start = self.open[0]
        for i in range(self.config.dram_bytes):
            if w.strb >> i & 1:
                assert not self.silent, "a strobe after the stop"
                self.memory[address + i] = w.data >> 8 * i & 0xFF
        assert w.last == (left == 1), "last"
        if left == 1:
            self.open.popleft()
            bad = self.bad_address is not None and start <= self.bad_address <= address
            self.answers.append((self.cycle + self.latency, 2 if bad else 0))
        else:
            self.open[0][:2] = address + self.config.dram_bytes, left - 1

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
    assert rtlil.convert(StoreUnit(PRESETS[name]))


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("name", CONFIGS)
def test_bytes(name, stall):
    config, rng = CONFIGS[name], random.Random(11)
    program = random_program(config, rng, 14)
    bench = Bench(config, seed=3, stall=stall, latency=rng.choice((1, 12)))
    for index, (name, fields) in enumerate(program):
        bench.queue.append(packed(name, index, 1 + index % 31 if name == "STORE" else 0, **fields))

    async def body(ctx):
        await bench.finish(ctx)
        assert not ctx.get(bench.dut.error.valid), ctx.get(bench.dut.error)

    bench.run(body)
    expected = expected_bytes(config, program)
    assert sorted(bench.memory) == sorted(expected)
    for address, value in expected.items():
        assert bench.memory[address] == value, f"{address:#x}"
    masks = [1 + i % 31 for i, (name, _) in enumerate(program) if name == "STORE"]
    assert [mask for mask, *_ in bench.signals] == masks
    assert bench.answered == len(bench.bursts) == bench.signals[-1][1]


def test_a_beat_a_cycle():
    """Across bursts, misaligned rows and instructions, with 30 cycles from the last beat to B."""
    bench = Bench(Config(), latency=30)
    bench.queue.append(packed("STORE_STRIDE", dram_stride=70, buffer_stride=64))
    for i in range(4):
        bench.queue.append(packed("STORE", i, 1, dram=3 + 64 * i, buffer=5, words=64, rows=2))

    async def body(ctx):
        await bench.finish(ctx)

    bench.run(body)
    assert len(bench.beat_cycles) == 4 * 128
    assert bench.beat_cycles[-1] - bench.beat_cycles[0] == 4 * 128 - 1
    assert len(bench.signals) == 4


@pytest.mark.parametrize("words", [3, 8])
def test_short_rows(words):
    bench = Bench(Config(), latency=4)
    bench.queue.append(packed("STORE_STRIDE", dram_stride=64, buffer_stride=words))
    for i in range(4):
        bench.queue.append(packed("STORE", i, 1, dram=i * 8, buffer=0, words=words, rows=8))

    async def body(ctx):
        await bench.finish(ctx)

    bench.run(body)
    assert bench.beat_cycles[-1] - bench.beat_cycles[0] == 32 * words - 1


def test_memory_that_waits_for_the_beat():
    """AXI lets a memory accept an address only when the beat is there too: a beat does not wait for the handshake."""
    config, program = CONFIGS["base"], [("STORE", dict(dram=5, buffer=9, words=70, rows=1))]
    bench = Bench(config)
    bench.beat_first = True
    bench.queue.extend(packed(name, **fields) for name, fields in program)

    async def body(ctx):
        await bench.finish(ctx)

    bench.run(body)
    assert bench.memory == expected_bytes(config, program)


def test_signal_after_the_last_answer():
    """One token an instruction, two cycles after its last B, though the next instruction's beats flow before it."""
    bench = Bench(Config(burst_beats=4), latency=40)
    for i in range(3):
        bench.queue.append(packed("STORE", i, 1 << i, dram=16 * i, buffer=16 * i, words=16, rows=1))

    async def body(ctx):
        await bench.finish(ctx)

    bench.run(body)
    assert [(mask, answered) for mask, answered, _ in bench.signals] == [(1, 4), (2, 8), (4, 12)]
    assert bench.signals[0][2] == bench.beat_cycles[15] + 40 + 2
    assert bench.beat_cycles[47] < bench.signals[0][2]


GOOD = dict(space=0, dram=8, buffer=8, words=8, rows=1)
PAST = (WINDOW[1] - DATA_BASE) // 8  # first word past the window
BAD = {
    "no words": (dict(GOOD, words=0), Error.FIELD),
    "no rows": (dict(GOOD, rows=0), Error.FIELD),
    "space": (dict(GOOD, space=1), Error.FIELD),
    "not aligned": (dict(GOOD, buffer=9), Error.FIELD),
    "second row not aligned": (dict(GOOD, rows=2, stride=(5, 4)), Error.FIELD),
    "buffer": (dict(GOOD, buffer=1016, words=9), Error.BUFFER_RANGE),
    "buffer second row": (dict(GOOD, buffer=1008, rows=2, stride=(10, 10)), Error.BUFFER_RANGE),
    "window": (dict(GOOD, dram=PAST - 6), Error.WRITE_WINDOW),
    "window second row": (dict(GOOD, dram=PAST - 16, rows=2, stride=(10, 0)), Error.WRITE_WINDOW),
    "beyond 32 bits": (dict(GOOD, dram=0xFFFFFFF8, rows=2, stride=(16, 0)), Error.WRITE_WINDOW),
}


async def reset_and_store(bench, ctx):
    """The soft reset, and then a run as if nothing had been."""
    ctx.set(bench.dut.stop, 0)
    ctx.set(bench.reset, 1)
    bench.queue.clear()
    bench.offered, bench.silent, bench.refuse, bench.bad_address = False, False, False, None
    await bench.step(ctx)
    ctx.set(bench.reset, 0)
    bench.memory.clear()
    bench.queue.append(packed("STORE", **GOOD))
    await bench.finish(ctx)
    assert bench.memory == expected_bytes(bench.config, [("STORE", GOOD)])


@pytest.mark.parametrize("what", BAD)
def test_error(what):
    fields, code = dict(BAD[what][0]), BAD[what][1]
    stride = fields.pop("stride", (0, 0))
    bench = Bench(Config(dram_bytes=16, **OTHER), stall=0.2)
    bench.queue.extend(
        [
            packed("STORE", 70, 1, **GOOD),
            packed("STORE_STRIDE", 71, dram_stride=stride[0], buffer_stride=stride[1]),
            packed("STORE", 72, 1, **fields),
            packed("STORE", 73, 1, **GOOD),
        ]
    )

    async def body(ctx):
        for _ in range(150):
            await bench.step(ctx)
        error = bench.dut.error
        assert (ctx.get(error.valid), ctx.get(error.code), ctx.get(error.index)) == (1, code, 72)
        assert ctx.get(bench.dut.idle)
        await reset_and_store(bench, ctx)

    bench.run(body)


def test_bad_response():
    bench = Bench(Config(burst_beats=4, **OTHER), stall=0.1, bad_address=DATA_BASE + 8 * 30)
    for i in range(4):
        bench.queue.append(packed("STORE", i, 1, dram=20 * i, buffer=20 * i, words=20, rows=1))

    async def body(ctx):
        for _ in range(300):
            await bench.step(ctx)
        error = bench.dut.error
        assert (ctx.get(error.valid), ctx.get(error.code), ctx.get(error.index)) == (1, Error.WRITE_RESPONSE, 1)
        assert ctx.get(bench.dut.idle) and len(bench.signals) == 1
        await reset_and_store(bench, ctx)

    bench.run(body)


@pytest.mark.parametrize("no_grant", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_stop(seed, no_grant):
    """After `stop`: no new address; beats that are owed come without strobe, even if the buffer answers no more."""
    rng = random.Random(seed)
    bench = Bench(Config(burst_beats=16, **OTHER), seed=seed, stall=rng.choice((0.0, 0.5)), latency=rng.choice((1, 20)))
    for i in range(20):
        bench.queue.append(packed("STORE", i, 1, dram=20 * i, buffer=20 * i, words=20, rows=1))

    async def body(ctx):
        for _ in range(rng.randrange(8, 120)):
            await bench.step(ctx)
        ctx.set(bench.dut.stop, 1)
        bench.refuse = no_grant
        await bench.step(ctx)  # it is heeded from the next cycle on
        bursts, idle = len(bench.bursts) + ctx.get(bench.dut.aw.valid), False
        if not ctx.get(bench.dut.w.valid):
            bench.silent = True
        for _ in range(220):
            await bench.step(ctx)
            if not bench.standing["W"]:
                bench.silent = True
            assert len(bench.bursts) <= bursts
            assert ctx.get(bench.dut.idle) or not idle
            idle = ctx.get(bench.dut.idle)
        assert idle and not ctx.get(bench.dut.error.valid)
        assert len(bench.bursts) == bench.answered
        await reset_and_store(bench, ctx)

    bench.run(body)
