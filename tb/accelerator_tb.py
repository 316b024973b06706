"""The whole accelerator: programs of small networks against the golden, with a foreign AXI manager and memory."""

import random
import sys
from pathlib import Path

import cocotb
import numpy as np
from axi_monitor import AxiMonitor
from bench import Host, Memory, attach_memory, config, reset, start_clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from rowcast import isa
from rowcast.registers import CAUSES, COUNTERS, ID_VALUE, VERSION_VALUE, Error
from rowcast_models import graph as g
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import digits, lenet5, to_int8

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sim" / "test"))

from networks import convolution, everything, inputs_of, random_convolution  # noqa: E402

START, SOFT_RESET = 1, 2
BUSY, DONE, ERROR = 1, 2, 4
SPARE = 8192  # bytes of memory before and after what a program needs
PAGE = 4096


class Machine:
    """The accelerator, its memory, its host, and the monitor of its bus.

    Parameters
    ----------
    dut : handle.
    base : first byte of memory.
    size : bytes of memory.
    seed, pause_percent, interleave, latency : of the memory and the host: see `attach_memory`.
    """

    def __init__(self, dut, *, base=None, size=1 << 20, seed=1, pause_percent=0, interleave=False, latency=20):
        self.dut, self.config = dut, config()
        self.rng = np.random.default_rng(seed)
        # Above 4 GiB where the address has the bits, so that the upper halves of the registers matter.
        self.base = base or (0x12_3450_0000 if self.config.address_width >= 40 else 0x7000)
        delay = random.Random(seed)
        noise = bytearray(self.rng.integers(0, 256, size, np.uint8).tobytes())
        self.memory = Memory(self.base, noise, clock=dut.clk, latency=lambda: delay.randint(0, latency))
        attach_memory(dut, self.memory, seed=seed, pause_percent=pause_percent, interleave=interleave)
        self.host = Host(dut, seed=seed, pause_percent=pause_percent)
        self.monitor = AxiMonitor(dut, self.config)

    async def start(self):
        """Clock and reset, and the registers that never change."""
        await start_clock(self.dut)
        assert await self.host.read("ID") == ID_VALUE
        assert await self.host.read("VERSION") == VERSION_VALUE
        assert await self.host.read("CONFIG") == self.config.digest()
        assert await self.host.read("STATUS") == 0
        await self.host.write("IRQ_ENABLE", 3)

    # A program in memory --------------------------------------------------------------------------------------------

    async def load(self, program, inputs):
        """Put a program into memory, amid noise, and its places into the registers.

        The instructions stand behind the data, on a beat but on no page; what STORE may write is noise at first.
        """
        self.program, lanes = program, self.config.lanes
        self.memory.bad_reads.clear()
        self.memory.bad_writes.clear()
        image = program.image(inputs)[program.data_offset :]
        first, last = (lanes * word for word in program.writable)
        self.data_base = self.base + SPARE
        self.program_base = self.data_base + -(-len(image) // PAGE) * PAGE + 3 * self.config.dram_bytes
        self.windows = {
            "READ_BASE": self.data_base,
            "READ_LIMIT": self.program_base + _whole(len(program.code), self.config.dram_bytes),
            "WRITE_BASE": self.data_base + first, "WRITE_LIMIT": self.data_base + last,
        }  # fmt: skip
        noise = self.rng.integers(0, 256, len(image), np.uint8)
        fill = image.copy()
        fill[first:] = noise[first:]
        for name, values in inputs.items():
            offset, data = program.input_bytes(name, values)
            offset -= program.data_offset
            fill[offset : offset + len(data)] = data
        self.put(self.data_base, fill.tobytes())
        self.put(self.program_base, program.code)
        await self.registers(
            PROGRAM_LENGTH=len(program.instructions), PROGRAM_BASE=self.program_base, DATA_BASE=self.data_base,
            **self.windows,
        )  # fmt: skip

    def put(self, address, data):
        """Write memory."""
        start = address - self.base
        assert 0 <= start and start + len(data) <= len(self.memory.data), "the test's memory is too small"
        self.memory.data[start : start + len(data)] = data

    async def registers(self, **values):
        """Write registers; the monitor knows the windows."""
        for name, value in values.items():
            await self.host.write(name, value)
            if name in self.windows:
                self.windows[name] = value
        self.monitor.read_window = self.windows["READ_BASE"], self.windows["READ_LIMIT"]
        self.monitor.write_window = self.windows["WRITE_BASE"], self.windows["WRITE_LIMIT"]

    # Runs ---------------------------------------------------------------------------------------------------------

    async def begin(self):
        """Start."""
        self.before = bytes(self.memory.data)
        self.monitor.clear()
        assert not self.dut.irq.value
        await self.host.write("CONTROL", START)

    async def interrupt(self, cycles=400_000):
        """Wait for the interrupt; no later than the limit, then say where everything stands."""
        if not self.dut.irq.value:
            try:
                await with_timeout(RisingEdge(self.dut.irq), 10 * cycles, "ns")
            except cocotb.triggers.SimTimeoutError:
                queues, units, status = [await self.host.read(name) for name in ("QUEUES", "UNITS", "STATUS")]
                raise AssertionError(
                    f"no interrupt: QUEUES {queues:06x}, UNITS {units:04x}, STATUS {status:08x}"
                ) from None

    async def finish(self, want):
        """The end of a run without errors: status, interrupt, every tensor, all else in memory, counters."""
        await self.interrupt()
        assert self.monitor.quiet()
        assert await self.host.read("STATUS") == DONE | len(self.program.layers) << 16
        assert await self.host.read("ERROR_CODE") == 0
        await self.acknowledge(1)
        self.check_memory(want)
        await self.check_counters()

    async def acknowledge(self, bits):
        """Read and clear IRQ_STATUS; the interrupt falls."""
        assert await self.host.read("IRQ_STATUS") == bits
        await self.host.write("IRQ_STATUS", bits)
        assert await self.host.read("IRQ_STATUS") == 0
        assert not self.dut.irq.value

    def check_memory(self, want):
        """Every tensor is the golden's, and what is no tensor's is as it was."""
        program, image = self.program, np.frombuffer(bytes(self.memory.data), np.uint8).copy()
        kept, before = np.ones(len(image), bool), np.frombuffer(self.before, np.uint8)
        for name in program.tensors:
            offset, size = program.span(name)
            start = self.data_base - self.base + offset - program.data_offset
            got = program.tensor(name, image[start : start + size])
            np.testing.assert_array_equal(got, want[name], f"tensor {name}")
            if name not in program.inputs:
                kept[start : start + size] = False
        wrong = np.flatnonzero(kept & (image != before))
        assert not wrong.size, f"{wrong.size} bytes outside the tensors changed, first {wrong[0] + self.base:#x}"

    async def run(self, program, inputs, want):
        """Load, start, and check all."""
        await self.load(program, inputs)
        await self.begin()
        await self.finish(want)

    async def counters(self):
        """All counters; their causes add up."""
        counters = {name: await self.host.counter(name) for name in COUNTERS}
        causes = sum(counters[f"cause_{cause}"] for cause in CAUSES)
        assert counters["cycles"] == causes, f"{counters['cycles']} cycles, {causes} in causes"
        return counters

    async def check_counters(self):
        """What the program and the monitor know exactly."""
        counters = await self.counters()
        want = expected_counters(self.program) | {
            "read_beats": self.monitor.read_beats,
            "write_beats": self.monitor.write_beats,
        }
        got = {name: counters[name] for name in want}
        assert got == want
        assert want["mac_cycles"] <= counters["cause_computing"] <= counters["cycles"]
        cocotb.log.info("%s", counters)

    async def soft_reset(self):
        """Soft reset: idle at the end, nothing on the bus."""
        await self.host.write("CONTROL", SOFT_RESET)
        for _ in range(2000):
            if not await self.host.read("STATUS") & BUSY:
                break
        else:
            raise AssertionError("the soft reset does not end")
        assert self.monitor.quiet()
        assert await self.host.read("STATUS") & (DONE | ERROR) == 0
        for name in ("ERROR_CODE", "ERROR_INDEX", "QUEUES", "UNITS"):
            assert await self.host.read(name) == 0, name


def _whole(size, unit):
    return -(-size // unit) * unit


def expected_counters(program):
    """What the instructions say that some counters must be."""
    lanes, loops = program.config.lanes, {}
    counts = dict.fromkeys(("mac_cycles", "filter_flits", "ifmap_flits", "psums"), 0)
    counts["instructions"] = len(program.instructions)
    for i in program.instructions:
        f = i.fields
        match i.name:
            case "COMPUTE_LOOP_K" | "COMPUTE_LOOP_P" | "POST_LOOP":
                loops[i.name] = np.prod([value for name, value in f.items() if name.startswith("count")])
            case "IFMAP_LOOP":
                loops[f["pair"]] = f["count_a"] * f["count_b"]
            case "COMPUTE_RUN":
                counts["mac_cycles"] += f["chunks"] * loops["COMPUTE_LOOP_K"] * loops["COMPUTE_LOOP_P"]
            case "FILTER_RUN":
                counts["filter_flits"] += f["chunks"] * f["groups_row"] * f["groups_column"] * f["flits"]
            case "IFMAP_RUN" if not f["vector"]:
                counts["ifmap_flits"] += loops[0] * loops[1] * loops[2]
            case "POST_RUN" if f["source"] == isa.PostSource.DRAIN:
                counts["psums"] += f["rows"] * loops["POST_LOOP"] * lanes
    return {name: int(value) for name, value in counts.items()}


def compiled(graph, seed):
    """(program, inputs, what every tensor must be)."""
    inputs = inputs_of(graph, np.random.default_rng(seed))
    return compile_graph(graph, config(), keep_all=True), inputs, evaluate(graph, inputs)


def large_network(seed):
    """Every kind of node: several tens of thousands of MACs."""
    return compiled(everything(np.random.default_rng(seed), (1, 5, 6, 9)), seed)


def small_network(seed=5):
    """Two convolutions with a pooling between, some thousand cycles: for tests of something else."""
    rng = np.random.default_rng(seed)
    same = ((1, 1), (1, 1))
    nodes = [
        convolution(rng, name="first", source="x", output="a", channels=3, filters=9, kernel=(3, 3), padding=same),
        g.MaxPool(name="pool", inputs=("a",), output="b", window=(2, 2), stride=(2, 2)),
        convolution(rng, name="second", source="b", output="y", channels=9, filters=12, kernel=(1, 1), table=True),
    ]
    tensors = [g.Tensor("x", (1, 6, 5, 3), -3), *(g.Tensor(name) for name in "aby")]
    return compiled(g.Graph(name="small", tensors=tensors, inputs=["x"], outputs=["y"], nodes=nodes), seed)


async def machine(dut, **options):
    """A `Machine` out of reset."""
    result = Machine(dut, **options)
    await result.start()
    return result


# Networks -------------------------------------------------------------------------------------------------------------

_TIMEOUT = {"timeout_time": 50, "timeout_unit": "ms"}


@cocotb.test(**_TIMEOUT)
async def every_node(dut):
    await (await machine(dut)).run(*compiled(everything(np.random.default_rng(7), (1, 9, 10, 11)), 7))


@cocotb.test(**_TIMEOUT)
async def different_programs_in_a_row(dut):
    """Without a reset in between, so what one leaves behind meets the next."""
    bench = await machine(dut)
    for seed in range(3):
        await bench.run(*compiled(random_convolution(np.random.default_rng(seed)), seed))


@cocotb.test(**_TIMEOUT)
async def same_program_on_other_inputs(dut):
    bench, graph = await machine(dut), everything(np.random.default_rng(5), (1, 5, 6, 9))
    program = compile_graph(graph, config(), keep_all=True)
    for seed in (1, 2):
        inputs = inputs_of(graph, np.random.default_rng(seed))
        await bench.run(program, inputs, evaluate(graph, inputs))


@cocotb.test(**_TIMEOUT)
async def lenet5_digit(dut):
    graph, (images, labels) = lenet5(), digits()
    inputs = {"image": to_int8(images[:1])}
    want = evaluate(graph, inputs)
    assert want["OUT"].argmax() == labels[0]
    await (await machine(dut, latency=5)).run(compile_graph(graph, config(), keep_all=True), inputs, want)


# The bus --------------------------------------------------------------------------------------------------------------


@cocotb.test(**_TIMEOUT)
@cocotb.parametrize(percent=[0, 30, 80])
async def pauses_on_all_channels(dut, percent):
    bench = await machine(dut, seed=percent, pause_percent=percent, latency=percent)
    await bench.run(*large_network(percent))


@cocotb.test(**_TIMEOUT)
async def reads_answered_out_of_order(dut):
    """Fetch and LOAD have IDs of their own: the memory mixes their bursts and beats."""
    bench = await machine(dut, seed=3, pause_percent=20, interleave=True)
    await bench.run(*large_network(1))


@cocotb.test(**_TIMEOUT)
async def host_reads_and_writes_during_a_run(dut):
    """Registers can be read, a start is ignored, and what is read only stays so."""
    bench, (program, inputs, want) = await machine(dut), large_network(5)
    await bench.load(program, inputs)
    await bench.begin()
    rng, last, starts = random.Random(3), 0, 0
    while not dut.irq.value:
        cycles = await bench.host.counter("cycles")
        assert cycles >= last
        last = cycles
        for name in ("STATUS", "QUEUES", "UNITS", "COUNT_MAC_CYCLES", "ERROR_CODE"):
            await bench.host.read(name)
        if cycles < 2000:  # far from the end, where a start would be a new run
            assert await bench.host.read("STATUS") & (BUSY | DONE | ERROR) == BUSY
            await bench.host.write("CONTROL", START)
            await bench.host.write(rng.choice(("STATUS", "ERROR_CODE", "ID")), rng.getrandbits(32))
            starts += 1
    assert starts > 5
    await bench.finish(want)
    await ClockCycles(dut.clk, 200)
    assert await bench.host.read("STATUS") & BUSY == 0


# Errors ---------------------------------------------------------------------------------------------------------------


def index_of(program, name, number=0, **fields):
    """Index of the instruction of this name and these fields, the `number`-th such."""
    found = [
        i for i, other in enumerate(program.instructions)
        if other.name == name and all(other.fields[key] == value for key, value in fields.items())
    ]  # fmt: skip
    return found[number]


async def expect_error(bench, network, code, index):
    """The engine stops with this error; a start is ignored; a soft reset brings it back; the next run is right."""
    host, dut = bench.host, bench.dut
    await bench.begin()
    await bench.interrupt()
    assert bench.monitor.quiet()
    status = await host.read("STATUS")
    got = Error(await host.read("ERROR_CODE")), await host.read("ERROR_INDEX")
    assert status & (BUSY | DONE | ERROR) == ERROR, f"STATUS {status:#x}, error {got}"
    want = code, got[1] if index is None else index
    assert got == want, f"the error is {got[0].name} at {got[1]}, not {want[0].name} at {want[1]}"
    cocotb.log.info("%s at %d of %d", got[0].name, got[1], len(bench.program.instructions))
    await bench.acknowledge(2)
    await bench.counters()

    beats, bursts = bench.monitor.read_beats, len(bench.monitor.bursts)
    await host.write("CONTROL", START)
    await ClockCycles(dut.clk, 100)
    assert await host.read("STATUS") & (BUSY | DONE | ERROR) == ERROR
    assert (bench.monitor.read_beats, len(bench.monitor.bursts)) == (beats, bursts)
    assert (await host.read("ERROR_CODE"), await host.read("ERROR_INDEX")) == (want[0], want[1])
    assert not dut.irq.value

    await bench.soft_reset()
    await bench.run(*network)


def bad_instruction(kind, program):
    """(index, the instruction there, its error) of a program that is wrong in one place."""

    def changed(name, number=0, where=None, **fields):
        index = index_of(program, name, number, **(where or {}))
        old = program.instructions[index]
        new = isa.make(name, **(old.fields | fields))
        new.wait, new.signal = old.wait, old.signal
        return index, new

    act, filters = program.config.act_words, program.config.filter_buffer_words
    match kind:
        case "load beyond act":
            buffer = act - program.config.dram_words
            return *changed("LOAD", -1, {"space": isa.Space.ACT}, buffer=buffer), Error.BUFFER_RANGE
        case "load beyond filters":
            return *changed("LOAD", 0, {"space": isa.Space.FILTER}, buffer=filters), Error.BUFFER_RANGE
        case "load no words":
            return *changed("LOAD", -1, words=0), Error.FIELD
        case "load no such space":
            return *changed("LOAD", 2, space=3), Error.FIELD
        case "store beyond act":
            return *changed("STORE", 0, buffer=act), Error.BUFFER_RANGE
        case "filters beyond":
            return *changed("FILTER_RUN", 0, buffer=filters), Error.BUFFER_RANGE
        case "filter id":
            return *changed("FILTER_ID", 0, row=program.config.rows), Error.FIELD
        case "ifmap beyond":
            return *changed("IFMAP_RUN", 0, buffer=act), Error.BUFFER_RANGE
        case "ifmap before":
            return *changed("IFMAP_RUN", 0, buffer=-4096, y=0, x=0), Error.BUFFER_RANGE
        case "results beyond":
            return *changed("POST_RUN", 0, buffer=act), Error.BUFFER_RANGE
        case "results of too many rows":
            return *changed("POST_RUN", 0, rows=program.config.rows + 1), Error.FIELD
        case "no chunks":
            return *changed("COMPUTE_RUN", 0, chunks=0), Error.FIELD
        case "no turns":
            return *changed("COMPUTE_LOOP_K", 0, count_c=0), Error.FIELD
        case "waits for itself":
            index, new = changed("STORE", 0)
            new.wait |= 1 << isa.Unit.STORE
            return index, new, Error.FIELD
    raise KeyError(kind)


BAD_INSTRUCTIONS = (
    "load beyond act", "load beyond filters", "load no words", "load no such space", "store beyond act",
    "filters beyond", "filter id", "ifmap beyond", "ifmap before", "results beyond", "results of too many rows",
    "no chunks", "no turns", "waits for itself",
)  # fmt: skip


@cocotb.test(**_TIMEOUT)
async def bad_instructions(dut):
    """Each names itself in ERROR_INDEX."""
    bench, network = await machine(dut), small_network()
    program, inputs, _ = network
    for kind in BAD_INSTRUCTIONS:
        cocotb.log.info("%s", kind)
        index, instruction, code = bad_instruction(kind, program)
        await bench.load(program, inputs)
        bench.put(bench.program_base + index * isa.BYTES, isa.encode(instruction))
        await expect_error(bench, network, code, index)


@cocotb.test(**_TIMEOUT)
async def unknown_opcodes(dut):
    bench, network = await machine(dut), small_network()
    program, inputs, _ = network
    rng = random.Random(1)
    last = len(program.instructions) - 1
    for index in (0, rng.randrange(last), last):
        await bench.load(program, inputs)
        bench.put(bench.program_base + index * isa.BYTES, bytes([rng.choice((0, 20, 31))]))
        await expect_error(bench, network, Error.OPCODE, index)


@cocotb.test(**_TIMEOUT)
async def programs_without_end(dut):
    bench, network = await machine(dut), small_network()
    program, inputs, _ = network
    for length in (0, 1, len(program.instructions) // 2, len(program.instructions) - 1, 1 << 24):
        await bench.load(program, inputs)
        await bench.registers(PROGRAM_LENGTH=length)
        await expect_error(bench, network, Error.PROGRAM, max(0, length - 1) if length < 1 << 24 else 0)


@cocotb.test(**_TIMEOUT)
async def too_many_tokens(dut):
    """One more than a counter holds, all made by LOAD for FILTER."""
    bench, network = await machine(dut), small_network()
    program, inputs, _ = network
    load = isa.make("LOAD", space=isa.Space.FILTER, words=1, rows=1)
    load.signal = 1 << isa.Unit.FILTER
    code = isa.encode(load) * 100 + isa.encode(isa.make("END"))
    await bench.load(program, inputs)
    bench.put(bench.program_base, code)
    limit = bench.program_base + _whole(len(code), bench.config.dram_bytes)
    await bench.registers(PROGRAM_LENGTH=101, READ_LIMIT=limit)
    await expect_error(bench, network, Error.TOKEN, None)


# Windows and answers of the memory ----------------------------------------------------------------------------------


def transfers(bench, name):
    """(index, first byte, byte after the last) of each row of each LOAD or STORE, in order."""
    lanes, stride, rows = bench.config.lanes, 0, []
    for index, i in enumerate(bench.program.instructions):
        if i.name == f"{name}_STRIDE":
            stride = i["dram_stride"]
        elif i.name == name:
            for row in range(i["rows"]):
                start = bench.data_base + lanes * (i["dram"] + row * stride)
                rows.append((index, start, start + lanes * i["words"]))
    return rows


@cocotb.test(**_TIMEOUT)
@cocotb.parametrize(end=["base", "limit"])
async def windows(dut, end):
    """The first row that leaves its window is named; the monitor sees no access outside."""
    bench, network = await machine(dut), small_network()
    program, inputs, _ = network
    beat = bench.config.dram_bytes
    for name, kind in (("LOAD", "READ"), ("STORE", "WRITE")):
        await bench.load(program, inputs)
        rows = transfers(bench, name)
        chosen = rows[len(rows) // 2]
        if end == "base":
            border = chosen[1] // beat * beat + beat
            first = next(index for index, start, _ in rows if start // beat * beat < border)
        else:
            border = _whole(chosen[2], beat) - beat
            first = next(index for index, _, stop in rows if _whole(stop, beat) > border)
            if name == "LOAD":  # the program stands behind the data: move it before
                bench.program_base = bench.base
                bench.put(bench.base, program.code)
                assert len(program.code) <= SPARE
                await bench.registers(PROGRAM_BASE=bench.base, READ_BASE=bench.base)
        await bench.registers(**{f"{kind}_{end.upper()}": border})
        await expect_error(bench, network, getattr(Error, f"{kind}_WINDOW"), first)


@cocotb.test(**_TIMEOUT)
async def program_outside_its_window(dut):
    """The instruction is named whose beats cannot be read; those before it have run."""
    bench, network = await machine(dut), small_network()
    program, inputs, _ = network
    burst = min(max(16, 256 // bench.config.dram_bytes) // 2, bench.config.burst_beats) * bench.config.dram_bytes
    for index in (0, len(program.instructions) // 2):
        await bench.load(program, inputs)
        # Fetch compares whole bursts, so on their borders it is precise.
        border = bench.program_base + index * isa.BYTES
        border = border // burst * burst if index else border
        await bench.registers(READ_LIMIT=border)
        first = (border - bench.program_base) // isa.BYTES if index else 0
        await expect_error(bench, network, Error.READ_WINDOW, first)


@cocotb.test(**_TIMEOUT)
@cocotb.parametrize(pause_percent=[0, 40])
async def memory_answers_with_errors(dut, pause_percent):
    bench, network = await machine(dut, pause_percent=pause_percent, seed=pause_percent + 1), small_network()
    program, inputs, _ = network
    beat = bench.config.dram_bytes
    for name, share, bad, code in (
        ("LOAD", 0.0, "bad_reads", Error.READ_RESPONSE), ("LOAD", 0.7, "bad_reads", Error.READ_RESPONSE),
        ("STORE", 0.0, "bad_writes", Error.WRITE_RESPONSE), ("STORE", 0.6, "bad_writes", Error.WRITE_RESPONSE),
    ):  # fmt: skip
        await bench.load(program, inputs)
        rows = transfers(bench, name)
        _, start, stop = rows[int(share * len(rows))]
        getattr(bench.memory, bad).append((start, stop))
        # Whole beats are read, but only the bytes of a row are written.
        low, high = (start // beat * beat, _whole(stop, beat)) if name == "LOAD" else (start, stop)
        first = next(index for index, begin, end in rows if begin < high and low < end)
        await expect_error(bench, network, code, first)
    for index in (0, len(program.instructions) - 1):
        await bench.load(program, inputs)
        address = bench.program_base + index * isa.BYTES
        bench.memory.bad_reads.append((address, address + isa.BYTES))
        per_beat = max(1, beat // isa.BYTES)
        await expect_error(bench, network, Error.READ_RESPONSE, index // per_beat * per_beat)


# Resets in the middle -----------------------------------------------------------------------------------------------


@cocotb.test(**_TIMEOUT)
@cocotb.parametrize(pause_percent=[0, 50])
async def soft_resets_in_the_middle(dut, pause_percent):
    """At any time, with reads and writes under way: the bus's rules hold, and the next run is right."""
    bench, network = await machine(dut, seed=3, pause_percent=pause_percent, latency=40), small_network()
    program, inputs, want = network
    await bench.run(*network)
    cycles = await bench.host.counter("cycles")
    rng, caught = random.Random(pause_percent), {"reads": 0, "writes": 0}
    for number in range(12):
        await bench.load(program, inputs)
        await bench.begin()
        await ClockCycles(dut.clk, rng.randrange(5, cycles))
        kind = (None, "reads", None, "writes")[number % 4]  # with a transfer of this kind under way, if there is one
        while kind and not getattr(bench.monitor, kind) and not dut.irq.value:
            await RisingEdge(dut.clk)
        for kind in caught:
            caught[kind] += bool(getattr(bench.monitor, kind))
        await bench.soft_reset()
        if await bench.host.read("IRQ_STATUS"):
            await bench.acknowledge(1)
        if number % 3 == 2:
            await bench.run(program, inputs, want)
    cocotb.log.info("resets with transfers under way: %s", caught)
    assert all(caught.values())


@cocotb.test(**_TIMEOUT)
async def hard_reset_in_the_middle(dut):
    """The reset of the whole system, memory included."""
    bench, network = await machine(dut), small_network()
    program, inputs, want = network
    for cycles in (50, 300, 900):
        await bench.load(program, inputs)
        await bench.begin()
        await ClockCycles(dut.clk, cycles)
        await reset(dut)
        assert await bench.host.read("STATUS") == 0
        assert await bench.host.read("PROGRAM_LENGTH") == 0
        await bench.host.write("IRQ_ENABLE", 3)
        await bench.run(program, inputs, want)


@cocotb.test(**_TIMEOUT)
async def interrupt_enables(dut):
    """Without its enable a bit of IRQ_STATUS raises no interrupt; the enable then does."""
    bench, network = await machine(dut), small_network()
    program, inputs, want = network
    await bench.host.write("IRQ_ENABLE", 2)
    await bench.load(program, inputs)
    await bench.begin()
    while await bench.host.read("STATUS") & BUSY:
        pass
    assert not dut.irq.value
    await bench.host.write("IRQ_ENABLE", 1)
    await bench.finish(want)
