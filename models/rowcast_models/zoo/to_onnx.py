"""A definition as a quantised ONNX model, in QOperator form: operators on int8, as ONNX Runtime's quantiser writes them.

ReLU is in the range of its bytes: the zero point of what it makes is -128.
"""

import numpy as np
from onnx import TensorProto, helper

from .calibration import calibrate

__all__ = ["BATCH", "onnx_model"]

BATCH = "N"  # name of the first axis
OPSET, IR_VERSION = 21, 10
MICROSOFT = "com.microsoft"


def onnx_model(definition, *, seed=0):
    """The ModelProto of a `Definition` with seeded weights: input "image", int8 [N, C, H, W], and the last layer, int8.

    The same seed gives the same model.
    """
    writer = _Writer()
    for layer, parameters in calibrate(definition, seed=seed):
        writer.layer(layer, parameters)
    return writer.model(definition)


class _Writer:
    """Nodes and constants so far; `known` has Parameters by name of value."""

    def __init__(self):
        self.nodes, self.constants, self.known, self.flat = [], [], {}, set()

    def model(self, definition):
        """All of it as a ModelProto."""
        height, width, channels = definition.image.shape
        shape = definition.output.shape
        output = [BATCH, shape[2]] if definition.output.name in self.flat else [BATCH, shape[2], *shape[:2]]
        graph = helper.make_graph(
            self.nodes, definition.name,
            [helper.make_tensor_value_info(definition.image.name, TensorProto.INT8, [BATCH, channels, height, width])],
            [helper.make_tensor_value_info(definition.output.name, TensorProto.INT8, output)], self.constants,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rowcast")

    def layer(self, layer, parameters):
        """Append a layer."""
        self.known[layer.name] = parameters
        if layer.kind != "image":
            getattr(self, f"_{layer.kind}")(layer, parameters, *(source.name for source in layer.inputs))

    # Parts -----------------------------------------------------------------------------------------------------------

    def _node(self, kind, layer, inputs, *, output=None, domain=None, **attributes):
        output = output or layer.name
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def _constant(self, name, array):
        """Name of an initializer, little-endian as the format wants it."""
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        self.constants.append(helper.make_tensor(name, kind, array.shape, data.tobytes(), raw=True))
        return name

    def _scale(self, name):
        """Names of scale and zero point of a value."""
        names = f"{name}/scale", f"{name}/zero_point"
        if not any(constant.name == names[0] for constant in self.constants):
            known = self.known[name]
            self._constant(names[0], np.array(known.scale, np.float32))
            self._constant(names[1], np.array(known.zero_point, np.int8))
        return names

    def _quantised(self, name):
        """Names of a value, its scale and its zero point."""
        return (name, *self._scale(name))

    def _weights(self, layer, parameters, shape):
        """Names of weights, their scales and zero points; name of the bias."""
        zeros = np.zeros(len(parameters.bias), np.int8)
        names = (
            self._constant(f"{layer.name}/weights", parameters.weights.reshape(shape)),
            self._constant(f"{layer.name}/weights/scale", parameters.weights_scale),
            self._constant(f"{layer.name}/weights/zero_point", zeros),
        )
        return names, self._constant(f"{layer.name}/bias", parameters.bias)

    # Layers ----------------------------------------------------------------------------------------------------------

    def _conv(self, layer, parameters, x):
        weights, bias = self._weights(layer, parameters, layer.weights_shape)
        self._node(
            "QLinearConv", layer, [*self._quantised(x), *weights, *self._scale(layer.name), bias], kernel_shape=layer.kernel,
            strides=(layer.stride,) * 2, pads=layer.pad * 2, group=layer.groups,
        )  # fmt: skip

    def _fc(self, layer, parameters, x):
        source = x if x in self.flat else self._node("Flatten", layer, [x], output=f"{layer.name}/flat", axis=1)
        weights, bias = self._weights(layer, parameters, (layer.shape[2], -1))
        inputs = [source, *self._scale(x), *weights, bias, *self._scale(layer.name)]
        self._node("QGemm", layer, inputs, domain=MICROSOFT, transB=1)
        self.flat.add(layer.name)

    def _max_pool(self, layer, parameters, x):
        self._node("MaxPool", layer, [x], **_window(layer))

    def _average_pool(self, layer, parameters, x):
        inputs = [*self._quantised(x), *self._scale(layer.name)]
        self._node("QLinearAveragePool", layer, inputs, domain=MICROSOFT, **_window(layer))

    def _global_average_pool(self, layer, parameters, x):
        inputs = [*self._quantised(x), *self._scale(layer.name)]
        self._node("QLinearGlobalAveragePool", layer, inputs, domain=MICROSOFT)

    def _lrn(self, layer, parameters, x):
        real = self._node("DequantizeLinear", layer, [*self._quantised(x)], output=f"{layer.name}/real")
        fields = {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "bias": layer.bias}
        made = self._node("LRN", layer, [real], output=f"{layer.name}/normalised", **fields)
        self._node("QuantizeLinear", layer, [made, *self._scale(layer.name)])

    def _concat(self, layer, parameters, *parts):
        inputs = [*self._scale(layer.name), *(name for part in parts for name in self._quantised(part))]
        self._node("QLinearConcat", layer, inputs, domain=MICROSOFT, axis=1)

    def _add(self, layer, parameters, a, b):
        inputs = [*self._quantised(a), *self._quantised(b), *self._scale(layer.name)]
        self._node("QLinearAdd", layer, inputs, domain=MICROSOFT)


def _window(layer):
    """Attributes of a pooling node."""
    return {
        "kernel_shape": layer.kernel, "strides": (layer.stride,) * 2, "pads": layer.pad * 2, "ceil_mode": int(layer.ceil),
    }  # fmt: skip
