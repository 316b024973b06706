"""Nodes that only move elements, and weights past int8: programs against the golden, on the RTL and in random order."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast_models import graph as g
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.machine import FunctionalBackend, RtlBackend

sys.path.insert(0, str(Path(__file__).parent))
from networks import ODD, convolution, inputs_of, random_convolution, requantisation  # noqa: E402

BASE = preset("base")
CONFIGS = (BASE, ODD, preset("tiny"), BASE.replace(lanes=16, dram_bytes=16), BASE.replace(dram_bytes=32, act_words=1024))


def random_graph(rng):
    """A few random nodes on a small image, most of which move elements."""
    n, h, w, c = int(rng.integers(1, 3)), *(int(size) for size in rng.integers(1, 9, 2)), int(rng.integers(1, 30))
    tensors, nodes, shapes = [g.Tensor("x", (n, h, w, c), -3)], [], {"x": (n, h, w, c)}
    for number in range(int(rng.integers(2, 7))):
        name, source = f"t{number}", str(rng.choice(list(shapes)))
        node = random_node(rng, name, source, shapes)
        shapes[name] = node.infer_shape(*(g.Tensor(i, shapes[i]) for i in node.inputs))
        nodes.append(node)
        tensors.append(g.Tensor(name, None, int(rng.integers(-9, 9))))
    used = {name for node in nodes for name in node.inputs}
    outputs = [node.output for node in nodes if node.output not in used or rng.random() < 0.2]
    return g.Graph(name="random", tensors=tensors, inputs=("x",), outputs=outputs, nodes=nodes)


def random_node(rng, name, source, shapes):
    """One node that takes `source`."""
    n, h, w, c = shape = shapes[source]
    fields = {"name": name, "inputs": (source,), "output": name}
    kind = rng.choice(["conv", "select", "pad", "resize", "concat", "concat", "concat", "pool", "constant", "max", "table"])
    if kind == "conv":
        filters = int(rng.integers(1, 30))
        return convolution(rng, name=name, source=source, output=name, channels=c, filters=filters, kernel=(1, 1), table=True)
    if kind == "select":
        return g.Select(**fields, channels=rng.integers(0, c, int(rng.integers(1, 30))) if rng.random() < 0.8 else np.arange(c))
    if kind == "pad":
        return g.Pad(**fields, padding=tuple(map(tuple, rng.integers(0, 3, (2, 2)).tolist())), value=int(rng.integers(-128, 128)))
    if kind == "resize":
        return g.Resize(**fields, rows=positions(rng, h), columns=positions(rng, w))
    if kind == "pool" and min(h, w) >= 2:
        return g.MaxPool(**fields, window=(2, 2), stride=(1, 1))
    if kind == "constant":
        return g.Constant(**fields | {"inputs": ()}, values=np.broadcast_to(rng.integers(-128, 128, (1, h, w, c)), shape))
    if kind == "max":
        other = str(rng.choice([name for name in shapes if shapes[name] == shape]))
        return g.Elementwise(**fields | {"inputs": (source, other)}, kind="max")
    if kind == "table":
        return g.Table(**fields, table=rng.integers(-128, 128, 256))
    alike = [name for name in shapes if shapes[name][:3] == shape[:3]]
    parts = (source, *(str(part) for part in rng.choice(alike, int(rng.integers(0, 3)))))
    tables = tuple(rng.integers(-128, 128, 256) if rng.random() < 0.4 else None for _ in parts)
    return g.Concat(**fields | {"inputs": parts}, tables=tables)


def positions(rng, size):
    """Repeated, sorted or arbitrary positions."""
    how = rng.integers(3)
    if how == 0:
        return np.repeat(np.arange(size), int(rng.integers(1, 4)))
    made = rng.integers(0, size, int(rng.integers(1, 9)))
    return np.sort(made) if how == 1 else made


def verify(graph, config, rng, backend, *, keep_all):
    """Every tensor that the program keeps equals the golden, and all outputs are among them."""
    inputs = inputs_of(graph, rng)
    with backend(compile_graph(graph, config, keep_all=keep_all)) as machine:
        tensors = machine.run(inputs).tensors
    golden = evaluate(graph, inputs)
    assert set(graph.outputs) <= set(tensors)
    for name, array in tensors.items():
        assert np.array_equal(array, golden[name]), (graph.name, name, np.argwhere(array != golden[name])[:3])


@pytest.mark.parametrize("seed", range(60))
def test_layout_in_random_order(seed):
    rng = np.random.default_rng(seed)
    verify(random_graph(rng), CONFIGS[seed % len(CONFIGS)], rng, FunctionalBackend, keep_all=bool(seed % 2))


@pytest.mark.parametrize("seed", range(12))
def test_layout_on_the_rtl(seed):
    rng = np.random.default_rng(1000 + seed)
    verify(random_graph(rng), CONFIGS[seed % 2], rng, RtlBackend, keep_all=bool(seed % 3))


def wide(rng, seed):
    """A convolution, or fully connected layer, with weights past int8."""
    if seed % 5 == 0:
        size, filters = int(rng.integers(1, 200)), int(rng.integers(1, 30))
        node = g.FullyConnected(
            name="fc", inputs=("x",), output="y", weights=rng.integers(-300, 301, (filters, size)),
            bias=rng.integers(-99, 99, filters), post=requantisation(rng, filters, 1 / (30000 * np.sqrt(size))),
        )  # fmt: skip
        return g.Graph(name="fc", tensors=[g.Tensor("x", (2, size), 5), g.Tensor("y")], inputs=("x",), outputs=("y",), nodes=(node,))
    graph = random_convolution(rng)
    (node,) = graph.nodes
    largest = 255 if seed % 2 else 1143
    weights = rng.integers(-largest, largest + 1, node.weights.shape)
    post = requantisation(rng, len(weights), 1 / (2 * largest * np.sqrt(weights[0].size)))
    node = dataclasses.replace(node, weights=weights, post=post)
    return g.Graph(name="wide", tensors=[graph.tensors["x"], g.Tensor("y")], inputs=("x",), outputs=("y",), nodes=(node,))


@pytest.mark.parametrize("seed", range(30))
def test_wide_weights_in_random_order(seed):
    rng = np.random.default_rng(seed)
    verify(wide(rng, seed), CONFIGS[seed % 3], rng, FunctionalBackend, keep_all=False)


@pytest.mark.parametrize("seed", range(8))
def test_wide_weights_on_the_rtl(seed):
    rng = np.random.default_rng(100 + seed)
    verify(wide(rng, seed), CONFIGS[seed % 2], rng, RtlBackend, keep_all=False)


def test_pool_of_more_channels_than_fit_is_cut():
    rng = np.random.default_rng(0)
    config = BASE.replace(act_words=512)
    node = g.AveragePool(name="pool", inputs=("x",), output="y", window=(4, 5), stride=(1, 1))
    graph = g.Graph(name="pool", tensors=[g.Tensor("x", (1, 4, 5, 700)), g.Tensor("y")], inputs=("x",), outputs=("y",), nodes=(node,))
    verify(graph, config, rng, FunctionalBackend, keep_all=False)
