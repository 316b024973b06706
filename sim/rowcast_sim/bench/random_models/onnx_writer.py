"""Small quantised ONNX models for tests: float operators between DequantizeLinear and QuantizeLinear, or QOperators."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

TYPES = {np.dtype(np.int8): TensorProto.INT8, np.dtype(np.uint8): TensorProto.UINT8}


class Writer:
    """Collects nodes and constants; `model` makes the ModelProto."""

    def __init__(self, rng, dtype=np.int8):
        self.rng, self.dtype = rng, np.dtype(dtype)
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []

    def constant(self, name, array):
        """Name of a constant."""
        if all(tensor.name != name for tensor in self.constants):
            self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def scale(self, name, scale=None, zero_point=None):
        """Names of a scale and a zero point, random if they are not given."""
        limits = np.iinfo(self.dtype)
        scale = 2.0 ** self.rng.uniform(-6, -2) if scale is None else scale
        zero_point = self.rng.integers(limits.min, limits.max + 1) if zero_point is None else zero_point
        return [self.constant(f"{name}_scale", np.float32(scale)), self.constant(f"{name}_zero", self.dtype.type(zero_point))]

    def input(self, name, shape):
        """A graph input of bytes."""
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[self.dtype], shape))
        return name

    def dequantised(self, name, **quantisation):
        """A float name for a value of bytes."""
        self.nodes.append(helper.make_node("DequantizeLinear", [name, *self.scale(name, **quantisation)], [f"{name}_real"]))
        return f"{name}_real"

    def weights(self, name, shape, *, channels=False, largest=127):
        """A float name for constant weights, symmetric, for every filter a scale if `channels`."""
        array = self.rng.integers(-largest, largest + 1, shape)
        if self.dtype == np.uint8:
            array, zero = (array + 128).astype(np.uint8), np.uint8(128)
        else:
            array, zero = array.astype(np.int8), np.int8(0)
        scale = np.float32(2.0 ** self.rng.uniform(-9, -6, shape[0] if channels else ()))
        zero = np.full(shape[0], zero) if channels else zero
        names = [self.constant(name, array), self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero", zero)]
        self.nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_real"], axis=0))
        return f"{name}_real"

    def node(self, kind, inputs, output, **attributes):
        """A node; returns its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def quantised(self, real, name, **quantisation):
        """Bytes of a float value."""
        self.nodes.append(helper.make_node("QuantizeLinear", [real, *self.scale(name, **quantisation)], [name]))
        return name

    def model(self, *outputs):
        """The ModelProto with these outputs of bytes."""
        made = [helper.make_tensor_value_info(name, TYPES[self.dtype], None) for name in outputs]
        graph = helper.make_graph(self.nodes, "test", self.inputs, made, self.constants)
        domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=domains, ir_version=10)


def random_inputs(model, rng, batch=2):
    """Random bytes for every input."""
    made = {}
    for value in model.graph.input:
        dtype = next(d for d, code in TYPES.items() if code == value.type.tensor_type.elem_type)
        limits = np.iinfo(dtype)
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        made[value.name] = rng.integers(limits.min, limits.max + 1, (batch, *shape)).astype(dtype)
    return made
