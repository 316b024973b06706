"""LeNet-5: shapes of the reference, accuracy on the held-out digits, and no tensor that says nothing."""

import numpy as np
import pytest

from rowcast_models import zoo
from rowcast_models.golden.evaluate import evaluate

CORRECT = 499  # of the 500 committed held-out digits; of all 1,500, 1484 (data/DATA.md)


@pytest.fixture(scope="module")
def values():
    images, _ = zoo.digits()
    return evaluate(zoo.lenet5(), {"image": zoo.to_int8(images)})


def test_shapes():
    graph = zoo.lenet5(batch=2)
    assert {name: tensor.shape for name, tensor in graph.tensors.items()} == {
        "image": (2, 28, 28, 1), "C1": (2, 28, 28, 6), "S2": (2, 14, 14, 6), "C3": (2, 10, 10, 16), "S4": (2, 5, 5, 16),
        "C5": (2, 120), "F6": (2, 84), "OUT": (2, 10),
    }  # fmt: skip
    layers = {"C1": 117600, "S2": 0, "C3": 240000, "S4": 0, "C5": 48000, "F6": 10080, "OUT": 840}
    assert {node.name: graph.macs(node) for node in graph.nodes} == {name: 2 * macs for name, macs in layers.items()}
    assert zoo.lenet5().macs() == 416520


def test_digits():
    images, labels = zoo.digits()
    assert images.dtype == labels.dtype == np.uint8
    assert images.shape == (500, 28, 28) and labels.shape == (500,)
    assert np.bincount(labels, minlength=10).min() > 30
    assert (images.min(), images.max()) == (0, 255)
    assert len(np.unique(images.reshape(500, -1), axis=0)) == 500
    corners = zoo.to_int8(np.array([[[0, 255]]], np.uint8))
    assert corners.dtype == np.int8 and corners.ravel().tolist() == [-128, 127]


def test_accuracy(values):
    _, labels = zoo.digits()
    assert int((values["OUT"].argmax(axis=1) == labels).sum()) == CORRECT


def test_tensors_are_alive(values):
    """Every tensor takes many values, and every channel moves; logits do not saturate."""
    for name, value in values.items():
        assert len(np.unique(value)) > 100, name
        if name != "image":
            assert value.reshape(-1, value.shape[-1]).std(axis=0).min() > 4, name
    assert np.isin(values["OUT"], (-128, 127)).mean() < 0.01


def test_model_uses_its_ranges():
    """Weights reach the end of the int8 range in every filter; multipliers are normalised, one a filter; tanh rises."""
    for node in zoo.lenet5().nodes:
        if node.name in ("S2", "S4"):
            continue
        largest = np.abs(node.weights.astype(int)).reshape(len(node.weights), -1).max(axis=1)
        assert (largest == 127).all(), node.name
        assert node.post.multiplier.shape == (len(node.weights),) and node.post.multiplier.min() >= 1 << 30
        if node.name != "OUT":
            assert (np.diff(node.post.table.astype(int)) >= 0).all() and len(np.unique(node.post.table)) > 100, (
                node.name
            )
