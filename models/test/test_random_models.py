"""Random quantised models of both formats against their runtimes, at every tensor; `rowcast bench property` runs thousands."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")
pytest.importorskip("ai_edge_litert", reason="LiteRT is missing: pip install 'rowcast[check]'")

from rowcast_sim.bench.random_models import onnx_random, tflite_random  # noqa: E402
from rowcast_sim.bench.random_models.compare import FORMATS, Comparison, Difference, compare, random_case  # noqa: E402

LENGTHS = 6
both = pytest.mark.parametrize("format_", FORMATS)


@both
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, LENGTHS))
def test_random_models_equal_the_runtime(format_, seed, length):
    into = compare(random_case(format_, seed, length))
    into.check_shares()
    assert sum(into.compared.values()) > 0


USED = {
    "onnx": {"QLinearConv", "Conv", "QLinearAdd", "Add", "QLinearConcat", "MaxPool", "QLinearAveragePool", "MatMul", "QLinearMatMul"},
    "tflite": {
        "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "PAD",
        "CONCATENATION", "RESHAPE", "QUANTIZE", "MAXIMUM", "TRANSPOSE", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "PRELU", "LOGISTIC",
    },
}  # fmt: skip


@both
def test_shares_hold_over_many_models(format_):
    into = Comparison()
    for seed in range(72):
        compare(random_case(format_, seed, 1 + seed % LENGTHS), into)
    into.check_shares()
    assert {(format_, kind) for kind in USED[format_]} <= set(into.operators)


@both
def test_the_batch_is_free(format_):
    for seed in range(4):
        for batch in (1, 5):
            compare(random_case(format_, seed, 4, batch=batch))


def test_a_seed_is_one_model():
    for seed, (form, dtype) in enumerate(onnx_random.FORMS):
        (first, name), (again, _) = onnx_random.random_model(seed), onnx_random.random_model(seed)
        assert first.SerializeToString() == again.SerializeToString() and name == f"{form}-{dtype}"
    assert tflite_random.random_model(3)[0] == tflite_random.random_model(3)[0] != tflite_random.random_model(4)[0]


@both
def test_values_are_not_all_saturated(format_):
    ends = total = constant = tensors = 0
    for seed in range(24):
        case = random_case(format_, seed, 3)
        for name, array in case.network.run(case.inputs).items():
            if name not in case.inputs and array.dtype.kind in "iu" and array.size > 16:
                limits = np.iinfo(array.dtype)
                ends, total = ends + np.count_nonzero((array == limits.min) | (array == limits.max)), total + array.size
                constant, tensors = constant + (array.min() == array.max()), tensors + 1
    assert ends < total / 2, (ends, total)
    assert constant < tensors / 4, (constant, tensors)


@pytest.mark.parametrize("which", ["golden", "graph"])
@pytest.mark.parametrize("format_, kind", [("onnx", "QLinearConv"), ("tflite", "CONV_2D")])
def test_a_wrong_value_is_found(format_, kind, which):
    """One value of one tensor off by one bit, in the golden or in the graph."""
    for seed in range(0, 400, 4):
        case = random_case(format_, seed, 4)
        op = next((op for op in case.network.model.operators if op.kind == kind), None)
        if op is None:
            continue
        if which == "golden":
            right = case.network.kinds[kind]

            def golden(op, *arrays, right=right):
                made = right.golden(op, *arrays)[0].copy()
                made.flat[-1] ^= 1
                return (made,)

            kinds = {**case.network.kinds, kind: dataclasses.replace(right, golden=golden)}
            wrong = dataclasses.replace(case.network, kinds=kinds)
        else:
            wrong = _WrongGraph(case.network, op.outputs[0])
        with pytest.raises(Difference, match=rf"seed {seed} and length 4: {kind} .*, {which}: 1 of"):
            compare(dataclasses.replace(case, network=wrong))
        return
    raise AssertionError(f"no model has a {kind}")


@both
def test_a_runtime_that_gives_nothing_is_no_equality(format_):
    case = random_case(format_, 3, 4)
    with pytest.raises(Difference, match="the runtime gives none of this name"):
        compare(dataclasses.replace(case, reference=dict(case.inputs)))


class _WrongGraph:
    """A network whose graph makes one value of a tensor wrong."""

    def __init__(self, network, name):
        self.network, self.name = network, name
        self.model, self.kinds = network.model, network.kinds

    def run(self, inputs):
        values = dict(self.network.run(inputs))
        values[self.name] = values[self.name].copy()
        values[self.name].flat[0] ^= 1
        return values
