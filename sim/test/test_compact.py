"""A compact accelerator on the compiled RTL against the golden: every tensor; and what it refuses."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import ConfigError, preset
from rowcast.registers import Error
from rowcast_models import graph as g
from rowcast_models.compiler import input_rows
from rowcast_models.compiler.mapping import Cost
from rowcast_models.compiler.network import CompileError, compile_graph
from rowcast_models.cycles import predict
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo.lenet5 import lenet5, seeded_digits, to_int8
from rowcast_sim.documents import interface_document
from rowcast_sim.machine import RtlBackend
from rowcast_sim.results import compare
from rowcast_sim.verilated import EngineError, Timing, build

sys.path.insert(0, str(Path(__file__).parent))

from networks import check_functional, convolution, inputs_of, random_convolution, requantisation, single  # noqa: E402

MICRO = preset("micro")
LIMIT = 2_000_000


@pytest.fixture(scope="module")
def model():
    return build(MICRO, quiet=True)


def averages(rng, *, batch=1):
    """Convolutions and averages of both kinds, with tables, clamps and zero points, and a fully connected layer."""
    scaled = requantisation(rng, 1, 1 / 9, table=True)
    nodes = [
        convolution(rng, name="first", source="x", output="a", channels=5, filters=11, kernel=(3, 3), table=True),
        g.AveragePool(name="plain", inputs=("a",), output="b", window=(2, 2), stride=(2, 1), low=-90, high=100,
                      table=rng.integers(-128, 128, 256)),
        g.AveragePool(name="scaled", inputs=("b",), output="c", window=(3, 3), stride=(1, 1), post=scaled),
        convolution(rng, name="depthwise", source="c", output="d", channels=11, filters=11, kernel=(2, 2), groups=11,
                    padding=((1, 0), (0, 1))),
        g.FullyConnected(name="fc", inputs=("d",), output="y", weights=rng.integers(-127, 128, (13, 11 * 3 * 7)),
                         bias=rng.integers(-99, 99, 13), post=requantisation(rng, 13, 1 / 2000)),
    ]  # fmt: skip
    tensors = [g.Tensor("x", (batch, 12, 12, 5), 3), g.Tensor("a", None, 5), g.Tensor("b", None, 5), g.Tensor("c", None, -9),
               g.Tensor("d", None, 2), g.Tensor("y")]  # fmt: skip
    return g.Graph(name="averages", tensors=tensors, inputs=["x"], outputs=["y"], nodes=nodes)


def run(model, graph, seed, inputs=None):
    """All tensors of a run are the golden's, whatever the memory's timing."""
    rng = np.random.default_rng(seed)
    inputs = inputs_of(graph, rng) if inputs is None else inputs
    program = compile_graph(graph, MICRO, keep_all=True)
    timing = Timing(latency=int(rng.integers(1, 40)), stall_percent=int(rng.choice([0, 20, 60])), seed=seed)
    with RtlBackend(program, model=model, timing=timing) as backend:
        result = backend.run(inputs, limit=LIMIT)
    assert set(result.tensors) == set(graph.tensors)
    differences = compare(result.tensors, evaluate(graph, inputs))
    assert not differences, f"seed {seed}: {differences[0]}"
    return result


@pytest.mark.parametrize("seed", range(16))
def test_random_convolutions(model, seed):
    result = run(model, random_convolution(np.random.default_rng(seed)), seed)
    assert sum(result.causes.values()) == result.cycles > 0


@pytest.mark.parametrize("seed", range(4))
def test_inputs_as_rows_of_bytes(model, seed, monkeypatch):
    """Pixels of 1 to 5 bytes, with padding and strides, whatever they cost."""
    monkeypatch.setattr(input_rows, "find_mapping", lambda *args, **keywords: (None, None, Cost(0, 0, 0, 0)))
    rng, channels = np.random.default_rng(seed), (1, 2, 3, 5)[seed]
    graph = single(
        rng, (2, 14, 19, channels), filters=13, kernel=(4, 3), padding=((1, 1), (seed, 2)), stride=(1, 1 + seed % 2),
    )  # fmt: skip
    assert compile_graph(graph, MICRO).tensors["x"].rows is not None
    run(model, graph, seed)


@pytest.mark.parametrize("seed", range(2))
def test_averages(model, seed):
    graph = averages(np.random.default_rng(seed), batch=1 + seed)
    run(model, graph, seed)
    check_functional(graph, MICRO, inputs_of(graph, np.random.default_rng(seed)), orders=3)


def test_lenet5(model):
    """Whole, on a digit, every tensor; within the 128 kB that a UP5K has."""
    graph, image = lenet5(), to_int8(seeded_digits(1, seed=5))
    result = run(model, graph, 5, {"image": image})
    assert compile_graph(graph, MICRO, keep_all=True).size <= 128 << 10
    assert result.cycles < 360_000


@pytest.fixture(scope="module")
def backend(model):
    graph = averages(np.random.default_rng(7))
    program = compile_graph(graph, MICRO)
    with RtlBackend(program, model=model, timing=Timing(latency=5, stall_percent=20)) as made:
        made.inputs = inputs_of(graph, np.random.default_rng(1))
        made.golden = evaluate(graph, made.inputs)
        yield made


@pytest.mark.parametrize("kind, code", [
    ("program", Error.READ_RESPONSE), ("data", Error.READ_RESPONSE), ("store", Error.WRITE_RESPONSE),
    ("opcode", Error.OPCODE), ("source", Error.FIELD),
])  # fmt: skip
def test_faults(backend, kind, code):
    """An error ends the run with nothing owed on the bus; a soft reset, and the next run is right."""
    program, session = backend.program, backend.session
    names = [instruction.name for instruction in program.instructions]
    low = program.data_offset + program.writable[0] * MICRO.lanes
    if kind == "program":
        session.add_fault("read", 16 * (len(names) // 2), 1)
    elif kind == "data":
        load = next(i for i in reversed(program.instructions) if i.name == "LOAD")
        session.add_fault("read", program.data_offset + load["dram"] * MICRO.lanes, 1)
    elif kind == "store":
        session.add_fault("write", low, program.size - low)
    else:
        at, bits = (7, 31) if kind == "opcode" else (names.index("POST_RUN"), None)
        data = np.frombuffer(program.code, np.uint8)[16 * at : 16 * at + 16].copy()
        if bits:
            data[0] |= bits
        else:
            data[1] |= 0x80  # the source, from bit 15
        session.load(16 * at, data)
    with pytest.raises(EngineError) as caught:
        backend.run(backend.inputs, limit=LIMIT)
    assert caught.value.code == code
    assert caught.value.result.under_way == 0
    session.clear_faults()
    session.soft_reset()
    session.load(0, np.frombuffer(program.code, np.uint8))
    result = backend.run(backend.inputs, limit=LIMIT)
    assert not compare(result.tensors, backend.golden)


@pytest.mark.parametrize("cycles", [900, 2_003, 4_007, 7_001])
def test_soft_reset_midway(backend, cycles):
    """Wherever it stops a run, the next one is right."""
    session = backend.session
    session.start()
    session.step(cycles)
    assert session.read("STATUS") & 1
    session.soft_reset()
    result = backend.run(backend.inputs, limit=LIMIT)
    assert not compare(result.tensors, backend.golden)


# What it refuses --------------------------------------------------------------------------------------------------------


def one(node, shape=(1, 8, 8, 8), name="y"):
    tensors = [g.Tensor("x", shape, 0, 0.1), g.Tensor(name, None, 0, 0.1)]
    return g.Graph(name="one", tensors=tensors, inputs=["x"], outputs=[name], nodes=[node])


@pytest.mark.parametrize("node, message", [
    (g.MaxPool(name="big", inputs=("x",), output="y", window=(2, 2), stride=(2, 2)),
     r"node 'big' \(MaxPool\): a compact configuration has no unit for it: set compact=0"),
    (g.AveragePool(name="edge", inputs=("x",), output="y", window=(2, 2), stride=(2, 2), padding=((1, 0), (0, 0))),
     r"node 'edge' \(AveragePool\): averages at a padding need the vector unit"),
    (g.Conv(name="float", inputs=("x",), output="y", weights=np.ones((8, 1, 1, 8), np.int8), bias=np.zeros(8),
            post=g.Requantisation(mode="onnx", multiplier=[1 << 23], shift=[28])),
     r"node 'float' \(Conv\): a compact configuration does not round as ONNX Runtime does"),
])  # fmt: skip
def test_nodes(node, message):
    with pytest.raises(CompileError, match=message):
        compile_graph(one(node), MICRO)


def test_limits():
    rng = np.random.default_rng(0)
    wide = single(rng, (1, 3, 300, 8), filters=2, kernel=(3, 3), padding=((1, 1), (1, 1)))
    with pytest.raises(CompileError, match="node 'conv': IFMAP_SET.width = 300 has .* 8 bits: set coordinate_width=9, or"):
        compile_graph(wide, MICRO)
    check_functional(wide, MICRO.replace(coordinate_width=9), inputs_of(wide, rng))
    large = single(rng, (1, 100, 100, 8), filters=16, kernel=(1, 1))
    with pytest.raises(CompileError, match=r"more than address_width=17 reaches \(131,072\)"):
        compile_graph(large, MICRO)


def test_cycle_model():
    graph = single(np.random.default_rng(0), (1, 8, 8, 8), filters=8, kernel=(1, 1))
    program = compile_graph(graph, MICRO)
    with pytest.raises(ConfigError, match="the cycle model does not describe compact configurations: set compact=0"):
        predict(program.instructions, MICRO)


def test_interface_document():
    assert "Compact: counters, windows" in interface_document(MICRO)
    assert "Compact" not in interface_document(preset("tiny"))


@pytest.mark.parametrize("changes, message", [
    ({"rows": 2}, "compact needs rows=1, not 2"),
    ({"act_banks": 2}, "compact needs act_banks=1, not 2"),
    ({"lanes": 4}, "compact needs dram_bytes=4, not 8"),
    ({"param_channels": 32}, "compact needs param_channels of at least 64, not 32"),
    ({"lanes": 16, "dram_bytes": 16}, "compact needs lanes of 4 or 8, not 16"),
    ({"compact": 2}, "compact must be an integer from 0 to 1, not 2"),
    ({"compact": 0}, "address_width must be at least 20, not 17, unless compact is 1"),
    ({"coordinate_width": 15}, "coordinate_width must be an integer from 6 to 14, not 15"),
    ({"requantise_bits": 3}, "requantise_bits must be a power of two from 1 to 4, not 3"),
])  # fmt: skip
def test_configurations(changes, message):
    with pytest.raises(ConfigError, match=message):
        MICRO.replace(**changes)
