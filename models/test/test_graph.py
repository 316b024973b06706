"""The integer graph: shapes are inferred, and what cannot be evaluated is refused with a message that helps."""

import doctest

import numpy as np
import pytest

from rowcast_models import graph as g
from rowcast_models.golden.evaluate import evaluate


def post(entries=1, **more):
    return g.Requantisation(mode="tflite", multiplier=np.full(entries, 1 << 30), shift=np.zeros(entries, int), **more)


def conv(shape=(8, 3, 3, 4), **more):
    default = {"weights": np.zeros(shape, np.int8), "bias": np.zeros(shape[0], np.int32), "post": post()}
    return g.Conv(**{"name": "c", "inputs": ("x",), "output": "y", **default, **more})


def graph(node, *shapes, names=("x", "z"), outputs=("y",), **output):
    inputs = [g.Tensor(name, shape) for name, shape in zip(names, shapes)]
    return g.Graph(
        name="test",
        tensors=[*inputs, g.Tensor("y", **output)],
        inputs=[t.name for t in inputs],
        outputs=outputs,
        nodes=(node,),
    )


def pool(kind=g.MaxPool, **more):
    return kind(**{"name": "p", "inputs": ("x",), "output": "y", "window": (3, 3), "stride": (2, 2), **more})


def moves(kind, **more):
    return kind(**{"name": "m", "inputs": ("x",), "output": "y", **more})


def test_doctest():
    assert doctest.testmod(g).failed == 0


@pytest.mark.parametrize(
    "node, shapes, expected, macs",
    [
        (conv(), [(1, 8, 8, 4)], (1, 6, 6, 8), 36 * 8 * 36),
        (conv(stride=(2, 1), padding=((0, 1), (2, 3))), [(2, 8, 7, 4)], (2, 4, 10, 8), 2 * 40 * 8 * 36),
        (conv(dilation=(3, 2)), [(1, 7, 5, 4)], (1, 1, 1, 8), 8 * 36),
        (conv((8, 3, 3, 1), groups=4), [(1, 3, 3, 4)], (1, 1, 1, 8), 72),
        (pool(), [(1, 7, 6, 5)], (1, 3, 2, 5), 0),
        (pool(padding=((0, 1), (0, 1))), [(1, 6, 6, 5)], (1, 3, 3, 5), 0),
        (g.Reshape(name="r", inputs=("x",), output="y"), [(2, 3, 4, 5)], (2, 60), 0),
        (g.Reshape(name="r", inputs=("x",), output="y", shape=(1, 2, 30)), [(2, 3, 4, 5)], (2, 1, 2, 30), 0),
        (g.Concat(name="k", inputs=("x", "z"), output="y"), [(1, 2, 2, 3), (1, 2, 2, 5)], (1, 2, 2, 8), 0),
        (g.Table(name="t", inputs=("x",), output="y", table=np.zeros(256)), [(1, 9)], (1, 9), 0),
        (g.Concat(name="k", inputs=("x", "z", "x"), output="y"), [(2, 3), (2, 5)], (2, 11), 0),
        (moves(g.Select, channels=[3, 0, 3]), [(2, 3, 5, 4)], (2, 3, 5, 3), 0),
        (moves(g.Select, channels=[1]), [(2, 4)], (2, 1), 0),
        (moves(g.Pad, padding=((1, 2), (0, 3)), value=-128), [(2, 3, 5, 4)], (2, 6, 8, 4), 0),
        (moves(g.Resize, rows=[2, 2], columns=[0, 4, 4, 1]), [(2, 3, 5, 4)], (2, 2, 4, 4), 0),
        (moves(g.Constant, inputs=(), values=np.full((1, 2, 3, 4), 9)), [(1, 2, 3, 4)], (1, 2, 3, 4), 0),
        (moves(g.Constant, inputs=(), values=np.full((2, 5), 9)), [(2, 5)], (2, 5), 0),
        (
            g.FullyConnected(
                name="f", inputs=("x",), output="y", weights=np.zeros((7, 12)), bias=np.zeros(7), post=post(7)
            ),
            [(3, 2, 2, 3)], (3, 7), 3 * 84,
        ),
    ],
)  # fmt: skip
def test_shape_and_macs(node, shapes, expected, macs):
    made = graph(node, *shapes)
    assert made.tensors["y"].shape == expected
    assert made.macs(node) == made.macs() == macs
    assert made.producer("y") is node and made.producer("x") is None
    assert made.consumers("x") == ([node] if node.inputs else [])


