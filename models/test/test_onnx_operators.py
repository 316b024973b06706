"""Operators of ONNX: golden against ONNX Runtime, integer graph against golden."""

import numpy as np
import pytest
from rowcast_sim.bench.random_models.onnx_writer import Writer, random_inputs
from rowcast_models.frontend import import_model
from rowcast_models.frontend.network import run_operator
from rowcast_models.from_onnx import kinds, read

ort = pytest.importorskip("rowcast_models.reference.ort", reason="pip install 'rowcast[check]'")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")

BOTH = (np.int8, np.uint8)


def verify(model, rng, *, fuse=True, batch=2):
    """Every operator, fed with the runtime's tensors, gives the runtime's; the graph gives the golden's."""
    inputs = random_inputs(model, rng, batch)
    network = import_model(read(model), kinds())
    reference = ort.run(model, inputs, fuse=fuse)
    for op in network.model.operators:
        made = run_operator(network.model, kinds(), op, reference)
        for name, got in made.items():
            if name in reference:
                close(op, got, reference[name], kinds()[op.kind].share)
            else:
                reference[name] = got
    values, golden = network.run(inputs), network.operator_golden(inputs)
    for name in network.model.outputs:
        op = next(op for op in network.model.operators if name in op.outputs)
        close(op, values[name], golden[name], kinds()[op.kind].share)
    return network


