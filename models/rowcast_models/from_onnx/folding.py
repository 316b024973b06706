"""Types of all values, and what of the graph is constant: node by node, in order."""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..frontend.model import ModelError, Problem
from .loading import first_line

__all__ = ["Folded", "fold", "node_name"]

CONTRIB = "com.microsoft"
MAX_ELEMENTS = 1 << 25  # of a value that is made: ten times a layer of VGG-16
# Quantised operators that the standard does not have: whose shapes they have, and which inputs count.
_SHAPE_LIKE = {
    "QLinearAdd": ("Add", (0, 3)), "QLinearMul": ("Mul", (0, 3)), "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)), "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearSigmoid": ("Sigmoid", (0,)), "QLinearSoftmax": ("Softmax", (0,)), "QGemm": ("Gemm", (0, 3)),
    "QLinearConcat": ("Concat", None), "Gelu": ("Gelu", (0,)), "QuantizeLinear": ("Identity", (0,)),
    "DequantizeLinear": ("Identity", (0,)),
}  # fmt: skip
_NO_LARGER = ("Compress", "NonZero", "Unique")  # what they make depends on values, and is no larger than they
_KEPT = ("DequantizeLinear",)  # its argument is wanted as the bytes that it is


class Folded:
    """The graph after folding.

    Members
    -------
    nodes : NodeProtos that are left, in order.
    constants : array by name; shapes, dtypes : of every value that is known.
    problems : what was found; nodes that have one, and those behind them, are not among the nodes.
    cut : names of values that such nodes take.
    """

    def __init__(self):
        self.nodes, self.constants, self.shapes, self.dtypes = [], {}, {}, {}
        self.problems, self.cut, self.outputs = [], set(), ()


def node_name(node):
    """A node's name for people, unique enough: its own, or its first output's."""
    return node.name or next((name for name in node.output if name), node.op_type)


def fold(proto):
    """Infer types and shapes of a checked model, evaluate what is constant, drop what nothing needs: a Folded.

    A type or shape that does not fit or cannot be known is one of its problems.
    """
    folder = _Folder(proto)
    folder.run()
    return folder.result


