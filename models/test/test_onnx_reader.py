"""ONNX files: what is refused, in which words, and that nothing else happens whatever is wrong."""

import os
import re
import resource

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rowcast_models.frontend import ModelError, import_model
from rowcast_models.from_onnx import kinds, read
from rowcast_sim.bench.random_models.onnx_random import random_model
from rowcast_sim.bench.random_models.onnx_writer import Writer, random_inputs


def refused(model, text):
    """The problems of a model, one of which has this text."""
    with pytest.raises(ModelError, match=re.escape(text)) as caught:
        import_model(read(model), kinds())
    return caught.value.problems


def conv_model():
    """A convolution of x with 3 filters between DequantizeLinear and QuantizeLinear."""
    writer = Writer(np.random.default_rng(0))
    x, w = writer.dequantised(writer.input("x", [1, 4, 6, 6])), writer.weights("w", [3, 4, 3, 3], channels=True)
    bias = writer.constant("bias", np.float32([1, 2, 3]))
    return writer.model(writer.quantised(writer.node("Conv", [x, w, bias], "y_real", pads=[1, 1, 1, 1]), "y"))


def constant(name, array):
    """A change of a model: another constant."""

    def change(model):
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(array), name))

    return change


def attribute(name, value):
    """A change of a model: an attribute of its convolution."""

    def change(model):
        node = model.graph.node[-2]
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def input_of(code=TensorProto.INT8, shape=(1, 4, 6, 6)):
    """A change of a model: type and shape of its input."""

    def change(model):
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", code, shape))

    return change


def weights(**fields):
    """A change of a model: fields of the weights' tensor."""

    def change(model):
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
        for name, value in fields.items():
            setattr(tensor, name, value)

    return change


def foreign(model):
    model.graph.node[0].domain = "some.domain"
    model.opset_import.append(helper.make_opsetid("some.domain", 1))


def cyclic(model):
    model.graph.node[1].input[0] = "y"


def taken_by_itself(model):
    model.graph.node[0].input[0] = "w"


REFUSED = [
    (constant("x_scale", np.float32(np.nan)), "scales of 'x' must be finite and above 0, not [nan]"),
    (constant("x_scale", np.float32(0)), "scales of 'x' must be finite and above 0, not [0.0]"),
    (constant("y_scale", np.float32(-1)), "scales of 'y' must be finite and above 0, not [-1.0]"),
    (constant("w_scale", np.float32([1, np.inf, 1])), "scales of 'w' must be finite and above 0"),
    (constant("y_scale", np.float32(1e-45)),
     "input scale x weight scale / output scale: scale must be from 0 to below 2^24, not inf"),
    (constant("x_scale", np.zeros(0, np.float32)),
     "scale (0,) and zero point () of 'x' must be one, or one for each channel"),
    (constant("x_zero", np.zeros(0, np.int8)),
     "scale (0,) and zero point (0,) of 'x' must be one, or one for each channel"),
    (constant("x_zero", np.zeros(4, np.int8)), "'x' has 4 scales and zero points, and must have one"),
    (constant("x_zero", np.uint8(3)), "zero points of 'x' must be int8 like itself, not uint8"),
    (constant("w_scale", np.ones(2, np.float32)),
     "scale (2,) and zero point (3,) of 'w' must be one, or one for each channel"),
    (constant("bias", np.float32([1, np.nan, 3])), "constant 'bias' must be finite, and has nan"),
    (constant("bias", np.ones(2, np.float32)),
     "its bias 'bias' float32 (2,) must be int32, one for each of 3 channels"),
    (attribute("strides", [0, 1]), "strides"),
    (attribute("dilations", [1, -1]), "dilations"),
    (attribute("pads", [1 << 62, 0, 0, 0]), "[1, 3, 4611686018427387908, 4], more than 33,554,432 elements"),
    (attribute("pads", [600, 0, 0, 0]), "pads (600, 0, 0, 0) must be 4 numbers up to 512"),
    (attribute("auto_pad", "XX"), "auto_pad 'XX' must be NOTSET, SAME_UPPER, SAME_LOWER or VALID"),
    (attribute("group", 0), "group 0 must be from 1"),
    (attribute("group", 3), "groups must divide input channels (4) and filters (3), not 3"),
    (input_of(shape=(1, 3, 6, 6)),
     "weights must be [M, R, S, 3] for input 'x' (1, 6, 6, 3) in 1 groups, not (3, 3, 3, 4)"),
    (input_of(TensorProto.BOOL), "'x' is bool; int8 and uint8 can be used"),
    (input_of(TensorProto.INT32), "int8 and uint8 can be used"),
    (input_of(shape=(1, 4, "h", 6)), "axis 2 of this input has size 'h'; give it a number"),
    (input_of(shape=(1, 4, 1 << 40, 6)), "shape [1, 4, 1099511627776, 6] has more than 33,554,432 elements"),
    (weights(data_type=99), "'w': type 99 cannot be used"),
    (weights(raw_data=b"1234567"), "'w': shape [3, 4, 3, 3] needs 108 bytes, it has 7"),
    (foreign, "operators of domain 'some.domain' cannot be used"),
    (cyclic, "Nodes in a graph must be topologically sorted"),
    (taken_by_itself, "'w' is a constant, and must be computed"),
]  # fmt: skip


