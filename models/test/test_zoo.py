"""The zoo: sizes of the networks, tensors that are alive, and the ONNX models against ONNX Runtime."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from rowcast_models import graph as g
from rowcast_models.from_onnx import kinds, read
from rowcast_models.frontend import import_model
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import NETWORKS, digits, to_int8
from rowcast_models.zoo.build import build, network
from rowcast_models.zoo.calibration import calibrate
from rowcast_models.zoo.definition import Definition
from rowcast_models.zoo.inception_v3 import asymmetric_block
from rowcast_models.zoo.liveness import liveness, saturation
from rowcast_models.zoo.to_onnx import onnx_model

SHAPES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "networks.json"
FILED = {
    "alexnet": "alexnet", "overfeat-fast": "overfeat_fast", "vgg16": "vgg16", "googlenet": "googlenet_v1",
    "resnet50": "resnet50", "mobilenet-v1": "mobilenet_v1_1.0_224",
}  # fmt: skip
QUICK = ("mobilenet-v1", "alexnet")  # built here; `rowcast bench zoo` builds all


@cache
def graph(name):
    return NETWORKS[name].build(batch=2)


@cache
def tensors(name):
    """(inputs, every tensor) of two images that the calibration has not seen."""
    inputs = NETWORKS[name].inputs(2, seed=1000)
    return inputs, evaluate(graph(name), {"image": inputs})


# Sizes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, weights, macs", [
    ("lenet5", 61_470, 416_520),
    ("alexnet", 60_954_656, 724_406_816),
    ("overfeat-fast", 145_909_792, 2_801_403_904),
    ("overfeat-accurate", 144_643_872, 5_355_446_784),
    ("vgg16", 138_344_128, 15_470_264_320),
    ("vgg19", 143_652_544, 19_632_062_464),
    ("googlenet", 6_990_272, 1_582_671_872),
    ("inception-v3", 23_799_136, 5_713_216_096),
    ("resnet50", 25_502_912, 3_857_973_248),
    ("resnet152", 60_040_384, 11_282_415_616),
    ("mobilenet-v1", 4_209_088, 568_740_352),
])  # fmt: skip
def test_totals(name, weights, macs):
    """Weights without biases, and MACs an image, padding counted.

    Survey (Sze et al., "Efficient processing of deep neural networks", 2017, table II): AlexNet 61M and 724M, OverFeat
    fast 146M and 2.8G, VGG-16 138M and 15.5G, GoogLeNet 7M (its 1.43G is with pooling planes rounded down), ResNet-50
    25.5M and 3.9G.
    LeNet-5: LeCun et al., 1998, its layers dense.
    OverFeat accurate: 144M parameters, 5,369M connections (Sermanet et al., 2014, table 4, pooling counted too).
    VGG-19: 143,667,240 parameters of torchvision's model are these and 14,696 biases; 19.6 GMACs.
    ResNet-152: 60,192,808 parameters of torchvision's are these, 151,424 of batch norm and 1,000 biases; 11.3 GMACs (He
    et al., table 1).
    Inception v3: 23,851,784 parameters of Keras's are these, 51,648 of batch norm and 1,000 biases; torchvision states
    5.71 GMACs.
    MobileNet: 4.2M and 569M (Howard et al., 2017, table 4).
    """
    definition = NETWORKS[name].definition
    assert (definition.weights, definition.macs) == (weights, macs)


def test_every_network_has_totals():
    (mark,) = [mark for mark in test_totals.pytestmark if mark.name == "parametrize"]
    assert {case[0] for case in mark.args[1]} == set(NETWORKS)


@pytest.mark.parametrize("name", FILED)
def test_layers_are_those_of_the_file(name):
    if not SHAPES.exists():
        pytest.skip(f"{SHAPES}, shapes of every layer, is missing")
    filed = json.loads(SHAPES.read_text())["networks"][FILED[name]]
    definition = NETWORKS[name].definition
    layers = {layer.name: layer for layer in definition.layers}
    for want in filed["layers"]:
        got = layers.pop(want["name"])
        assert (got.weights, got.macs) == (want.get("weights", 0), want.get("macs", 0)), want["name"]
        assert got.shape == (want["E"], want["F"], want.get("M", want.get("C"))), want["name"]
        # The file leaves LRN out.
        inputs = [x.inputs[0].name if x.kind == "lrn" else x.name.replace("image", "input") for x in got.inputs]
        assert inputs == want["inputs"] or got.inputs[0].kind == "lrn", want["name"]
    assert all(layer.kind == "lrn" for layer in layers.values())
    assert (definition.weights, definition.macs) == (filed["totals"]["weights"], filed["totals"]["macs"])


@pytest.mark.parametrize("name", QUICK)
def test_graph_has_the_layers(name):
    definition, made = NETWORKS[name].definition, graph(name)
    nodes = {node.name: node for node in made.nodes}
    for layer in definition.layers:
        assert int(np.prod(made.tensors[layer.name].shape)) == 2 * int(np.prod(layer.shape)), layer.name
        if layer.weights:
            assert nodes[layer.name].weights.size == layer.weights, layer.name
            assert made.macs(nodes[layer.name]) == 2 * layer.macs, layer.name
    assert made.outputs == (definition.output.name,)
    assert made.tensors["image"].shape == (2, *NETWORKS[name].input_shape)


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_alive(name):
    _, values = tensors(name)
    found = liveness(graph(name), values)
    assert found.alive, found
    for layer in NETWORKS[name].definition.layers:
        assert np.mean(values[layer.name] == -128) < 0.75, f"{layer.name} is nearly all zeros"
        assert values[layer.name].std() > 8, layer.name
    (output,) = graph(name).outputs
    assert not np.array_equal(*values[output]), "both images give the same"


def test_saturation():
    array = np.array([-128, -128, 0, 127], np.int8)
    assert saturation(array, -128) == 0.25 and saturation(array, 0) == 0.75


def test_lrn_runs_on_the_accelerator():
    nodes = {node.name: node for node in graph("alexnet").nodes}
    assert isinstance(nodes["NORM1"], g.Elementwise) and isinstance(nodes["NORM2"], g.Elementwise)


def every_kind():
    """A small network of every kind of layer."""
    net = Definition("every", (19, 17, 3), unit=20.0)
    x = net.conv("a", net.image, 12, 3, stride=2, pad=1)
    x = net.lrn("norm", x)
    x = net.max_pool("largest", x, 3, stride=2, ceil=True)
    y = net.conv("grouped", x, 12, (1, 3), pad=(0, 1), groups=2, relu=False)
    x = net.add("sum", x, y)
    a, b = net.conv("left", x, 8, 1), net.depthwise("right", x, 3, pad=1)
    c = net.conv("pooled", net.average_pool("mean", x, 3, stride=1, pad=1), 4, 1)
    x = net.concat("joined", a, b, c)
    x = net.max_pool("again", x, 2, stride=1)
    x = net.fc("hidden", x, 20, relu=True)
    net.fc("logits", x, 10)
    return net


@pytest.mark.parametrize("define", [every_kind, asymmetric_block, NETWORKS["mobilenet-v1"].define])
def test_onnx_runtime_runs_the_exported_model(define, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")
    from rowcast_models.frontend.network import run_operator
    from rowcast_models.reference import ort
    from rowcast_models.zoo.images import pixels_to_int8, random_images

    definition, path = define(), tmp_path / "model.onnx"
    onnx.save(onnx_model(definition), path)
    made = network(definition, batch=2)
    inputs = {"image": pixels_to_int8(random_images(2, definition.image.shape, seed=7)).transpose(0, 3, 1, 2)}
    reference, values = ort.run(path, inputs), made.run(inputs)
    exact = not any(made.kinds[op.kind].share for op in made.model.operators)
    for op in made.model.operators:
        for name, got in run_operator(made.model, made.kinds, op, reference).items():
            if name not in reference:
                reference[name] = got
            wrong = np.abs(got.astype(int) - reference[name])
            assert wrong.max() <= bool(made.kinds[op.kind].share), name
            if exact:
                assert np.array_equal(values[name], reference[name]), name
    again = import_model(read(path), kinds(), batch=2).run(inputs)
    assert np.array_equal(again[definition.output.name], values[definition.output.name])


def test_lenet5_in_onnx_recognises_the_digits(tmp_path):
    path = tmp_path / "lenet5.onnx"
    NETWORKS["lenet5"].export(path)
    images, labels = digits()
    x = to_int8(images)
    want = evaluate(NETWORKS["lenet5"].build(), {"image": x})["OUT"]
    got = import_model(read(path), kinds()).run({"image": x.transpose(0, 3, 1, 2)})["OUT"]
    assert np.abs(got.astype(int) - want).max() <= 2
    assert np.mean(got.argmax(1) == labels) > 0.99 and np.mean(got.argmax(1) == want.argmax(1)) > 0.99


def test_seed_makes_the_model():
    definition = every_kind()
    first, again, other = (onnx_model(definition, seed=seed).SerializeToString() for seed in (0, 0, 1))
    assert first == again != other


def test_batch_is_free():
    definition = every_kind()
    inputs = {"image": NETWORKS["lenet5"].inputs(3).repeat(3, axis=3)[:, :19, :17]}
    one, three = build(definition), build(definition, batch=3)
    assert three.tensors["logits"].shape == (3, 10)
    assert np.array_equal(evaluate(one, inputs)["logits"], evaluate(three, inputs)["logits"])


def test_inputs_are_seeded():
    for name in ("lenet5", "mobilenet-v1"):
        entry = NETWORKS[name]
        assert np.array_equal(entry.inputs(2, seed=3), entry.inputs(2, seed=3))
        assert not np.array_equal(entry.inputs(2, seed=3), entry.inputs(2, seed=4))
        assert entry.inputs(2).shape == (2, *entry.input_shape) and entry.inputs(2).dtype == np.int8


# Definitions ----------------------------------------------------------------------------------------------------------


def test_ceil_pools_have_no_window_behind_the_edge():
    net = Definition("pools", (5, 5, 1))
    assert net.max_pool("reaches", net.image, 2, stride=2, ceil=True).shape == (3, 3, 1)
    assert net.max_pool("fits", net.image, 2, stride=2).shape == (2, 2, 1)
    assert net.max_pool("starts behind", net.image, 1, stride=3, pad=1, ceil=True).shape == (2, 2, 1)


@pytest.mark.parametrize("append, match", [
    (lambda net: net.conv("a", net.image, 4, 9), r"a: kernel \(9, 9\) is larger than the ifmap \(8, 8\)"),
    (lambda net: net.conv("a", net.image, 4, 1, groups=2), "a: groups must divide 3 and 4, not 2"),
    (lambda net: net.conv("image", net.image, 4, 1), "there are two layers 'image'"),
    (lambda net: net.add("a", net.image, net.conv("b", net.image, 4, 1)), r"a: terms must have one shape"),
    (lambda net: net.concat("a", net.image, net.conv("b", net.image, 4, 3)), r"one plane, not \[\(6, 6\), \(8, 8\)\]"),
])  # fmt: skip
def test_definition_refuses(append, match):
    with pytest.raises(ValueError, match=match):
        append(Definition("wrong", (8, 8, 3)))


def test_parts_of_a_concatenation_share_a_scale():
    scales = {layer.name: (each.scale, each.zero_point) for layer, each in calibrate(every_kind())}
    assert len({scales[name] for name in ("left", "right", "pooled", "joined")}) == 1
