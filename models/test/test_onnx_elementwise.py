"""Operators of two values: all 65,536 pairs of bytes for many scales, against ONNX Runtime; broadcasting; constants."""

import numpy as np
import pytest
from onnx import helper
from rowcast_sim.bench.random_models.onnx_writer import Writer, random_inputs
from rowcast_models.frontend import ModelError, import_model
from rowcast_models.from_onnx import kinds, read

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")

BOTH = (np.int8, np.uint8)


def run_reference(model, inputs):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def differences(model, inputs):
    """(golden unlike runtime, graph unlike golden, nodes): counts of values; none is more than 1 apart."""
    network = import_model(read(model), kinds())
    output = network.model.outputs[0]
    want, golden, graph = run_reference(model, inputs), network.operator_golden(inputs)[output], network.run(inputs)[output]
    assert want.dtype == golden.dtype and want.shape == golden.shape
    wrong = [np.abs(a.astype(int) - b) for a, b in ((golden, want), (graph, golden))]
    assert max(each.max() for each in wrong) <= 1, [each.max() for each in wrong]
    (stage,) = network.stages
    return *(np.count_nonzero(each) for each in wrong), [type(node).__name__ for node in stage.graph.nodes]


def every_pair(dtype):
    limits = np.iinfo(dtype)
    every = np.arange(limits.min, limits.max + 1).astype(dtype)
    return {"a": np.repeat(every, 256)[None], "b": np.tile(every, 256)[None]}


def random_scales(rng):
    return 2.0 ** rng.uniform(-8, 2, 3)


def powers_of_two(rng):
    return 2.0 ** rng.integers(-4, 4, 3)


def far_apart(rng):
    return 2.0 ** rng.uniform(-14, 14, 3)


def one_scale(rng):
    return np.repeat(2.0 ** rng.uniform(-6, 2), 3)


SCALES = (random_scales, powers_of_two, far_apart, one_scale)


def pair_model(kind, dtype, scales, rng, *, then=None, zero_point=None):
    """QLinear<kind>, or a float operator between DequantizeLinear and QuantizeLinear, on [1, 65536]."""
    writer = Writer(rng, dtype)
    names = [writer.input(name, [1, 1 << 16]) for name in "ab"]
    if kind.startswith("QLinear"):
        inputs = [part for name, scale in zip("ab", scales) for part in (name, *writer.scale(name, scale=scale))]
        inputs += writer.scale("y", scale=scales[2])
        writer.nodes.append(helper.make_node(kind, inputs, ["y"], domain="com.microsoft"))
        return writer.model("y")
    real = writer.node(kind, [writer.dequantised(n, scale=s) for n, s in zip(names, scales)], "y_real")
    if then == "Relu":
        real = writer.node("Relu", [real], "z_real")
    if then == "Clip":
        real = writer.node("Clip", [real, writer.constant("l", np.float32(-0.5)), writer.constant("h", np.float32(1.5))], "z_real")
    return writer.model(writer.quantised(real, "y", scale=scales[2], zero_point=zero_point))


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("kind", ["QLinearAdd", "Add", "Sub", "Sum", "Max", "Min"])
def test_sums_of_all_pairs(kind, scales):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        dtype = BOTH[seed % 2]
        assert differences(pair_model(kind, dtype, scales(rng), rng), every_pair(dtype))[:2] == (0, 0), (seed, kind)


@pytest.mark.parametrize("scales", [random_scales, powers_of_two])
@pytest.mark.parametrize("kind", ["QLinearMul", "Mul"])
def test_products_of_all_pairs(kind, scales):
    forms = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, b, more = scales(rng)
        dtype = BOTH[seed % 2]
        golden, graph, nodes = differences(pair_model(kind, dtype, (a, b, a * b * more * 256), rng), every_pair(dtype))
        assert (golden, graph) == (0, 0), seed
        forms.add(len(nodes))
    # Products half way between bytes, before an odd zero point, take five nodes.
    assert forms == ({1} if scales is random_scales else {1, 5})


@pytest.mark.parametrize("then", ["Relu", "Clip"])
@pytest.mark.parametrize("kind", ["Add", "Mul", "Sub", "Max"])
def test_what_follows_is_float_unless_the_runtime_removes_it(kind, then):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        dtype = BOTH[seed % 2]
        zero_point = np.iinfo(dtype).min if seed % 3 == 0 else None
        model = pair_model(kind, dtype, random_scales(rng) / 4, rng, then=then, zero_point=zero_point)
        assert differences(model, every_pair(dtype))[:2] == (0, 0), seed


