"""The cycle model against the compiled RTL: counters of the program equal, cycles within a stated bound."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast.isa import Unit
from rowcast.registers import CAUSES
from rowcast_models.compiler.network import compile_graph
from rowcast_models.cycles import predict
from rowcast_models.zoo.lenet5 import lenet5
from rowcast_sim.bench.cycles import EXACT, _random_graph, measure
from rowcast_sim.functional import FunctionalMachine
from rowcast_sim.machine import RtlBackend
from rowcast_sim.trace import TraceSpan, prediction_spans, trace_events, write_trace
from rowcast_sim.verilated import Timing, build

sys.path.insert(0, str(Path(__file__).parent))

from corners import CORNERS
from networks import ODD, everything, inputs_of, random_convolution

SHARE, FEW = 0.02, 20  # of a layer's cycles; and cycles that may always be wrong


@pytest.fixture(scope="module")
def odd():
    return build(ODD, quiet=True)


@pytest.fixture(scope="module")
def base():
    return build(preset("base"), quiet=True)


def check(graph, config, model, **timing):
    """Compare every layer and counter; returns the run's and the predicted cycles."""
    program = compile_graph(graph, config)
    timing = Timing(**{"latency": 30, "bytes_per_cycle": config.dram_bytes, "duplex": "half", **timing})
    with RtlBackend(program, model=model, timing=timing) as backend:
        run = backend.run(inputs_of(graph, np.random.default_rng(1)))
    found = predict(program.instructions, config, timing)
    assert {name: found.counters[name] for name in EXACT} == {name: run.counters[name] for name in EXACT}
    assert abs(found.cycles - run.cycles) <= max(SHARE * run.cycles, FEW)
    assert len(found.layers) == len(run.layers)
    for layer, guess in zip(run.layers, found.layers):
        assert abs(guess.cycles - layer.cycles) <= max(SHARE * layer.cycles, FEW)
    for cause in CAUSES:
        assert abs(run.causes[cause] - found.causes[cause]) <= max(2 * SHARE * run.cycles, FEW), cause
    return run.cycles, found.cycles


def test_lenet5(base):
    """Exact to a thousandth."""
    cycles, predicted = check(lenet5(batch=1), preset("base"), base)
    assert abs(predicted / cycles - 1) < 0.001


@pytest.mark.parametrize("timing", [{"latency": 5}, {"latency": 100}, {"duplex": "full"}, {"bytes_per_cycle": 2}])
def test_memories(base, timing):
    check(random_convolution(np.random.default_rng(7)), preset("base"), base, **timing)
    check(everything(np.random.default_rng(1), (1, 12, 12, 3)), preset("base"), base, **timing)


@pytest.mark.parametrize("seed", range(10))
def test_convolutions(odd, seed):
    check(random_convolution(np.random.default_rng(seed)), ODD, odd)


def test_every_node(odd):
    check(everything(np.random.default_rng(3), (1, 12, 12, 16)), ODD, odd)


@pytest.mark.parametrize("name", ["chunks_of_rows", "tiles_along_x", "depthwise_in_tiles", "filters_of_each_pass"])
def test_corners(odd, name):
    check(CORNERS[name](np.random.default_rng(5)).graph, ODD, odd)


@pytest.mark.parametrize("seed", [4, 26])
def test_short_vector_runs(base, seed):
    """Runs of few words, which stand in front of the vector unit while it still works for the run before: IFMAP goes on."""
    check(_random_graph(seed), preset("base"), base)


def test_macs():
    """MACs are those that the instruction set's simulator does."""
    graph = random_convolution(np.random.default_rng(5))
    program = compile_graph(graph, ODD)
    machine = FunctionalMachine(ODD, program.image(inputs_of(graph, np.random.default_rng(1)))[program.data_offset :])
    cycles = predict(program.instructions, ODD).counters["mac_cycles"]
    machine.run(program.instructions)
    assert machine.macs == cycles * ODD.num_macs


def test_bench(base, tmp_path):
    """What the command prints of a program, and its timeline."""
    timing = Timing(latency=30, bytes_per_cycle=8, duplex="half")
    graph = random_convolution(np.random.default_rng(4))
    found = measure("a net", graph, preset("base"), model=base, timing=timing, trace=tmp_path)
    assert not found.whole.unequal
    assert found.whole.within(0.01)
    assert len(found.layers) == 1
    events = json.loads((tmp_path / "a-net.json").read_text())["traceEvents"]
    threads = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert threads[:2] == ["layers", "LOAD"]
    assert {unit.name for unit in Unit if unit != Unit.CONTROL} <= set(threads)


def test_trace(tmp_path):
    """Spans of a track that overlap go to lines of their own; the vector unit's are coloured."""
    spans = [TraceSpan("A", "x", 0, 10), TraceSpan("A", "y", 5, 7, {"n": 1}), TraceSpan("A", "z", 10, 12)]
    spans.append(TraceSpan("B", "w", 1, 2))
    events = trace_events(spans, tracks=("B",))["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    placed = {event["name"]: (names[event["tid"]], event["ts"], event["dur"]) for event in events if event["ph"] == "X"}
    assert placed == {"x": ("A", 0, 10), "y": ("A (2)", 5, 2), "z": ("A", 10, 2), "w": ("B", 1, 1)}
    program = compile_graph(lenet5(batch=1), preset("base"))
    prediction = predict(program.instructions, preset("base"), timeline=True)
    found = prediction_spans(prediction, [layer.name for layer in program.layers])
    assert {span.track for span in found} == {"layers", *(unit.name for unit in Unit if unit != Unit.CONTROL)}
    assert any("(vector)" in span.name and span.colour for span in found)
    write_trace(tmp_path / "trace.json", found)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
