"""Random quantised ONNX models against ONNX Runtime, at every tensor; `python models/test/random_onnx.py` runs thousands."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rowcast_models.from_onnx import kinds

pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")

from random_onnx import FORMS, Comparison, compare, random_model

LENGTHS = 6


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, LENGTHS))
def test_random_models_equal_onnx_runtime(seed, length):
    into, _, _ = compare(seed, length)
    into.check_shares()
    assert sum(into.compared.values()) > 0


def test_shares_hold_over_many_models():
    into, used = Comparison(), set()
    for seed in range(48):
        _, network, _ = compare(seed, 1 + seed % LENGTHS, into=into)
        used.update(op.kind for op in network.model.operators)
    into.check_shares()
    assert {"QLinearConv", "Conv", "QLinearAdd", "Add", "QLinearConcat", "MaxPool", "QLinearAveragePool"} <= used


def test_the_batch_is_free():
    for seed in range(len(FORMS)):
        compare(seed, 4, batch=1)
        compare(seed, 4, batch=5)


def test_a_seed_is_one_model_of_each_form():
    for seed, (form, dtype) in enumerate(FORMS):
        (first, name), (again, _) = random_model(seed), random_model(seed)
        assert first.SerializeToString() == again.SerializeToString() and name == f"{form}-{dtype}"


def test_values_are_not_all_saturated():
    ends = total = 0
    for seed in range(12):
        _, network, inputs = compare(seed, 3)
        for name, array in network.run(inputs).items():
            if name not in inputs:
                limits = np.iinfo(array.dtype)
                ends, total = ends + np.count_nonzero((array == limits.min) | (array == limits.max)), total + array.size
    assert ends < total / 2, (ends, total)


@pytest.mark.parametrize("which", ["golden", "graph"])
def test_a_wrong_value_is_found(which, monkeypatch):
    """One value of one tensor off by one, in the golden or in what the graph is made of."""
    right = kinds()["QLinearConv"]

    def golden(op, *arrays):
        made = right.golden(op, *arrays)[0].copy()
        made.flat[-1] ^= 1
        return (made,)

    def lower(op, build):
        bias = build.model.constant(op.inputs[2]) if len(op.inputs) > 2 else None
        if bias is not None:  # by so much that every result saturates
            wrong = dataclasses.replace(build.model.values[op.inputs[2]], data=bias + (1 << 22))
            monkeypatch.setitem(build.model.values, op.inputs[2], wrong)
        right.lower(op, build)
        if bias is not None:
            monkeypatch.setitem(build.model.values, op.inputs[2], dataclasses.replace(wrong, data=bias))

    changed = {"golden": golden} if which == "golden" else {"lower": lower}
    monkeypatch.setitem(kinds(), "QLinearConv", dataclasses.replace(right, **changed))
    with pytest.raises(AssertionError, match=rf"seed \d+: QLinearConv 'node_conv\d+' {which}"):
        for seed in range(0, 400, 2):
            compare(seed, 4)
