"""Reads an ONNX model, QOperator or QDQ, into a Model."""

import numpy as np

from ..frontend.model import Model, ModelError, Operator, Problem, Quantisation, Value
from ..frontend.network import further_problems
from .attributes import AttributeProblem, attributes_of
from .folding import fold, node_name
from .integer import chains
from .loading import OPSET, load
from .qdq import UNARY, fuse, raise_quantisation

__all__ = ["read"]

# kind: for each operand its place and those of scale and zero point; the output's scale and zero point; plain inputs.
_QOPERATORS = {
    "QLinearConv": (((0, 1, 2), (3, 4, 5)), (6, 7), (8,)),
    "QLinearMatMul": (((0, 1, 2), (3, 4, 5)), (6, 7), ()),
    "QGemm": (((0, 1, 2), (3, 4, 5)), (7, 8), (6,)),
    "QLinearAdd": (((0, 1, 2), (3, 4, 5)), (6, 7), ()),
    "QLinearMul": (((0, 1, 2), (3, 4, 5)), (6, 7), ()),
    "QLinearAveragePool": (((0, 1, 2),), (3, 4), ()),
    "QLinearGlobalAveragePool": (((0, 1, 2),), (3, 4), ()),
    "QLinearLeakyRelu": (((0, 1, 2),), (3, 4), ()),
    "QLinearSigmoid": (((0, 1, 2),), (3, 4), ()),
    "QLinearSoftmax": (((0, 1, 2),), (3, 4), ()),
    "ConvInteger": (((0, None, 2), (1, None, 3)), None, ()),
    "MatMulInteger": (((0, None, 2), (1, None, 3)), None, ()),
    "QuantizeLinear": ((), (1, 2), (0,)),
    "DequantizeLinear": (((0, 1, 2),), None, ()),
}
# Float operators that the host takes, before and after what is quantised.
_HOST_FLOAT = (
    "QuantizeLinear", "DequantizeLinear", "Softmax", "ArgMax", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze",
    "QGemm",
)  # fmt: skip
_WEIGHTED = ("Conv", "Gemm", "MatMul")
# Whose input 1 may have a scale or zero point for each channel.
_CHANNELS = (*_WEIGHTED, "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "PRelu")
# Operators that give their elements as they are: another scale, and functions that follow, are a table behind them.
_AS_THEY_ARE = ("Flatten", "Gather", "GlobalMaxPool", "Reshape", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze")
_WIDE = (np.int16, np.uint16, np.int32)  # that the host quantises and dequantises
_LIMITS = ("Clip", "Max", "Min", "Pad")  # to which an infinite constant is no limit
_CHANNEL_AXES = {"Conv": 0, "QLinearConv": 0, "ConvInteger": 0}


def read(source, *, name=None):
    """An ONNX model as a Model.

    Parameters
    ----------
    source : path of a file, its bytes, or a ModelProto.
    name : of the model; default the file's.

    Raises
    ------
    ModelError
        The file is damaged, not quantised, or has what cannot be used; all that was found.
    """
    proto, found = load(source)
    return _Reader(fold(proto), name or found).read()


class _Reader:
    def __init__(self, folded, name):
        self.folded, self.name = folded, name
        self.constants = dict(folded.constants)
        self.meaning = {}  # Quantisation of values that are made, by name
        self.problems, self.operators, self.names = list(folded.problems), [], set()

    def read(self):
        folded = self.folded
        raise_quantisation(folded)
        found, gone = fuse(folded)
        summed, inside = chains(folded)
        gone |= inside
        if not any(node.op_type.startswith("QLinear") or node.op_type.endswith(("Integer", "QGemm", "tizeLinear"))
                   for node in folded.nodes):  # fmt: skip
            if any(folded.dtypes[name] == np.float32 for node in folded.nodes for name in node.output if name):
                raise ModelError([*self.problems, Problem("", "", (
                    "this model is not quantised; `rowcast quantise MODEL.onnx --calibration X.npz -o OUT.onnx` quantises it"
                ))])  # fmt: skip
        for node in folded.nodes:
            if id(node) in gone:
                continue
            try:
                self.node(node, found.get(id(node)), summed.get(id(node)))
            except ModelError as error:
                self.problems.extend(error.problems)
        model = self.model()
        if self.problems:
            from . import kinds

            raise ModelError([*self.problems, *further_problems(model, kinds())])
        return model

    def model(self):
        """The Model of the operators that were read; what those would take that were not is an input."""
        folded = self.folded
        made = {name for op in self.operators for name in op.outputs}
        used = {name for op in self.operators for name in op.inputs if name}
        outputs = folded.outputs
        inputs = tuple(name for name in folded.shapes if name not in made and name not in self.constants
                       and (name in used or name in outputs))  # fmt: skip
        values = {name: self.value(name) for name in dict.fromkeys((*inputs, *made, *used, *outputs))}
        return Model("onnx", self.name, values, tuple(self.operators), inputs, outputs)

    def value(self, name):
        """The Value of a name."""
        if name in self.constants:
            array = self.constants[name]
            return Value(name, tuple(array.shape), array.dtype, self.meaning.get(name), array)
        meaning = self.meaning.get(name)
        if meaning is None:  # from outside: what the first that takes it says
            for op in self.operators:
                if name in op.inputs and op.input_quantisation[op.inputs.index(name)] is not None:
                    meaning = op.input_quantisation[op.inputs.index(name)]
                    break
        return Value(name, self.folded.shapes[name], self.folded.dtypes[name], meaning)

    # Nodes ------------------------------------------------------------------------------------------------------------

    def node(self, node, fused, chain):
        if chain is not None:
            self.chain(chain)
        elif fused is not None:
            self.fused(fused)
        elif node.op_type in _QOPERATORS:
            self.qoperator(node, *_QOPERATORS[node.op_type])
        elif node.op_type == "QLinearConcat":
            operands = tuple((i, i + 1, i + 2) for i in range(2, len(node.input), 3))
            self.qoperator(node, operands, (0, 1), ())
        else:
            self.plain(node)

    def add(self, kind, node, inputs, outputs, attributes, input_quantisation, output_quantisation):
        self.check(kind, node, inputs, outputs, input_quantisation, output_quantisation)
        name = node_name(node)
        while name in self.names:
            name += "'"
        self.names.add(name)
        self.operators.append(Operator(
            kind, name, tuple(inputs), tuple(outputs), attributes, tuple(input_quantisation), tuple(output_quantisation)
        ))  # fmt: skip
        for output, quantisation in zip(outputs, output_quantisation, strict=True):
            if quantisation is not None:
                self.meaning[output] = quantisation

    def check(self, kind, node, inputs, outputs, input_quantisation, output_quantisation):
        """Refuse float constants that are no numbers, and scales of channels where one must do."""
        for name in inputs:
            self.finite(node, self.constants.get(name), name, infinite=kind in _LIMITS)
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            return
        named = [*zip(range(len(inputs)), inputs, input_quantisation), (-1, outputs[0], output_quantisation[0])]
        for which, name, meaning in named:
            if meaning is not None and not meaning.per_tensor and not (which == 1 and kind in _CHANNELS):
                raise self.problem(node, f"{name!r} has {meaning.scale.size} scales and zero points, and must have one")

    def finite(self, node, array, name, *, infinite=False):
        """Refuse a float array with what is no number; `infinite` ones may be allowed."""
        if array is not None and array.dtype.kind == "f":
            odd = array[np.isnan(array) if infinite else ~np.isfinite(array)]
            if odd.size:
                raise self.problem(node, f"constant {name!r} must be finite, and has {odd.reshape(-1)[0]}")

    def attributes(self, node):
        """The node's own, and what its outputs are: `output_shape`, and `output_dtype` where the bytes' type is its own."""
        made = {"then": (), **self.given(node)}
        made["output_shape"] = self.folded.shapes[node.output[0]]
        if node.op_type == "QuantizeLinear":
            made["output_type"] = self.folded.dtypes[node.output[0]].name
        return made

    def given(self, node):
        """`attributes_of` the node."""
        try:
            return attributes_of(node, self.folded.shapes, OPSET)
        except AttributeProblem as error:
            raise self.problem(node, str(error)) from None

    def plain(self, node):
        """A standard operator on bytes, whose meaning passes through; or one that the host does in float."""
        bytes_in = [self.folded.dtypes[name].itemsize == 1 for name in node.input if name and name not in self.constants]
        if not all(bytes_in) and node.op_type not in _HOST_FLOAT:
            if self.folded.cut.intersection(node.output):
                return  # the pair behind it may be there
            raise self.problem(node, (
                "stays float: it is not between DequantizeLinear and QuantizeLinear; quantise the model again with "
                "`rowcast quantise`, or put a pair of them after every operator"
            ))  # fmt: skip
        meanings = [self.meaning.get(name) if name else None for name in node.input]
        first = next((meaning for meaning in meanings if meaning is not None), None)
        outputs = [name for name in node.output if name]
        made = [first if self.folded.dtypes[name].itemsize == 1 else None for name in outputs]
        self.add(node.op_type, node, node.input, outputs, self.attributes(node), meanings, made)

    def qoperator(self, node, operands, output, plain):
        """An operator that carries its scales and zero points as inputs."""
        names = list(node.input) + [""] * 9
        inputs, meanings = [], []
        for place, scale, zero_point in operands:
            inputs.append(names[place])
            axis = self.axis(node, names[place])
            meanings.append(self.quantisation(node, names, scale, zero_point, axis, names[place]))
        for place in plain:
            inputs.append(names[place])
            meanings.append(None)
            if node.op_type != "QuantizeLinear" and names[place] in self.constants:
                self.check_bias(node, names[place], self.constants[names[place]].dtype == np.int32)
        made = None
        if output is not None and names[output[0]]:
            made = self.quantisation(node, names, *output, self.axis(node, node.output[0]), node.output[0])
            self.check_types(node, [names[place] for place, _, _ in operands])
        elif output is not None and node.op_type != "QGemm":
            raise self.problem(node, "has no scale of its output")
        while inputs and not inputs[-1]:
            inputs.pop(), meanings.pop()
        for name, meaning in zip(inputs, meanings):
            if name and meaning is not None and (name in self.constants):
                self.meaning.setdefault(name, meaning)
        self.add(node.op_type, node, inputs, node.output[:1], self.attributes(node), meanings, [made])

    def check_types(self, node, operands):
        """Activations and output are all int8 or all uint8, as the runtime has its operators on bytes."""
        activations = operands[:1] if node.op_type in _CHANNELS else operands
        made = self.folded.dtypes[node.output[0]]
        for name in activations:
            if self.folded.dtypes[name] != made:
                dtype = self.folded.dtypes[name]
                raise self.problem(node, f"takes {name!r} of {dtype} and makes {made}: both must be of one type")

    def check_bias(self, node, name, is_type):
        """Refuse a constant bias that is not one number for each channel of the output."""
        array, channels = self.constants[name], self.folded.shapes[node.output[0]][1]
        fits = array.shape[-1:] == (channels,) and array.size == channels
        if not is_type or not (fits or (array.size == 1 and node.op_type in ("Gemm", "QGemm"))):
            raise self.problem(node, (
                f"its bias {name!r} {array.dtype} {array.shape} must be int32, one for each of {channels} channels"
            ))  # fmt: skip

    def axis(self, node, name):
        """The axis that several scales of a value belong to."""
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            rank = len(self.folded.shapes[name])
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            return axis % rank if rank else 0
        if node.op_type == "QGemm" and any(a.name == "transB" and a.i for a in node.attribute):
            return 0
        return _CHANNEL_AXES.get(node.op_type, max(len(self.folded.shapes[name]) - 1, 0))

    def quantisation(self, node, names, scale, zero_point, axis, value):
        """The Quantisation whose scale and zero point are inputs at these places; all checked."""
        arrays = []
        for place, what in ((scale, "scale"), (zero_point, "zero point")):
            name = names[place] if place is not None else ""
            if name and name not in self.constants:
                raise self.problem(node, (
                    f"its {what} {name!r} is computed when the model runs; quantise statically "
                    "(`rowcast quantise`, or quantize_static of ONNX Runtime)"
                ))  # fmt: skip
            arrays.append(self.constants[name] if name else np.float32(1) if what == "scale" else np.int32(0))
        scales, zeros = (np.asarray(array) for array in arrays)
        dtype = self.folded.dtypes[value]
        wide = dtype in _WIDE and node.op_type in ("QuantizeLinear", "DequantizeLinear")
        if dtype not in (np.int8, np.uint8) and not wide:
            raise self.problem(node, f"{value!r} is {dtype}; int8 and uint8 can be used")
        if names[zero_point] and zeros.dtype != dtype:
            raise self.problem(node, f"zero points of {value!r} must be {dtype} like itself, not {zeros.dtype}")
        if not np.issubdtype(scales.dtype, np.floating) or not np.all(np.isfinite(scales)) or np.any(scales <= 0):
            raise self.problem(node, f"scales of {value!r} must be finite and above 0, not {scales.reshape(-1)[:4].tolist()}")
        if scales.size == 1 and scales.ndim < 2 and zeros.ndim == 1:
            scales = np.broadcast_to(scales.reshape(-1), zeros.shape)
        if scales.ndim > 1 or zeros.ndim > 1 or not scales.size or zeros.size not in (1, scales.size):
            raise self.problem(node, f"scale {scales.shape} and zero point {zeros.shape} of {value!r} must be one, or one for each channel")
        if scales.size > 1 and self.folded.shapes[value][axis] != scales.size:
            raise self.problem(node, f"{scales.size} scales for axis {axis} of {value!r} {self.folded.shapes[value]}")
        return Quantisation(scales, zeros, axis)

    def problem(self, node, text):
        return ModelError([Problem(node_name(node), node.op_type, text)])

    # Fused operators --------------------------------------------------------------------------------------------------

    def fused(self, fused):
        """DequantizeLinear, operator, QuantizeLinear as one operator on bytes."""
        node, kind = fused.node, fused.node.op_type
        inputs, meanings = [], []
        for which, (name, source) in enumerate(zip(node.input, fused.dequantise, strict=True)):
            if source is None:
                inputs.append(name), meanings.append(None)
                continue
            names = list(source.input) + [""] * 2
            dtype = self.folded.dtypes[source.input[0]]
            if dtype in _WIDE and not (kind in _WEIGHTED and which == 2):
                raise self.problem(node, f"takes {source.input[0]!r}, which is {dtype}; int8 and uint8 can be used")
            inputs.append(source.input[0])
            meanings.append(self.quantisation(source, names, 1, 2, self.axis(source, source.input[0]), source.input[0]))
        attributes = {**self.attributes(node), "then": tuple(self.unary(each) for each in fused.then)}
        if kind in _WEIGHTED and len(inputs) > 2 and inputs[2]:
            inputs[2], meanings[2] = self.bias(node, inputs, meanings), None
        made, attributes["output_dtype"] = self.output(fused.quantise)
        dtypes = {self.folded.dtypes[name] for name in (inputs[0], fused.quantise.output[0])}
        same = meanings[0] is not None and meanings[0].same(made) and len(dtypes) == 1
        if kind in _AS_THEY_ARE and meanings[0] is not None and (fused.then or not same):
            self.behind(node, inputs, meanings, attributes, fused.quantise, made)
            return
        may_follow = UNARY if kind in UNARY else () if kind == "Softmax" else ("Relu", "Clip")
        follows = next((each.op_type for each in fused.then if each.op_type not in may_follow), None)
        if follows is not None:
            raise self.problem(node, (
                f"{follows} follows it without quantisation between; quantise its input too (QuantizeLinear, "
                "DequantizeLinear), then it is a table"
            ))  # fmt: skip
        self.add(kind, node, inputs, fused.quantise.output[:1], attributes, meanings, [made])

    def behind(self, node, inputs, meanings, attributes, quantise, made):
        """An operator that gives bytes as they are, and a Clip without limits that makes the wanted ones of them."""
        between = f"{quantise.output[0]}/before"
        self.folded.shapes[between] = self.folded.shapes[node.output[0]]
        self.folded.dtypes[between] = self.folded.dtypes[inputs[0]]
        first = {**attributes, "then": (), "output_dtype": self.folded.dtypes[between].name}
        self.add(node.op_type, node, inputs, [between], first, meanings, [meanings[0]])
        self.add("Clip", quantise, [between], quantise.output[:1], attributes, [meanings[0]], [made])

    def chain(self, chain):
        """ConvInteger or MatMulInteger and what scales its sums, to QuantizeLinear, as one operator on bytes."""
        node, (operands, _, _) = chain.node, _QOPERATORS[chain.node.op_type]
        names = list(node.input) + [""] * 2
        meanings = [
            self.quantisation(node, names, scale, zero_point, self.axis(node, names[place]), names[place])
            for place, scale, zero_point in operands
        ]
        made, dtype = self.output(chain.quantise)
        for _, array in chain.steps:
            self.finite(node, array, "in what scales its sums")
        attributes = {
            **self.attributes(node), "then": tuple(self.unary(each) for each in chain.then), "steps": chain.steps,
            "output_dtype": dtype,
        }  # fmt: skip
        self.add(node.op_type, node, names[:2], chain.quantise.output[:1], attributes, meanings, [made])

    def output(self, quantise):
        """(Quantisation, name of the type) of what a QuantizeLinear makes."""
        output = quantise.output[0]
        made = self.quantisation(quantise, list(quantise.input) + [""] * 2, 1, 2, self.axis(quantise, output), output)
        if self.folded.dtypes[output].itemsize != 1:
            raise self.problem(quantise, f"makes {self.folded.dtypes[output]}; int8 and uint8 can be used")
        return made, self.folded.dtypes[output].name

    def unary(self, node):
        """(kind, attributes) of an operator behind another; constants of Clip are `min` and `max`."""
        attributes = self.given(node)
        if node.op_type == "Clip":
            for name, which in (("min", 1), ("max", 2)):
                given = self.constants[node.input[which]] if len(node.input) > which and node.input[which] else None
                if given is not None and (given.ndim or np.isnan(given)):
                    raise self.problem(node, f"{name} {given.tolist()} must be one number, without axes")
                attributes[name] = None if given is None else float(given)
        return node.op_type, attributes

    def bias(self, node, inputs, meanings):
        """Name of the int32 bias of a convolution or Gemm, in units of sx * sw."""
        x, w = meanings[:2]
        if x is None or w is None or inputs[2] not in self.constants:
            raise self.problem(node, "input and weights must come through DequantizeLinear, and the bias must be constant")
        array, meaning = self.constants[inputs[2]], meanings[2]
        self.check_bias(node, inputs[2], array.dtype in (np.float32, np.int32))
        self.finite(node, array, inputs[2])
        unit = x.scale[0].astype(np.float32) * w.scale
        if meaning is not None and array.dtype == np.int32 and not np.any(meaning.zero_point) and np.allclose(meaning.scale, unit, rtol=1e-5, atol=0):
            return inputs[2]
        real = array.astype(np.float64)
        if meaning is not None:
            real = (real - meaning.zero_point) * meaning.scale.astype(np.float64)
        made = np.rint(real.reshape(-1) / unit)
        if np.abs(made).max(initial=0) >= 1 << 31:
            raise self.problem(node, "its bias is too large for int32 in units of input scale x weight scale")
        name = f"{node_name(node)}/bias"
        self.constants[name] = made.astype(np.int32)
        return name