def test_arrays_are_frozen_copies():
    weights = np.ones((8, 3, 3, 4), np.int8)
    node = conv(weights=weights)
    weights[:] = 5
    assert node.weights.max() == 1 and node.bias.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        node.weights[0] = 2


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: g.Tensor("x", (1, 2, 3)), r"'x': shape must be \(N, H, W, C\) or \(N, C\), not \(1, 2, 3\)"),
        (lambda: g.Tensor("x", (1, 2), zero_point=128), "zero_point must be from -128 to 127, not 128"),
        (lambda: g.Requantisation(mode="up", multiplier=1, shift=0), "mode must be one of tflite, .*, not 'up'"),
        (lambda: g.Requantisation(mode="tflite", multiplier=[1, 2], shift=[0]), r"must have .* \(2,\), not \(1,\)"),
        (lambda: g.Requantisation(mode="tflite", multiplier=-1, shift=0), "multiplier must be from 0"),
        (lambda: g.Requantisation(mode="tflite", multiplier=1, shift=40), "shift must be from -30 to 31"),
        (lambda: g.Requantisation(mode="onnx", multiplier=1 << 24, shift=40), r"below 2\^24 for ONNX"),
        (lambda: post(zero_point=300), "zero_point must be from -256 to 255, not 300"),
        (lambda: post(low=5, high=4), "low <= high"),
        (lambda: post(table=np.zeros(255)), "table must have 256 entries, not 255"),
        (lambda: post(table=np.full(256, 200)), r"table must fit int8, not 200\.\.200"),
        (lambda: conv(bias=np.zeros(7)), r"node 'c' \(Conv\): bias must have 8 entries, not 7"),
        (lambda: conv(stride=(0, 1)), r"stride must be two integers from 1, not \(0, 1\)"),
        (lambda: conv(padding=(1, 1)), r"padding must be \(\(top, bottom\), \(left, right\)\) from 0, not \(1, 1\)"),
        (lambda: conv(post=post(3)), "post.multiplier must have 1 or 8 entries, not 3"),
        (lambda: conv(inputs=("x", "z")), r"inputs must name 1 tensors, not \('x', 'z'\)"),
        (lambda: graph(conv(), (1, 2, 8, 4)), r"'c' \(Conv\): a window of \(3, 3\) .* fit input 'x' \(1, 2, 8, 4\)"),
        (lambda: graph(conv(), (1, 8)), r"input 'x' must be \(N, H, W, C\), not \(1, 8\)"),
        (lambda: graph(conv(), (1, 8, 8, 3)), r"weights must be \[M, R, S, 3\] for input 'x' .* not \(8, 3, 3, 4\)"),
        (lambda: graph(conv(groups=3), (1, 8, 8, 4)), r"divide input channels \(4\) and filters \(8\), not 3"),
        (lambda: graph(conv(bias=np.full(8, 2**31 - 1)), (1, 8, 8, 4)), None),
        (
            lambda: graph(
                g.FullyConnected(
                    name="f", inputs=("x",), output="y", weights=np.ones((1, 2)), bias=[2**31 - 256], post=post()
                ),
                (1, 2),
            ),
            "accumulator can reach 2147483648, more than int32",
        ),
        (lambda: graph(pool(padding=((3, 0), (0, 0))), (1, 7, 7, 4)), "without a pixel"),
        (lambda: graph(pool(padding=((0, 2), (0, 0))), (1, 1, 7, 4)), None),
        (lambda: graph(pool(padding=((0, 4), (0, 0))), (1, 2, 7, 4)), "without a pixel"),
        (lambda: pool(g.AveragePool, post=post(4)), "must have 1 or 9 entries, not 4"),
        (lambda: pool(g.AveragePool, post=post(), padding=((1, 1), (1, 1))), "must have 9 entries, not 1"),
        (lambda: pool(g.AveragePool, post=post(), low=0), "must be given in post"),
        (lambda: g.Elementwise(name="e", inputs="xz", output="y", kind="sub"), "kind must be 'add', 'mul' or 'max'"),
        (lambda: g.Elementwise(name="e", inputs="xz", output="y", kind="add"), "must be given for 'add'"),
        (lambda: g.Elementwise(name="e", inputs="xz", output="y", kind="max", post=post()), "must be None for 'max'"),
        (
            lambda: g.Elementwise(
                name="e", inputs="xz", output="y", kind="mul", post=post(),
                table_a=[1 << 16] * 256, table_b=[1 << 15] * 256,
            ),
            "mul of the tables can reach 2147483648",
        ),
        (
            lambda: graph(g.Elementwise(name="e", inputs="xz", output="y", kind="max"), (1, 2), (1, 3)),
            r"one shape, not 'x' \(1, 2\) and 'z' \(1, 3\)",
        ),
        (lambda: graph(g.Concat(name="k", inputs="xz", output="y"), (1, 2, 2, 3), (1, 2, 1, 3)), "for the channels"),
        (lambda: g.Concat(name="k", inputs="xz", output="y", tables=(None,)), "an entry for each of 2 inputs, not 1"),
        (lambda: g.Concat(name="k", inputs="x", output="y", tables=(np.zeros(9),)), "a table must have 256 entries"),
        (lambda: g.Concat(name="k", inputs=(), output="y"), "an entry for each of 0 inputs, not 0"),
        (lambda: moves(g.Select, channels=[0, -1]), r"channels must be positions from 0, not \[0, -1\]"),
        (lambda: moves(g.Select, channels=[]), r"channels must be positions from 0, not \[\]"),
        (lambda: moves(g.Select, channels=[0.5]), "channels must fit int64"),
        (lambda: graph(moves(g.Select, channels=[4]), (1, 2, 2, 4)), r"below 4 for input 'x' \(1, 2, 2, 4\), not 4"),
        (lambda: moves(g.Pad, padding=((0, 1), (-1, 0)), value=0), r"padding must be .* from 0"),
        (lambda: moves(g.Pad, padding=((0, 1), (1, 0)), value=128), "value must be from -128 to 127, not 128"),
        (lambda: graph(moves(g.Pad, padding=((0, 1), (1, 0)), value=1), (1, 4)), r"'x' must be \(N, H, W, C\)"),
        (lambda: graph(moves(g.Resize, rows=[2], columns=[0]), (1, 2, 9, 4)), "rows must be below 2 for input 'x'"),
        (lambda: graph(moves(g.Resize, rows=[1], columns=[9]), (1, 2, 9, 4)), "columns must be below 9 for input 'x'"),
        (lambda: moves(g.Constant, inputs=(), values=np.zeros((2, 3, 4))), r"values must be .* not \(2, 3, 4\)"),
        (lambda: moves(g.Constant, inputs=(), values=[[1, 2], [1, 3]]), "values must be equal for every batch item"),
        (lambda: moves(g.Constant, inputs=(), values=[[128]]), r"values must fit int8, not 128\.\.128"),
        (lambda: moves(g.Constant, values=[[1]]), r"inputs must name 0 tensors, not \('x',\)"),
        (lambda: graph(g.Reshape(name="r", inputs="x", output="y", shape=(3,)), (1, 4)), "the 4 elements of 'x'"),
        (lambda: graph(conv(), (1, 8, 8, 4), shape=(1, 6, 6, 9)), r"'y' with shape \(1, 6, 6, 8\), not \(1, 6, 6, 9\)"),
        (lambda: graph(conv(inputs=("q",)), (1, 8, 8, 4)), "node 'c' takes 'q', which nothing before it makes"),
        (lambda: graph(conv(output="x"), (1, 8, 8, 4)), "makes 'x', which exists already"),
        (lambda: graph(conv(output="q"), (1, 8, 8, 4)), "makes 'q', which is not among the tensors"),
        (lambda: graph(conv(), (1, 8, 8, 4), outputs=("q",)), "output 'q' is made by no node"),
        (
            lambda: g.tflite_add(name="a", a=g.Tensor("x"), b=g.Tensor("z"), output=g.Tensor("y")),
            "tensor 'x' must have a scale",
        ),
    ],
)  # fmt: skip
def test_refusals(make, message):
    if message is None:  # just allowed
        make()
        return
    with pytest.raises(g.GraphError, match=message):
        make()