def test_sums_half_way_between_bytes_stay_in_the_stated_share():
    total = wrong = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scale = 2.0 ** rng.uniform(-6, 2)
        golden, graph, _ = differences(pair_model("Sub", BOTH[seed % 2], (scale, scale, 2 * scale), rng), every_pair(BOTH[seed % 2]))
        assert golden == 0
        total, wrong = total + (1 << 16), wrong + graph
    assert wrong <= kinds()["Sub"].share * total, wrong / total


SHAPES = [
    ([1, 5, 8, 9], [1, 5, 1, 1]), ([1, 5, 1, 1], [1, 5, 8, 9]), ([1, 1, 8, 9], [1, 5, 8, 9]), ([1, 5, 8, 1], [1, 5, 8, 9]),
    ([1, 5, 1, 9], [1, 5, 8, 9]), ([1, 5, 8, 1], [1, 5, 1, 9]), ([1, 5, 1, 1], [1, 1, 7, 1]), ([1, 4, 5], [1, 1, 5]), ([1, 6], [1, 6]),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["Add", "Mul", "Max", "Sub"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcasting(kind, shapes):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, BOTH[seed % 2])
        parts = [writer.dequantised(writer.input(name, shape)) for name, shape in zip("ab", shapes)]
        model = writer.model(writer.quantised(writer.node(kind, parts, "y_real"), "y", scale=0.3))
        assert differences(model, random_inputs(model, rng, 1))[:2] == (0, 0), seed


CONSTANTS = [(kind, shape, quantised) for kind in ("Add", "Sub", "Mul", "Div") for shape in ((), (6, 1, 1))
             for quantised in (False, True) if (kind, shape, quantised) != ("Div", (6, 1, 1), True)]  # fmt: skip


@pytest.mark.parametrize("kind, shape, quantised", CONSTANTS)
def test_constants(kind, shape, quantised):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        writer = Writer(rng, BOTH[seed % 2])
        x = writer.dequantised(writer.input("x", [1, 6, 16, 16]))
        if quantised:
            c = writer.dequantised(writer.constant("c", rng.integers(1, 100, shape).astype(writer.dtype)))
        else:
            c = writer.constant("c", rng.normal(0, 1, shape).astype(np.float32))
        operands = [c, x] if kind != "Div" and seed % 3 == 0 else [x, c]
        model = writer.model(writer.quantised(writer.node(kind, operands, "y_real"), "y"))
        golden, graph, nodes = differences(model, random_inputs(model, rng, 1))
        assert (golden, graph) == (0, 0), seed
        if not quantised or not shape:
            assert nodes == ["Conv" if shape else "Table"]


def refused(kind, x_shape, constant, match):
    writer = Writer(np.random.default_rng(0))
    x = writer.dequantised(writer.input("x", x_shape))
    y = writer.node(kind, [x, writer.constant("c", constant)], "y_real")
    with pytest.raises(ModelError, match=match):
        import_model(read(writer.model(writer.quantised(y, "y"))), kinds())


def test_what_cannot_be_had_is_refused():
    refused("Add", [1, 3, 4, 5], np.ones((4, 5), np.float32), "must be one element, or one for each channel; quantise it")
    refused("Mul", [1, 3, 1, 1], np.ones((3, 4, 4), np.float32), "must be one element, or one for each channel")
    refused("Add", [1, 1, 4, 5], np.ones((3, 1, 1), np.float32), "must not give 'x' .* more axes or elements")


def test_sums_of_one_and_of_three():
    for count in (1, 3):
        writer = Writer(np.random.default_rng(0))
        parts = [writer.dequantised(writer.input(name, [1, 256])) for name in "abc"[:count]]
        model = writer.model(writer.quantised(writer.node("Sum", parts, "y_real"), "y"))
        if count == 1:
            assert differences(model, {"a": np.arange(-128, 128).astype(np.int8)[None]}) == (0, 0, ["Table"])
            continue
        with pytest.raises(ModelError, match="has 3 inputs; write it as Adds of two, each quantised"):
            import_model(read(model), kinds())


def test_factors_fit_what_the_hardware_multiplies():
    """Also where entries are moved so that products lie like float32's."""
    mended = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scales = rng.choice([1, 2, 3, 5, 6, 7], 3) * 2.0 ** rng.integers(-6, 0, 3)
        model = pair_model("QLinearMul", np.uint8, scales, rng)
        (stage,) = import_model(read(model), kinds()).stages
        for node in stage.graph.nodes:
            for table in (node.table_a, node.table_b) if getattr(node, "kind", "") == "mul" else ():
                assert np.array_equal(table, table.astype(np.int16)), seed
                mended += int(np.abs(table).max() > 255)
    assert mended > 0