def close(op, got, want, share):
    """Equal, or different by 1 in no more than a share of the values."""
    assert got.dtype == want.dtype and got.shape == want.shape, (op.name, got.shape, want.shape)
    if not share:
        assert np.array_equal(got, want), (op.kind, np.argwhere(got != want)[:3], got[got != want][:3], want[got != want][:3])
        return
    distance = np.abs(got.astype(int) - want)
    assert distance.max() <= 1 and (distance > 0).sum() <= max(1, share * got.size), (op.kind, distance.max(), distance.mean())


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("seed", range(8))
def test_conv(dtype, seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng, dtype)
    groups = int(rng.choice([1, 1, 2, 4]))
    channels, filters = groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 5))
    kernel = [int(k) for k in rng.integers(1, 4, 2)]
    x = writer.dequantised(writer.input("x", [1, channels, int(rng.integers(7, 12)), int(rng.integers(7, 12))]))
    w = writer.weights("w", [filters, channels // groups, *kernel], channels=bool(seed % 2))
    y = writer.node("Conv", [x, w], "y_real", group=groups, kernel_shape=kernel, strides=[int(s) for s in rng.integers(1, 3, 2)],
                    dilations=[int(d) for d in rng.integers(1, 3, 2)], pads=[int(p) for p in rng.integers(0, 2, 4)])  # fmt: skip
    if seed % 3 == 0:
        y = writer.node("Relu", [y], "z_real")
    verify(writer.model(writer.quantised(y, "y", scale=0.2)), rng)


@pytest.mark.parametrize("dtype", BOTH)
def test_matmul_and_gemm(dtype):
    rng = np.random.default_rng(1)
    writer = Writer(rng, dtype)
    x = writer.dequantised(writer.input("x", [1, 37]))
    y = writer.quantised(writer.node("MatMul", [x, writer.weights("w", [37, 11])], "m_real"), "y", scale=0.1)
    z = writer.node("Gemm", [writer.dequantised(y, scale=0.1, zero_point=3), writer.weights("v", [5, 11])], "g_real", transB=1)
    network = verify(writer.model(writer.quantised(z, "z", scale=0.1)), rng)
    assert [type(node).__name__ for node in network.stages[0].graph.nodes if "FullyC" in type(node).__name__] == ["FullyConnected"] * 2


UNARY = [
    ("Relu", {}), ("LeakyRelu", {"alpha": 0.1}), ("Elu", {"alpha": 1.5}), ("Sigmoid", {}), ("Tanh", {}), ("HardSwish", {}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("Abs", {}), ("Neg", {}), ("Exp", {}),
]  # fmt: skip


@pytest.mark.parametrize("kind, attributes", UNARY, ids=[kind for kind, _ in UNARY])
def test_unary(kind, attributes):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, BOTH[seed % 2])
        x = writer.dequantised(writer.input("x", [1, 4096]))
        y = writer.node(kind, [x], "y_real", **attributes)
        if seed % 3 == 0:
            y = writer.node("Clip", [y, writer.constant("low", np.float32(-0.4)), writer.constant("high", np.float32(0.7))], "c_real")
        verify(writer.model(writer.quantised(y, "y", scale=2.0**-7)), rng, fuse=False)


@pytest.mark.parametrize("kind", ["Add", "Mul", "Sub", "Sum", "Max", "Min"])
@pytest.mark.parametrize("dtype", BOTH)
def test_two_inputs(kind, dtype):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, dtype)
        shapes = [[1, 5, 8, 9], [[1, 5, 8, 9], [1, 5, 1, 1], [1, 1, 8, 9], [1, 5, 8, 9]][seed]]
        parts = [writer.dequantised(writer.input(name, shape)) for name, shape in zip("ab", shapes)]
        y = writer.node(kind, parts, "y_real")
        # Operators that the runtime has on bytes are replaced there by these.
        verify(writer.model(writer.quantised(y, "y", scale=0.3)), rng, fuse=kind in ("Add", "Mul"), batch=3)


@pytest.mark.parametrize("dtype", BOTH)
def test_constant_operand(dtype):
    rng = np.random.default_rng(5)
    writer = Writer(rng, dtype)
    x = writer.dequantised(writer.input("x", [1, 6, 5, 4]))
    c = writer.dequantised(writer.constant("c", rng.integers(0, 100, (6, 1, 1)).astype(dtype)))
    verify(writer.model(writer.quantised(writer.node("Add", [x, c], "y_real"), "y", scale=0.2)), rng)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
def test_pooling(kind, dtype):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, dtype)
        x = writer.dequantised(writer.input("x", [1, 6, 31, 26]), scale=0.1, zero_point=7)
        fields = {}
        if not kind.startswith("Global"):
            fields = {"kernel_shape": [3, 2], "strides": [int(s) for s in rng.integers(1, 4, 2)],
                      "pads": [1, 0, 1, 1] if seed % 2 else [0, 0, 0, 0], "ceil_mode": seed % 3 == 0}  # fmt: skip
        y = writer.node(kind, [x], "y_real", **{k: int(v) if isinstance(v, bool) else v for k, v in fields.items()})
        same = {"scale": 0.1, "zero_point": 7} if "Max" in kind else {"scale": 0.07}
        verify(writer.model(writer.quantised(y, "y", **same)), rng)


