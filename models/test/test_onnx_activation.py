"""Functions of one value: all 256 bytes for many scales and zero points, against ONNX Runtime, and float32 kernels bit for bit."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from rowcast_sim.bench.random_models.onnx_writer import Writer
from rowcast_models.frontend import ModelError, import_model
from rowcast_models.from_onnx import kinds, read
from rowcast_models.from_onnx.operators import _float32, _unary

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")

FUNCTIONS = {
    "Abs": {}, "Ceil": {}, "Celu": {"alpha": 1.3}, "Elu": {"alpha": 1.5}, "Erf": {}, "Exp": {}, "Floor": {}, "Gelu": {},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4}, "HardSwish": {}, "LeakyRelu": {"alpha": 0.1}, "Log": {}, "Mish": {}, "Neg": {},
    "Reciprocal": {}, "Relu": {}, "Round": {}, "Selu": {}, "Sigmoid": {}, "Sign": {}, "Softplus": {}, "Softsign": {}, "Sqrt": {},
    "Tanh": {}, "ThresholdedRelu": {"alpha": 0.5},
}  # fmt: skip


def session(model, *, fuse=True):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if fuse else levels.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def every_byte(dtype):
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype)[None]


def differences(model, *, fuse=True):
    """Values of all bytes that the golden and the graph have otherwise than the runtime."""
    network = import_model(read(model), kinds())
    name = network.model.inputs[0]
    inputs = {name: every_byte(network.model.values[name].dtype)}
    want = session(model, fuse=fuse).run(None, inputs)[0]
    output = network.model.outputs[0]
    golden, graph = network.operator_golden(inputs)[output], network.run(inputs)[output]
    assert golden.dtype == want.dtype and np.array_equal(graph, golden)
    apart = np.abs(golden.astype(int) - want)
    assert apart.max() <= 1, (model.graph.node, np.argwhere(apart > 1)[:3])
    return np.count_nonzero(apart)


def model_of(seed, *nodes):
    """DequantizeLinear, functions, QuantizeLinear with random scales and zero points, over a wide range."""
    rng = np.random.default_rng(seed)
    writer = Writer(rng, (np.int8, np.uint8)[seed % 2])
    real = writer.dequantised(writer.input("x", [1, 256]), scale=2.0 ** rng.uniform(-9, 0))
    for number, (kind, attributes) in enumerate(nodes):
        limits = [writer.constant(f"l{number}", np.float32(-0.3)), writer.constant(f"h{number}", np.float32(2))] if kind == "Clip" else []
        real = writer.node(kind, [real, *limits], f"f{number}", **attributes)
    return writer.model(writer.quantised(real, "y", scale=2.0 ** rng.uniform(-11, -1)))


@pytest.mark.parametrize("kind, attributes", FUNCTIONS.items(), ids=FUNCTIONS)
def test_all_bytes(kind, attributes):
    seeds = range(24)
    count = sum(differences(model_of(seed, (kind, attributes)), fuse=seed % 3 > 0) for seed in seeds)
    assert count <= kinds()[kind].share * 256 * len(seeds), (kind, count)


def test_gelu_by_tanh():
    assert sum(differences(model_of(seed, ("Gelu", {"approximate": "tanh"}))) for seed in range(24)) == 0


def test_gelu_of_onnx_runtime_is_the_standards():
    rng = np.random.default_rng(0)
    made = []
    for domain in ("", "com.microsoft"):
        writer = Writer(rng)
        x = writer.dequantised(writer.input("x", [1, 4]), scale=0.02, zero_point=3)
        real = writer.node("Gelu", [x], "r", domain=domain)
        network = import_model(read(writer.model(writer.quantised(real, "y", scale=0.02, zero_point=-100))), kinds())
        made.append(network.run({"x": np.arange(-128, 128, dtype=np.int8).reshape(-1, 4)})["y"])
    assert np.array_equal(*made) and len(np.unique(made[0])) > 50


def test_chains_are_one_table():
    chain = [("HardSwish", {}), ("Clip", {}), ("Tanh", {}), ("Neg", {})]
    for seed in range(12):
        model = model_of(seed, *chain)
        assert differences(model) == 0
        (stage,) = import_model(read(model), kinds()).stages
        assert [type(node).__name__ for node in stage.graph.nodes] == ["Table"]


@pytest.mark.parametrize("kind", ["LeakyRelu", "Sigmoid"])
@pytest.mark.parametrize("seed", range(8))
def test_qlinear(kind, seed):
    rng = np.random.default_rng(seed)
    writer = Writer(rng, (np.int8, np.uint8)[seed % 2])
    names = [writer.input("x", [1, 256]), *writer.scale("x"), *writer.scale("y")]
    attributes = {"alpha": 0.07} if kind == "LeakyRelu" else {}
    writer.nodes.append(helper.make_node(f"QLinear{kind}", names, ["y"], domain="com.microsoft", **attributes))
    assert differences(writer.model("y")) == 0


def test_relu_and_clip_of_plain_bytes_are_of_the_integers():
    writer = Writer(np.random.default_rng(0), np.int8)
    writer.node("Relu", [writer.input("x", [1, 256])], "y")
    assert differences(writer.model("y")) == 0


# Kernels ---------------------------------------------------------------------------------------------------------------


def kernel(kind, x, **attributes):
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **attributes)], "kernel", value[:1], value[1:])
    return session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)).run(None, {"x": x})[0]


@pytest.mark.parametrize("kind, attributes", [
    ("Sigmoid", {}), ("Tanh", {}), ("Exp", {}), ("Elu", {"alpha": 1.3}), ("Celu", {"alpha": 1.3}), ("Selu", {}), ("HardSwish", {}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("LeakyRelu", {"alpha": 0.1}), ("Softsign", {}), ("Sqrt", {}),
])  # fmt: skip
def test_float32_kernels_in_every_bit(kind, attributes):
    rng = np.random.default_rng(1)
    parts = [rng.normal(0, 3, 1 << 16), rng.uniform(-100, 89, 1 << 16), rng.normal(0, 0.01, 1 << 14), [0.0, -0.0, 1, -1]]
    x = np.concatenate(parts).astype(np.float32)
    defaults = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875} if kind == "Selu" else {}
    with np.errstate(all="ignore"):
        made = _unary.FUNCTIONS[kind](x, {**defaults, **attributes}).astype(np.float32)
    want = kernel(kind, x, **attributes)
    assert np.array_equal(made, want, equal_nan=True), (kind, x[made != want][:4])


def test_fma_is_rounded_once():
    """Against exact rational arithmetic, on sums that a second rounding would move."""
    from fractions import Fraction

    rng = np.random.default_rng(2)
    a, b = (rng.normal(0, 1, 4000).astype(np.float32) for _ in range(2))
    c = (-a * b * rng.choice([1, 2.0**-20, 2.0**22, 2.0**30], a.size)).astype(np.float32)
    made = _float32.fma(a, b, c)
    for x, y, z, got in zip(a.tolist(), b.tolist(), c.tolist(), made):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        distance = abs(Fraction(float(got)) - exact)
        for other in (np.nextafter(got, np.float32(np.inf)), np.nextafter(got, np.float32(-np.inf))):
            assert distance <= abs(Fraction(float(other)) - exact), (x, y, z, got)


# PRelu -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_prelu_of_channels_is_exact(seed, quantised):
    rng = np.random.default_rng(seed)
    writer = Writer(rng, (np.int8, np.uint8)[seed % 2])
    x = writer.dequantised(writer.input("x", [1, 7, 16, 16]))
    if quantised:
        slope = writer.dequantised(writer.constant("s", rng.integers(0, 128, (7, 1, 1)).astype(writer.dtype)), scale=0.01)
    else:
        slope = writer.constant("s", rng.normal(0.2, 0.5, (7, 1, 1)).astype(np.float32))
    y = writer.node("PRelu", [x, slope], "y_real")
    if seed % 3 == 0:
        y = writer.node("Relu", [y], "z_real")
    model = writer.model(writer.quantised(y, "y"))
    network = import_model(read(model), kinds())
    inputs = {"x": np.broadcast_to(every_byte(writer.dtype).reshape(1, 1, 16, 16), (1, 7, 16, 16)).copy()}
    want = session(model).run(None, inputs)[0]
    assert np.array_equal(network.operator_golden(inputs)["y"], want) and np.array_equal(network.run(inputs)["y"], want)


def test_a_slope_of_rows_is_refused():
    writer = Writer(np.random.default_rng(0))
    x = writer.dequantised(writer.input("x", [1, 3, 4, 5]))
    y = writer.node("PRelu", [x, writer.constant("s", np.ones((4, 1), np.float32))], "y_real")
    with pytest.raises(ModelError, match=r"slope \(4, 1\) must be one element, or one for each channel: \(3, 1, 1\)"):
        import_model(read(writer.model(writer.quantised(y, "y"))), kinds())
