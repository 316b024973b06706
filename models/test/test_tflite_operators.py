"""Operators of TensorFlow Lite: golden against LiteRT's reference kernels, integer graph against golden."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is missing: pip install 'rowcast[check]'")

from rowcast_models.frontend import import_model  # noqa: E402
from rowcast_models.from_tflite import kinds, read  # noqa: E402
from rowcast_models.reference import litert  # noqa: E402
from tflite_models import Writer  # noqa: E402


def verify(writer, inputs, outputs, *, items=3):
    """Golden == LiteRT and graph == golden at every tensor."""
    data = writer.data(inputs, outputs)
    network = import_model(read(data, runtime="litert"), kinds())
    arrays = {
        f"t{i}": writer.rng.integers(-128, 128, (items, *writer.tensors[i].shape[1:])).astype(np.int8) for i in inputs
    }
    reference = litert.run(data, arrays)
    golden, graph = network.operator_golden(arrays), network.run(arrays)
    for name, array in golden.items():
        wrong = np.argwhere(array != reference[name])
        assert not len(wrong), (name, len(wrong), wrong[:3], array[tuple(wrong[0])], reference[name][tuple(wrong[0])])
        if name in graph:
            assert np.array_equal(graph[name], array), name
    return network


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_convolution(depthwise, seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng)
    channels, multiple, kernel = int(rng.integers(1, 9)), int(rng.integers(1, 4)), [int(k) for k in rng.integers(1, 5, 2)]
    filters = channels * multiple if depthwise else int(rng.integers(1, 12))
    x = writer.tensor([1, int(rng.integers(8, 14)), int(rng.integers(8, 14)), channels])
    shape = [1, *kernel, filters] if depthwise else [filters, *kernel, channels]
    axis = 3 if depthwise else 0
    scale = 2.0 ** rng.uniform(-9, -5, filters if seed % 2 else 1)
    w = writer.tensor(shape, scale=scale, zero_point=0, data=rng.integers(-127, 128, shape), axis=axis)
    b = writer.tensor([filters], dtype=np.int32, data=rng.integers(-3000, 3000, filters))
    stride = [int(s) for s in rng.integers(1, 3, 2)]
    dilation = [int(d) for d in rng.integers(1, 3, 2)] if stride == [1, 1] else [1, 1]
    same = bool(rng.integers(0, 2))
    sizes = [-(-n // s) if same else -(-(n - (k - 1) * d) // s)
             for n, s, k, d in zip(writer.tensors[x].shape[1:3], stride, kernel, dilation)]  # fmt: skip
    y = writer.tensor([1, *sizes, filters], scale=0.1)
    fields = {"padding": 0 if same else 1, "strideH": stride[0], "strideW": stride[1], "dilationHFactor": dilation[0],
              "dilationWFactor": dilation[1], "fusedActivationFunction": [0, 1, 3, 0][seed % 4]}  # fmt: skip
    if depthwise:
        writer.operator("DEPTHWISE_CONV_2D", [x, w, b], [y], "DepthwiseConv2DOptions", depthMultiplier=multiple, **fields)
    else:
        writer.operator("CONV_2D", [x, w, b], [y], "Conv2DOptions", **fields)
    verify(writer, [x], [y])


@pytest.mark.parametrize("seed", range(6))
def test_fully_connected_and_softmax(seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng)
    size, filters = int(rng.integers(1, 200)), int(rng.integers(2, 30))
    x = writer.tensor([1, size])
    w = writer.tensor([filters, size], scale=2.0 ** rng.uniform(-9, -5), zero_point=0, data=rng.integers(-127, 128, (filters, size)))
    b = writer.tensor([filters], dtype=np.int32, data=rng.integers(-3000, 3000, filters), zero_point=0,
                      scale=np.float32(writer.scale(x)) * np.float32(writer.scale(w)))  # fmt: skip
    y, z = writer.tensor([1, filters], scale=0.2), writer.tensor([1, filters], scale=1 / 256, zero_point=-128)
    writer.operator("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", fusedActivationFunction=seed % 2)
    writer.operator("SOFTMAX", [y], [z], "SoftmaxOptions", beta=[1.0, 0.5, 2.0][seed % 3])
    verify(writer, [x], [z], items=20)


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("seed", range(6))
def test_two_inputs(kind, seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng)
    a, b = writer.tensor([1, 5, 7, 6]), writer.tensor([[1, 5, 7, 6], [1, 1, 1, 6]][seed % 2])
    y = writer.tensor([1, 5, 7, 6])
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[kind]
    writer.operator(kind, [a, b], [y], options, fusedActivationFunction=[0, 1, 3][seed % 3])
    verify(writer, [a, b], [y], items=9)


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
def test_extremes(kind):
    writer = Writer(np.random.default_rng(0))
    a = writer.tensor([1, 4, 5, 9], scale=0.1, zero_point=4)
    b, y = (writer.tensor([1, 4, 5, 9], scale=0.1, zero_point=4) for _ in range(2))
    writer.operator(kind, [a, b], [y], "MaximumMinimumOptions")
    verify(writer, [a, b], [y])


UNARY = [("RELU", None, {}), ("RELU6", None, {}), ("RELU_N1_TO_1", None, {}), ("LEAKY_RELU", "LeakyReluOptions", {"alpha": 0.1}),
         ("QUANTIZE", None, {}), ("LOGISTIC", None, {}), ("TANH", None, {})]  # fmt: skip


@pytest.mark.parametrize("kind, options, fields", UNARY, ids=[kind for kind, _, _ in UNARY])
def test_unary(kind, options, fields):
    for seed in range(20):
        writer = Writer(np.random.default_rng(seed))
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(kind, (None, None))
        x, y = writer.tensor([1, 2000]), writer.tensor([1, 2000], scale=fixed[0], zero_point=fixed[1])
        writer.operator(kind, [x], [y], options, **fields)
        verify(writer, [x], [y], items=2)


@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("padding", [0, 1])
def test_pooling(kind, padding):
    writer = Writer(np.random.default_rng(padding))
    x = writer.tensor([1, 11, 8, 5], scale=0.1, zero_point=-7)
    y = writer.tensor([1, 6, 4, 5] if padding == 0 else [1, 5, 4, 5], scale=0.1, zero_point=-7)
    writer.operator(kind, [x], [y], "Pool2DOptions", padding=padding, strideH=2, strideW=2, filterHeight=3, filterWidth=2)
    verify(writer, [x], [y])


def test_concatenation_pad_resize_and_shapes():
    rng = np.random.default_rng(0)
    writer = Writer(rng)
    like = {"scale": 0.1, "zero_point": -9}
    a, b = writer.tensor([1, 4, 5, 3], **like), writer.tensor([1, 4, 5, 6], **like)
    c = writer.tensor([1, 4, 5, 9], **like)
    writer.operator("CONCATENATION", [a, b], [c], "ConcatenationOptions", axis=3)
    d = writer.tensor([1, 7, 6, 9], **like)
    writer.operator("PAD", [c, writer.tensor([4, 2], dtype=np.int32, data=[[0, 0], [1, 2], [0, 1], [0, 0]])], [d], "PadOptions")
    e = writer.tensor([1, 10, 13, 9], **like)
    writer.operator("RESIZE_NEAREST_NEIGHBOR", [d, writer.tensor([2], dtype=np.int32, data=[10, 13])], [e],
                    "ResizeNearestNeighborOptions", alignCorners=False, halfPixelCenters=True)  # fmt: skip
    f = writer.tensor([1, 9, 10, 13], **like)
    writer.operator("TRANSPOSE", [e, writer.tensor([4], dtype=np.int32, data=[0, 3, 1, 2])], [f], "TransposeOptions")
    g = writer.tensor([1, 1170], **like)
    writer.operator("RESHAPE", [f, writer.tensor([2], dtype=np.int32, data=[1, 1170])], [g], "ReshapeOptions")
    weights = writer.tensor([4, 1170], scale=0.01, zero_point=0, data=rng.integers(-127, 128, (4, 1170)))
    y = writer.tensor([1, 4], scale=0.3)
    writer.operator("FULLY_CONNECTED", [g, weights, -1], [y], "FullyConnectedOptions")
    verify(writer, [a, b], [y])


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_mean(keep, seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng)
    sizes = [int(size) for size in rng.integers(1, 9, 2)]
    x = writer.tensor([1, *sizes, 6])
    y = writer.tensor([1, 1, 1, 6] if keep else [1, 6])
    writer.operator("MEAN", [x, writer.tensor([2], dtype=np.int32, data=[1, 2])], [y], "ReducerOptions", keepDims=keep)
    verify(writer, [x], [y], items=30)
