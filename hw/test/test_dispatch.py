"""Dispatch: order, tokens and errors, with random stalls at every stream."""

import random
from collections import Counter, deque

import pytest
from amaranth.sim import Simulator

from rowcast import Config, isa
from rowcast.dispatch import QUEUE_UNITS, TOKEN_BITS, Dispatch, InstructionQueue
from rowcast.isa import FORMATS, Instruction, Unit
from rowcast.registers import Error

TOKEN_UNITS = range(isa.TOKEN_UNITS)
FORMATS_OF = {unit: [form for form in FORMATS.values() if form.unit is unit] for unit in Unit}


def random_instruction(rng, name, wait=0, signal=0):
    fields = {}
    for field in FORMATS[name].fields:
        raw = rng.getrandbits(field.width)
        fields[field.name] = raw - (1 << field.width) if field.signed and raw >> (field.width - 1) else raw
    return Instruction(name, fields, wait, signal)


def random_program(rng, length, units=QUEUE_UNITS):
    """Instructions that wait only for tokens of earlier ones: no deadlock."""
    program, free = [], Counter()
    for _ in range(length):
        unit = rng.choice(units)
        name = rng.choice(FORMATS_OF[unit]).name
        wait = signal = 0
        if unit in TOKEN_UNITS:
            for other in TOKEN_UNITS:
                if other != unit and free[other, unit] and rng.random() < 0.6:
                    wait |= 1 << other
                    free[other, unit] -= 1
                if other != unit and free[unit, other] < 4 and rng.random() < 0.3 and name not in isa.SILENT:
                    signal |= 1 << other
                    free[unit, other] += 1
        program.append(random_instruction(rng, name, wait, signal))
    return program + [isa.make("END")]


def word_of(instruction):
    return int.from_bytes(isa.encode(instruction), "little")


def simulate(dut, *testbenches, background=(), cycles=8000):
    async def watchdog(ctx):
        for _ in range(cycles):
            await ctx.tick()
        raise TimeoutError(f"no end after {cycles} cycles")

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    for testbench in (*background, watchdog):
        sim.add_testbench(testbench, background=True)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    sim.run()


class Bench:
    """A source of instructions, and units that take them, work for a while, and make tokens."""

    def __init__(self, config, program, *, rng, stall=0.0, work=0):
        self.dut = Dispatch(config)
        self.program, self.rng, self.stall, self.work = program, rng, stall, work
        self.taken = {unit: [] for unit in QUEUE_UNITS}  # (cycle, opcode, signal, payload, index)
        self.sent = []  # cycle of each instruction's transfer
        self.tokens = Counter()
        self.now = 0

    def _idle(self):
        return self.rng.random() < self.stall

    async def clock(self, ctx):
        while True:
            await ctx.tick()
            self.now += 1

    async def source(self, ctx):
        i = self.dut.i
        for index, instruction in enumerate(self.program):
            while self._idle():
                await ctx.tick()
            word = instruction if isinstance(instruction, int) else word_of(instruction)
            ctx.set(i.payload.as_value()[: isa.BITS], word)
            ctx.set(i.payload.index, index)
            ctx.set(i.valid, 1)
            accepted = False
            while not accepted:
                _, _, accepted = await ctx.tick().sample(i.ready)
            self.sent.append(self.now)
            ctx.set(i.valid, 0)

    def unit(self, unit):
        output = getattr(self.dut, f"o_{unit.name.lower()}")

        async def testbench(ctx):
            jobs = deque()  # (end of the work, instruction's signal)
            held = None
            while True:
                pulse = jobs.popleft()[1] if jobs and jobs[0][0] <= self.now else 0
                ready = len(jobs) < 2 and not self._idle()
                ctx.set(output.ready, ready)
                if unit in TOKEN_UNITS:
                    ctx.set(self.dut.signals[unit], pulse)
                _, _, valid, payload = await ctx.tick().sample(output.valid, output.payload)
                if held is not None:
                    assert valid and payload == held, "an instruction on offer has changed"
                held = payload if valid and not ready else None
                if valid and ready:
                    self._take(unit, payload)
                    jobs.append((self.now + self.rng.randrange(self.work + 1), payload.signal))
                for consumer in TOKEN_UNITS:
                    self.tokens[unit, consumer] += pulse >> consumer & 1

        return testbench

    def _take(self, unit, payload):
        instruction = self.program[payload.index]
        for producer in TOKEN_UNITS:
            if instruction.wait >> producer & 1:
                self.tokens[producer, unit] -= 1
                assert self.tokens[producer, unit] >= 0, f"instruction {payload.index} went before its token"
        self.taken[unit].append((self.now, payload.opcode, payload.signal, payload.payload, payload.index))

    def run(self, *testbenches, units=QUEUE_UNITS):
        simulate(self.dut, *testbenches, background=[self.clock, *(self.unit(unit) for unit in units)])

    async def until_empty(self, ctx):
        await ctx.tick().until(self.dut.ended & self.dut.empty)

    def check(self):
        """Every unit got its instructions, whole and in order."""
        for unit in QUEUE_UNITS:
            expected = [(i, x) for i, x in enumerate(self.program) if x.unit is unit]
            assert [entry[4] for entry in self.taken[unit]] == [i for i, _ in expected], unit
            for (_, opcode, signal, payload, _), (_, instruction) in zip(self.taken[unit], expected):
                word = word_of(instruction)
                assert opcode == FORMATS[instruction.name].opcode and signal == instruction.signal
                assert payload == word >> isa.PAYLOAD_START