@pytest.mark.parametrize("dtype", BOTH)
def test_concat_resize_pad(dtype):
    rng = np.random.default_rng(3)
    writer = Writer(rng, dtype)
    a, b = (writer.input(name, [1, channels, 4, 5]) for name, channels in (("a", 3), ("b", 6)))
    whole = {"scale": 0.2, "zero_point": 9}
    y = writer.quantised(writer.node("Concat", [writer.dequantised(a), writer.dequantised(b)], "y_real", axis=1), "y", **whole)
    z = writer.node("Resize", [y, "", writer.constant("scales", np.float32([1, 1, 2, 3]))], "z", mode="nearest",
                    coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    p = writer.node("Pad", [z, writer.constant("pads", np.int64([0, 0, 1, 2, 0, 0, 0, 1])), writer.constant("v", dtype(5))], "p")
    r = writer.node("Pad", [p, writer.constant("more", np.int64([0, 0, 2, 1, 0, 0, 1, 1]))], "r", mode="reflect")
    verify(writer.model(writer.node("MaxPool", [r], "m", kernel_shape=[2, 2])), rng)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("seed", range(4))
def test_batch_normalisation_is_exact(dtype, seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng, dtype)
    x = writer.dequantised(writer.input("x", [1, 40, 7, 8]), scale=0.03)
    values = [rng.normal(0, 2, 40), rng.normal(0, 1, 40), rng.normal(0, 1, 40), rng.uniform(0.1, 3, 40)]
    names = [writer.constant(f"c{i}", value.astype(np.float32)) for i, value in enumerate(values)]
    y = writer.node("Relu", [writer.node("BatchNormalization", [x, *names], "b_real")], "y_real")
    verify(writer.model(writer.quantised(y, "y", scale=0.05)), rng, fuse=False, batch=4)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("size, alpha", [(5, 1e-4), (3, 1e-2), (7, 0.02)])
def test_lrn(dtype, size, alpha):
    rng = np.random.default_rng(size)
    writer = Writer(rng, dtype)
    x = writer.dequantised(writer.input("x", [1, 19, 9, 8]), scale=0.03)
    y = writer.node("LRN", [x], "y_real", size=size, alpha=alpha, beta=0.75, bias=1.0)
    verify(writer.model(writer.quantised(y, "y", scale=0.03)), rng, fuse=False, batch=4)


def test_channel_shuffle_is_one_selection():
    rng = np.random.default_rng(0)
    writer = Writer(rng)
    x = writer.input("x", [1, 12, 3, 5])
    a = writer.node("Reshape", [x, writer.constant("to", np.int64([1, 3, 4, 3, 5]))], "a")
    b = writer.node("Reshape", [writer.node("Transpose", [a], "t", perm=[0, 2, 1, 3, 4]), writer.constant("back", np.int64([1, 12, 3, 5]))], "b")
    network = verify(writer.model(writer.node("MaxPool", [b], "y", kernel_shape=[1, 1])), rng)
    assert [type(node).__name__ for node in network.stages[0].graph.nodes] == ["Select", "MaxPool"]


def test_transposed_before_a_fully_connected_layer_is_free():
    rng = np.random.default_rng(0)
    writer = Writer(rng)
    t = writer.node("Transpose", [writer.input("x", [1, 3, 4, 5])], "t", perm=[0, 2, 3, 1])
    f = writer.node("Flatten", [t], "f")
    y = writer.node("MatMul", [writer.dequantised(f), writer.weights("w", [60, 7])], "y_real")
    network = verify(writer.model(writer.quantised(y, "y", scale=0.2)), rng)
    assert [type(node).__name__ for node in network.stages[0].graph.nodes if type(node).__name__ != "Reshape"] == ["FullyConnected"]


def test_strong_normalisation_runs_on_the_host_between_two_runs_of_the_accelerator():
    for alpha, on_host in ((1e-4, []), (30.0, ["LRN"])):
        rng = np.random.default_rng(3)
        writer = Writer(rng, np.int8)
        x = writer.dequantised(writer.input("x", [1, 8, 5, 5]), scale=0.05, zero_point=3)
        a = writer.quantised(writer.node("Relu", [x], "r_real"), "a", scale=0.04, zero_point=-100)
        lrn = writer.node("LRN", [writer.dequantised(a, scale=0.04, zero_point=-100)], "l_real", size=5, alpha=alpha, beta=0.75, bias=1.0)
        b = writer.quantised(lrn, "b", scale=0.02, zero_point=-90)
        c = writer.node("Tanh", [writer.dequantised(b, scale=0.02, zero_point=-90)], "t_real")
        model = writer.model(writer.quantised(c, "c", scale=1 / 128, zero_point=0))
        network = import_model(read(model), kinds())
        assert [op.kind for op in network.host_operators] == on_host
        inputs = random_inputs(model, rng, 20)
        got, want = network.run(inputs), ort.run(model, inputs)
        for name in ("a", "b", "c"):
            apart = np.abs(got[name].astype(int) - want[name])
            assert apart.max() <= 1 and np.count_nonzero(apart) <= (0.05 if name != "a" else 0) * apart.size, (alpha, name)


AS_THEY_ARE = [
    ("Reshape", [np.int64([0, -1])], {}), ("Flatten", [], {"axis": 1}), ("Transpose", [], {"perm": [0, 1, 2, 3]}),
    ("Unsqueeze", [np.int64([1])], {}), ("Gather", [np.int64([2, 0, 1])], {"axis": 1}), ("GlobalMaxPool", [], {}),
    ("Slice", [np.int64([1]), np.int64([9]), np.int64([2])], {}),
    ("Resize", [np.float32([]), np.float32([1, 1, 2, 1.5])], {"mode": "nearest", "nearest_mode": "floor"}),
]  # fmt: skip


@pytest.mark.parametrize("then", [(), ("Relu",), ("LeakyRelu", "Tanh")], ids=["alone", "relu", "leaky-tanh"])
@pytest.mark.parametrize("types", [(np.int8,) * 2, (np.int8, np.uint8), (np.uint8, np.int8)], ids=["i8", "i8-u8", "u8-i8"])
@pytest.mark.parametrize("kind, constants, attributes", AS_THEY_ARE, ids=[kind for kind, _, _ in AS_THEY_ARE])
def test_what_gives_its_elements_as_they_are_may_change_scale_and_type(kind, constants, attributes, types, then):
    rng = np.random.default_rng(len(kind))
    writer = Writer(rng, types[0])
    x = writer.dequantised(writer.input("x", [1, 3, 5, 4]), scale=0.05, zero_point=7)
    names = [writer.constant(f"c{i}", array) for i, array in enumerate(constants)]
    real = writer.node(kind, [x, *names], "y_real", **attributes)
    for each in then:
        real = writer.node(each, [real], f"{real}_{each}")
    writer.dtype = np.dtype(types[1])
    model = writer.model(writer.quantised(real, "y", scale=0.02, zero_point=100))
    writer.dtype = np.dtype(types[0])
    verify(model, rng, fuse=False)


@pytest.mark.parametrize("types", [(np.int8, np.uint8), (np.uint8, np.int8)], ids=["i8-u8", "u8-i8"])
@pytest.mark.parametrize(
    "kind, attributes",
    [("MaxPool", {"kernel_shape": [2, 2]}), ("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
     ("GlobalAveragePool", {}), ("LRN", {"size": 3}), ("BatchNormalization", {}), ("Max", {}), ("Min", {}), ("Add", {}), ("Concat", {"axis": 1})],
)  # fmt: skip
def test_an_operator_may_make_the_other_type(kind, attributes, types):
    rng = np.random.default_rng(len(kind))
    writer = Writer(rng, types[0])
    inputs = [writer.dequantised(writer.input("x", [1, 3, 5, 4]), scale=0.05, zero_point=7)]
    if kind in ("Max", "Min", "Add", "Concat"):
        inputs.append(writer.dequantised(writer.input("x2", [1, 3, 5, 4]), scale=0.03, zero_point=9))
    if kind == "BatchNormalization":
        inputs += [writer.constant(f"c{i}", rng.uniform(0.5, 2, 3).astype(np.float32)) for i in range(4)]
    real = writer.node(kind, inputs, "y_real", **attributes)
    writer.dtype = np.dtype(types[1])
    model = writer.model(writer.quantised(real, "y", scale=0.06, zero_point=100))
    verify(model, rng, fuse=False)


def test_lrn_of_very_many_channels_runs_on_the_host():
    for channels, host in ((4096, 0), (4097, 1)):
        writer = Writer(np.random.default_rng(0))
        x = writer.dequantised(writer.input("x", [1, channels, 1, 1]), scale=0.01, zero_point=0)
        network = import_model(read(writer.model(writer.quantised(writer.node("LRN", [x], "r", size=3), "y", scale=0.01))), kinds())
        assert len(network.host_operators) == host
