"""Nodes that only move elements, and weights past int8: programs against the golden, on the RTL and in random order."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast.isa import PostSource
from rowcast_models import graph as g
from rowcast_models.compiler.network import CompileError, compile_graph
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
    kind = rng.choice(
        ["conv", "select", "pad", "resize", "concat", "concat", "concat", "pool", "constant", "max", "table", "reshape"]
    )
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
    if kind == "reshape":
        width = int(rng.choice([size for size in range(1, 41) if h * w * c % size == 0]))
        return g.Reshape(**fields, shape=(1, h * w * c // width, width))
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
    program = compile_graph(graph, config, keep_all=keep_all)
    with backend(program) as machine:
        tensors = machine.run(inputs).tensors
    golden = evaluate(graph, inputs)
    assert set(graph.tensors if keep_all else graph.outputs) <= set(tensors)
    for name, array in tensors.items():
        assert np.array_equal(array, golden[name]), (graph.name, name, np.argwhere(array != golden[name])[:3])
    return program


@pytest.mark.parametrize("seed", range(60))
def test_layout_in_random_order(seed):
    rng = np.random.default_rng(seed)
    verify(random_graph(rng), CONFIGS[seed % len(CONFIGS)], rng, FunctionalBackend, keep_all=bool(seed % 2))


@pytest.mark.parametrize("seed", range(15))
def test_layout_on_the_rtl(seed):
    rng = np.random.default_rng(1000 + seed)
    verify(random_graph(rng), CONFIGS[seed % 3], rng, RtlBackend, keep_all=bool(seed % 2))


def graph_of(shape, nodes, *, outputs=None, zero_point=0):
    """A graph of nodes behind input x; all tensors have one zero point."""
    tensors = [g.Tensor("x", shape, zero_point), *(g.Tensor(node.output, None, zero_point) for node in nodes)]
    outputs = outputs or [nodes[-1].output]
    return g.Graph(name="layout", tensors=tensors, inputs=("x",), outputs=outputs, nodes=nodes)


def made(program, source):
    """Words that POST_RUNs of a source write for one PE, or for the vector unit."""
    words, total = 0, 0
    for instruction in program.instructions:
        if instruction.name == "POST_LOOP":
            words = instruction["count_x"] * instruction["count_y"]
        elif instruction.name == "POST_RUN" and instruction["source"] == source:
            total += words * (instruction["more_words"] + 1)
    return total


@pytest.mark.parametrize("config", [BASE, BASE.replace(act_words=1024)], ids=["in the buffer", "through memory"])
def test_parts_of_whole_words_are_not_copied(config):
    rng = np.random.default_rng(2)
    nodes = [
        convolution(rng, name=name, source="x", output=name, channels=8, filters=filters, kernel=(3, 3))
        for name, filters in (("a", 16), ("b", 8), ("c", 21))
    ]
    nodes.append(g.Concat(name="join", inputs=("a", "b", "c"), output="y", tables=(None, rng.integers(-128, 128, 256), None)))
    program = verify(graph_of((1, 12, 11, 8), nodes), config, rng, FunctionalBackend, keep_all=False)
    assert made(program, PostSource.MAX) == 0
    assert program.layers[-1].mapping == "in place"


def test_whole_words_are_selected_without_the_array():
    rng = np.random.default_rng(3)
    channels = np.concatenate([np.arange(16, 32), np.arange(8), np.arange(32, 37)])
    graph = graph_of((2, 5, 6, 40), [g.Select(name="select", inputs=("x",), output="y", channels=channels)])
    for config in CONFIGS[:3]:
        program = verify(graph, config, rng, FunctionalBackend, keep_all=False)
        assert made(program, PostSource.MAX) == 2 * 5 * 6 * -(-29 // config.lanes)
        assert made(program, PostSource.DRAIN) == 0


def test_columns_of_a_row_that_does_not_fit():
    """Boxes of columns: of a resize, up and down, and of a selection of words."""
    rng = np.random.default_rng(4)
    config = ODD.replace(act_words=256)
    resize = g.Resize(name="r", inputs=("x",), output="a", rows=np.array([1, 0, 0]), columns=np.repeat(np.arange(50)[::-1], 2))
    nodes = [resize, g.Select(name="s", inputs=("a",), output="y", channels=np.arange(8, 16))]
    program = verify(graph_of((2, 2, 50, 16), nodes), config, rng, FunctionalBackend, keep_all=True)
    assert 50 * 4 > config.act_words // 2 > max(i["words"] for i in program.instructions if i.name == "LOAD" and i["space"] == 0)


@pytest.mark.parametrize("kind", ["conv", "max_pool"])
def test_borders_are_folded(kind):
    """A Pad of what counts as nothing is no layer of its own, unless its tensor is wanted; of another value it is."""
    rng = np.random.default_rng(5)
    for value, layers in ((-128, 1), (3, 2)):
        pads = [g.Pad(name="p", inputs=("x",), output="p", padding=((1, 0), (0, 1)), value=value)]
        if kind == "conv":
            last = convolution(rng, name="c", source="p", output="y", channels=9, filters=7, kernel=(3, 3), padding=((0, 1), (1, 1)))
        else:
            last = g.MaxPool(name="m", inputs=("p",), output="y", window=(3, 3), stride=(2, 2), padding=((0, 1), (1, 1)))
        graph = graph_of((2, 7, 8, 9), [*pads, last], zero_point=-128)
        for keep_all in (False, True):
            program = verify(graph, ODD, rng, FunctionalBackend, keep_all=keep_all)
            assert len(program.layers) == (2 if keep_all else layers)


def test_a_maximum_over_a_border_alone_keeps_its_pad():
    nodes = [
        g.Pad(name="p", inputs=("x",), output="p", padding=((3, 0), (0, 0)), value=-128),
        g.MaxPool(name="m", inputs=("p",), output="y", window=(2, 2), stride=(1, 1)),
    ]
    program = verify(graph_of((1, 5, 5, 3), nodes), BASE, np.random.default_rng(6), FunctionalBackend, keep_all=False)
    assert [layer.kind for layer in program.layers] == ["Pad", "MaxPool"]


def test_a_part_that_is_a_result_and_one_that_is_there_twice():
    rng = np.random.default_rng(7)
    nodes = [
        convolution(rng, name="c", source="x", output="a", channels=5, filters=11, kernel=(1, 1)),
        g.Concat(name="twice", inputs=("a", "x", "a"), output="t"),
        g.Concat(name="again", inputs=("t", "a"), output="y"),
        g.Constant(name="k", inputs=(), output="k", values=np.full((2, 4, 3, 9), 17)),
        g.Reshape(name="name", inputs=("k",), output="n"),
    ]
    graph = graph_of((2, 4, 3, 5), nodes, outputs=("a", "y", "t", "n", "x"))
    for config in CONFIGS:
        verify(graph, config, rng, FunctionalBackend, keep_all=False)


def test_a_network_of_names_alone():
    nodes = [g.Reshape(name="r", inputs=("x",), output="y")]
    for backend in (FunctionalBackend, RtlBackend):
        verify(graph_of((2, 4, 3, 5), nodes), ODD, np.random.default_rng(8), backend, keep_all=False)


def test_rows_of_a_convolution_that_are_all_border():
    """Tiles without a pixel of the ifmap, along both axes."""
    rng = np.random.default_rng(9)
    node = convolution(rng, name="c", source="x", output="y", channels=29, filters=29, kernel=(1, 1), groups=29,
                       padding=((9, 9), (30, 9)))  # fmt: skip
    verify(graph_of((2, 7, 5, 29), [node]), BASE.replace(act_words=256), rng, FunctionalBackend, keep_all=False)


def test_elementwise_nodes_of_any_size():
    """Pixels of more words than fit, and rows of more pixels."""
    rng = np.random.default_rng(10)
    for shape in ((1, 1, 1, 4000), (2, 1, 3000, 5)):
        nodes = [
            g.Table(name="t", inputs=("x",), output="t", table=rng.integers(-128, 128, 256)),
            g.Elementwise(name="m", kind="max", inputs=("t", "x"), output="y"),
        ]
        verify(graph_of(shape, nodes), BASE.replace(act_words=1024), rng, FunctionalBackend, keep_all=True)


def test_an_average_of_too_many_pixels_is_refused():
    node = g.AveragePool(name="pool", inputs=("x",), output="y", window=(129, 128), stride=(1, 1))
    with pytest.raises(CompileError, match="node 'pool': a window of 129 x 128 pixels; the vector unit adds up to 16384"):
        compile_graph(graph_of((1, 129, 128, 3), [node]), BASE.replace(act_words=1 << 17))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_bytes_that_move_keep_their_values(lanes):
    """All 256 values through the array and the vector unit."""
    config = BASE.replace(rows=2, columns=2, lanes=lanes, dram_bytes=16)
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 4, 4, 16)
    nodes = [
        g.Select(name="s", inputs=("x",), output="s", channels=np.arange(16)[::-1]),
        g.Pad(name="p", inputs=("s",), output="p", padding=((1, 0), (0, 1)), value=-128),
        g.Resize(name="y", inputs=("p",), output="y", rows=np.arange(5)[::-1], columns=np.arange(4)),
    ]
    graph = graph_of((1, 4, 4, 16), nodes)
    backend = RtlBackend if lanes == 8 else FunctionalBackend
    with backend(compile_graph(graph, BASE if lanes == 8 else config)) as machine:
        y = machine.run({"x": x}).tensors["y"]
    np.testing.assert_array_equal(y, np.pad(x[..., ::-1], ((0, 0), (1, 0), (0, 1), (0, 0)), constant_values=-128)[:, ::-1, :4])


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


def test_a_selection_of_as_many_channels_as_a_word_has_is_no_other_name():
    """The tensor lies in the words of 8 channels that a reshape has left, but the graph sees 12."""
    reshape = g.Reshape(name="r", inputs=("x",), output="r", shape=(2, 4, 12))
    select = g.Select(name="s", inputs=("r",), output="s", channels=np.arange(8))
    for lanes in (4, 8):
        config = BASE.replace(lanes=lanes)
        verify(graph_of((1, 3, 4, 8), [reshape, select]), config, np.random.default_rng(lanes), FunctionalBackend, keep_all=False)