class _Folder:
    def __init__(self, proto):
        self.proto, self.result = proto, Folded()
        self.problems = self.result.problems
        self.opsets = list(proto.opset_import)
        self.version = next((o.version for o in self.opsets if o.domain in ("", "ai.onnx")), 1)
        self.lost, self.same, self.read = set(), {}, set()

    def run(self):
        result, graph = self.result, self.proto.graph
        for tensor in graph.initializer:
            self.constant(tensor.name, numpy_helper.to_array(tensor))
        for value in graph.input:
            if value.name not in result.constants:
                self.input(value)
        self.read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        for node in graph.node:
            for i, name in enumerate(node.input):
                node.input[i] = self.same.get(name, name)
            if self.lost.intersection(node.input):
                self.lose(node)
                continue
            try:
                self.node(node)
            except ModelError as error:
                self.problems.extend(error.problems)
                self.lose(node)
        outputs = [self.same.get(value.name, value.name) for value in graph.output]
        if self.problems:
            result.outputs = tuple(name for name in outputs if name in result.shapes)
            return
        self.drop_unused(outputs)

    def lose(self, node):
        """Leave out a node that has a problem, or that needs what such a node makes."""
        self.lost.update(node.output)
        self.result.cut.update(node.input)

    def constant(self, name, array):
        self.result.constants[name] = array
        self.result.shapes[name], self.result.dtypes[name] = tuple(array.shape), array.dtype

    def input(self, value):
        tensor = value.type.tensor_type
        shape = []
        for axis, dim in enumerate(tensor.shape.dim):
            size = dim.dim_value if dim.HasField("dim_value") else 0
            if size < 1 and axis == 0:
                size = 1  # the batch is free
            if size < 1:
                what = dim.dim_param or "unknown"
                self.problems.append(Problem(value.name, "", (
                    f"axis {axis} of this input has size {what!r}; give it a number, for example with "
                    "onnx.tools.update_model_dims or onnxruntime.tools.make_dynamic_shape_fixed"
                )))  # fmt: skip
            shape.append(max(size, 1))
        if math.prod(shape) > MAX_ELEMENTS:
            self.problems.append(Problem(value.name, "", f"shape {shape} has more than {MAX_ELEMENTS:,} elements"))
            self.lost.add(value.name)
        try:
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        except (KeyError, TypeError, ValueError):
            self.problems.append(Problem(value.name, "", f"type {tensor.elem_type} of this input cannot be used"))
            self.lost.add(value.name)
            dtype = np.dtype(np.float32)
        self.result.shapes[value.name], self.result.dtypes[value.name] = tuple(shape), dtype

    # One node ---------------------------------------------------------------------------------------------------------

    def node(self, node):
        result = self.result
        missing = [name for name in node.input if name and name not in result.shapes]
        if missing:
            raise self.problem(node, f"takes {missing[0]!r}, which nothing before it makes")
        if node.op_type == "Identity" or (node.op_type == "Dropout" and not self.read.intersection(node.output[1:])):
            self.same[node.output[0]] = node.input[0]
            return
        if node.op_type == "Shape" and node.domain in ("", "ai.onnx"):
            self.evaluate(node, {node.input[0]: np.broadcast_to(np.float32(0), result.shapes[node.input[0]])})
            return
        known = all(not name or name in result.constants for name in node.input)
        if known and node.domain in ("", "ai.onnx") and node.op_type not in _KEPT:
            self.evaluate(node, {name: result.constants[name] for name in node.input if name})
            return
        self.infer(node)
        result.nodes.append(node)

    def problem(self, node, text):
        return ModelError([Problem(node_name(node), node.op_type, text)])

    def evaluate(self, node, arrays):
        """Compute a constant node with ONNX's own reference implementation."""
        self.check_size(node, arrays)
        if node.op_type == "QuantizeLinear":  # as ONNX Runtime: rint(x / s) + z
            made = [quantise_constant(node, *(arrays[name] for name in node.input if name))]
        else:
            inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in arrays.items()]
            outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
            graph = helper.make_graph([node], "constant", inputs, outputs)
            model = helper.make_model(graph, opset_imports=self.opsets)
            try:
                made = ReferenceEvaluator(model).run(None, arrays)
            except Exception as error:  # the reference implementation raises whatever it stumbles over
                raise self.problem(node, f"cannot be evaluated, of constants: {first_line(error)}") from None
        for name, array in zip((name for name in node.output if name), made, strict=True):
            self.constant(name, np.asarray(array))

    def check_size(self, node, arrays):
        """Refuse a constant of absurd size before it is made."""
        if node.op_type in _NO_LARGER:
            return
        types = {
            name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()
        }
        data = {name: numpy_helper.from_array(array, name) for name, array in arrays.items() if array.size <= 1 << 16}
        for made in self.inferred(node, node, types, data).values():
            shape = self.known_shape(made)
            if shape is None:
                raise self.problem(node, "its inputs are constant, but the size of what it makes cannot be known")
            if math.prod(shape) > max(MAX_ELEMENTS, *(array.size for array in arrays.values()), 0):
                raise self.problem(node, f"would make a constant of shape {shape}, more than {MAX_ELEMENTS:,} elements")

    def inferred(self, node, like, types, data):
        """Types of a node's outputs by name, from types and constants of its inputs; `like` is it or of its shapes."""
        try:
            schema = onnx.defs.get_schema(like.op_type, self.version, "")
            return onnx.shape_inference.infer_node_outputs(schema, like, types, data, opset_imports=self.opsets)
        except Exception as error:  # InferenceError, SchemaError, and what the C++ side throws
            raise self.problem(node, f"its inputs do not fit: {first_line(error)}") from None

    @staticmethod
    def known_shape(type_proto):
        """The shape of a TypeProto, or None if it is not known."""
        if type_proto is None or not type_proto.tensor_type.HasField("shape"):
            return None
        sizes = type_proto.tensor_type.shape.dim
        return [size.dim_value for size in sizes] if all(size.HasField("dim_value") for size in sizes) else None

    def infer(self, node):
        """Types and shapes of the outputs."""
        result = self.result
        like, names = node, list(node.input)
        standard = node.domain in ("", "ai.onnx")
        quantises = standard and node.op_type.endswith("tizeLinear")
        if node.op_type in _SHAPE_LIKE and (node.domain == CONTRIB or quantises):
            kind, which = _SHAPE_LIKE[node.op_type]
            which = range(2, len(names), 3) if which is None else which
            names = [names[i] for i in which if i < len(names)]
            like = helper.make_node(kind, names, node.output[:1])
            known = {a.name for a in node.attribute} - {"channels_last", "axis" if kind == "Identity" else "", "opset",
                                                        "saturate", "block_size", "output_dtype", "precision"}  # fmt: skip
            like.attribute.extend(a for a in node.attribute if a.name in known)
        elif not standard:
            raise self.problem(node, f"operators of domain {node.domain!r} cannot be used, but for ONNX Runtime's quantised ones")
        types, data = {}, {}
        for name in filter(None, names):
            dtype = np.float32 if like is not node else result.dtypes[name]
            types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), result.shapes[name])
            if name in result.constants and result.constants[name].size <= 1 << 16 and like is node:
                data[name] = numpy_helper.from_array(result.constants[name], name)
        made = self.inferred(node, like, types, data)
        for name in node.output:
            if name:
                self.made(node, name, made.get(name), like is not node)

    def made(self, node, name, type_proto, is_like):
        shape = self.known_shape(type_proto)
        if shape is None or any(size < 1 for size in shape):
            raise self.problem(node, f"the shape of {name!r} cannot be known from the model; fixed shapes are needed")
        if math.prod(shape) > MAX_ELEMENTS:
            raise self.problem(node, f"makes {name!r} {shape}, more than {MAX_ELEMENTS:,} elements")
        if node.op_type in ("MaxPool", "AveragePool", "QLinearAveragePool"):
            shape = self.pooled(node, shape)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(type_proto.tensor_type.elem_type))
        if is_like:
            dtype = self.quantised_dtype(node)
        self.result.shapes[name], self.result.dtypes[name] = tuple(shape), dtype

    def pooled(self, node, shape):
        """The shape without windows that start behind the ifmap: the specification drops them, onnx's inference does not."""
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if not given.get("ceil_mode"):
            return shape
        rank = len(shape) - 2
        strides, pads = given.get("strides", [1] * rank), given.get("pads", [0] * 2 * rank)
        sizes = self.result.shapes[node.input[0]][2:]
        fitted = [
            made - ((made - 1) * stride >= size + before)
            for made, stride, size, before in zip(shape[2:], strides, sizes, pads[:rank], strict=True)
        ]
        return [*shape[:2], *fitted]

    def quantised_dtype(self, node):
        """The output type of a quantised operator: of its output's zero point."""
        place = {"QLinearAdd": 7, "QLinearMul": 7, "QGemm": 8, "QLinearConcat": 1, "QuantizeLinear": 2}.get(node.op_type, 4)
        if node.op_type == "DequantizeLinear" or (node.op_type == "QGemm" and len(node.input) <= 8):
            return np.dtype(np.float32)
        if node.op_type == "Gelu":
            return self.result.dtypes[node.input[0]]
        if len(node.input) > place and node.input[place]:
            return self.result.dtypes[node.input[place]]
        return np.dtype(np.uint8)

    def drop_unused(self, outputs):
        """Keep the nodes that the outputs need."""
        needed, kept = set(outputs), []
        for node in reversed(self.result.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.result.nodes = kept[::-1]
        self.result.outputs = tuple(outputs)


def quantise_constant(node, x, scale, zero_point=None):
    """QuantizeLinear of a constant: clamp(rint(x / scale) + zero point), per tensor or along the node's axis."""
    zero_point = np.uint8(0) if zero_point is None else zero_point
    if np.ndim(scale) == 1 and np.size(scale) > 1:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
        scale, zero_point = scale.reshape(shape), np.asarray(zero_point).reshape(shape)
    limits = np.iinfo(zero_point.dtype)
    return np.clip(np.rint(x / scale) + zero_point, limits.min, limits.max).astype(zero_point.dtype)
