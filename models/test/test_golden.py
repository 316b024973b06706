"""The golden against nested loops that follow the definitions word by word, in Python integers."""

import itertools
import math

import numpy as np
import pytest

from rowcast_models import graph as g
from rowcast_models.golden import convolution as convolution_module
from rowcast_models.golden.convolution import convolution, fully_connected
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.golden.pooling import average_tflite
from rowcast_models.golden.requantise import postprocess, quantise_multiplier_average, requantise_single


# References --------------------------------------------------------------------------------------------------------


def windows(size, kernel, stride, dilation, padding):
    """For each window along one axis, the pairs (tap, coordinate) that are inside."""
    count = (size + sum(padding) - (kernel - 1) * dilation - 1) // stride + 1
    at = [[(k, i * stride + k * dilation - padding[0]) for k in range(kernel)] for i in range(count)]
    return [[(k, x) for k, x in taps if 0 <= x < size] for taps in at]


def slow_convolution(x, zero_point, weights, bias, *, stride, dilation, padding, groups):
    filters, kernel_y, kernel_x, per_group = weights.shape
    rows = windows(x.shape[1], kernel_y, stride[0], dilation[0], padding[0])
    columns = windows(x.shape[2], kernel_x, stride[1], dilation[1], padding[1])
    acc = np.zeros((len(x), len(rows), len(columns), filters), np.int64)
    x, weights = x.tolist(), weights.tolist()
    for n, e, f, m in itertools.product(*map(range, acc.shape)):
        first = m * groups // filters * per_group
        total = int(bias[m])
        for (r, y), (s, column), c in itertools.product(rows[e], columns[f], range(per_group)):
            total += (x[n][y][column][first + c] - zero_point) * weights[m][r][s][c]
        acc[n, e, f, m] = total
    return acc


def slow_pool(x, reduce, *, window, stride, padding):
    """`reduce` of the list of each window's values."""
    rows = windows(x.shape[1], window[0], stride[0], 1, padding[0])
    columns = windows(x.shape[2], window[1], stride[1], 1, padding[1])
    result = np.zeros((len(x), len(rows), len(columns), x.shape[3]), np.int64)
    for n, e, f, c in itertools.product(*map(range, result.shape)):
        result[n, e, f, c] = reduce(
            [int(x[n, y, column, c]) for (_, y), (_, column) in itertools.product(rows[e], columns[f])]
        )
    return result


