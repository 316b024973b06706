"""Files of TensorFlow Lite: what they say, and what is wrong with them, whatever it is."""

import re
import resource
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is missing, whose schema writes the models: pip install 'rowcast[check]'")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from rowcast_models.frontend import ModelError, import_model  # noqa: E402
from rowcast_models.from_tflite import kinds, read  # noqa: E402
from rowcast_sim.bench.random_models.tflite_writer import Writer  # noqa: E402

MODEL = Path(__file__).parents[3] / "shared" / "data" / "mlperf_tiny" / "kws_dscnn.tflite"
needs_model = pytest.mark.skipif(not MODEL.is_file(), reason="../shared/data/mlperf_tiny is missing: the models of github.com/mlcommons/tiny")


def example():
    """(Writer, inputs, outputs) of a model that has most kinds of operators."""
    w = Writer(0)
    x, filters, y = w.tensor([1, 6, 5, 3]), w.filters([4, 3, 3, 3]), w.tensor([1, 6, 5, 4])
    bias = w.tensor([4], dtype=np.int32, data=[5, -6, 7, 0])
    w.operator("CONV_2D", [x, filters, bias], [y], "Conv2DOptions", padding=0, strideH=1, strideW=1, fusedActivationFunction=3)
    d, e = w.tensor([1, 3, 3, 4]), w.tensor([1, 3, 3, 4])
    w.operator("DEPTHWISE_CONV_2D", [y, w.filters([1, 3, 3, 4], axis=3), bias], [d], "DepthwiseConv2DOptions",
               padding=0, strideH=2, strideW=2, depthMultiplier=1)  # fmt: skip
    w.operator("ADD", [d, d], [e], "AddOptions")
    p, q, r = w.like(e, [1, 4, 5, 4]), w.like(e, [1, 2, 2, 4]), w.like(e, [1, 5, 4, 4])
    w.operator("PAD", [e, w.numbers([[0, 0], [0, 1], [1, 1], [0, 0]])], [p], "PadOptions")
    w.operator("MAX_POOL_2D", [p], [q], "Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    w.operator("RESIZE_NEAREST_NEIGHBOR", [q, w.numbers([5, 4])], [r], "ResizeNearestNeighborOptions", halfPixelCenters=True)
    c, t, f = w.like(e, [1, 5, 4, 8]), w.like(e, [1, 8, 5, 4]), w.like(e, [1, 160])
    w.operator("CONCATENATION", [r, r], [c], "ConcatenationOptions", axis=-1)
    w.operator("TRANSPOSE", [c, w.numbers([0, 3, 1, 2])], [t], "TransposeOptions")
    w.operator("RESHAPE", [t, w.numbers([1, 160])], [f], "ReshapeOptions")
    o, m, s = w.tensor([1, 3]), w.tensor([1, 4]), w.tensor([1, 3], scale=1 / 256, zero_point=-128)
    w.operator("FULLY_CONNECTED", [f, w.filters([3, 160], per_channel=False), -1], [o], "FullyConnectedOptions")
    w.operator("MEAN", [e, w.numbers([1, 2])], [m], "ReducerOptions")
    w.operator("SOFTMAX", [o], [s], "SoftmaxOptions", beta=1.0)
    return w, [x], [s, m]


def test_attributes_and_names():
    writer, inputs, outputs = example()
    model = read(writer.data(inputs, outputs), name="example")
    assert (model.format, model.name, model.inputs, model.outputs) == ("tflite", "example", ("t0",), (f"t{outputs[0]}", f"t{outputs[1]}"))
    conv, depthwise = model.operators[:2]
    assert conv.name == "CONV_2D_0:t2" and len({op.name for op in model.operators}) == len(model.operators)
    assert conv.attributes == {"stride_h": 1, "stride_w": 1, "padding": "SAME", "fused_activation": "RELU6", "dilation_h": 1, "dilation_w": 1}
    assert conv.input_quantisation[1].scale.shape == (4,) and depthwise.input_quantisation[1].axis == 3
    assert model.values["t3"].dtype == np.int32 and model.constant("t3").tolist() == [5, -6, 7, 0]
    (dense,) = (op for op in model.operators if op.kind == "FULLY_CONNECTED")
    assert dense.inputs[2] == "" and not dense.attributes["single_rounding"]
    (dense,) = (op for op in read(writer.data(inputs, outputs), runtime="litert").operators if op.kind == "FULLY_CONNECTED")
    assert dense.attributes["single_rounding"]
    with pytest.raises(ValueError, match="runtime must be one of tflm, litert, not 'x'"):
        read(b"", runtime="x")


# Damage ------------------------------------------------------------------------------------------------------------------


def sound(data):
    """Whether the bytes are a model; anything raised but ModelError fails the test."""
    try:
        import_model(read(bytes(data)), kinds())
    except ModelError as error:
        assert str(error)
        return False
    return True


@pytest.mark.parametrize("data", [b"", b"TFL3", b"0" * 100, b"\x1c\x00\x00\x00TFL3" + b"\xff" * 60, b"\x1c\x00\x00\x00TFL2" + b"\0" * 60])
def test_no_model(data):
    with pytest.raises(ModelError, match="not a TensorFlow Lite file|damaged"):
        read(data)


def test_cut_short():
    writer, inputs, outputs = example()
    data = writer.data(inputs, outputs)
    assert sound(data)
    # Anything may be missing but the last string's end.
    assert not any(sound(data[:length]) for length in range(0, len(data) - 4, 5))


@pytest.mark.parametrize("seed", range(2))
def test_changed_bytes(seed):
    writer, inputs, outputs = example()
    data, rng = writer.data(inputs, outputs), np.random.default_rng(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = []
    for _ in range(500):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[at] = int(rng.choice([broken[at] ^ (1 << rng.integers(8)), rng.integers(256), 0, 127, 128, 255]))
        results.append(sound(broken))
    assert results.count(False) > 250 and any(results)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10, "kilobytes"


@needs_model
def test_changed_bytes_of_a_real_model():
    data, rng = MODEL.read_bytes(), np.random.default_rng(0)
    results = []
    for number in range(100):
        broken = bytearray(data if number % 2 else data[: int(rng.integers(0, len(data)))])
        # Most of the file is weights, any byte of which is right; its tables are at both ends.
        for at in rng.integers(0, 4000, 4 * (number % 2)):
            broken[at if number % 4 == 1 else len(broken) - 1 - at] ^= 1 << int(rng.integers(8))
        results.append(sound(broken))
    assert results.count(False) >= 50


# What is refused ---------------------------------------------------------------------------------------------------------


def conv_model(x=None, w=None, y=None, bias=None, inputs=None, options=None, outputs=None):
    """(Writer, data) of one CONV_2D, with some of its tensors (fields of `Writer.tensor`) or options changed."""
    writer = Writer(0)
    tensors = [
        {"shape": [1, 6, 6, 3], "scale": 0.1, "zero_point": 3} | (x or {}),
        {"shape": [4, 3, 3, 3], "scale": 0.01, "zero_point": 0, "data": np.ones([4, 3, 3, 3])} | (w or {}),
        {"shape": [4], "dtype": np.int32, "data": np.zeros(4)} | (bias or {}),
        {"shape": [1, 4, 4, 4], "scale": 0.1, "zero_point": 3} | (y or {}),
    ]
    for fields in tensors:
        writer.tensor(**fields)
    made = {"padding": 1, "strideH": 1, "strideW": 1} | (options or {})
    writer.operator("CONV_2D", inputs or [0, 1, 2], outputs or [3], "Conv2DOptions", **made)
    return writer


FLOAT = {"dtype": np.float32, "scale": None, "zero_point": None}
CONV = [
    ({"x": {"scale": np.nan}}, "'t0': scales must be finite and above 0, not nan"),
    ({"x": {"scale": 0.0}}, "'t0': scales must be finite and above 0, not 0.0"),
    ({"w": {"scale": -0.5}}, "'t1': scales must be finite and above 0, not -0.5"),
    ({"y": {"scale": np.inf}}, "'t3': scales must be finite and above 0, not inf"),
    ({"x": {"zero_point": 200}}, "'t0': zero points must be from -128 to 127 for int8, not 200"),
    ({"w": {"scale": [0.1] * 3}}, "'t1': has 3 scales for axis 0 of shape (4, 3, 3, 3)"),
    ({"w": {"scale": [0.1] * 3, "axis": 3}}, "the filter's scales belong to axis 3, and must to axis 0"),
    ({"w": {"zero_point": 1}}, "the filter 't1' has zero points other than 0"),
    ({"w": {"data": np.ones(7)}}, "'t1': shape (4, 3, 3, 3) of int8 needs 108 bytes, its buffer has 7"),
    ({"w": {"data": None}}, "the filter 't1' is computed, and must be a constant"),
    ({"x": FLOAT, "y": FLOAT}, "this model is not quantised: its activations are float32; convert it to full int8"),
    ({"x": FLOAT}, "the ifmap 't0' is float32, and must be int8; this operator works on bytes: convert the model to full int8"),
    ({"x": {"dtype": np.uint8}}, "'t0' is uint8, and must be int8; uint8 is the older quantisation"),
    ({"y": {"dtype": np.int16}}, "'t3' is int16, and must be int8; 16-bit activations cannot be used"),
    ({"w": {"dtype": np.float32}}, "the filter 't1' is float32, and must be int8"),
    ({"bias": {"dtype": np.int64}}, "the bias 't2' is int64, and must be int32"),
    ({"bias": {"shape": [5], "data": np.zeros(5)}}, "the bias (5,) must have 4 entries"),
    ({"x": {"shape": [1, 6, 6, 4]}}, "filters (4, 3, 3, 3) of [M, R, S, C / groups] do not divide the ifmap (1, 6, 6, 4)"),
    ({"x": {"shape": [6, 6, 3]}}, "the ifmap 't0' (6, 6, 3) must have 4 axes"),
    ({"x": {"shape": [1, 0, 6, 3]}}, "'t0': shape (1, 0, 6, 3) must have at most 6 axes, each from 1"),
    ({"x": {"shape": [1, 1 << 20, 1 << 20, 3]}}, "at most 33,554,432 elements"),
    ({"y": {"shape": [1, 4, 4, 5]}}, "makes shape (1, 4, 4, 4), but output 't3' has (1, 4, 4, 5) in the file"),
    ({"options": {"strideH": 0}}, "stride (0, 1) must be from 1"),
    ({"options": {"dilationWFactor": -3}}, "dilation (1, -3) must be from 1"),
    ({"options": {"padding": 0, "dilationHFactor": 1 << 30}}, "needs more than 512 pixels of padding"),
    ({"options": {"dilationHFactor": 9}}, "a window of (3, 3), dilation (9, 1), does not fit (1, 6, 6, 3)"),
    ({"options": {"fusedActivationFunction": 5}}, "fused activation SIGN_BIT must be one of NONE, RELU, RELU6, RELU_N1_TO_1"),
    ({"inputs": [0]}, "has 1 inputs, and must have 2 or 3"),
    ({"inputs": [-1, 1, 2]}, "the ifmap is absent"),
    ({"inputs": [0, 1, 9]}, "damaged"),
    ({"inputs": [3, 1, 2]}, "takes 't3', which nothing before it makes"),
    ({"outputs": [0]}, "makes 't0', which is there already"),
]  # fmt: skip


@pytest.mark.parametrize("changed, text", CONV, ids=[text[:40] for _, text in CONV])
def test_refused(changed, text):
    with pytest.raises(ModelError, match=re.escape(text)):
        import_model(read(conv_model(**changed).data([0], [3])), kinds())


def test_all_problems_at_once():
    writer = conv_model(x={"scale": 0.0}, w={"zero_point": 1}, y={"zero_point": 999})
    with pytest.raises(ModelError) as caught:
        read(writer.data([0], [3]))
    nodes = [problem.node for problem in caught.value.problems]
    assert nodes[:2] == ["t0", "t3"] and "CONV_2D_0:t3" in nodes


def changed(change):
    """Bytes of the example convolution after `change(model)` of the schema's objects."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(conv_model().data([0], [3]), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def two_subgraphs(model):
    model.subgraphs = model.subgraphs * 2


def variable(model):
    model.subgraphs[0].tensors[0].isVariable = True


def sparse(model):
    model.subgraphs[0].tensors[1].sparsity = schema.SparsityParametersT()


def text_tensor(model):
    model.subgraphs[0].tensors[0].type = schema.TensorType.STRING


def open_height(model):
    model.subgraphs[0].tensors[0].shapeSignature = [-1, -1, 6, 3]


def custom(model):
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"Mystery"


def unknown_operator(model):
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LSTM


def no_outputs(model):
    model.subgraphs[0].outputs = []


def outside(model):
    model.buffers[model.subgraphs[0].tensors[1].buffer] = schema.BufferT()
    model.buffers[model.subgraphs[0].tensors[1].buffer].offset = 4096


FILES = [
    (two_subgraphs, "has 2 subgraphs; only models of one"), (variable, "variable tensors (state)"), (sparse, "sparse tensors"),
    (text_tensor, "'t0': type STRING cannot be used"), (open_height, "shape [-1, -1, 6, 3] is open in other axes than the batch"),
    (custom, "custom operator 'Mystery' cannot be used"), (unknown_operator, "(LSTM): there is no such operator"),
    (no_outputs, "the model has 1 inputs and 0 outputs"), (outside, "its values lie outside the flatbuffer"),
]  # fmt: skip


@pytest.mark.parametrize("change, text", FILES, ids=[change.__name__ for change, _ in FILES])
def test_refused_files(change, text):
    with pytest.raises(ModelError, match=re.escape(text)):
        import_model(read(changed(change)), kinds())


def open_batch(model):
    for tensor in (model.subgraphs[0].tensors[i] for i in (0, 3)):
        tensor.shapeSignature = [-1, *tensor.shape[1:]]


def same_names(model):
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b"same"


def test_open_batch_and_names_that_are_not_unique():
    assert sound(changed(open_batch))
    model = read(changed(same_names))
    assert len(set(model.values)) == 4 and model.operators[0].inputs[0] == model.inputs[0]


OPERATORS = [
    ("TRANSPOSE", [[0, 1, 1, 2]], "TransposeOptions", {}, [1, 2, 3, 4], "perm [0, 1, 1, 2] must name each of 4 axes once"),
    ("TRANSPOSE", [[0, 1, 7, 2]], "TransposeOptions", {}, [1, 2, 3, 4], "perm 7 must be from -4 to 3"),
    ("TRANSPOSE", [[1, 0, 2, 3]], "TransposeOptions", {}, [2, 1, 3, 4], "must leave the first axis, the batch, where it is"),
    ("MEAN", [[4]], "ReducerOptions", {}, [1, 2, 3], "axis 4 must be from -4 to 3"),
    ("MEAN", [[0]], "ReducerOptions", {}, [2, 3, 4], "axes [0] of 4 must be some of 1, 2, 3"),
    ("PAD", [[[0, 0], [0, -1], [0, 0], [0, 0]]], "PadOptions", {}, [1, 1, 3, 4], "must be two for each of 4 axes, from 0"),
    ("PAD", [[[1, 0], [0, 0], [0, 0], [0, 0]]], "PadOptions", {}, [2, 2, 3, 4], "must be 0 for the first axis, the batch"),
    ("CONCATENATION", [], "ConcatenationOptions", {"axis": 5}, [1, 2, 3, 4], "axis 5 must be from -4 to 3"),
    ("RESHAPE", [[1, 25]], "ReshapeOptions", {}, [1, 25], "(1, 25) has not as many elements as (1, 2, 3, 4)"),
    ("RESHAPE", [[2, 12]], "ReshapeOptions", {}, [2, 12], "must keep the first axis, the batch"),
    ("RESIZE_NEAREST_NEIGHBOR", [[5]], "ResizeNearestNeighborOptions", {}, [1, 5, 5, 4], "size [5] must be rows and columns"),
    ("SOFTMAX", [], "SoftmaxOptions", {"beta": 1.0}, [1, 2, 12], "makes shape (1, 2, 3, 4), but output 't1' has (1, 2, 12)"),
    ("SOFTMAX", [], "SoftmaxOptions", {"beta": float("nan")}, [1, 2, 3, 4], "beta must be finite, not nan"),
    ("SOFTMAX", [], "SoftmaxOptions", {"beta": -1.0}, [1, 2, 3, 4], "must be above 2^-26"),
    ("LEAKY_RELU", [], "LeakyReluOptions", {"alpha": float("inf")}, [1, 2, 3, 4], "alpha must be finite, not inf"),
    ("MAX_POOL_2D", [], "Pool2DOptions", {"filterHeight": 1 << 30, "filterWidth": 1, "strideH": 1, "strideW": 1}, [1, 2, 3, 4],
     "needs more than 512 pixels of padding"),
]  # fmt: skip


@pytest.mark.parametrize("kind, constants, options, fields, made, text", OPERATORS)
def test_refused_operators(kind, constants, options, fields, made, text):
    writer = Writer(0)
    x = writer.tensor([1, 2, 3, 4])
    y = writer.tensor(made, scale=1 / 256, zero_point=-128) if kind == "SOFTMAX" else writer.like(x, made)
    writer.operator(kind, [x, *map(writer.numbers, constants)], [y], options, **fields)
    with pytest.raises(ModelError, match=re.escape(text)):
        import_model(read(writer.data([x], [y])), kinds())


def test_refused_meanings():
    """Outputs of softmax have one meaning, a move keeps the type, a fused activation needs a scale that it fits."""
    writer = Writer(0)
    x = writer.tensor([1, 6], scale=0.1, zero_point=3)
    y, small = writer.tensor([1, 6], scale=0.1, zero_point=3), writer.tensor([1, 6], scale=1e-45, zero_point=0)
    moved = writer.tensor([1, 6], dtype=np.uint8, scale=0.1, zero_point=3)
    writer.operator("SOFTMAX", [x], [y], "SoftmaxOptions", beta=1.0)
    writer.operator("RESHAPE", [x, writer.numbers([1, 6])], [moved], "ReshapeOptions")
    writer.operator("ADD", [x, x], [small], "AddOptions", fusedActivationFunction=3)
    with pytest.raises(ModelError) as caught:
        import_model(read(writer.data([x], [y, moved, small])), kinds())
    texts = {problem.operator: problem.text for problem in caught.value.problems}
    assert "the output must have scale 1/256 and zero point -128" in texts["SOFTMAX"]
    assert texts["RESHAPE"] == "output 't3' is uint8, and must be int8 like the input"
    assert "is too small" in texts["ADD"]


def test_problems_of_all_kinds_at_once():
    """Scales, shapes, attributes, operators that there are not: each is found by another part of the reader."""
    writer = conv_model(x={"scale": 0.0})
    x = writer.tensor([1, 6, 6, 3], scale=0.1, zero_point=3)
    wrong, fused, unknown = writer.like(x, [1, 6, 6, 4]), writer.like(x, [1, 6, 6, 3]), writer.like(x, [1, 6, 6, 3])
    window = {"padding": 0, "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2}
    writer.operator("MAX_POOL_2D", [x], [wrong], "Pool2DOptions", **window)
    writer.operator("ADD", [x, x], [fused], "AddOptions", fusedActivationFunction=5)
    writer.operator("ABS", [fused], [unknown])
    with pytest.raises(ModelError) as caught:
        read(writer.data([0, x], [3, wrong, unknown]))
    assert {problem.operator for problem in caught.value.problems} == {"", "CONV_2D", "MAX_POOL_2D", "ADD", "ABS"}
