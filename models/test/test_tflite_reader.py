"""Files of TensorFlow Lite: what is wrong with them is said, whatever it is."""

from pathlib import Path

import numpy as np
import pytest
from rowcast_models.frontend import ModelError, import_model
from rowcast_models.from_tflite import kinds, read

MODEL = Path(__file__).parents[3] / "shared" / "data" / "mlperf_tiny" / "kws_dscnn.tflite"
needs_model = pytest.mark.skipif(not MODEL.is_file(), reason="../shared/data/mlperf_tiny is missing: the models of github.com/mlcommons/tiny")


@pytest.mark.parametrize("data", [b"", b"TFL3", b"0" * 100, b"\x1c\x00\x00\x00TFL3" + b"\xff" * 60])
def test_no_model(data):
    with pytest.raises(ModelError, match="not a TensorFlow Lite file|damaged"):
        read(data)


@needs_model
def test_damaged_files():
    data = MODEL.read_bytes()
    rng = np.random.default_rng(0)
    errors = 0
    for number in range(400):
        broken = bytearray(data if number % 2 else data[: int(rng.integers(0, len(data)))])
        # Most of the file is weights, any byte of which is right; its tables are at both ends.
        for at in rng.integers(0, 4000, 4 * (number % 2)):
            broken[at if number % 4 == 1 else len(broken) - 1 - at] ^= 1 << int(rng.integers(8))
        try:
            import_model(read(bytes(broken)), kinds())
        except ModelError:
            errors += 1
    assert errors >= 100


@needs_model
def test_attributes_and_names():
    model = read(MODEL)
    conv = model.operators[0]
    assert conv.kind == "CONV_2D" and conv.name.startswith("CONV_2D_0:")
    assert conv.attributes["padding"] == "SAME" and conv.attributes["stride_h"] == 2
    assert conv.input_quantisation[1].scale.shape == (64,)
