"""Fetch, queues, tokens and the offer of instructions of a compact accelerator, with memory and units that make it wait."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from rowcast import isa
from rowcast.compact.front import PAIRS, UNITS, Front
from rowcast.config import PRESETS
from rowcast.isa import Unit
from rowcast.registers import Error

CONFIGS = {
    "two beats": PRESETS["micro"],
    "four beats": PRESETS["micro"].replace(lanes=4, dram_bytes=4, queue_depth=16),
}
BASE = 0x120  # in units of 16 bytes
MEET = {}
for producer, consumer in PAIRS:
    MEET.setdefault(producer, []).append(consumer)


def random_program(rng, count):
    """Instructions with random payloads, and tokens each of which an earlier one of the partner makes."""
    program, tokens = [], {}
    for _ in range(count):
        form = rng.choice([form for form in isa.FORMATS.values() if form.unit in UNITS])
        fields = {f.name: rng.randrange(1 << f.width - f.signed) for f in form.fields}
        instruction = isa.make(form.name, **fields)
        for producer, consumer in PAIRS:
            if consumer == form.unit and tokens.get((producer, consumer), 0) and rng.random() < 0.6:
                tokens[producer, consumer] -= 1
                instruction.wait |= 1 << producer
        for consumer in MEET.get(form.unit, ()):
            if tokens.get((form.unit, consumer), 0) < 10 and rng.random() < 0.4:
                tokens[form.unit, consumer] = tokens.get((form.unit, consumer), 0) + 1
                instruction.signal |= 1 << consumer
        program.append(instruction)
    return [*program, isa.make("END")]


class Bench:
    """A Front, a memory that answers after a while, and six units that work for a while."""

    def __init__(self, config, code, rng, *, stall, work, bad=None):
        self.dut, self.config, self.code, self.rng = Front(config), config, code, rng
        self.stall, self.work, self.bad = stall, work, bad
        self.given = {unit: [] for unit in UNITS}
        self.tokens = {pair: 0 for pair in PAIRS}
        self.bursts = 0

    def _waits(self):
        return self.rng.random() < self.stall

    async def memory(self, ctx):
        """Bursts one at a time; a beat stays until it is taken."""
        dut, size = self.dut, self.config.dram_bytes
        while True:
            ctx.set(dut.ar.ready, 0)
            while not ctx.get(dut.ar.valid) or self._waits():
                await ctx.tick()
            ctx.set(dut.ar.ready, 1)
            address, beats = ctx.get(dut.ar.payload.addr), ctx.get(dut.ar.payload.len) + 1
            await ctx.tick()
            ctx.set(dut.ar.ready, 0)
            assert beats * size == isa.BYTES
            self.bursts += 1
            for beat in range(beats):
                while self._waits():
                    await ctx.tick()
                start = address + beat * size - 16 * BASE
                ctx.set(dut.r.payload.data, int.from_bytes(self.code[start : start + size].ljust(size, b"\0"), "little"))
                ctx.set(dut.r.payload.resp, 2 if self.bad is not None and start == self.bad else 0)
                ctx.set(dut.r.valid, 1)
                await ctx.tick().until(dut.r.ready)
                ctx.set(dut.r.valid, 0)

    async def unit(self, ctx, unit):
        """Takes an instruction in one cycle, or a loop of IFMAP in two; then works."""
        dut, rng = self.dut, self.rng

        def put(port, value):
            ctx.set(port[unit], value)

        while True:
            put(dut.idle, 1)
            while not ctx.get(dut.valid[unit]):
                await ctx.tick()
            opcode = ctx.get(dut.opcode)
            if isa.FORMATS["IFMAP_LOOP"].opcode == opcode:
                put(dut.hold, 1)
                await ctx.tick()
                put(dut.hold, 0)
                assert ctx.get(dut.valid[unit]) and ctx.get(dut.opcode) == opcode
            signal = self._start(unit, opcode, ctx.get(dut.payload))
            await ctx.tick()
            put(dut.idle, 0)
            for _ in range(rng.randrange(self.work)):
                await ctx.tick()
            put(dut.done, 1)
            for consumer in range(isa.TOKEN_UNITS):
                if signal >> consumer & 1:
                    self.tokens[unit, consumer] += 1
            await ctx.tick()
            put(dut.done, 0)

    def _start(self, unit, opcode, payload):
        """Compare with the program's next instruction of this unit, whose tokens must be there; returns what it signals."""
        want = self.queues[unit][len(self.given[unit])]
        value = int.from_bytes(isa.encode(want), "little")
        assert (opcode, payload) == (value & 31, value >> isa.PAYLOAD_START), f"{unit.name} {len(self.given[unit])}"
        for producer in range(isa.TOKEN_UNITS):
            if want.wait >> producer & 1:
                assert self.tokens[producer, unit] > 0, f"{unit.name} {len(self.given[unit])} starts without its token"
                self.tokens[producer, unit] -= 1
        self.given[unit].append(want)
        return want.signal if unit < isa.TOKEN_UNITS else 0

    def run(self, program, *, until):
        self.queues = {unit: [i for i in program if i.unit is unit] for unit in UNITS}
        sim = Simulator(self.dut)
        sim.add_clock(1e-6)

        async def control(ctx):
            ctx.set(self.dut.program_base, BASE)
            ctx.set(self.dut.allowed, 1)
            await ctx.tick().repeat(3)
            ctx.set(self.dut.start, 1)
            await ctx.tick()
            ctx.set(self.dut.start, 0)
            for _ in range(60_000):
                if until(ctx, self):
                    await ctx.tick().repeat(50)
                    return
                await ctx.tick()
            raise AssertionError(f"stuck after {sum(map(len, self.given.values()))} instructions")

        sim.add_testbench(self.memory, background=True)
        for number in UNITS:

            async def work(ctx, number=number):
                await self.unit(ctx, number)

            sim.add_testbench(work, background=True)
        sim.add_testbench(control)
        sim.run()