def test_two_of_a_name():
    with pytest.raises(g.GraphError, match="there are two tensors 'x'"):
        g.Graph(name="t", tensors=[g.Tensor("x", (1, 2)), g.Tensor("x", (1, 2))], inputs=("x",), outputs=(), nodes=())
    node = g.Table(name="t", inputs=("x",), output="y", table=np.zeros(256))
    with pytest.raises(g.GraphError, match="there are two nodes 't'"):
        g.Graph(name="t", tensors=[g.Tensor("x", (1, 2)), g.Tensor("y")], inputs="x", outputs="y", nodes=(node, node))
    with pytest.raises(g.GraphError, match="tensor 'y' is neither an input nor made"):
        g.Graph(name="t", tensors=[g.Tensor("x", (1, 2)), g.Tensor("y")], inputs="x", outputs="x", nodes=())


def test_what_moved_elements_are():
    """Written from the nodes' definitions, element by element."""
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.int8)
    table = np.arange(-128, 128)[::-1]
    nodes = (
        moves(g.Select, name="s", output="s", channels=[4, 0, 4]),
        moves(g.Resize, name="r", output="r", rows=[2, 0], columns=[1, 1, 3]),
        moves(g.Pad, name="p", output="p", padding=((1, 0), (0, 2)), value=-7),
        moves(g.Concat, name="k", output="k", inputs=("x", "s", "x"), tables=(None, table, None)),
        moves(g.Constant, name="c", output="c", inputs=(), values=np.full((1, 2), 5)),
    )
    tensors = [g.Tensor("x", x.shape), *(g.Tensor(node.output) for node in nodes)]
    outputs = [node.output for node in nodes]
    made = evaluate(g.Graph(name="m", tensors=tensors, inputs=("x",), outputs=outputs, nodes=nodes), {"x": x})
    for n, h, w in np.ndindex(2, 3, 4):
        assert [*made["s"][n, h, w]] == [x[n, h, w, 4], x[n, h, w, 0], x[n, h, w, 4]]
        assert [*made["k"][n, h, w]] == [*x[n, h, w], *(-1 - made["s"][n, h, w]), *x[n, h, w]]
    for n, e, f in np.ndindex(2, 2, 3):
        assert [*made["r"][n, e, f]] == [*x[n, (2, 0)[e], (1, 1, 3)[f]]]
    for n, e, f in np.ndindex(2, 4, 6):
        inside = e >= 1 and f < 4
        assert [*made["p"][n, e, f]] == ([*x[n, e - 1, f]] if inside else [-7] * 5)
    assert made["c"].tolist() == [[5, 5]] * 2
