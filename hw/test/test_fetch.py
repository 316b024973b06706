"""Fetch: every beat width, 4 KiB borders, stalls, throughput, errors."""

import random

import pytest
from amaranth.sim import Simulator

from rowcast import Config, isa
from rowcast.fetch import Fetch
from rowcast.registers import Error

END = isa.FORMATS["END"].opcode
MARK = isa.FORMATS["MARK"].opcode
MEMORY_BYTES = 1 << 15


def config_of(dram_bytes, **changes):
    lanes = min(16, max(4, dram_bytes // 4))
    return Config(
        **{"lanes": lanes, "dram_bytes": dram_bytes, "address_width": 24, "act_banks": 16, "burst_beats": 16} | changes
    )


def program_of(rng, length, end=True):
    """Random instructions, none of them END but the last."""
    words = [rng.getrandbits(isa.BITS - 5) << 5 | MARK for _ in range(length)]
    if end:
        words[-1] = words[-1] >> 5 << 5 | END
    return words


class Bench:
    """A memory with latency and random stalls on one side, a sink on the other; checks the rules of the bursts."""

    def __init__(self, config, words, *, base, rng, stall=0.0, latency=0, fault=None, limit=None, window_base=0,
                 length=None):  # fmt: skip
        self.config, self.words, self.base, self.rng = config, words, base, rng
        self.stall, self.latency = stall, latency
        self.fault = fault  # byte address of a beat with an error response
        self.memory = bytearray(rng.randbytes(MEMORY_BYTES))
        for i, word in enumerate(words):
            self.memory[base + 16 * i : base + 16 * i + 16] = word.to_bytes(16, "little")
        self.length = len(words) if length is None else length
        self.limit, self.window_base = MEMORY_BYTES if limit is None else limit, window_base
        self.dut = Fetch(config)
        self.got, self.bursts, self.cycles, self.under_way = [], [], [], 0

    def _idle(self):
        return self.rng.random() < self.stall

    async def serve(self, ctx):
        dut, queue, now, offered = self.dut, [], 0, None
        while True:
            ar_ready, r_valid = not self._idle(), bool(queue) and queue[0][0] <= now and not self._idle()
            ctx.set(dut.ar.ready, ar_ready)
            ctx.set(dut.r.valid, r_valid)
            if r_valid:
                _, address, last = queue[0]
                size = self.config.dram_bytes
                ctx.set(dut.r.payload.data, int.from_bytes(self.memory[address : address + size], "little"))
                ctx.set(dut.r.payload.resp, 2 if address == self.fault else 0)
                ctx.set(dut.r.payload.last, last)
            _, _, valid, addr, length, r_ready, idle = await ctx.tick().sample(
                dut.ar.valid, dut.ar.payload.addr, dut.ar.payload.len, dut.r.ready, dut.idle
            )
            assert r_ready
            assert idle == (not valid and not queue)
            if offered is not None:
                assert valid and (addr, length) == offered
            offered = (addr, length) if valid and not ar_ready else None
            if r_valid:
                queue.pop(0)
            if valid and ar_ready:
                beats, size = length + 1, self.config.dram_bytes
                self.bursts.append((addr, beats))
                assert addr % size == 0 and addr // 4096 == (addr + beats * size - 1) // 4096
                assert addr >= self.window_base and addr + beats * size <= self.limit
                assert beats <= self.config.burst_beats
                queue += [(now + self.latency + i, addr + size * i, i == beats - 1) for i in range(beats)]
            now += 1

    async def sink(self, ctx):
        dut, now = self.dut, 0
        while True:
            ready = not self._idle()
            ctx.set(dut.o.ready, ready)
            _, _, valid, word, index = await ctx.tick().sample(
                dut.o.valid, dut.o.payload.as_value()[: isa.BITS], dut.o.payload.index
            )
            if valid and ready:
                self.got.append((word, index))
                self.cycles.append(now)
            now += 1

    async def begin(self, ctx):
        dut = self.dut
        ctx.set(dut.program_base, self.base)
        ctx.set(dut.program_length, self.length)
        ctx.set(dut.window_base, self.window_base)
        ctx.set(dut.window_limit, self.limit)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)

    def run(self, script, cycles=8000):
        """Run the script to its end; fail when it takes more than `cycles`."""

        async def watchdog(ctx):
            for _ in range(cycles):
                await ctx.tick()
            raise TimeoutError(f"no end after {cycles} cycles")

        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        for testbench in (self.serve, self.sink, watchdog):
            sim.add_testbench(testbench, background=True)
        sim.add_testbench(script)
        sim.run()

    def run_to(self, condition, *, settle=60, then=None):
        """Start, wait for `condition(dut)`, then some cycles more."""

        async def script(ctx):
            await self.begin(ctx)
            await ctx.tick().until(condition(self.dut))
            await ctx.tick().repeat(settle)
            self.state = (ctx.get(self.dut.error.valid), ctx.get(self.dut.error.code), ctx.get(self.dut.error.index))
            if then is not None:
                await then(ctx)

        self.run(script)


def end_taken(dut):
    return dut.o.valid & dut.o.ready & (dut.o.payload.opcode == END)


def expect(words):
    return [(word, i) for i, word in enumerate(words)]


@pytest.mark.parametrize("dram_bytes", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("length", [1, 5, 70])
def test_program(dram_bytes, stall, length):
    rng = random.Random(f"{dram_bytes} {stall} {length}")
    words = program_of(rng, length)
    base = 4096 - dram_bytes * rng.randrange(1, 10)  # the program crosses a 4 KiB border
    bench = Bench(config_of(dram_bytes), words, base=base, rng=rng, stall=stall, latency=rng.randrange(20))
    bench.run_to(end_taken)
    assert bench.got == expect(words)
    assert bench.state[0] == 0
    last_beat = max(addr + beats * dram_bytes for addr, beats in bench.bursts)
    assert last_beat - base == -(-16 * length // dram_bytes) * dram_bytes


@pytest.mark.parametrize("dram_bytes, cycles", [(4, 4), (8, 2), (16, 1), (32, 1), (64, 1)])
def test_throughput(dram_bytes, cycles):
    """With a memory that answers at once a narrow bus never rests; a wide one gives almost an instruction a cycle."""
    words = program_of(random.Random(1), 96)
    bench = Bench(config_of(dram_bytes), words, base=0, rng=random.Random(2))
    bench.run_to(end_taken)
    total = bench.cycles[-1] - bench.cycles[0]
    assert total <= 95 * cycles * 1.05 + 8, total


def test_small_bursts():
    rng = random.Random(5)
    words = program_of(rng, 40)
    bench = Bench(config_of(8, burst_beats=4), words, base=4096 - 8, rng=rng, stall=0.2, latency=3)
    bench.run_to(end_taken)
    assert bench.got == expect(words)


@pytest.mark.parametrize("dram_bytes", [4, 8, 64])
def test_nothing_after_end_and_second_run(dram_bytes):
    """What stands after END is not given out, faults there do not count, the next run starts with a clean buffer."""
    rng = random.Random(7)
    words = program_of(rng, 60, end=False)
    words[3] = words[3] >> 5 << 5 | END
    bench = Bench(config_of(dram_bytes), words, base=128, rng=rng, stall=0.3, latency=5, fault=128 + 64)

    async def again(ctx):
        first = list(bench.got)
        assert first == expect(words[:4])
        bench.got.clear()
        bench.fault = None
        await ctx.tick().until(bench.dut.idle)
        await bench.begin(ctx)
        await ctx.tick().until(end_taken(bench.dut))
        assert ctx.get(bench.dut.error.valid) == 0

    bench.run_to(end_taken, then=again)
    assert bench.got == expect(words[:4])


@pytest.mark.parametrize("dram_bytes", [4, 8, 16, 64])
@pytest.mark.parametrize("bad", [0, 6, 21])
def test_read_response(dram_bytes, bad):
    rng = random.Random(11 + bad)
    words, base = program_of(rng, 40), 64 * 3
    fault = (base + 16 * bad) // dram_bytes * dram_bytes
    bench = Bench(config_of(dram_bytes), words, base=base, rng=rng, stall=0.3, latency=4, fault=fault)
    bench.run_to(lambda dut: dut.error.valid)
    first = (fault - base) // 16
    assert bench.state == (1, Error.READ_RESPONSE, first)
    assert bench.got == expect(words[:first])


@pytest.mark.parametrize("dram_bytes", [4, 8, 16, 64])
def test_read_window(dram_bytes):
    rng = random.Random(13)
    words, base = program_of(rng, 40), 256
    config = config_of(dram_bytes)
    bench = Bench(config, words, base=base, rng=rng, stall=0.3, latency=4, limit=base + 20 * 16 + 1)
    bench.run_to(lambda dut: dut.error.valid)
    valid, code, index = bench.state
    assert (valid, code) == (1, Error.READ_WINDOW)
    assert index <= 20 and bench.got == expect(words[:index])
    burst = bench.dut.max_beats * dram_bytes
    assert index == max(0, (base + 20 * 16) // burst * burst - base) // 16


def test_window_base():
    rng = random.Random(17)
    bench = Bench(config_of(8), program_of(rng, 8), base=256, rng=rng, window_base=257)
    bench.run_to(lambda dut: dut.error.valid)
    assert bench.state == (1, Error.READ_WINDOW, 0) and bench.got == [] and bench.bursts == []


@pytest.mark.parametrize("length", [1, 9])
def test_no_end(length):
    rng = random.Random(19)
    words = program_of(rng, length, end=False)
    bench = Bench(config_of(64), words, base=0, rng=rng, stall=0.3)
    bench.run_to(lambda dut: dut.error.valid)
    assert bench.state == (1, Error.PROGRAM, length - 1) and bench.got == expect(words)


@pytest.mark.parametrize("length", [0, 1 << 24, (1 << 24) + 3])
def test_bad_length(length):
    rng = random.Random(23)
    bench = Bench(config_of(8), program_of(rng, 4), base=0, rng=rng, length=length)
    bench.run_to(lambda dut: dut.error.valid)
    assert bench.state == (1, Error.PROGRAM, 0) and bench.got == []


@pytest.mark.parametrize("after", range(0, 60, 7))
def test_stop(after):
    """After `stop` no burst is begun, what is under way is taken, and `idle` follows."""
    rng = random.Random(29 + after)
    bench = Bench(config_of(8), program_of(rng, 200), base=0, rng=rng, stall=0.4, latency=10)

    async def script(ctx):
        await bench.begin(ctx)
        await ctx.tick().repeat(after + 1)
        ctx.set(bench.dut.stop, 1)
        await ctx.tick().repeat(3)
        await ctx.tick().until(bench.dut.idle)
        bursts, got = len(bench.bursts), len(bench.got)
        await ctx.tick().repeat(100)
        assert ctx.get(bench.dut.idle) and len(bench.bursts) == bursts and len(bench.got) <= got + 1

    bench.run(script)
