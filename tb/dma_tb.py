"""Copies through the activation memory, by random LOADs and STOREs, against a copy in Python."""

import random

import cocotb
from axi_monitor import AxiMonitor
from bench import Memory, attach_memory, config, start_clock
from cocotb.triggers import ClockCycles, RisingEdge
from rowcast import isa
from rowcast.isa import Space, Unit
from rowcast.registers import Error

BASE, SIZE = 0x3000, 1 << 17
DATA, PROGRAM = BASE + 0x1FC0, BASE + 0x40  # DATA_BASE stands just before a 4 KiB border
SOURCE_WORDS = 4000  # read by LOAD; STORE writes behind them
REACH = 2000  # words beyond `dram` that an instruction may touch
_TIMEOUT = {"timeout_time": 20, "timeout_unit": "ms"}


class Bench:
    """The unit under test, its memory, and a model of what it does."""

    def __init__(self, dut, seed, *, pause_percent=0, interleave=False):
        self.dut, self.config, self.rng = dut, config(), random.Random(seed)
        self.pause_percent = pause_percent
        noise = bytearray(self.rng.randbytes(SIZE))
        self.memory = Memory(BASE, noise, clock=dut.clk, latency=lambda: self.rng.randrange(20))
        attach_memory(dut, self.memory, seed=seed, pause_percent=pause_percent, interleave=interleave)
        self.monitor = AxiMonitor(dut, self.config)
        self.taken = {Space.PARAM: {}, Space.FILTER: {}}
        for name in ("start", "stop", "clear", "param_ready", "filter_grant"):
            getattr(dut, name).value = 0

    async def begin(self):
        """Clock, reset, windows."""
        lanes, dut = self.config.lanes, self.dut
        self.store_base = DATA + SOURCE_WORDS * lanes
        windows = {
            "read_base": BASE, "read_limit": self.store_base, "write_base": self.store_base, "write_limit": BASE + SIZE,
        }  # fmt: skip
        for name, value in {**windows, "data_base": DATA, "program_base": PROGRAM}.items():
            getattr(dut, name).value = value
        self.monitor.read_window = windows["read_base"], windows["read_limit"]
        self.monitor.write_window = windows["write_base"], windows["write_limit"]
        await start_clock(dut)
        cocotb.start_soon(self._take())

    async def _take(self):
        """The PARAM and FILTER memories: take words, with pauses."""
        dut, lanes = self.dut, self.config.lanes
        while True:
            grant = [self.rng.randrange(100) >= self.pause_percent for _ in range(2)]
            dut.param_ready.value, dut.filter_grant.value = grant
            await RisingEdge(dut.clk)
            if dut.param_valid.value and dut.param_ready.value:
                address = dut.param_address.value.to_unsigned()
                self.taken[Space.PARAM][address] = dut.param_data.value.to_unsigned().to_bytes(lanes, "little")
            if dut.filter_request.value and dut.filter_grant.value:
                data = dut.filter_data.value.to_unsigned().to_bytes(self.config.dram_bytes, "little")
                address, mask = dut.filter_address.value.to_unsigned(), int(dut.filter_mask.value)
                for word in range(self.config.dram_words):
                    if mask >> word & 1:
                        self.taken[Space.FILTER][address + word] = data[word * lanes :][:lanes]

    def transfer(self, name, strides):
        """Instructions of a random LOAD or STORE, with or without new row distances; `strides` is kept up to date."""
        rng, step = self.rng, self.config.dram_words
        space = Space.ACT if name == "STORE" else rng.choice((Space.ACT, Space.ACT, *Space))
        limit = {Space.ACT: self.config.act_words, Space.FILTER: self.config.filter_buffer_words,
                 Space.PARAM: self.config.param_channels}[space]  # fmt: skip
        words, rows = rng.choice((1, 2, 3, 17, rng.randint(1, 60))), rng.randint(1, 5)
        group = []
        if name not in strides or rng.random() < 0.7:
            distances = [(rng.randrange(words, words + 30) // step + 1) * step for _ in range(2)]
            strides[name] = dict(zip(("dram_stride", "buffer_stride"), distances, strict=True))
            group.append(isa.make(f"{name}_STRIDE", **strides[name]))
        distance = strides[name]["buffer_stride"]
        words = min(words, distance, strides[name]["dram_stride"])  # rows stay apart
        rows = min(rows, 1 + (limit - words - step) // distance)
        dram = rng.randrange(SOURCE_WORDS - REACH)
        if name == "STORE":
            dram += -(-SOURCE_WORDS // step) * step
        buffer = rng.randrange(limit - (rows - 1) * distance - words - step + 1)
        if space is not Space.PARAM:
            buffer = buffer // step * step + dram % step
        group.append(isa.make(name, space=space, dram=dram, buffer=buffer, words=words, rows=rows))
        return group

    def program(self, number):
        """LOADs and STOREs in turns of a few; each turn waits for the one before, so that a simple model is right."""
        program, strides, turn, other = [], {}, Unit.LOAD, Unit.STORE
        for _ in range(number):
            group = [i for _ in range(self.rng.randint(1, 4)) for i in self.transfer(turn.name, strides)]
            if program:
                group[0].wait = 1 << other
            group[-1].signal = 1 << other
            program += group
            turn, other = other, turn
        program[-1].signal = 0
        return [*program, isa.make("END")]

    def expected(self, program):
        """(memory, words taken by PARAM and FILTER) after the program."""
        lanes, memory = self.config.lanes, bytearray(self.memory.data)
        spaces = {Space.ACT: {}, Space.FILTER: {}, Space.PARAM: {}}
        strides = {"LOAD": None, "STORE": None}
        for i in program:
            if i.name.endswith("_STRIDE"):
                strides[i.name[:-7]] = i.fields
            elif i.name in strides:
                stride = strides[i.name] or {"dram_stride": 0, "buffer_stride": 0}
                for row in range(i["rows"]):
                    for word in range(i["words"]):
                        there = i["buffer"] + row * stride["buffer_stride"] + word
                        at = DATA - BASE + lanes * (i["dram"] + row * stride["dram_stride"] + word)
                        if i.name == "LOAD":
                            spaces[Space(i["space"])][there] = bytes(memory[at : at + lanes])
                        elif there in spaces[Space.ACT]:
                            memory[at : at + lanes] = spaces[Space.ACT][there]
                        else:
                            self.unknown.append((at, at + lanes))
        return memory, spaces

    def bytes_of(self, program, name):
        """(index, first byte, byte after the last) of each row of each LOAD or STORE."""
        lanes, stride, rows = self.config.lanes, 0, []
        for index, i in enumerate(program):
            if i.name == f"{name}_STRIDE":
                stride = i["dram_stride"]
            elif i.name == name:
                for row in range(i["rows"]):
                    start = DATA + lanes * (i["dram"] + row * stride)
                    rows.append((index, start, start + lanes * i["words"]))
        return rows

    def put(self, program):
        """The program into memory."""
        code = b"".join(map(isa.encode, program))
        assert len(code) < DATA - PROGRAM
        self.memory.data[PROGRAM - BASE : PROGRAM - BASE + len(code)] = code
        self.dut.program_length.value = len(program)

    async def pulse(self, name):
        """One cycle."""
        getattr(self.dut, name).value = 1
        await RisingEdge(self.dut.clk)
        getattr(self.dut, name).value = 0

    async def run(self, program):
        """Run a program without errors, and compare."""
        self.unknown = []
        self.taken[Space.PARAM].clear()
        self.taken[Space.FILTER].clear()
        self.put(program)
        memory, spaces = self.expected(program)
        await self.pulse("start")
        quiet = 0
        while quiet < 10:
            await RisingEdge(self.dut.clk)
            quiet = quiet + 1 if self.dut.quiet.value else 0
            assert not self.dut.error_valid.value, self.error()
        assert self.monitor.quiet()
        for start, stop in self.unknown:  # words that no LOAD has written: any value
            memory[start:stop] = self.memory.data[start:stop]
        wrong = [i for i, (got, want) in enumerate(zip(self.memory.data, memory, strict=True)) if got != want]
        assert not wrong, f"{len(wrong)} bytes in memory, the first at {wrong[0] + BASE:#x}"
        for space in (Space.PARAM, Space.FILTER):
            assert self.taken[space] == spaces[space], space.name

    def error(self):
        """(code, index)."""
        return Error(self.dut.error_code.value.to_unsigned()), self.dut.error_index.value.to_unsigned()

    async def clear(self):
        """Stop as run control does, and wait until the bus is idle; then a reset without the bus's."""
        self.dut.stop.value = 1
        for _ in range(8):
            await RisingEdge(self.dut.clk)
            while not self.dut.idle.value:
                await RisingEdge(self.dut.clk)
        assert self.monitor.quiet()
        self.dut.clear.value = 1
        await ClockCycles(self.dut.clk, 4)
        self.dut.clear.value = 0
        self.dut.stop.value = 0
        await RisingEdge(self.dut.clk)


@cocotb.test(**_TIMEOUT)
@cocotb.parametrize(pause_percent=[0, 60], interleave=[False, True])
async def copies(dut, pause_percent, interleave):
    bench = Bench(dut, pause_percent + interleave, pause_percent=pause_percent, interleave=interleave)
    await bench.begin()
    for _ in range(2):
        await bench.run(bench.program(10))
        await bench.clear()


@cocotb.test(**_TIMEOUT)
async def stopped_at_any_time(dut):
    """Whatever is under way ends by the rules; what comes after the reset is right."""
    bench = Bench(dut, 7, pause_percent=40, interleave=True)
    await bench.begin()
    for _ in range(25):
        program = bench.program(6)
        bench.put(program)
        await bench.pulse("start")
        await ClockCycles(dut.clk, bench.rng.randrange(1, 500))
        await bench.clear()
    await bench.run(bench.program(10))


@cocotb.test(**_TIMEOUT)
@cocotb.parametrize(pause_percent=[0, 50])
async def bad_answers(dut, pause_percent):
    """The instruction is named; nothing hangs."""
    bench = Bench(dut, 9 + pause_percent, pause_percent=pause_percent)
    await bench.begin()
    beat = bench.config.dram_bytes
    for kind in ("LOAD", "STORE") * 3:
        program = bench.program(8)
        rows = bench.bytes_of(program, kind)
        start = bench.rng.choice(rows)[1] // beat * beat
        first = next(index for index, low, high in rows if low < start + beat and start < high)
        bad = bench.memory.bad_reads if kind == "LOAD" else bench.memory.bad_writes
        bad.append((start, start + beat))
        bench.put(program)
        await bench.pulse("start")
        while not dut.error_valid.value:
            await RisingEdge(dut.clk)
        want = Error.READ_RESPONSE if kind == "LOAD" else Error.WRITE_RESPONSE
        assert bench.error() == (want, first), f"{bench.error()}, not {want!r} at {first}"
        await bench.clear()
        bad.clear()
    await bench.run(bench.program(6))
