"""The four MLPerf Tiny models on all their inputs: published outputs, LiteRT, operators' goldens, integer graphs."""

from pathlib import Path

import numpy as np
import pytest
from rowcast_models.load import load_model

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "mlperf_tiny"
NAMES = ("ad_autoencoder", "ic_resnet8", "kws_dscnn", "vww_mbv1")

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="../shared/data/mlperf_tiny is missing: the models of github.com/mlcommons/tiny, with inputs and outputs"
)


@pytest.mark.parametrize("name", NAMES)
def test_published_outputs(name):
    data = np.load(FOLDER / f"{name}.npz")
    network = load_model(FOLDER / f"{name}.tflite")
    (source,), (target,) = network.model.inputs, network.model.outputs
    golden = network.operator_golden({source: data["x"]})
    assert np.array_equal(golden[target].reshape(data["y"].shape), data["y"])
    values = network.run({source: data["x"]})
    assert len(values) == len(network.model.operators) + 1
    for tensor, array in values.items():
        assert np.array_equal(array, golden[tensor]), tensor


@pytest.mark.parametrize("name", NAMES)
def test_litert(name):
    litert = pytest.importorskip("rowcast_models.reference.litert")
    pytest.importorskip("ai_edge_litert", reason="LiteRT is missing: pip install 'rowcast[check]'")
    inputs = np.load(FOLDER / f"{name}.npz")["x"]
    network = load_model(FOLDER / f"{name}.tflite", runtime="litert")
    (source,) = network.model.inputs
    golden = network.operator_golden({source: inputs})
    reference = litert.run(FOLDER / f"{name}.tflite", {source: inputs})
    for tensor, array in golden.items():
        assert np.array_equal(array, reference[tensor]), tensor