@pytest.mark.parametrize("change, text", REFUSED, ids=[text[:40] for _, text in REFUSED])
def test_refused(change, text):
    model = conv_model()
    import_model(read(model), kinds())
    change(model)
    refused(model, text)


def one_node(kind, *constants, then=(), y_scale=0.1, y_type=np.int8, **attributes):
    """x, DequantizeLinear, a node with constants, others behind it, QuantizeLinear: the ModelProto."""
    writer = Writer(np.random.default_rng(0))
    x = writer.dequantised(writer.input("x", [1, 4, 6, 5]), scale=0.1, zero_point=3)
    names = [writer.constant(f"c{i}", array) for i, array in enumerate(constants)]
    real = writer.node(kind, [x, *names], "y_real", **attributes)
    for each in then:
        real = writer.node(each, [real], f"{real}_{each}")
    writer.dtype = np.dtype(y_type)
    return writer.model(writer.quantised(real, "y", scale=y_scale, zero_point=5))


NODES = [
    (one_node("LeakyRelu", alpha=float("nan")), "alpha must be finite, not nan"),
    (one_node("LRN", size=3, alpha=float("inf")), "alpha must be finite, not inf"),
    (one_node("Clip", np.float32([-1])), "'c0' [-1.0] must be one number, without axes"),
    (one_node("Clip", np.float32(np.nan)), "constant 'c0' must be finite, and has nan"),
    (one_node("Div", np.float32([[[1]], [[0]], [[2]], [[3]]])), "makes infinite values"),
    (one_node("BatchNormalization", *[np.float32([1, 2, np.nan, 3])] * 4), "constant 'c0' must be finite, and has nan"),
    (one_node("PRelu", np.float32([[[1]], [[np.inf]], [[2]], [[3]]])), "constant 'c0' must be finite, and has inf"),
    (one_node("LRN", size=0), "size 0 must be from 1"),
    (one_node("Transpose", perm=[0, 2, 1]), "perm"),
    (one_node("Softmax", axis=4), "axis"),
    (one_node("Gelu", approximate="none", then=["Relu", "Cos"]), "stays float"),
    (one_node("AveragePool", kernel_shape=[2, 2], then=["Tanh"]), "Tanh follows it without quantisation between"),
    (one_node("Softmax", axis=1, then=["Relu"]), "Relu follows it without quantisation between"),
    (one_node("LRN", size=5, alpha=3.0, then=["Tanh"]), "Tanh follows it without quantisation between"),
    (one_node("Pad", np.int64([0, 0, 1, 1, 0, 0, 1, 1]), then=["Relu"]), "nothing may follow it without"),
    (one_node("Resize", np.float32([]), np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="XX"),
     "nearest_mode 'XX' must be one of round_prefer_floor, round_prefer_ceil, floor, ceil"),
    (one_node("Resize", np.float32([]), np.float32([1, 1, 1e6, 1e6]), mode="nearest"), "more than 33,554,432 elements"),
    (one_node("Slice", np.int64([[0]]), np.int64([[2]]), np.int64([[2]])), "'c0' (1, 1) must be a list"),
    (one_node("Pad", np.int64([0, 0, 1, 1, 0, 0, 1, 1]), np.float32([1, 2])), "constant value"),
]  # fmt: skip


