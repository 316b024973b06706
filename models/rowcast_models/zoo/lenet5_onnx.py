"""The trained LeNet-5 in ONNX's arithmetic, to export.

The graph of `lenet5` rounds as TFLite does and has tanh as a table of the layer before it.  Here QLinearConv and QGemm
round as ONNX Runtime does, averages half way between bytes go to the even one, and tanh stands between DequantizeLinear
and QuantizeLinear.  So bytes differ from the graph's: of the logits one in ten, by up to 2; of the 500 held-out digits
499 keep their class.
"""

import numpy as np

from .calibration import Parameters
from .definition import Definition
from .lenet5 import DATA, IMAGE_ZERO_POINT, TANH_SCALE

__all__ = ["lenet5_definition", "lenet5_model"]

IMAGE_SCALE = 1 / 255


def lenet5_definition():
    """The Definition: 61,470 weights, 416,520 MACs an image.  C1 is tanh of C1/sums, and so on."""
    net = Definition("lenet5", (28, 28, 1))
    x = net.tanh("C1", net.conv("C1/sums", net.image, 6, 5, pad=2, relu=False))
    x = net.average_pool("S2", x, 2, stride=2)
    x = net.tanh("C3", net.conv("C3/sums", x, 16, 5, relu=False))
    x = net.average_pool("S4", x, 2, stride=2)
    x = net.tanh("C5", net.fc("C5/sums", x, 120))
    x = net.tanh("F6", net.fc("F6/sums", x, 84))
    net.fc("OUT", x, 10)
    return net


def lenet5_model(path=DATA / "lenet5_int8.npz"):
    """The ModelProto: input "image" int8 [N, 1, 28, 28], pixel - 128, output "OUT" int8 [N, 10]."""
    from .to_onnx import write  # and with it onnx

    definition = lenet5_definition()
    with np.load(path) as file:
        arrays = dict(file)
    return write(definition, _parameters(definition, arrays))


def _parameters(definition, arrays):
    """Pairs (layer, Parameters) of the trained layers, the data file's scales taken apart."""
    scales = {definition.image.name: np.float32(IMAGE_SCALE)}
    yield definition.image, Parameters(scales["image"], IMAGE_ZERO_POINT)
    for layer in definition.layers:
        if layer.weights_shape is None:
            scales[layer.name] = np.float32(TANH_SCALE)
            yield layer, Parameters(scales[layer.name], 0)
            continue
        name = layer.name.removesuffix("/sums")
        scale = scales[layer.name] = np.float32(arrays[f"{name}.scale"])
        real = arrays[f"{name}.multiplier"] * 2.0 ** -(31 + arrays[f"{name}.shift"].astype(float))
        filters, channels, *kernel = layer.weights_shape
        weights = arrays[f"{name}.weights"].reshape(filters, *kernel, channels).transpose(0, 3, 1, 2)
        weights_scale = (real * scale / scales[layer.inputs[0].name]).astype(np.float32)
        zero_point, bias = int(arrays[f"{name}.zero_point"]), arrays[f"{name}.bias"]
        yield layer, Parameters(scale, zero_point, weights, weights_scale, bias)
