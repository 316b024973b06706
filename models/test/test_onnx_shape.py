"""Operators that move elements, against ONNX Runtime."""

import numpy as np
import pytest
from onnx import helper
from rowcast_sim.bench.random_models.onnx_writer import Writer, random_inputs
from rowcast_models.frontend import ModelError, import_model
from rowcast_models.from_onnx import kinds, read

ort = pytest.importorskip("rowcast_models.reference.ort", reason="pip install 'rowcast[check]'")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")

BOTH = (np.int8, np.uint8)


def verify(model, rng):
    """Golden, graph and runtime give the same outputs; returns the names of the graph's nodes' kinds."""
    inputs = random_inputs(model, rng, 2)
    network = import_model(read(model), kinds())
    want, golden, graph = ort.run(model, inputs), network.operator_golden(inputs), network.run(inputs)
    for name in network.model.outputs:
        assert golden[name].dtype == want[name].dtype and golden[name].shape == want[name].shape, name
        assert np.array_equal(golden[name], want[name]) and np.array_equal(graph[name], want[name]), name
    return [type(node).__name__ for stage in network.stages for node in stage.graph.nodes]


MODES = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric"]


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("mode", MODES)
def test_resize(mode, nearest):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, BOTH[seed % 2])
        height, width = (int(size) for size in rng.integers(1, 8, 2))
        x = writer.input("x", [1, 3, height, width])
        if seed % 2:
            given = [x, "", "", writer.constant("sizes", np.int64([1, 3, *rng.integers(1, 15, 2)]))]
        else:
            factors = np.float32([1, 1, rng.uniform(1, 3), rng.uniform(1, 3)])
            given = [x, "", writer.constant("scales", factors)]
        writer.node("Resize", given, "y", mode="nearest", coordinate_transformation_mode=mode, nearest_mode=nearest)
        verify(writer.model("y"), rng)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad(mode):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, BOTH[seed % 2])
        x = writer.input("x", [1, 3, int(rng.integers(4, 8)), int(rng.integers(4, 8))])
        top, left, bottom, right = rng.integers(0, 4, 4)
        names = [x, writer.constant("pads", np.int64([0, 0, top, left, 0, 0, bottom, right]))]
        if mode == "constant":
            names.append(writer.constant("value", writer.dtype.type(rng.integers(0, 100))))
        writer.node("Pad", names, "y", mode=mode)
        verify(writer.model("y"), rng)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_concat(axis, count):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, BOTH[seed % 2])
        parts = []
        for name in "abcd"[:count]:
            shape = [1, 3, 4, 5]
            shape[axis] = int(rng.integers(1, 7))
            parts.append(writer.dequantised(writer.input(name, shape)))
        verify(writer.model(writer.quantised(writer.node("Concat", parts, "y_real", axis=axis), "y")), rng)


@pytest.mark.parametrize("axis", [1, 2])
def test_qlinear_concat(axis):
    rng = np.random.default_rng(axis)
    for dtype in BOTH:
        writer = Writer(rng, dtype)
        names = [*writer.scale("y")]
        for name in "ab":
            names += [writer.input(name, [1, 3, 4, 5]), *writer.scale(name)]
        writer.nodes.append(helper.make_node("QLinearConcat", names, ["y"], domain="com.microsoft", axis=axis))
        verify(writer.model("y"), rng)


