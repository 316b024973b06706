"""What is wrong in one place, on the compiled RTL: exact error code and index, and right again after a soft reset."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import isa
from rowcast.isa import Space, Unit
from rowcast.registers import Error
from rowcast_models import graph as g
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.machine import BASE, RtlBackend
from rowcast_sim.results import compare
from rowcast_sim.verilated import EngineError, SimulationStuck, Timing, build

sys.path.insert(0, str(Path(__file__).parent))

from networks import ODD, convolution, inputs_of  # noqa: E402

BUSY, DONE, ERROR = 1, 2, 4
LIMIT = 200_000


class Bench:
    """One process of the model, one network of two convolutions and a pooling, and its right result."""

    def __init__(self):
        rng = np.random.default_rng(11)
        nodes = [
            convolution(rng, name="first", source="x", output="a", channels=7, filters=11, kernel=(3, 3), table=True),
            g.AveragePool(name="pool", inputs=("a",), output="b", window=(2, 2), stride=(2, 2)),
            convolution(rng, name="second", source="b", output="y", channels=11, filters=9, kernel=(2, 2)),
        ]
        tensors = [g.Tensor("x", (2, 10, 9, 7), 3), g.Tensor("a", None, 5), g.Tensor("b", None, 5), g.Tensor("y")]
        graph = g.Graph(name="faults", tensors=tensors, inputs=["x"], outputs=["y"], nodes=nodes)
        self.inputs = inputs_of(graph, rng)
        self.golden = evaluate(graph, self.inputs)
        self.program = compile_graph(graph, ODD, keep_all=True)
        timing = Timing(latency=9, stall_percent=20)
        self.backend = RtlBackend(self.program, model=build(ODD, quiet=True), timing=timing)
        self.session = self.backend.session
        self.data = BASE + self.program.data_offset
        self.run()

    def run(self):
        """A run with the right result."""
        result = self.backend.run(self.inputs, limit=LIMIT)
        assert not compare(result.tensors, self.golden)

    def find(self, name, number=0, **fields):
        """Index of the `number`-th instruction of this name with these fields."""
        found = [
            i for i, other in enumerate(self.program.instructions)
            if other.name == name and all(other[key] == value for key, value in fields.items())
        ]  # fmt: skip
        return found[number]

    def touching(self, name, word):
        """Index of the first LOAD or STORE (of whole rows) that touches the beat with this word of memory."""
        beat, stride = word // ODD.dram_words, 0
        for i, other in enumerate(self.program.instructions):
            if other.name == f"{name}_STRIDE":
                stride = other["dram_stride"]
            if other.name == name:
                starts = [other["dram"] + row * stride for row in range(other["rows"])]
                if any(s // ODD.dram_words <= beat <= (s + other["words"] - 1) // ODD.dram_words for s in starts):
                    return i
        raise AssertionError(f"no {name} touches word {word}")

    def poke(self, index, *, wait=0, **fields):
        """Change an instruction in memory; returns its index."""
        old = self.program.instructions[index]
        new = isa.make(old.name, **{**old.fields, **fields})
        new.wait, new.signal = old.wait | wait, old.signal
        self.session.load(BASE + index * isa.BYTES, np.frombuffer(isa.encode(new), np.uint8))
        return index

    def fails(self, code, indices):
        """A run ends with this error and nothing else; a start does not get past it; a soft reset does."""
        session = self.session
        with pytest.raises(EngineError) as caught:
            session.run(limit=LIMIT)
        index = caught.value.index
        allowed = indices if isinstance(indices, range) else (indices,)
        assert caught.value.code == code and index in allowed, f"{caught.value}, not {code.name} at {indices}"
        result = caught.value.result
        assert result.registers["STATUS"] & 7 == ERROR
        assert result.registers["IRQ_STATUS"] == 2
        assert result.under_way == 0
        assert result.counters["cycles"] == sum(result.counters[name] for name in result.counters if "cause" in name)
        session.write("CONTROL", 1)
        session.step(50)
        assert session.read("STATUS") & 7 == ERROR and session.read("IRQ_STATUS") == 0
        assert session.read("ERROR_CODE") == code and session.read("ERROR_INDEX") == index
        self.recover()

    def recover(self):
        """Soft reset, all as it was, and a run."""
        self.restore()
        for name in ("ERROR_CODE", "ERROR_INDEX", "QUEUES", "UNITS"):
            assert self.session.read(name) == 0, name
        assert self.session.read("STATUS") & 7 == 0
        self.run()

    def restore(self):
        """Soft reset; program, windows and memory as they were."""
        self.session.clear_faults()
        self.session.soft_reset()
        self.session.load(BASE, np.frombuffer(self.program.code, np.uint8))
        for name, value in self.windows().items():
            self.session.write(name, value)

    def windows(self):
        """The registers that the tests change, as they should be."""
        low, high = (self.data + word * ODD.lanes for word in self.program.writable)
        return {
            "PROGRAM_LENGTH": len(self.program.instructions), "READ_BASE": BASE, "READ_LIMIT": BASE + self.program.size,
            "WRITE_BASE": low, "WRITE_LIMIT": high,
        }  # fmt: skip


@pytest.fixture(scope="module")
def process():
    bench = Bench()
    yield bench
    bench.session.close()


@pytest.fixture
def bench(process):
    """Restored, so that a test that fails does not bring down those after it."""
    process.restore()
    return process


@pytest.mark.parametrize("space", [Space.ACT, Space.FILTER, Space.PARAM])
def test_read_error(bench, space):
    word = bench.program.instructions[bench.find("LOAD", -1, space=space)]["dram"]
    bench.session.add_fault("read", bench.data + word * ODD.lanes, 1)
    bench.fails(Error.READ_RESPONSE, bench.touching("LOAD", word))


@pytest.mark.parametrize("which", [0, 0.4, 1])
def test_read_error_of_the_program(bench, which):
    """Counts when the instruction is the next, though it was read long before."""
    index = int(which * (len(bench.program.instructions) - 1))
    bench.session.add_fault("read", BASE + index * isa.BYTES + 9, 1)
    bench.fails(Error.READ_RESPONSE, index)


def test_read_error_after_the_end(bench):
    """What is read ahead of END and not used does no harm."""
    bench.session.add_fault("read", BASE + len(bench.program.code), 8)
    bench.run()
    bench.session.clear_faults()


@pytest.mark.parametrize("number", [0, -1])
def test_write_error(bench, number):
    word = bench.program.instructions[bench.find("STORE", number)]["dram"]
    bench.session.add_fault("write", bench.data + word * ODD.lanes, 1)
    bench.fails(Error.WRITE_RESPONSE, bench.touching("STORE", word))


def test_read_window(bench):
    offset, size = bench.program.span("x")
    bench.session.write("READ_LIMIT", BASE + offset + size - ODD.dram_bytes)
    last = (offset + size - bench.program.data_offset) // ODD.lanes - 1
    bench.fails(Error.READ_WINDOW, bench.touching("LOAD", last))
    bench.session.write("READ_BASE", BASE + ODD.dram_bytes)
    bench.fails(Error.READ_WINDOW, 0)


def test_write_window(bench):
    offset, size = bench.program.span("y")
    end = (offset + size - bench.program.data_offset) // ODD.lanes
    bench.session.write("WRITE_LIMIT", BASE + offset + size - ODD.dram_bytes)
    bench.fails(Error.WRITE_WINDOW, bench.touching("STORE", end - 1))
    first = bench.program.instructions[bench.find("STORE")]["dram"]
    bench.session.write("WRITE_BASE", bench.data + first * ODD.lanes + ODD.dram_bytes)
    bench.fails(Error.WRITE_WINDOW, bench.touching("STORE", first))


@pytest.mark.parametrize("index, opcode", [(0, 0), (23, 20), (-1, 31)])
def test_unknown_opcode(bench, index, opcode):
    index %= len(bench.program.instructions)
    bench.session.load(BASE + index * isa.BYTES, np.array([opcode], np.uint8))
    bench.fails(Error.OPCODE, index)


@pytest.mark.parametrize("name, where, fields, code", [
    ("LOAD", {"space": Space.ACT}, {"buffer": ODD.act_words - ODD.dram_words}, Error.BUFFER_RANGE),
    ("LOAD", {"space": Space.FILTER}, {"buffer": ODD.filter_buffer_words}, Error.BUFFER_RANGE),
    ("LOAD", {"space": Space.PARAM}, {"buffer": 4 * ODD.param_channels + 768 - 1}, Error.BUFFER_RANGE),
    ("LOAD", {}, {"space": 3}, Error.FIELD),
    ("LOAD", {}, {"words": 0}, Error.FIELD),
    ("STORE", {}, {"buffer": ODD.act_words}, Error.BUFFER_RANGE),
    ("FILTER_RUN", {}, {"buffer": ODD.filter_buffer_words - ODD.noc_words}, Error.BUFFER_RANGE),
    ("FILTER_RUN", {}, {"flits": ODD.filter_words // 2 // ODD.noc_words + 1}, Error.FIELD),
    ("IFMAP_RUN", {"vector": 0}, {"buffer": ODD.act_words - 1, "y": 0, "x": 0}, Error.BUFFER_RANGE),
    ("IFMAP_RUN", {"vector": 1}, {"buffer": -1, "y": 0, "x": 0}, Error.BUFFER_RANGE),
    ("IFMAP_ID", {}, {"column": ODD.columns}, Error.FIELD),
    ("COMPUTE_RUN", {}, {"chunks": 0}, Error.FIELD),
    ("POST_RUN", {"source": 0}, {"buffer": ODD.act_words - 1}, Error.BUFFER_RANGE),
    ("POST_RUN", {"source": 2}, {"buffer": ODD.act_words - 1}, Error.BUFFER_RANGE),
    ("POST_RUN", {"source": 0}, {"rows": ODD.rows + 1}, Error.FIELD),
    ("POST_RUN", {"source": 2}, {"source": 7}, Error.FIELD),
    ("POST_LOOP", {}, {"count_x": 0}, Error.FIELD),
])  # fmt: skip
def test_bad_field(bench, name, where, fields, code):
    index = bench.poke(bench.find(name, **where), **fields)
    bench.fails(code, index)


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_program_without_end(bench, share):
    length = int(share * (len(bench.program.instructions) - 1))
    bench.session.write("PROGRAM_LENGTH", length)
    bench.fails(Error.PROGRAM, max(length - 1, 0))


@pytest.mark.parametrize("unit, name", [(Unit.FILTER, "FILTER_RUN"), (Unit.STORE, "STORE"), (Unit.IFMAP, "IFMAP_RUN")])
def test_missing_token(bench, unit, name):
    """A wait that nobody answers: the run hangs, the queues say where, the soft reset ends it."""
    source = Unit.STORE if unit != Unit.STORE else Unit.FILTER
    bench.poke(bench.find(name), wait=1 << source)
    with pytest.raises(SimulationStuck, match=f"{unit.name} waits for a token, [1-9]"):
        bench.session.run(limit=20_000)
    assert bench.session.read("STATUS") & 7 == BUSY
    bench.recover()


def test_soft_reset_at_any_time(bench):
    """In the middle of transfers, passes and drains, and twice in a row."""
    for cycles in (0, 1, 7, 100, 333, 1000, 2500):
        bench.session.start()
        bench.session.step(cycles)
        bench.session.soft_reset(settle=cycles % 3)
        bench.session.soft_reset()
        bench.recover()


def test_too_many_tokens(bench):
    """A counter holds 63; the error names the instruction that was dealt out last."""
    mark = isa.make("MARK")
    mark.signal = 1 << Unit.LOAD
    code = isa.encode(mark) * 70 + isa.encode(isa.make("END"))
    bench.session.load(BASE, np.frombuffer(code, np.uint8))
    bench.session.write("PROGRAM_LENGTH", 71)
    bench.fails(Error.TOKEN, range(63, 71))