@pytest.mark.parametrize("depth", [8, 64])
@pytest.mark.parametrize("stall, work", [(0.0, 0), (0.5, 0), (0.3, 12)])
def test_random_program(depth, stall, work):
    rng = random.Random(f"{depth} {stall} {work}")
    bench = Bench(Config(queue_depth=depth), random_program(rng, 140), rng=rng, stall=stall, work=work)
    bench.run(bench.source, bench.until_empty)
    bench.check()


@pytest.mark.parametrize("unit", QUEUE_UNITS)
def test_latency_and_throughput(unit):
    """Four cycles through registers and an empty queue, an instruction in two cycles."""
    rng = random.Random(3)
    bench = Bench(Config(), random_program(rng, 40, units=[unit])[:-1], rng=rng)
    for instruction in bench.program:
        instruction.signal = 0
    bench.program += [isa.make("END")]
    bench.run(bench.source, bench.until_empty)
    bench.check()
    assert [cycle for cycle, *_ in bench.taken[unit]] == [cycle + 4 for cycle in bench.sent[:-1]]
    assert bench.sent[-1] - bench.sent[0] == 80


def test_missing_levels_empty():
    """A LOAD's token sets FILTER free; meanwhile the queue fills, and STATUS ports say so."""
    filter_run = isa.make("FILTER_RUN")
    filter_run.wait = 1 << Unit.LOAD
    program = [filter_run] + [isa.make("FILTER_ID")] * 17 + [isa.make("END")]
    bench = Bench(Config(queue_depth=16), program, rng=random.Random(0))
    dut = bench.dut

    async def script(ctx):
        await ctx.tick().repeat(40)
        assert len(bench.sent) == 18  # one in front of the full queue, one in the register behind it, which blocks END
        assert ctx.get(dut.missing[Unit.FILTER]) == 1 << Unit.LOAD and ctx.get(dut.waiting) == 1 << Unit.FILTER
        assert ctx.get(dut.levels) == 15 << 4 * Unit.FILTER
        assert not ctx.get(dut.empty) and not ctx.get(dut.ended)
        ctx.set(dut.signals[Unit.LOAD], 1 << Unit.FILTER)
        await ctx.tick()
        ctx.set(dut.signals[Unit.LOAD], 0)
        bench.tokens[Unit.LOAD, Unit.FILTER] += 1
        assert ctx.get(dut.waiting) == 0
        await bench.until_empty(ctx)

    bench.run(bench.source, script, units=[unit for unit in QUEUE_UNITS if unit is not Unit.LOAD])
    bench.check()


def test_start_clears_tokens_and_ended():
    load = isa.make("LOAD")
    load.signal = 1 << Unit.STORE
    bench = Bench(Config(), [load, isa.make("END")], rng=random.Random(0))

    async def script(ctx):
        await bench.until_empty(ctx)
        await ctx.tick().repeat(5)
        ctx.set(bench.dut.start, 1)
        await ctx.tick()
        ctx.set(bench.dut.start, 0)
        assert not ctx.get(bench.dut.ended)
        store = isa.make("STORE")
        store.wait = 1 << Unit.LOAD
        bench.program = [store]
        await bench.source(ctx)
        await ctx.tick().repeat(10)
        assert not bench.taken[Unit.STORE]
        assert ctx.get(bench.dut.waiting) == 1 << Unit.STORE

    bench.run(bench.source, script)


