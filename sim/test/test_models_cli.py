"""`rowcast run`, `compile`, `quantise` and `operators` with models of one's own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast_models.load import load_model
from rowcast_sim.operators import page
from rowcast_sim.runner import Runner

qonnx = pytest.importorskip("qonnx", reason="qonnx, which carries mnist-8, is missing: pip install qonnx")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")

MNIST = str(Path(qonnx.__path__[0], "data", "onnx", "mnist-conv", "model.onnx"))
DOCS = Path(__file__).parents[2] / "docs"


def rowcast(*arguments):
    command = [sys.executable, "-c", "from rowcast_sim.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Calibration data, an input, and the quantised model."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    np.savez(folder / "c.npz", Input3=rng.normal(0, 1, (4, 1, 28, 28)).astype(np.float32))
    np.save(folder / "x.npy", rng.normal(0, 1, (2, 1, 28, 28)).astype(np.float32))
    made = rowcast("quantise", MNIST, "--calibration", folder / "c.npz", "-o", folder / "q.onnx")
    assert made.returncode == 0, made.stderr
    return folder


def test_run_on_the_rtl_and_check(folder):
    made = rowcast("run", folder / "q.onnx", "--input", folder / "x.npy", "--output", folder / "y.npy", "--check")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "operators = ONNX Runtime" in made.stdout and "On the host: QuantizeLinear" in made.stdout
    network = load_model(folder / "q.onnx")
    x = np.load(folder / "x.npy")
    want = network.run({"Input3": x})[network.model.outputs[0]]
    got = np.load(folder / "y.npy")
    assert got.dtype == np.float32 and np.array_equal(got, want)
    with Runner(network, backend="functional") as machine:
        assert np.array_equal(machine.run(x).outputs[network.model.outputs[0]], want)


def test_compile(folder):
    made = rowcast("compile", folder / "q.onnx", "-o", folder / "out")
    assert made.returncode == 0, made.stderr
    memory_map = json.loads((folder / "out" / "map.json").read_text())
    stage = next(stage for stage in memory_map["stages"] if stage["on"] == "accelerator")
    assert (folder / "out" / stage["image"]).stat().st_size == stage["bytes"]
    assert all(0 < entry["offset"] < stage["bytes"] for entry in (*stage["inputs"].values(), *stage["outputs"].values()))


@pytest.mark.parametrize(
    "arguments, match",
    [
        (["run", MNIST, "--input", "x.npy"], "not quantised; `rowcast quantise"),
        (["run", "none.onnx", "--input", "x.npy"], "No such file"),
        (["run", "x.npy", "--input", "x.npy"], "no model that Rowcast reads"),
        (["run", "short.onnx", "--input", "x.npy"], "not an ONNX file, or it is damaged"),
        (["run", "q.onnx", "--input", "other=x.npy"], "there is no input 'other'"),
        (["run", "q.onnx", "--input", "bad.npy"], "must be float32 \\[N, 1, 28, 28\\], not int8"),
        (["run", "q.onnx", "--input", "nan.npy"], "values must be finite"),
        (["run", "q.onnx", "--input", "x.npy", "--runtime", "litert"], "--runtime is for .tflite models"),
        (["compile", MNIST, "-o", "nothing"], "not quantised"),
        (["quantise", MNIST, "--calibration", "other.npz", "-o", "z.onnx"], "calibration arrays must be named Input3"),
        (["quantise", "folder", "--calibration", "c.npz", "-o", "z.onnx"], "folder: is not a file"),
        (["run", "folder", "--input", "x.npy"], "folder: Is a directory"),
        (["run", "empty.onnx", "--input", "x.npy"], "is empty"),
        (["run", "q.onnx", "--input", "pickled.npy"], "it holds pickled Python objects"),
        (["run", "q.onnx", "--input", "x.npy", "--output", "folder"], "folder: is not a file but a folder"),
        (["operators", "--write", "folder"], "folder: is not a file but a folder"),
        (["operators", "--write", "nowhere/x.md"], "there is no folder nowhere"),
    ],
)
def test_bad_input(folder, arguments, match, monkeypatch):
    import re

    monkeypatch.chdir(folder)
    np.save("bad.npy", np.zeros((1, 1, 28, 28), np.int8))
    np.save("nan.npy", np.full((1, 1, 28, 28), np.nan, np.float32))
    np.savez("other.npz", other=np.zeros((1, 1, 28, 28), np.float32))
    np.save("pickled.npy", np.array([{}], object), allow_pickle=True)
    Path("folder").mkdir(exist_ok=True)
    Path("empty.onnx").touch()
    Path("short.onnx").write_bytes(Path("q.onnx").read_bytes()[:900])
    before = sorted(folder.rglob("*"))
    made = rowcast(*arguments)
    assert made.returncode == 2, made.stdout + made.stderr
    assert made.stderr.startswith("error: ") and "Traceback" not in made.stderr
    assert re.search(match, made.stderr), made.stderr
    assert sorted(folder.rglob("*")) == before


def test_the_page_of_operators_is_what_the_command_makes():
    assert (DOCS / "operators.md").read_text() == page()