@pytest.mark.parametrize(
    "model, text", NODES, ids=[f"{model.graph.node[1].op_type}-{text[:30]}" for model, text in NODES]
)
def test_refused_nodes(model, text):
    refused(model, text)


def test_types_of_operators_on_bytes():
    """What takes int8 makes int8, as the runtime's have it; an output's scale cannot be left out."""
    writer = Writer(np.random.default_rng(0))
    x, scale = writer.input("x", [1, 4, 6, 6]), writer.scale("s")
    made = writer.node("QLinearGlobalAveragePool", [x, *scale, scale[0]], "y", domain="com.microsoft")
    refused(writer.model(made), "takes 'x' of int8 and makes uint8: both must be of one type")
    writer.nodes[-1].CopyFrom(helper.make_node("QLinearSoftmax", [x, *scale], ["y"], domain="com.microsoft", axis=1))
    refused(writer.model("y"), "has no scale of its output")


# Constants that are made ----------------------------------------------------------------------------------------------

HUGE = [
    ("ConstantOfShape", [np.int64([1 << 20, 1 << 12])], {}),
    ("Range", [np.float32(0), np.float32(1e12), np.float32(1)], {}),
    ("Tile", [np.zeros(1000, np.float32), np.int64([1 << 30])], {}),
    ("Expand", [np.zeros(1, np.float32), np.int64([1 << 40])], {}),
    ("Mul", [np.zeros((1 << 16, 1), np.float32), np.zeros((1, 1 << 16), np.float32)], {}),
    ("RandomNormal", [], {"shape": [1 << 40]}),
    ("OneHot", [np.int64(range(100)), np.int64(1 << 40), np.float32([0, 1])], {}),
    ("Pad", [np.zeros(3, np.float32), np.int64([0, 1 << 40])], {}),
    ("Resize", [np.zeros((1, 1, 4, 4), np.float32), np.float32([]), np.float32([1, 1, 1e6, 1e6])], {}),
    ("HannWindow", [np.int64(1 << 40)], {}),
]  # fmt: skip


@pytest.mark.parametrize("kind, arrays, attributes", HUGE, ids=[kind for kind, _, _ in HUGE])
def test_huge_constants_are_not_made(kind, arrays, attributes):
    model = conv_model()
    names = [f"huge{i}" for i in range(len(arrays))]
    model.graph.initializer.extend(map(numpy_helper.from_array, arrays, names))
    model.graph.node.insert(0, helper.make_node(kind, names, ["huge"], name="large", **attributes))
    model.graph.output.append(helper.make_tensor_value_info("huge", TensorProto.FLOAT, None))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (problem,) = refused(model, "would make a constant of shape")
    assert (problem.node, problem.operator) == ("large", kind)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10, "kilobytes"


# External data --------------------------------------------------------------------------------------------------------

