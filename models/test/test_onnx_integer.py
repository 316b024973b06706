"""ConvInteger and MatMulInteger whose sums constants scale to bytes again, against ONNX Runtime; and alone."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from rowcast_models.frontend import GraphStage, HostStage, import_model
from rowcast_models.from_onnx import kinds, read
from rowcast_models.from_onnx.operators._integer import COARSEST, SHARE
from rowcast_sim.bench.random_models.onnx_writer import TYPES, Writer, random_inputs

pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")

from rowcast_models.reference import ort  # noqa: E402

BOTH = (np.int8, np.uint8)


def sums(writer, kind, *, weight_type, groups=1):
    """A ConvInteger or MatMulInteger of random shape: (name of its int32 output, channels, axes behind theirs, products)."""
    rng, limits = writer.rng, np.iinfo(weight_type)
    # uint8 times int8 saturates in ONNX Runtime on CPUs with AVX2 alone, so the factors are small there.
    low, high = (limits.min, limits.max + 1) if writer.dtype == weight_type else (limits.min // 2 + 64 * (limits.min == 0), limits.max // 2)
    channels = int(rng.integers(1, 12)) * groups
    if kind == "ConvInteger":
        depth, kernel = int(rng.integers(1, 9)), rng.integers(1, 4, 2).tolist()
        x = writer.input("x", [1, depth * groups, int(rng.integers(3, 10)), int(rng.integers(3, 10))])
        shape, fields, behind = [channels, depth, *kernel], {"group": groups, "pads": [1, 0, 0, 1]}, 2
    else:
        depth = int(rng.integers(1, 60))
        x = writer.input("x", [1, depth] if rng.integers(2) else [1, 3, depth])
        shape, fields, behind = [depth, channels], {}, 0
    zero = rng.integers(low, high, channels if kind == "MatMulInteger" and rng.integers(2) else ())
    inputs = [
        x, writer.constant("w", rng.integers(low, high, shape).astype(weight_type)),
        writer.constant("x_zero", writer.dtype.type(rng.integers(*(np.iinfo(writer.dtype).min, np.iinfo(writer.dtype).max)))),
        writer.constant("w_zero", np.asarray(zero, weight_type)),
    ]  # fmt: skip
    return writer.node(kind, inputs, "sums", **fields), channels, behind, int(np.prod(shape[1:])) if behind else depth


def chain(writer, kind, *, weight_type, steps=("Mul", "Add"), then=None, coarse=1.0, groups=1):
    """The model of a chain; scales for which the output uses its range, a unit of the sum some parts of a step."""
    rng = writer.rng
    name, channels, behind, products = sums(writer, kind, weight_type=weight_type, groups=groups)
    name = writer.node("Cast", [name], "real", to=TensorProto.FLOAT)
    about = 2.0 ** rng.uniform(-12, -2)
    reach = about * 5000 * products**0.5
    for number, step in enumerate(steps):
        size = channels if rng.integers(2) else 1
        values = rng.uniform(0.5, 2, size) * (about if step in ("Mul", "Div") else reach / 4)
        values = 1 / values if step == "Div" else values * rng.choice([-1, 1], size)
        shaped = values.reshape(-1, *[1] * behind).astype(np.float32)
        operands = [name, writer.constant(f"c{number}", shaped)]
        name = writer.node(step, operands if step in ("Sub", "Div") or rng.integers(2) else operands[::-1], f"step{number}")
    if then == "Clip":
        limits = [writer.constant("low", np.float32(-reach / 3)), writer.constant("high", np.float32(reach / 2))]
        name = writer.node("Clip", [name, *limits], "clipped")
    elif then:
        name = writer.node(then, [name], "then")
    zero = int(rng.integers(np.iinfo(writer.dtype).min, np.iinfo(writer.dtype).max + 1))
    return writer.model(writer.quantised(name, "y", scale=reach / 60 * coarse, zero_point=zero))


def compare(model, inputs, *, items=8):
    """(golden unlike runtime, graph unlike golden, values); none more than 1 apart."""
    network = import_model(read(model), kinds())
    golden, graph = network.operator_golden(inputs)["y"], network.run(inputs)["y"]
    want = ort.run(model, inputs)["y"]
    assert (golden.dtype, golden.shape) == (want.dtype, want.shape) == (graph.dtype, graph.shape)
    apart = [np.abs(a.astype(int) - b) for a, b in ((golden, want), (graph, golden))]
    assert max(each.max() for each in apart) <= 1
    return network, *(np.count_nonzero(each) for each in apart), want.size


@pytest.mark.parametrize("kind", ["ConvInteger", "MatMulInteger"])
@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("steps", [("Mul",), ("Mul", "Add"), ("Div", "Sub"), ("Add", "Mul"), ("Mul", "Mul", "Add")], ids="-".join)
def test_chains_run_on_the_accelerator(kind, dtype, steps):
    wrong = total = 0
    for seed in range(20):
        writer = Writer(np.random.default_rng(seed), dtype)
        model = chain(writer, kind, weight_type=dtype, steps=steps, then=(None, "Relu", "Clip")[seed % 3])
        network, from_runtime, from_golden, size = compare(model, random_inputs(model, writer.rng, 8))
        assert from_runtime == 0, seed
        assert [type(stage) for stage in network.stages] == [GraphStage]
        wrong, total = wrong + from_golden, total + size
    assert wrong <= (0.005 if {"Add", "Sub"} & set(steps) else 1e-3) * total, (wrong, total)


@pytest.mark.parametrize("dtype, weight_type", [(np.uint8, np.int8), (np.int8, np.uint8)])
@pytest.mark.parametrize("kind", ["ConvInteger", "MatMulInteger"])
def test_types_may_differ(kind, dtype, weight_type):
    for seed in range(8):
        writer = Writer(np.random.default_rng(seed), dtype)
        model = chain(writer, kind, weight_type=weight_type)
        inputs = {name: (array // 2).astype(array.dtype) for name, array in random_inputs(model, writer.rng, 4).items()}
        _, from_runtime, _, _ = compare(model, inputs)
        assert from_runtime == 0, seed


def test_groups():
    for seed in range(6):
        writer = Writer(np.random.default_rng(seed), np.int8)
        model = chain(writer, "ConvInteger", weight_type=np.int8, groups=3)
        _, from_runtime, _, _ = compare(model, random_inputs(model, writer.rng, 4))
        assert from_runtime == 0, seed


@pytest.mark.parametrize("kind", ["ConvInteger", "MatMulInteger"])
def test_coarse_units_run_on_the_host(kind):
    """A unit of the sum may be a large part of a step; then a constant cannot be added in units."""
    seen, wrong, total = set(), 0, 0
    for seed in range(40):
        writer = Writer(np.random.default_rng(seed), np.int8)
        model = chain(writer, kind, weight_type=np.int8, coarse=2.0 ** -float(writer.rng.integers(2, 9)))
        network, from_runtime, from_golden, size = compare(model, random_inputs(model, writer.rng, 8))
        assert from_runtime == 0, seed
        on_host = bool(network.host_operators)
        seen.add(on_host)
        if not on_host:
            wrong, total = wrong + from_golden, total + size
    assert seen == {False, True} and wrong <= SHARE * total and COARSEST < 0.5


@pytest.mark.parametrize("kind", ["ConvInteger", "MatMulInteger"])
def test_sums_alone_are_the_hosts(kind):
    for seed in range(10):
        writer = Writer(np.random.default_rng(seed), BOTH[seed % 2])
        name, *_ = sums(writer, kind, weight_type=BOTH[seed % 2])
        model = writer.model(name)
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
        inputs = random_inputs(model, writer.rng, 3)
        network = import_model(read(model), kinds())
        assert [type(stage) for stage in network.stages] == [HostStage]
        got, want = network.run(inputs)[name], ort.run(model, inputs)[name]
        assert got.dtype == want.dtype == np.int32 and np.array_equal(got, want), seed


def test_a_sum_that_is_wanted_twice_is_the_hosts_and_floats_are_named():
    writer = Writer(np.random.default_rng(0), np.int8)
    name, *_ = sums(writer, "MatMulInteger", weight_type=np.int8)
    real = writer.node("Cast", [name], "real", to=TensorProto.FLOAT)
    scaled = writer.node("Mul", [real, writer.constant("c", np.float32(0.001))], "scaled")
    model = writer.model(writer.quantised(scaled, "y"))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT32, None))
    from rowcast_models.frontend import ModelError

    with pytest.raises(ModelError, match="Cast|Mul"):
        import_model(read(model), kinds())
    assert TYPES[np.dtype(np.int8)] == model.graph.input[0].type.tensor_type.elem_type