def finished(ctx, bench):
    return ctx.get(bench.dut.ended) and ctx.get(bench.dut.empty)


def failed(ctx, bench):
    return ctx.get(bench.dut.error.valid)


@pytest.mark.parametrize("name, stall, work", [("two beats", 0, 1), ("two beats", 0.5, 30), ("four beats", 0.2, 200)])
def test_programs(name, stall, work):
    rng = random.Random(name + str(work))
    program = random_program(rng, 150)
    bench = Bench(CONFIGS[name], b"".join(map(isa.encode, program)), rng, stall=stall, work=work)
    bench.run(program, until=finished)
    assert {unit: len(given) for unit, given in bench.given.items()} == {u: len(q) for u, q in bench.queues.items()}
    # With slow units some instructions are read again, since their queue was full.
    assert bench.bursts == len(program) if work == 1 else bench.bursts >= len(program)


def test_a_full_queue_reads_again():
    config, rng = CONFIGS["two beats"], random.Random(4)
    program = [*(isa.make("STORE", rows=i + 1) for i in range(config.queue_depth + 3)), isa.make("END")]
    bench = Bench(config, b"".join(map(isa.encode, program)), rng, stall=0, work=400)
    bench.run(program, until=finished)
    assert len(bench.given[Unit.STORE]) == config.queue_depth + 3
    assert len(program) < bench.bursts <= len(program) + 3


@pytest.mark.parametrize("bad, code", [("opcode", Error.OPCODE), ("read", Error.READ_RESPONSE)])
def test_errors(bad, code):
    program = [isa.make("MARK", layer=i) for i in range(4)]
    data = bytearray(b"".join(map(isa.encode, [*program, isa.make("END")])))
    if bad == "opcode":
        data[32] = data[32] & ~31 | 30
    bench = Bench(CONFIGS["two beats"], bytes(data), random.Random(1), stall=0.1, work=3, bad=40 if bad == "read" else None)
    seen = []

    def until(ctx, bench):
        seen.append(ctx.get(bench.dut.error.code))
        return failed(ctx, bench)

    bench.run(program, until=until)
    assert seen[-1] == code
    assert len(bench.given[Unit.POST]) >= 2 and bench.bursts == 3