OUTSIDE = "must be a file in the model's folder"
PLACES = [
    ("w.bin", {}, None), ("./w.bin", {}, None), ("../secret.bin", {}, OUTSIDE), ("{folder}/secret.bin", {}, OUTSIDE),
    ("link.bin", {}, "not a link out of it"),
    ("up/secret.bin", {}, "not a link out of it"),
    ("", {}, OUTSIDE),
    ("w.bin\0", {}, OUTSIDE),
    ("..\\secret.bin", {}, OUTSIDE),
    ("pipe", {}, "is not there"),
    (".", {}, "is not there"),
    ("none.bin", {}, "is not there"),
    ("w.bin", {"offset": "-5"}, "too few for shape"), ("w.bin", {"offset": "50"}, "too few for shape"),
    ("w.bin", {"length": "1152921504606846976"}, "too few for shape"),
    ("w.bin", {"length": "x"}, "an offset or length that is no number"),
]  # fmt: skip


@pytest.mark.parametrize("place, fields, text", PLACES, ids=[f"{place!r} {fields}" for place, fields, _ in PLACES])
def test_external_data(tmp_path, place, fields, text):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (tmp_path / "secret.bin", folder / "w.bin"):
        path.write_bytes(bytes(108))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    model = conv_model()
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": place.format(folder=tmp_path), **fields}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    if text is None:
        assert not read(folder / "model.onnx").constant("w").any()
    else:
        refused(folder / "model.onnx", text)
    refused(model.SerializeToString(), "give the path of the model, not its bytes")


# Several problems -----------------------------------------------------------------------------------------------------


def test_problems_of_all_kinds_at_once():
    """Shapes, scales, what stays float, attributes, unknown operators: each is found by another part of the reader."""
    writer = Writer(np.random.default_rng(0))
    x = writer.input("x", [1, 4, 6, 6])
    writer.node("Foreign", [x], "foreign", domain="some.domain")
    writer.node("MaxPool", [x], "reshaped", kernel_shape=[9, 9])
    writer.quantised(writer.node("Relu", [writer.dequantised(x)], "relu"), "scaled", scale=np.nan)
    writer.node("Cos", [writer.dequantised("scaled", scale=1)], "floating")
    writer.node("MaxPool", [x], "dilated", kernel_shape=[2, 2], dilations=[2, 2])
    writer.node(
        "BitShift",
        [writer.constant("shift", np.uint8([1])), writer.constant("by", np.uint8([1]))],
        "constants",
        direction="LEFT",
    )
    writer.node("BitwiseNot", [x], "not")
    model = writer.model("foreign", "reshaped", "scaled", "dilated", "not")
    model.graph.output.append(helper.make_tensor_value_info("floating", TensorProto.FLOAT, None))
    model.opset_import.append(helper.make_opsetid("some.domain", 1))
    problems = refused(model, "operators of domain 'some.domain'")
    assert {problem.operator for problem in problems} == {
        "Foreign", "MaxPool", "QuantizeLinear", "DequantizeLinear", "Cos", "BitwiseNot",
    }  # fmt: skip
    assert {problem.node for problem in problems} >= {
        "node_foreign",
        "node_reshaped",
        "node_floating",
        "node_dilated",
        "node_not",
    }


# Anything -------------------------------------------------------------------------------------------------------------

INTEGERS = (0, -1, 1, 2, 3, 7, 1000, 1 << 20, 1 << 31, -(1 << 31), 1 << 62, -(1 << 63))
FLOATS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e-45, -1e-30, 0.5)
OPERATORS = (
    "Cos",
    "Loop",
    "Einsum",
    "Cast",
    "Identity",
    "Shape",
    "ConstantOfShape",
    "Expand",
    "Tile",
    "Range",
    "LSTM",
    "Where",
    "TopK",
)


