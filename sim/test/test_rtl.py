"""Random graphs on the compiled RTL against the golden: every tensor, with stalls and latencies that a seed chooses."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast_models import graph as g
from rowcast_models.compiler import band_nodes
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.machine import RtlBackend
from rowcast_sim.results import compare
from rowcast_sim.verilated import Timing, build

sys.path.insert(0, str(Path(__file__).parent))

from corners import CORNERS  # noqa: E402
from networks import ODD, choose, convolution, everything, inputs_of, random_convolution, single  # noqa: E402
from test_joined import graph_of, layers, normalised  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return build(ODD, quiet=True)


def run(model, graph, seed, inputs=None, *, keep_all=True):
    """Run on one set of inputs, by default random ones; returns the run after comparing all tensors."""
    rng = np.random.default_rng(seed)
    inputs = inputs_of(graph, rng) if inputs is None else inputs
    program = compile_graph(graph, ODD, keep_all=keep_all)
    timing = Timing(latency=int(rng.integers(1, 60)), stall_percent=int(rng.choice([0, 20, 60])), seed=seed)
    with RtlBackend(program, model=model, timing=timing) as backend:
        result = backend.run(inputs)
    assert set(result.tensors) == set(graph.tensors) or not keep_all
    assert set(graph.outputs) <= set(result.tensors)
    differences = compare(result.tensors, evaluate(graph, inputs))
    assert not differences, f"seed {seed}: {differences[0]}"
    return program, result


@pytest.mark.parametrize("seed", range(20))
def test_random_convolutions(model, seed):
    program, result = run(model, random_convolution(np.random.default_rng(seed)), seed)
    assert sum(result.causes.values()) == result.cycles
    assert result.counters["instructions"] == len(program.instructions)


@pytest.mark.parametrize("seed", range(4))
def test_every_node(model, seed):
    _, result = run(model, everything(np.random.default_rng(seed), (1 + seed % 2, 13, 11, 3)), seed)
    assert len(result.layers) == 11
    assert sum(layer.cycles for layer in result.layers) == result.cycles
    assert sum(layer.read_beats for layer in result.layers) == result.counters["read_beats"]
    assert sum(layer.write_beats for layer in result.layers) == result.counters["write_beats"]


def test_counters_of_one_convolution(model):
    """MAC cycles, flits and drained psums of a mapping follow from its program."""
    graph = random_convolution(np.random.default_rng(3))
    program, result = run(model, graph, 3)
    ops = [op.instruction for op in program.ops]
    noc = ODD.noc_words
    assert result.counters["filter_flits"] == sum(
        i["flits"] * i["groups_row"] * i["groups_column"] * i["chunks"] for i in ops if i.name == "FILTER_RUN"
    )
    words = sum(i["words"] * i["rows"] for i in ops if i.name == "LOAD" and i["space"] == 1)
    assert result.counters["filter_flits"] * noc >= words  # filters are sent at least once after they are loaded
    pixels = psums = 0
    for i in ops:
        if i.name == "POST_LOOP":
            pixels = i["count_x"] * i["count_y"]
        elif i.name == "POST_RUN":
            psums += pixels * i["rows"] * ODD.lanes
    assert result.counters["psums"] == psums


@pytest.mark.parametrize("seed", range(2))
def test_lines(model, monkeypatch, seed):
    """PEs numbered row by row, so that filter groups go on in the next row."""
    rng = np.random.default_rng(seed)
    taken = choose(monkeypatch, rng, lambda mapping, tiling: mapping.lined)
    program, _ = run(model, single(rng, (1, 9, 8, 5), filters=3 * ODD.lanes - seed, kernel=(3, 2)), seed)
    assert taken and program.layers[0].mapping.startswith("PEs in line 3fx2")


@pytest.mark.parametrize("seed", range(2))
def test_normalisation(model, seed):
    """Sums over channels, whose windows go from pixel to pixel, as the network carries several words in a flit."""
    rng = np.random.default_rng(seed)
    graph = normalised(rng, (2, 11, 9, 5), channels=ODD.lanes * (3 + seed), swapped=bool(seed), before=1 + seed)
    program, _ = run(model, graph, seed, keep_all=False)
    assert layers(program)["sums"] == "with squares"


@pytest.mark.parametrize("seed", range(2))
def test_bands(model, monkeypatch, seed):
    """Two convolutions in turns, whose passes overwrite rows that others have just read."""
    monkeypatch.setattr(band_nodes.BandNodes, "worth_it", lambda *_: None)
    rng = np.random.default_rng(seed)
    same = ((1, 1), (1, 1))
    nodes = [
        convolution(rng, name="one", source="x", output="a", channels=3, filters=12, kernel=(3, 3), padding=same),
        convolution(rng, name="two", source="a", output="b", channels=12, filters=8 + seed, kernel=(3, 3), padding=same),
        g.MaxPool(name="pool", inputs=("b",), output="p", window=(2, 2), stride=(2, 2)),
    ]  # fmt: skip
    graph = graph_of((2, 30 + 2 * seed, 26, 3), nodes, ["p"])
    program, _ = run(model, graph, seed, keep_all=False)
    assert "in bands" in layers(program)["one"] and "a" not in program.tensors


@pytest.mark.parametrize("seed", range(2))
def test_groups_on_wide_memory(model, monkeypatch, seed):
    """Passes that make a part of the filters of several groups: their results are stored in whole beats."""
    rng = np.random.default_rng(seed)
    taken = choose(monkeypatch, rng, lambda mapping, tiling: mapping.units > 1 and mapping.filters < 5)
    run(model, single(rng, (1 + seed, 5, 7, 16), filters=2 * 5 * ODD.lanes, kernel=(1, 1 + seed), groups=2), seed, keep_all=False)
    assert any(mapping.units > 1 and mapping.filters < 5 for mapping, _ in taken)


@pytest.mark.parametrize("name", CORNERS)
def test_corners(model, name):
    corner = CORNERS[name](np.random.default_rng(5))
    program, _ = run(model, corner.graph, 5, corner.inputs)
    reached = corner.proof(program, corner.inputs, evaluate(corner.graph, corner.inputs))
    assert reached, f"{name} is not reached: {[layer.mapping for layer in program.layers]}"


@pytest.mark.parametrize("name", ["reshapes", "max_pools", "parameters_wrap"])
def test_only_outputs_in_memory(model, name):
    corner = CORNERS[name](np.random.default_rng(6))
    run(model, corner.graph, 6, corner.inputs, keep_all=False)


def test_many_runs(model):
    """Halves, rings and settings that a run leaves behind do not matter to the next."""
    graph = random_convolution(np.random.default_rng(6))
    program = compile_graph(graph, ODD, keep_all=True)
    with RtlBackend(program, model=model, timing=Timing(latency=5, stall_percent=10)) as backend:
        for seed in range(5):
            inputs = inputs_of(graph, np.random.default_rng(seed))
            assert not compare(backend.run(inputs).tensors, evaluate(graph, inputs)), seed
