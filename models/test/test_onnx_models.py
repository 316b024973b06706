"""Whole ONNX models: mnist-8 quantised by ONNX Runtime, and what is wrong with files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from rowcast_models.frontend import ModelError, import_model
from rowcast_models.from_onnx import kinds, read
from rowcast_models.zoo import digits

pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")
qonnx = pytest.importorskip("qonnx", reason="qonnx, which carries mnist-8, is missing: pip install qonnx")

MNIST = Path(qonnx.__path__[0], "data", "onnx", "mnist-conv", "model.onnx")


def images(count=500):
    """float32 digits [N, 1, 28, 28]."""
    array = digits()[0][:count]
    return np.pad(array, ((0, 0), *(((28 - array.shape[1]) // 2,) * 2,) * 2))[:, None].astype(np.float32)


@pytest.fixture(scope="module", params=[("qoperator", "int8"), ("qoperator", "uint8"), ("qdq", "int8"), ("qdq", "uint8")], ids="-".join)
def quantised(request, tmp_path_factory):
    from rowcast_models.quantise import quantise

    form, activations = request.param
    path = tmp_path_factory.mktemp("mnist") / "model.onnx"
    quantise(MNIST, {"Input3": images(32)}, path, form=form, activations=activations)
    return path


def test_mnist_equals_onnx_runtime_at_every_tensor(quantised):
    from rowcast_models.reference import ort

    inputs = {"Input3": images()}
    network = import_model(read(quantised), kinds())
    golden, graph, reference = network.operator_golden(inputs), network.run(inputs), ort.run(quantised, inputs)
    compared = [name for name in golden if name in reference]
    assert len(compared) >= 10
    for name in compared:
        assert np.array_equal(golden[name], reference[name]), name
        assert np.array_equal(graph[name], reference[name]), name


def test_float_model_says_what_quantises_it():
    with pytest.raises(ModelError, match="not quantised; `rowcast quantise"):
        read(MNIST)


def test_damaged_files(quantised):
    data = quantised.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"model": 0, "error": 0}
    for number in range(300):
        broken = bytearray(data if number % 2 else data[: int(rng.integers(0, len(data)))])
        for at in rng.integers(0, max(len(broken), 1), 3 * (number % 2)):
            broken[at] ^= 1 << int(rng.integers(8))
        try:
            import_model(read(bytes(broken)), kinds())
            outcomes["model"] += 1
        except ModelError:
            outcomes["error"] += 1
    assert outcomes["error"] >= 150, outcomes


def test_external_data_stays_in_the_folder(tmp_path):
    model = onnx.load(MNIST)
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for location, match in (("../secret", "must be a file in the model's folder"), ("none.bin", "is not there")):
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=location)
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match=match):
            read(tmp_path / "model.onnx")


def test_all_problems_at_once():
    from rowcast_sim.bench.random_models.onnx_writer import Writer

    writer = Writer(np.random.default_rng(0))
    x = writer.dequantised(writer.input("x", [1, 4, 8, 8]))
    a = writer.quantised(writer.node("Cos", [x], "a_real"), "a")
    b = writer.quantised(writer.node("Sin", [x], "b_real"), "b")
    with pytest.raises(ModelError) as caught:
        import_model(read(writer.model(a, b)), kinds())
    assert [problem.node for problem in caught.value.problems] == ["node_a_real", "node_b_real"]


def test_node_tests_of_quantised_operators_pass():
    """ONNX's own cases of what it defines on bytes; `rowcast bench node-tests` runs all."""
    from onnx.backend.test.loader import load_model_tests
    from rowcast_models.from_onnx.backend import RowcastBackend

    wanted = {"test_qlinearconv", "test_convinteger_without_padding", "test_matmulinteger", "test_qlinearmatmul_2D_int8_float32",
              "test_qlinearmatmul_2D_uint8_float32", "test_max_int8", "test_min_uint8", "test_quantizelinear"}  # fmt: skip
    passed = set()
    for case in load_model_tests(kind="node"):
        if case.name in wanted:
            for inputs, outputs in case.data_sets:
                for got, want in zip(RowcastBackend.prepare(case.model).run(inputs), outputs, strict=True):
                    assert got.dtype == want.dtype and np.array_equal(got, want), case.name
            passed.add(case.name)
    assert passed == wanted


def float_model(weights=None, norm=5, kernel=(3, 3), code=onnx.TensorProto.FLOAT):
    """A float convolution and a BatchNormalization of `norm` channels: the ModelProto."""
    weights = np.ones((5, 3, 3, 3), np.float32) if weights is None else weights
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=kernel),
        onnx.helper.make_node("BatchNormalization", ["c", *["n"] * 4], ["y"], name="norm"),
    ]
    arrays = {"w": weights, "n": np.ones(norm, np.float32)}
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    x = onnx.helper.make_tensor_value_info("x", code, [1, 3, 6, 6])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "float", [x], [y], constants)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"norm": 4}, "the model's shapes do not fit: .*norm"),
        ({"kernel": (3, 3, 3)}, "the model's shapes do not fit: .*conv"),
        ({"weights": np.full((5, 3, 3, 3), np.nan, np.float32)}, "must have finite values only"),
        ({"code": onnx.TensorProto.DOUBLE}, "the model's shapes do not fit|cannot quantise this model"),
    ],
)  # fmt: skip
def test_what_cannot_be_quantised(tmp_path, changed, text):
    from rowcast_models.quantise import QuantiseError, quantise

    calibration = {"x": np.random.default_rng(0).normal(0, 1, (4, 3, 6, 6)).astype(np.float32)}
    quantise(float_model(), calibration, tmp_path / "sound.onnx")
    import_model(read(tmp_path / "sound.onnx"), kinds())
    with pytest.raises(QuantiseError, match=text):
        quantise(float_model(**changed), calibration, tmp_path / "quantised.onnx")
    assert not (tmp_path / "quantised.onnx").exists()