def changed_attribute(model, rng):
    nodes = [node for node in model.graph.node if node.attribute]
    if nodes:
        node = nodes[rng.integers(len(nodes))]
        given = node.attribute[rng.integers(len(node.attribute))]
        if given.type == onnx.AttributeProto.INT:
            given.i = int(rng.choice(INTEGERS))
        elif given.type == onnx.AttributeProto.FLOAT:
            given.f = rng.choice(FLOATS)
        elif given.type == onnx.AttributeProto.STRING:
            given.s = bytes(rng.choice([b"", b"XX", b"\xff", b"SAME_UPPER", b"linear"]))
        elif len(given.ints):
            given.ints[rng.integers(len(given.ints))] = int(rng.choice(INTEGERS))


def changed_constant(model, rng):
    tensor = model.graph.initializer[rng.integers(len(model.graph.initializer))]
    array = numpy_helper.to_array(tensor)
    which = rng.integers(5)
    if which == 0 and array.size:
        array = array.copy()
        array.reshape(-1)[rng.integers(array.size)] = (
            rng.choice(FLOATS) if array.dtype.kind == "f" else np.array(rng.choice(INTEGERS)).astype(array.dtype)
        )
    elif which == 1:
        array = array.reshape([(-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1]][rng.integers(4)])
    elif which == 2:
        array = array.astype(
            [np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64, np.bool_, np.int16][rng.integers(8)]
        )
    elif which == 3:
        array = array.reshape(-1)[: rng.integers(2)]
    else:
        array = np.concatenate([array.reshape(-1)] * 2)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def changed_node(model, rng):
    node = model.graph.node[rng.integers(len(model.graph.node))]
    names = ["", "nothing", *(name for each in model.graph.node for name in (*each.input, *each.output))]
    which = rng.integers(4)
    if which == 0:
        node.op_type = str(rng.choice([*sorted(kinds()), *OPERATORS]))
        node.domain = str(rng.choice(["", "com.microsoft"]))
    elif which == 1:
        node.input[rng.integers(len(node.input))] = str(rng.choice(names))
    elif which == 2:
        node.input.pop()
    else:
        node.input.append(str(rng.choice(names)))


def changed_input(model, rng):
    tensor = model.graph.input[rng.integers(len(model.graph.input))].type.tensor_type
    if rng.integers(2):
        tensor.elem_type = int(rng.choice([0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 16, 22, 99]))
    else:
        tensor.shape.dim[rng.integers(len(tensor.shape.dim))].dim_value = int(
            rng.choice([0, -1, 2, 1 << 15, 1 << 31, 1 << 40])
        )


@pytest.mark.parametrize("part", range(4))
def test_whatever_is_changed_is_refused_or_runs(part):
    """A model with something changed is refused with a ModelError, or the graph still gives what its operators give."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = {True: 0, False: 0}
    for seed in range(part, 400, 4):
        rng = np.random.default_rng(seed)
        model, _ = random_model(seed, 3)
        sound = model.SerializeToString()
        (changed_attribute, changed_constant, changed_node, changed_input)[rng.integers(4)](model, rng)
        results[runs(model.SerializeToString(), rng)] += 1
        assert seed >= 4 or runs(sound, rng)
    assert results[True] > 15 and results[False] > 40, results
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10, "kilobytes"


def runs(data, rng):
    """Whether the model is taken; then it runs, and the graph is the operators."""
    try:
        network = import_model(read(data), kinds())
    except ModelError as error:
        assert all(problem.text for problem in error.problems)
        return False
    inputs = random_inputs(onnx.ModelProto.FromString(data), rng)
    inputs = {name: array for name, array in inputs.items() if name in network.model.inputs}
    if any(network.model.values[name].dtype != array.dtype for name, array in inputs.items()) or set(inputs) != set(
        network.model.inputs
    ):
        return True
    values, golden = network.run(inputs), network.operator_golden(inputs)
    exact = all(kinds()[op.kind].share == 0 for op in network.model.operators)
    for name in network.model.outputs:
        if name in values:
            assert values[name].dtype == golden[name].dtype and values[name].shape == golden[name].shape, name
            assert not exact or np.array_equal(values[name], golden[name]), name
    return True