def _instruction(name, wait=0, signal=0):
    instruction = isa.make(name)
    instruction.wait, instruction.signal = wait, signal
    return instruction


@pytest.mark.parametrize(
    "bad, code",
    [
        (0, Error.OPCODE),
        (31, Error.OPCODE),
        *((_instruction(FORMATS_OF[u][0].name, wait=1 << u), Error.FIELD) for u in map(Unit, TOKEN_UNITS)),
        *((_instruction(FORMATS_OF[u][-1].name, signal=1 << u), Error.FIELD) for u in map(Unit, TOKEN_UNITS)),
        (_instruction("COMPUTE_RUN", wait=2), Error.FIELD),
        (_instruction("COMPUTE_LOOP_K", signal=16), Error.FIELD),
        (_instruction("END", wait=4), Error.FIELD),
        (_instruction("LOAD_STRIDE", signal=16), Error.FIELD),
        (_instruction("STORE_STRIDE", signal=1), Error.FIELD),
    ],
)
def test_bad_instruction(bad, code):
    rng = random.Random(f"{bad} {code}")
    program = random_program(rng, 9)[:-1]
    bench = Bench(Config(), program + [bad, isa.make("LOAD"), isa.make("END")], rng=rng, stall=0.3)

    async def script(ctx):
        await ctx.tick().until(bench.dut.error.valid)
        await ctx.tick().repeat(60)
        assert ctx.get(bench.dut.error.code) == code and ctx.get(bench.dut.error.index) == 9
        assert not ctx.get(bench.dut.ended)

    simulate(bench.dut, script, background=[bench.clock, bench.source, *(bench.unit(unit) for unit in QUEUE_UNITS)])
    bench.program = program
    bench.check()


@pytest.mark.parametrize("producer, consumer", [(0, 1), (4, 0), (2, 4), (3, 2)])
def test_token_overflow(producer, consumer):
    bench = Bench(Config(), [isa.make("LOAD"), isa.make("STORE")], rng=random.Random(0))

    async def script(ctx):
        await ctx.tick().repeat(10)
        ctx.set(bench.dut.signals[producer], 1 << consumer)
        await ctx.tick().repeat((1 << TOKEN_BITS) - 1)
        ctx.set(bench.dut.signals[producer], 0)
        await ctx.tick().repeat(5)
        assert not ctx.get(bench.dut.error.valid)
        ctx.set(bench.dut.signals[producer], 1 << consumer)
        await ctx.tick().repeat(3)
        assert ctx.get(bench.dut.error.valid)
        assert ctx.get(bench.dut.error.code) == Error.TOKEN and ctx.get(bench.dut.error.index) == 1

    bench.run(bench.source, script, units=[Unit.COMPUTE])


def test_stop():
    """After `stop` nothing is dispatched, and each unit can get only what was in front of it."""
    rng = random.Random(7)
    program = [isa.make("LOAD")] * 30 + [isa.make("END")]
    bench = Bench(Config(), program, rng=rng, stall=0.5, work=8)

    async def script(ctx):
        await ctx.tick().repeat(30)
        ctx.set(bench.dut.stop, 1)
        sent, taken = len(bench.sent), len(bench.taken[Unit.LOAD])
        await ctx.tick().repeat(60)
        assert len(bench.sent) <= sent + 1 and len(bench.taken[Unit.LOAD]) <= taken + 2
        assert not ctx.get(bench.dut.empty)

    simulate(bench.dut, script, background=[bench.clock, bench.source, *(bench.unit(unit) for unit in QUEUE_UNITS)])


@pytest.mark.parametrize("kwargs, text", [
    (dict(unit=Unit.CONTROL, depth=8), "unit must be a unit with a queue, not <Unit.CONTROL: 6>"),
    (dict(unit=Unit.LOAD, depth=12), "depth must be a power of two from 2 upwards, not 12"),
])  # fmt: skip
def test_queue_parameters(kwargs, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        InstructionQueue(**kwargs)