def slow_average(values):
    """TFLite's expression, with C's truncating division."""
    acc, count = sum(values), len(values)
    return math.trunc((acc + count // 2 if acc > 0 else acc - count // 2) / count)


def slow_multiply(value, multiplier, right):
    """TFLite's MultiplyByQuantizedMultiplier as its C++ is written."""
    nudged = (value << max(-right, 0)) * multiplier
    nudged += (1 << 30) if nudged >= 0 else 1 - (1 << 30)
    high = abs(nudged) >> 31 if nudged >= 0 else -(abs(nudged) >> 31)
    right = max(right, 0)
    mask = (1 << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


# Helpers -----------------------------------------------------------------------------------------------------------


def int8(rng, *shape):
    """Random bytes, extremes often."""
    values = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice([-128, 127], shape), values).astype(np.int8)


def random_post(rng, entries, scale, *, mode="tflite", table=None):
    """Multipliers around `scale`."""
    multiplier = rng.integers(1 << 30, 1 << 31, entries)
    shift = np.full(entries, max(0, round(-math.log2(scale)) - 1)) + rng.integers(0, 2, entries)
    if mode == "onnx":
        multiplier, shift = multiplier >> 7, shift + 24
    if mode == "single":
        shift = shift + 31
    low, high = sorted(rng.integers(-128, 128, 2).tolist())
    return g.Requantisation(
        mode=mode,
        multiplier=multiplier,
        shift=shift,
        zero_point=int(rng.integers(-128, 128)),
        low=low,
        high=high,
        table=table,
    )


def one_node(node, *tensors, zero_point=0):
    return g.Graph(
        name="one", tensors=[*tensors, g.Tensor(node.output, zero_point=zero_point)], inputs=[t.name for t in tensors],
        outputs=(node.output,), nodes=(node,),
    )  # fmt: skip


def same(actual, expected, context):
    assert actual.shape == expected.shape, context
    wrong = np.argwhere(actual != expected)
    if len(wrong):
        first = tuple(wrong[0])
        pytest.fail(f"{context}: {len(wrong)} differ, first {first}: {actual[first]}, not {expected[first]}")


# Convolution -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_convolution(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2, 3, 5]))
    per_group = 1 if rng.random() < 0.5 else int(rng.integers(1, 6))  # 1 with groups: depthwise
    filters = groups * int(rng.integers(1, 4))
    kernel, stride, dilation = rng.integers(1, 5, 2), rng.integers(1, 4, 2), rng.integers(1, 4, 2)
    padding = rng.integers(0, 4, (2, 2))
    least = (kernel - 1) * dilation + 1 - padding.sum(axis=1)
    height, width = np.maximum(1, least + rng.integers(0, 6, 2))
    x = int8(rng, int(rng.integers(1, 3)), height, width, groups * per_group)
    weights = int8(rng, filters, *kernel, per_group)
    bias = rng.integers(-(1 << 20), 1 << 20, filters)
    zero_point = int(rng.integers(-128, 128))
    window = {
        "stride": tuple(stride.tolist()), "dilation": tuple(dilation.tolist()),
        "padding": tuple(map(tuple, padding.tolist())), "groups": groups,
    }  # fmt: skip
    context = f"seed {seed}, x {x.shape}, weights {weights.shape}, {window}"
    expected = slow_convolution(x, zero_point, weights, bias, **window)
    same(convolution(x, zero_point, weights, bias, **window), expected, context)

    table = int8(rng, 256) if seed % 2 else None
    mode = ("tflite", "onnx", "single")[seed % 3]
    post = random_post(rng, (1, filters)[seed % 2], 2**-8, mode=mode, table=table)
    node = g.Conv(name="c", inputs=("x",), output="y", weights=weights, bias=bias, post=post, **window)
    y = evaluate(one_node(node, g.Tensor("x", x.shape, zero_point)), {"x": x})["y"]
    args = (post.multiplier, post.shift, post.post_mode, post.zero_point, post.low, post.high, table)
    same(y, postprocess(expected, 0, *args), context)


def test_convolution_in_tiles(monkeypatch):
    """Patches gathered a few rows at a time give the same."""
    rng = np.random.default_rng(1)
    x, weights, bias = int8(rng, 2, 9, 8, 3), int8(rng, 5, 3, 3, 3), np.arange(5)
    window = {"stride": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (1, 1)), "groups": 1}
    whole = convolution(x, 3, weights, bias, **window)
    for size in (1, 2000, 5000):
        monkeypatch.setattr(convolution_module, "PATCH_BYTES", size)
        same(convolution(x, 3, weights, bias, **window), whole, f"tiles of {size} bytes")


@pytest.mark.parametrize("channels, zero_point", [(3, -128), (56, -128), (64, 127), (300, 5)])
def test_convolution_of_real_size(channels, zero_point):
    """Against integer arithmetic of numpy, on both sides of float32's limit."""
    rng = np.random.default_rng(channels)
    x, weights = int8(rng, 1, 13, 17, channels), int8(rng, 24, 3, 3, channels)
    bias = rng.integers(-(1 << 30), 1 << 30, 24)
    window = {"stride": (2, 1), "dilation": (1, 2), "padding": ((1, 0), (2, 1)), "groups": 1}
    padded = np.pad(x.astype(np.int64) - zero_point, ((0, 0), (1, 0), (2, 1), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 5), axis=(1, 2))[:, ::2, :, :, :, ::2]
    expected = np.einsum("nefcrs,mrsc->nefm", patches, weights.astype(np.int64)) + bias
    same(convolution(x, zero_point, weights, bias, **window), expected, f"{channels} channels")


@pytest.mark.parametrize("features", [1, 511, 513, 514, 515, 600, 20001])
def test_fully_connected_extremes(features):
    """All operands at their extremes, around the sum where float32 ends."""
    x = np.full((2, features), 127, np.int8)
    weights = np.full((3, features), -128, np.int8)
    weights[1] = 127
    weights[2, ::2] = 127
    bias = np.array([-5, 0, 7])
    expected = (x.astype(object) + 128) @ weights.T.astype(object) + bias
    same(fully_connected(x, -128, weights, bias), expected.astype(np.int64), f"{features} features")


@pytest.mark.parametrize("shape", [(3, 7), (2, 2, 3, 5), (1, 1, 1, 300)])
def test_fully_connected(shape):
    rng = np.random.default_rng(math.prod(shape))
    features = math.prod(shape[1:])
    x, weights, bias = int8(rng, *shape), int8(rng, 4, features), rng.integers(-999, 999, 4)
    node = g.FullyConnected(
        name="f", inputs=("x",), output="y", weights=weights, bias=bias, post=random_post(rng, 4, 2**-9)
    )
    acc = [
        [int(b) + sum((int(v) - 9) * int(w) for v, w in zip(item.ravel(), row)) for row, b in zip(weights, bias)]
        for item in x
    ]
    p = node.post
    expected = [
        [
            min(max(slow_multiply(a, int(k), int(s)) + p.zero_point, p.low), p.high)
            for a, k, s in zip(row, p.multiplier, p.shift)
        ]
        for row in acc
    ]
    same(evaluate(one_node(node, g.Tensor("x", shape, 9)), {"x": x})["y"], np.array(expected), shape)


# Pooling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_pooling(seed):
    rng = np.random.default_rng(100 + seed)
    window, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
    before = [int(rng.integers(0, k)) for k in window]
    after = [int(rng.integers(0, k)) for k in window]
    sizes = rng.integers(4, 9, 2)
    x = int8(rng, int(rng.integers(1, 3)), *sizes, int(rng.integers(1, 4)))
    settings = {
        "window": tuple(window.tolist()), "stride": tuple(stride.tolist()), "padding": tuple(zip(before, after)),
    }  # fmt: skip
    low, high = sorted(rng.integers(-128, 128, 2).tolist())
    table = int8(rng, 256) if seed % 2 else np.arange(-128, 128)
    names = {"name": "p", "inputs": ("x",), "output": "y", **settings}
    tensor = g.Tensor("x", x.shape, 7)
    for kind, reduce in ((g.MaxPool, max), (g.AveragePool, slow_average)):
        node = kind(**names, low=low, high=high, table=table)
        expected = table[np.clip(slow_pool(x, reduce, **settings), low, high) + 128]
        same(
            evaluate(one_node(node, tensor), {"x": x})["y"],
            expected,
            f"seed {seed}, {kind.__name__}, {x.shape}, {settings}",
        )

    pixels = int(window.prod())
    post = random_post(rng, pixels, 2**-2)
    count = slow_pool(x, len, **settings)
    acc = slow_pool(x, lambda values: sum(v - 7 for v in values), **settings)
    args = (post.multiplier[count - 1], post.shift[count - 1], post.post_mode, post.zero_point, post.low, post.high)
    node = g.AveragePool(**names, post=post)
    same(evaluate(one_node(node, tensor), {"x": x})["y"], postprocess(acc, 0, *args), f"seed {seed}, post, {settings}")


def test_average_is_a_multiplication():
    """What the hardware does instead of dividing: one rounding with a suitable multiplier."""
    for count in (1, 2, 3, 4, 6, 7, 9, 49, 64):
        acc = np.arange(-128 * count, 127 * count + 1)
        same(requantise_single(acc, *quantise_multiplier_average(count)), average_tflite(acc, count), f"count {count}")


# Element-wise, tables, shapes --------------------------------------------------------------------------------------

EVERY_PAIR = [axis.reshape(256, 1, 1, 256).astype(np.int8) for axis in np.meshgrid(*[np.arange(-128, 128)] * 2)]


def pair(a, b, output):
    """Tensors of `EVERY_PAIR` and the output, each from (zero point, scale)."""
    shape = (256, 1, 1, 256)
    return g.Tensor("a", shape, *a), g.Tensor("b", shape, *b), g.Tensor("y", None, *output)


def evaluate_pairs(node, tensors):
    graph = g.Graph(name="pairs", tensors=tensors, inputs=("a", "b"), outputs=("y",), nodes=(node,))
    return evaluate(graph, dict(zip("ab", EVERY_PAIR)))["y"].ravel()


QUANTISATIONS = [
    ((-128, 0.02), (-128, 0.02), (-128, 0.03)),
    ((3, 0.1), (-50, 0.0007), (12, 0.11)),
    ((0, 1.0), (127, 3.7), (-1, 2.5)),
]


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_tflite_add(quantisation):
    """`AddElementwise` of `reference_integer_ops/add.h` on every pair of bytes."""
    tensors = pair(*quantisation)
    a, b, y = tensors
    scales = [float(np.float32(t.scale)) for t in tensors]
    twice = 2 * max(scales[:2])

    def multiplier(scale):
        fraction, exponent = math.frexp(scale)
        return round(fraction * (1 << 31)), -exponent

    first = {v: slow_multiply((v - a.zero_point) << 20, *multiplier(scales[0] / twice)) for v in range(-128, 128)}
    second = {v: slow_multiply((v - b.zero_point) << 20, *multiplier(scales[1] / twice)) for v in range(-128, 128)}
    last = multiplier(twice / ((1 << 20) * scales[2]))
    expected = [
        min(max(slow_multiply(first[p] + second[q], *last) + y.zero_point, -100), 90)
        for p, q in zip(EVERY_PAIR[0].ravel().tolist(), EVERY_PAIR[1].ravel().tolist())
    ]
    node = g.tflite_add(name="add", a=a, b=b, output=y, low=-100, high=90)
    same(evaluate_pairs(node, tensors), np.array(expected), quantisation)


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_tflite_mul(quantisation):
    tensors = pair(*quantisation)
    node = g.tflite_mul(name="mul", a=tensors[0], b=tensors[1], output=tensors[2])
    p = node.post
    za, zb = tensors[0].zero_point, tensors[1].zero_point
    expected = [
        min(max(slow_multiply((i - za) * (j - zb), int(p.multiplier[0]), int(p.shift[0])) + p.zero_point, -128), 127)
        for i, j in zip(EVERY_PAIR[0].ravel().tolist(), EVERY_PAIR[1].ravel().tolist())
    ]
    same(evaluate_pairs(node, tensors), np.array(expected), quantisation)


def test_max():
    tensors = pair((0,), (0,), (0,))
    table = np.arange(127, -129, -1)
    node = g.Elementwise(name="max", inputs=("a", "b"), output="y", kind="max", low=-9, high=99, table=table)
    expected = [table[min(max(i, j, -9), 99) + 128] for i, j in zip(*(axis.ravel().tolist() for axis in EVERY_PAIR))]
    same(evaluate_pairs(node, tensors), np.array(expected), "max")


def test_table_reshape_concat():
    rng = np.random.default_rng(3)
    x, z, table = int8(rng, 2, 3, 2, 4), int8(rng, 2, 3, 2, 1), int8(rng, 256)
    nodes = (
        g.Table(name="t", inputs=("x",), output="u", table=table),
        g.Concat(name="k", inputs=("u", "z", "x"), output="k", tables=(None, table, None)),
        g.Reshape(name="flat", inputs=("k",), output="flat"),
        g.Reshape(name="back", inputs=("flat",), output="back", shape=(2, 3, 9)),
    )
    tensors = [g.Tensor("x", x.shape), g.Tensor("z", z.shape), *(g.Tensor(node.output) for node in nodes)]
    graph = g.Graph(name="t", tensors=tensors, inputs=("x", "z"), outputs=("back",), nodes=nodes)
    values = evaluate(graph, {"x": x, "z": z})
    assert list(values) == ["x", "z", "u", "k", "flat", "back"]
    for name, value in values.items():
        assert value.dtype == np.int8 and value.shape == graph.tensors[name].shape, name
    for n, y, column in itertools.product(range(2), range(3), range(2)):
        mapped = [table[v + 128] for v in x[n, y, column].astype(int)], [table[int(z[n, y, column, 0]) + 128]]
        assert values["k"][n, y, column].tolist() == [*mapped[0], *mapped[1], *x[n, y, column]]
        at = (y * 2 + column) * 9
        assert values["flat"][n, at : at + 9].tolist() == values["k"][n, y, column].tolist()
    assert values["back"].tobytes() == values["k"].tobytes()


def test_inputs_are_checked():
    node = g.Table(name="t", inputs=("x",), output="y", table=np.arange(-128, 128))
    graph = one_node(node, g.Tensor("x", (1, 3)))
    assert evaluate(graph, {"x": np.zeros((5, 3), np.int8)})["y"].shape == (5, 3)  # the batch is free
    with pytest.raises(ValueError, match=r"inputs must be \['x'\], not \['z'\]"):
        evaluate(graph, {"z": np.zeros((1, 3), np.int8)})
    with pytest.raises(ValueError, match="input 'x' must be int8, not uint8"):
        evaluate(graph, {"x": np.zeros((1, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"input 'x' must have shape \(any, 3\), not \(1, 4\)"):
        evaluate(graph, {"x": np.zeros((1, 4), np.int8)})