@pytest.mark.parametrize("quantised", [False, True])
def test_slice(quantised):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, BOTH[seed % 2])
        shape = [1, 6, 7, 9]
        axes = sorted(rng.choice([1, 2, 3], int(rng.integers(1, 4)), replace=False).tolist())
        steps = rng.choice([-2, -1, 1, 2, 3], len(axes))
        starts = [int(rng.integers(0, 3)) if step > 0 else -1 - int(rng.integers(0, 2)) for step in steps]
        ends = [shape[axis] - int(rng.integers(0, 3)) if step > 0 else -100 for axis, step in zip(axes, steps)]
        x = writer.input("x", shape)
        given = [writer.constant(f"i{i}", np.int64(each)) for i, each in enumerate((starts, ends, axes, steps))]
        if quantised:
            writer.quantised(writer.node("Slice", [writer.dequantised(x), *given], "y_real"), "y")
        else:
            writer.node("Slice", [x, *given], "y")
        verify(writer.model("y"), rng)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_split(axis):
    for sizes in ([2, 4], [1, 1, 4], None):
        rng = np.random.default_rng(axis)
        writer = Writer(rng, BOTH[axis % 2])
        shape = [1, 5, 5, 5]
        shape[axis] = 6
        names = [writer.input("x", shape), *([writer.constant("sizes", np.int64(sizes))] if sizes else [])]
        outputs = ["y", "z", "w"][: len(sizes) if sizes else 3]
        fields = {} if sizes else {"num_outputs": 3}
        writer.nodes.append(helper.make_node("Split", names, outputs, axis=axis, **fields))
        verify(writer.model(*outputs), rng)


@pytest.mark.parametrize("indices", [[0], [3, -1, 0, 0], 2, [[0, 1, 2], [2, 1, 0]]], ids=str)
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_gather(axis, indices):
    rng = np.random.default_rng(axis)
    writer = Writer(rng, BOTH[axis % 2])
    writer.node("Gather", [writer.input("x", [1, 4, 5, 6]), writer.constant("i", np.int64(indices))], "y", axis=axis)
    verify(writer.model("y"), rng)


def test_views_make_no_nodes_but_what_names_them():
    rng = np.random.default_rng(0)
    writer = Writer(rng)
    a = writer.node("Reshape", [writer.input("x", [1, 6, 2, 4]), writer.constant("to", np.int64([0, 3, -1, 4]))], "a")
    b = writer.node("Unsqueeze", [a, writer.constant("axes", np.int64([2]))], "b")
    c = writer.node("Squeeze", [b, writer.constant("axes", np.int64([2]))], "c")
    d = writer.node("Flatten", [writer.node("Transpose", [c], "t", perm=[0, 3, 1, 2])], "d")
    assert verify(writer.model(writer.node("Relu", [d], "y")), rng) == ["Table"]


def test_channels_picked_by_a_chain_stay_in_order():
    """A Slice of rows and channels at once, then a Gather, then a Pad: selections and boxes one after the other."""
    rng = np.random.default_rng(0)
    writer = Writer(rng, np.uint8)
    given = [writer.constant(f"i{i}", np.int64(each)) for i, each in enumerate(([5, 1], [-100, 6], [1, 2], [-2, 2]))]
    a = writer.node("Slice", [writer.input("x", [1, 6, 7, 3]), *given], "a")
    b = writer.node("Gather", [a, writer.constant("g", np.int64([2, 0, 1, 2]))], "b", axis=1)
    writer.node("Pad", [b, writer.constant("p", np.int64([0, 0, 1, 0, 0, 0, 0, 2])), writer.constant("v", np.uint8(7))], "y")
    assert verify(writer.model("y"), rng) == ["Select", "Resize", "Select", "Pad"]


def refused(match, kind, names, **attributes):
    writer = Writer(np.random.default_rng(0))
    x = writer.input("x", [1, 4, 5, 6])
    inputs = [x, *(writer.constant(f"i{i}", np.asarray(each)) for i, each in enumerate(names))]
    writer.node(kind, inputs, "y", **attributes)
    with pytest.raises(ModelError, match=match):
        import_model(read(writer.model("y")), kinds())


def test_the_batch_stays():
    refused("any axis but the batch", "Slice", [np.int64([0]), np.int64([1]), np.int64([0]), np.int64([2])])
    refused("any axis but the batch", "Gather", [np.int64([0])], axis=0)
    refused("must keep the first axis, the batch", "Reshape", [np.int64([4, 30])])
    refused("must leave the first axis, the batch", "Transpose", [], perm=[1, 0, 2, 3])
    refused("must be 0 for batch and channels", "Pad", [np.int64([0, 1, 0, 0, 0, 0, 0, 0]), np.int8(0)])
