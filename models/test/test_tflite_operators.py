"""Operators of TensorFlow Lite: golden against LiteRT's reference kernels, integer graph against golden."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is missing: pip install 'rowcast[check]'")

from rowcast_models.frontend import ModelError, import_model  # noqa: E402
from rowcast_models.from_tflite import kinds, read  # noqa: E402
from rowcast_models.reference import litert  # noqa: E402
from rowcast_sim.bench.random_models.tflite_writer import Writer  # noqa: E402


def verify(writer, inputs, outputs, *, items=3):
    """Golden == LiteRT and graph == golden at every tensor."""
    data = writer.data(inputs, outputs)
    network = import_model(read(data, runtime="litert"), kinds())
    arrays = writer.arrays(inputs, items)
    reference = litert.run(data, arrays)
    golden, graph = network.operator_golden(arrays), network.run(arrays)
    for name, array in golden.items():
        assert (array.shape, array.dtype) == (reference[name].shape, reference[name].dtype), name
        wrong = np.argwhere(array != reference[name])
        assert not len(wrong), (name, len(wrong), wrong[:3], array[tuple(wrong[0])], reference[name][tuple(wrong[0])])
        if name in graph:
            assert np.array_equal(graph[name], array), name
    return network


def refused(writer, inputs, outputs, match):
    with pytest.raises(ModelError, match=match):
        import_model(read(writer.data(inputs, outputs)), kinds())


def sizes(rng, count, high, low=1):
    return [int(size) for size in rng.integers(low, high, count)]


def output_scale(writer, x, weights, products):
    """A scale with which the output uses some of its range, or saturates."""
    tensor = writer.tensors[weights].quantization.scale
    return float(writer.scale(x) * np.mean(tensor) * 73 * np.sqrt(products) * 2.0 ** writer.rng.uniform(-2, 5))


def windows(rng, channels):
    """(ifmap shape, kernel, fields of the options, (E, F)) of a window that fits, strides and paddings at random."""
    while True:
        image, kernel, stride = sizes(rng, 2, 14), sizes(rng, 2, 5), sizes(rng, 2, 4)
        dilation, same = sizes(rng, 2, 4), bool(rng.integers(2))
        made = [-(-n // s) if same else -(-(n - (k - 1) * d) // s) for n, s, k, d in zip(image, stride, kernel, dilation)]
        if min(made) > 0:
            fields = {"padding": int(not same), "strideH": stride[0], "strideW": stride[1]}
            return [int(rng.integers(1, 3)), *image, channels], kernel, fields, dilation, made


def convolution(writer, depthwise):
    rng = writer.rng
    groups, depth = (1, int(rng.integers(1, 9))) if rng.random() < 0.7 else (int(rng.integers(2, 4)), int(rng.integers(1, 4)))
    channels = depth if depthwise else groups * depth
    filters = int(rng.integers(1, 5)) * (channels if depthwise else groups)
    shape, kernel, fields, dilation, made = windows(rng, channels)
    x = writer.tensor(shape, scale=2.0 ** rng.uniform(-12, 4))
    weights = [1, *kernel, filters] if depthwise else [filters, *kernel, depth]
    w = writer.filters(weights, axis=3 if depthwise else 0, per_channel=rng.random() < 0.6, low=-12, high=1)
    b = writer.tensor([filters], dtype=np.int32, data=rng.integers(-3000, 3000, filters))
    y = writer.tensor([shape[0], *made, filters], scale=output_scale(writer, x, w, kernel[0] * kernel[1] * depth))
    fields |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1], "fusedActivationFunction": int(rng.integers(4))}
    if depthwise:
        writer.operator("DEPTHWISE_CONV_2D", [x, w, b], [y], "DepthwiseConv2DOptions", depthMultiplier=filters // channels, **fields)
    else:
        writer.operator("CONV_2D", [x, w, b], [y], "Conv2DOptions", **fields)
    return [x], [y]


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(24))
def test_convolution(depthwise, seed):
    writer = Writer(seed)
    verify(writer, *convolution(writer, depthwise))


@pytest.mark.parametrize("seed", range(24))
def test_fully_connected(seed):
    writer = Writer(seed)
    rng = writer.rng
    taken, filters = sizes(rng, 2, 60)
    shape = [[2, taken], [1, taken], [1, 3, taken], [2, 2, 3, taken]][seed % 4]
    keep = len(shape) > 2 or bool(rng.integers(2))
    x, w = writer.tensor(shape), writer.filters([filters, taken], per_channel=seed % 3 == 0, low=-12, high=1)
    b = -1
    if rng.random() < 0.7:
        scale = np.float32(writer.scale(x)) * np.array(writer.tensors[w].quantization.scale, np.float32)
        b = writer.tensor([filters], dtype=np.int32, data=rng.integers(-3000, 3000, filters), zero_point=0, scale=scale)
    y = writer.tensor([*shape[:-1], filters], scale=output_scale(writer, x, w, taken))
    writer.operator("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", keepNumDims=keep, fusedActivationFunction=seed % 4)
    verify(writer, [x], [y], items=9)


def test_fully_connected_rounds_as_the_runtime_does():
    writer = Writer(0)
    x, w, y = writer.tensor([1, 50]), writer.filters([900, 50], per_channel=False), writer.tensor([1, 900], scale=0.1)
    writer.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
    data, made = writer.data([x], [y]), {}
    arrays = writer.arrays([x], 300)
    for runtime in ("tflm", "litert"):
        network = import_model(read(data, runtime=runtime), kinds())
        made[runtime] = network.operator_golden(arrays)[f"t{y}"]
        assert np.array_equal(network.run(arrays)[f"t{y}"], made[runtime])
    difference = np.abs(made["tflm"].astype(int) - made["litert"])
    assert difference.max() == 1 and 0 < difference.sum() < difference.size / 50


@pytest.mark.parametrize("per_channel", [False, True])
def test_fully_connected_sums_that_lie_next_to_a_half(per_channel):
    """Biases alone, as near to (n + 1/2) / scale as integers come: there it shows how the scales are multiplied."""
    differ = 0
    for seed in range(120):
        writer = Writer(seed)
        source, filters, output = (float(np.float32(2.0 ** writer.rng.uniform(-8, -2))) for _ in range(3))
        scale = source * filters / output
        bias = np.rint((np.arange(-120, 120) + 0.5) / scale).astype(np.int32)
        in_float = float(np.float32(source) * np.float32(filters)) / output
        differ += np.count_nonzero(np.rint(bias * scale) != np.rint(bias * in_float))
        each = np.full(len(bias), filters) if per_channel else filters
        x = writer.tensor([1, 4], scale=source, zero_point=3)
        w = writer.tensor([len(bias), 4], scale=each, zero_point=0, data=np.zeros((len(bias), 4)))
        b = writer.tensor([len(bias)], dtype=np.int32, data=bias, scale=source * each, zero_point=0)
        y = writer.tensor([1, len(bias)], scale=output, zero_point=0)
        writer.operator("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions")
        verify(writer, [x], [y], items=1)
    assert differ > 0


@pytest.mark.parametrize("seed", range(24))
def test_softmax(seed):
    writer = Writer(seed)
    shape = [[1, 1], [1, 300], [1, 7, 12], [1, 3, 2, 19]][seed % 4]
    x, y = writer.tensor(shape, scale=2.0 ** writer.rng.uniform(-14, 6)), writer.tensor(shape, scale=1 / 256, zero_point=-128)
    writer.operator("SOFTMAX", [x], [y], "SoftmaxOptions", beta=float(np.float32(2.0 ** writer.rng.uniform(-5, 5))))
    network = verify(writer, [x], [y], items=20)
    assert [op.kind for op in network.host_operators] == ["SOFTMAX"]


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
         ("QUANTIZE", None, {}), ("LOGISTIC", None, {}), ("TANH", None, {}),
         ("HARD_SWISH", None, {})]  # fmt: skip


@pytest.mark.parametrize("kind, options, fields", UNARY, ids=[kind for kind, _, _ in UNARY])
def test_unary(kind, options, fields):
    for seed in range(20):
        writer = Writer(np.random.default_rng(seed))
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(kind, (None, None))
        x, y = writer.tensor([1, 2000]), writer.tensor([1, 2000], scale=fixed[0], zero_point=fixed[1])
        writer.operator(kind, [x], [y], options, **fields)
        verify(writer, [x], [y], items=2)


@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("seed", range(12))
def test_pooling(kind, seed):
    writer = Writer(seed)
    while True:
        shape, kernel, fields, dilation, made = windows(writer.rng, int(writer.rng.integers(1, 10)))
        if dilation == [1, 1]:
            break
    x = writer.tensor(shape)
    y = writer.like(x, [shape[0], *made, shape[3]])
    writer.operator(kind, [x], [y], "Pool2DOptions", filterHeight=kernel[0], filterWidth=kernel[1],
                    fusedActivationFunction=seed % 4, **fields)  # fmt: skip
    verify(writer, [x], [y])


AXES = [(4, [1, 2]), (4, [2]), (4, [1]), (4, [-1]), (4, [1, 3]), (4, [-2, -1]), (4, [1, 2, 3]), (3, [1]), (3, [2]), (2, [1])]


@pytest.mark.parametrize("rank, axes", AXES)
@pytest.mark.parametrize("keep", [False, True])
def test_mean(rank, axes, keep):
    for seed in range(3):
        writer = Writer(seed)
        shape = [1, *sizes(writer.rng, rank - 1, 12)]
        reduced = [axis % rank for axis in axes]
        x = writer.tensor(shape)
        target = [1 if i in reduced else size for i, size in enumerate(shape) if keep or i not in reduced]
        y = writer.like(x, target) if seed == 2 else writer.tensor(target, scale=writer.scale(x) * 2.0 ** writer.rng.uniform(-6, 3))
        writer.operator("MEAN", [x, writer.numbers(axes)], [y], "ReducerOptions", keepDims=keep)
        verify(writer, [x], [y], items=20)


PADDINGS = [
    [[0, 0], [1, 2], [0, 3], [0, 0]], [[0, 0], [0, 0], [0, 0], [1, 2]], [[0, 0], [1, 0], [2, 0], [0, 5]], [[0, 0], [2, 1], [0, 0]],
    [[0, 0], [0, 0], [4, 0]], [[0, 0], [3, 3]], [[0, 0], [0, 0], [0, 0], [0, 0]],
]  # fmt: skip


@pytest.mark.parametrize("paddings", PADDINGS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("value", [None, -128, 5])
def test_pad(paddings, dtype, value):
    writer = Writer(len(paddings))
    shape = [1, *sizes(writer.rng, len(paddings) - 1, 9)]
    x = writer.tensor(shape)
    y = writer.like(x, [size + sum(pair) for size, pair in zip(shape, paddings)])
    if value is None:
        writer.operator("PAD", [x, writer.numbers(paddings, dtype)], [y], "PadOptions")
    else:
        writer.operator("PADV2", [x, writer.numbers(paddings, dtype), writer.like(x, [1], data=[value])], [y], "PadV2Options")
    verify(writer, [x], [y])


@pytest.mark.parametrize("rank, axis", [(4, 3), (4, -1), (4, 2), (4, 1), (3, 1), (3, -1), (2, 1)])
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("constant", [False, True])
def test_concatenation(rank, axis, count, constant):
    writer = Writer(rank * 10 + count)
    shape = [1, *sizes(writer.rng, rank - 1, 8)]
    first = writer.tensor(shape)
    parts = [first]
    for _ in range(count - 1):
        other = list(shape)
        other[axis] = int(writer.rng.integers(1, 12))
        parts.append(writer.like(first, other))
    inputs = list(parts)
    if constant:
        parts.insert(0, writer.like(first, shape, data=writer.rng.integers(-128, 128, shape)))
    total = list(shape)
    total[axis] = sum(writer.tensors[part].shape[axis] for part in parts)
    y = writer.like(first, total)
    writer.operator("CONCATENATION", parts, [y], "ConcatenationOptions", axis=axis)
    verify(writer, inputs, [y])


def test_concatenation_that_is_refused():
    writer = Writer(0)
    a, b = writer.tensor([1, 4], scale=0.5), writer.tensor([1, 4], scale=0.25)
    y = writer.like(a, [1, 8])
    writer.operator("CONCATENATION", [a, b], [y], "ConcatenationOptions", axis=1)
    refused(writer, [a, b], [y], "must have the output's scale")
    writer = Writer(0)
    a = writer.tensor([1, 4])
    b, y = writer.like(a, [1, 4]), writer.like(a, [2, 4])
    writer.operator("CONCATENATION", [a, b], [y], "ConcatenationOptions", axis=0)
    refused(writer, [a, b], [y], "axis 0 is the batch")


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_resize_nearest_neighbor(corners, half):
    for seed in range(12):
        writer = Writer(seed)
        (height, width, rows, columns), channels = sizes(writer.rng, 4, 25), int(writer.rng.integers(1, 9))
        x = writer.tensor([1, height, width, channels])
        y = writer.like(x, [1, rows, columns, channels])
        writer.operator("RESIZE_NEAREST_NEIGHBOR", [x, writer.numbers([rows, columns])], [y], "ResizeNearestNeighborOptions",
                        alignCorners=corners, halfPixelCenters=half)  # fmt: skip
        verify(writer, [x], [y])


@pytest.mark.parametrize("dtype, code", [(np.int32, 2), (np.int64, 4)])
@pytest.mark.parametrize("shape, axis", [([1, 9], 1), ([1, 9], -1), ([1, 4, 5], 1), ([1, 3, 4, 5], 2)])
def test_arg_max(dtype, code, shape, axis):
    writer = Writer(0)
    x = writer.tensor(shape)
    y = writer.tensor([size for i, size in enumerate(shape) if i != axis % len(shape)], dtype=dtype)
    writer.operator("ARG_MAX", [x, writer.numbers(axis)], [y], "ArgMaxOptions", outputType=code)
    verify(writer, [x], [y], items=30)


@pytest.mark.parametrize("seed", range(6))
def test_moving_axes(seed):
    writer = Writer(seed)
    height, width, channels = sizes(writer.rng, 3, 6)
    shape, size = [1, height, width, channels], height * width * channels
    x = writer.tensor(shape)
    wide, narrow = writer.like(x, [1, height, 1, width, channels]), writer.like(x, shape)
    writer.operator("EXPAND_DIMS", [x, writer.numbers([2])], [wide], "ExpandDimsOptions")
    writer.operator("SQUEEZE", [wide], [narrow], "SqueezeOptions", squeezeDims=[2])
    perm = [0, *(1 + writer.rng.permutation(3)).tolist()]
    turned, flat = writer.like(x, [shape[axis] for axis in perm]), writer.like(x, [1, size])
    given = [axis - 4 if axis and seed % 2 else axis for axis in perm]  # from the end works, too
    writer.operator("TRANSPOSE", [narrow, writer.numbers(given)], [turned], "TransposeOptions")
    writer.operator("RESHAPE", [turned], [flat], "ReshapeOptions", newShape=[1, size])
    w, y = writer.filters([3, size]), writer.tensor([1, 3], scale=0.3)
    writer.operator("FULLY_CONNECTED", [flat, w, -1], [y], "FullyConnectedOptions")
    verify(writer, [x], [y])


def test_float_edges():
    writer = Writer(0)
    x, q = writer.tensor([1, 5, 5, 3], dtype=np.float32), writer.tensor([1, 5, 5, 3], scale=0.037, zero_point=-11)
    w, y = writer.filters([4, 3, 3, 3]), writer.tensor([1, 3, 3, 4], scale=0.2)
    z = writer.tensor([1, 3, 3, 4], dtype=np.float32)
    b = writer.tensor([4], dtype=np.int32, data=[0] * 4)
    writer.operator("QUANTIZE", [x], [q])
    writer.operator("CONV_2D", [q, w, b], [y], "Conv2DOptions", padding=1, strideH=1, strideW=1)
    writer.operator("DEQUANTIZE", [y], [z])
    data = writer.data([x], [z])
    network = import_model(read(data, runtime="litert"), kinds())
    # Halves of a step are where rounding shows.
    arrays = {f"t{x}": (writer.rng.integers(-400, 400, (8, 5, 5, 3)) * np.float32(0.037 / 2)).astype(np.float32)}
    reference = litert.run(data, arrays)
    for values in (network.operator_golden(arrays), network.run(arrays)):
        for name, array in values.items():
            assert array.dtype == reference[name].dtype and np.array_equal(array, reference[name]), name
    assert [op.kind for op in network.host_operators] == ["QUANTIZE", "DEQUANTIZE"]


@pytest.mark.parametrize("source, shift", [(0.5, 128), (0.37, 100)])
def test_edges_without_sign(source, shift):
    """Models whose inputs and outputs are uint8, int8 inside."""
    writer = Writer(0)
    x = writer.tensor([1, 6, 6, 3], dtype=np.uint8, scale=0.5, zero_point=117)
    a = writer.tensor([1, 6, 6, 3], scale=source, zero_point=117 - shift)
    b, y = writer.like(a, [1, 3, 3, 3]), writer.tensor([1, 3, 3, 3], dtype=np.uint8, scale=0.25, zero_point=90)
    writer.operator("QUANTIZE", [x], [a])
    writer.operator("MAX_POOL_2D", [a], [b], "Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    writer.operator("QUANTIZE", [b], [y])
    network = verify(writer, [x], [y], items=20)
    nodes = [type(node).__name__ for stage in network.stages for node in stage.graph.nodes]
    assert nodes == ["Table"] * (source != 0.5) + ["MaxPool", "Table"]


def test_runs_of_a_batch_that_does_not_divide():
    writer = Writer(0)
    x = writer.tensor([4, 5])
    w, y = writer.filters([3, 5]), writer.tensor([4, 3], scale=0.1)
    writer.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
    data, arrays = writer.data([x], [y]), {"t0": writer.rng.integers(-128, 128, (6, 5)).astype(np.int8)}
    made = litert.run(data, arrays)[f"t{y}"]
    assert np.array_equal(made, import_model(read(data, runtime="litert"), kinds()).run(arrays)[f"t{y}"])
    with pytest.raises(ValueError, match=r"inputs must be \['t0'\], not \['x'\]"):
        litert.run(data, {"x": arrays["t0"]})


@pytest.mark.parametrize("shape", [[1, 1, 6], [1, 1, 1]])
@pytest.mark.parametrize("seed", range(4))
def test_prelu(shape, seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng)
    x, y = writer.tensor([1, 5, 7, 6]), writer.tensor([1, 5, 7, 6])
    alpha = writer.tensor(shape, data=rng.integers(-128, 128, shape), scale=0.01)
    writer.operator("PRELU", [x, alpha], [y], None)
    verify(writer, [x], [y], items=9)
