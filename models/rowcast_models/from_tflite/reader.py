"""Reads a TensorFlow Lite file into a Model, and trusts nothing in it."""

import math
import struct
from pathlib import Path

import numpy as np
import tflite

from ..frontend.model import Model, ModelError, Operator, Problem, Quantisation, Value
from ..frontend.network import further_problems
from .options import attributes_of
from .shapes import ShapeProblem, output_shape
from .signatures import check_signature

__all__ = ["read", "tensor_names"]

RUNTIMES = ("tflm", "litert")
MAX_BYTES = 1 << 31  # of a file; flatbuffers cannot be longer
MAX_RANK = 6
MAX_ELEMENTS = 1 << 25  # of a tensor: ten times a layer of VGG-16
SHAPED = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")  # what their output's shape says is all that they mean
_KINDS = {code: name for name, code in vars(tflite.BuiltinOperator).items() if not name.startswith("_")}
_TYPES = {
    tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.INT8: np.int8, tflite.TensorType.UINT8: np.uint8,
    tflite.TensorType.INT16: np.int16, tflite.TensorType.INT32: np.int32, tflite.TensorType.INT64: np.int64,
    tflite.TensorType.BOOL: np.bool_,
}  # fmt: skip
_TYPE_NAMES = {code: name for name, code in vars(tflite.TensorType).items() if not name.startswith("_")}
# What the flatbuffer accessors raise on bytes that are no flatbuffer.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError, RecursionError)


def read(source, *, runtime="tflm", name=None):
    """A TensorFlow Lite model as a Model.

    Parameters
    ----------
    source : path of a file, or its bytes.
    runtime : whose rounding is meant.  "tflm", TensorFlow Lite Micro: twice everywhere.  "litert": LiteRT's reference
        kernels, which round once in FULLY_CONNECTED (attribute `single_rounding`).
    name : of the model; default the file's.

    Raises
    ------
    ModelError
        The file is damaged or has what cannot be used; all that was found.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, not {runtime!r}")
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), name or "model"
    else:
        path = Path(source)
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size:,} bytes, more than a TensorFlow Lite file can have")
        data, name = path.read_bytes(), name or path.stem
    if len(data) < 16 or data[4:8] != b"TFL3":
        raise ModelError("this is not a TensorFlow Lite file: bytes 4 to 7 must be TFL3")
    try:
        return _Reader(data, runtime, name).read()
    except ModelError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"the file is damaged: {type(error).__name__} while reading it ({error})") from None


def tensor_names(data):
    """Names of all tensors of a file that `read` takes, by their index in it."""
    return _names(tflite.Model.GetRootAsModel(data, 0).Subgraphs(0))


def _names(graph):
    """Names of all tensors, made unique: the file does not promise it."""
    names, taken = [], set()
    for i in range(graph.TensorsLength()):
        text = (graph.Tensors(i).Name() or b"").decode("utf-8", "replace") or f"tensor_{i}"
        while text in taken:
            text += f"#{i}"
        taken.add(text)
        names.append(text)
    return names


class _Reader:
    def __init__(self, data, runtime, name):
        self.data, self.runtime, self.name = data, runtime, name
        self.problems = []

    def count(self, length):
        """A vector's length that can be: each entry has at least four bytes."""
        if not 0 <= length <= len(self.data) // 4:
            raise ValueError(f"a vector of {length} entries in {len(self.data)} bytes")
        return length

    def read(self):
        model = tflite.Model.GetRootAsModel(self.data, 0)
        subgraphs = self.count(model.SubgraphsLength())
        if subgraphs != 1:
            raise ModelError(f"the model has {subgraphs} subgraphs; only models of one can be used (no control flow)")
        graph = model.Subgraphs(0)
        self.model = model
        self.count(graph.TensorsLength())
        self.names = _names(graph)
        values = [self.value(i, graph.Tensors(i)) for i in range(len(self.names))]
        inputs = tuple(self.tensor(graph.Inputs(i)) for i in range(self.count(graph.InputsLength())))
        outputs = tuple(self.tensor(graph.Outputs(i)) for i in range(self.count(graph.OutputsLength())))
        values = {value.name: value for value in values}
        operators = [self.operator(i, graph.Operators(i), values) for i in range(self.count(graph.OperatorsLength()))]
        if not inputs or not outputs:
            self.problems.append(Problem("", "", f"the model has {len(inputs)} inputs and {len(outputs)} outputs"))
        self.check_order(operators, values, inputs, outputs)
        for op in operators:
            self.check_operator(op, values)
        self.check_quantised(operators, values)
        if self.problems:
            raise ModelError([*self.problems, *self.further(operators, values, outputs)])
        return self.made(operators, values, inputs, outputs)

    def made(self, operators, values, inputs, outputs):
        """The Model, of the values that something uses."""
        used = {*inputs, *outputs, *(name for op in operators for name in (*op.inputs, *op.outputs) if name)}
        values = {name: value for name, value in values.items() if name in used}
        return Model("tflite", self.name, values, tuple(operators), inputs, outputs)

    def further(self, operators, values, outputs):
        """What is wrong with the operators in which nothing was found yet, if others' results are taken as inputs."""
        bad = {problem.node for problem in self.problems}
        if "" in bad:  # the model as a whole
            return ()
        sound = [op for op in operators if not bad.intersection((op.name, *op.inputs, *op.outputs))]
        produced = {name for op in sound for name in op.outputs}
        taken = dict.fromkeys(name for op in sound for name in op.inputs if name and name not in produced)
        inputs = tuple(name for name in taken if values[name].data is None)
        outputs = tuple(name for name in outputs if name in produced)
        from . import kinds

        return further_problems(self.made(sound, values, inputs, outputs), kinds())

    # Tensors ---------------------------------------------------------------------------------------------------------

    def tensor(self, index):
        """Name of the tensor of an index in the file."""
        if not 0 <= index < len(self.names):
            raise ValueError(f"tensor {index} of {len(self.names)}")
        return self.names[index]

    def value(self, index, tensor):
        """The Value of a tensor; what is wrong with it is noted."""
        name = self.names[index]
        shape = tuple(int(tensor.Shape(i)) for i in range(self.count(tensor.ShapeLength())))
        code = tensor.Type()
        note = lambda text: self.problems.append(Problem(name, "", text))  # noqa: E731
        if code not in _TYPES:
            note(f"type {_TYPE_NAMES.get(code, code)} cannot be used: convert the model to full int8")
            return Value(name, shape, np.dtype(np.float32))
        dtype = np.dtype(_TYPES[code])
        if len(shape) > MAX_RANK or any(size < 1 for size in shape) or math.prod(shape) > MAX_ELEMENTS:
            note(f"shape {shape} must have at most {MAX_RANK} axes, each from 1, and at most {MAX_ELEMENTS:,} elements")
            return Value(name, (1,), dtype)
        if tensor.Sparsity() is not None:
            note("sparse tensors cannot be used: convert the model without sparsity")
        if tensor.IsVariable():
            note("variable tensors (state) cannot be used")
        signature = [int(tensor.ShapeSignature(i)) for i in range(self.count(tensor.ShapeSignatureLength()))]
        if any(size < 0 for size in signature[1:]):
            note(f"shape {signature} is open in other axes than the batch: convert the model for fixed sizes")
        data = self.constant(name, tensor, shape, dtype)
        return Value(name, shape, dtype, self.quantisation(name, tensor, shape, dtype), data)

    def constant(self, name, tensor, shape, dtype):
        """The array of a constant tensor, read-only, or None."""
        index = tensor.Buffer()
        if not 0 <= index < self.model.BuffersLength():
            raise ValueError(f"buffer {index} of {self.model.BuffersLength()}")
        buffer = self.model.Buffers(index)
        size = buffer.DataLength()
        if size == 0:
            if buffer.Offset() > 1:
                self.problems.append(Problem(name, "", "its values lie outside the flatbuffer, as in files over 2 GB: that cannot be used"))
            return None
        if size > len(self.data):
            raise ValueError(f"a buffer of {size} bytes in a file of {len(self.data)}")
        wanted = math.prod(shape) * dtype.itemsize
        if size != wanted:
            self.problems.append(Problem(name, "", f"shape {shape} of {dtype} needs {wanted} bytes, its buffer has {size}"))
            return None
        array = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype.newbyteorder("<")).reshape(shape).astype(dtype)
        array.flags.writeable = False
        return array

    def quantisation(self, name, tensor, shape, dtype):
        """The Quantisation of a tensor, or None."""
        parameters = tensor.Quantization()
        if parameters is None or parameters.ScaleLength() == 0:
            return None
        length = self.count(parameters.ScaleLength())
        scale = parameters.ScaleAsNumpy().astype(np.float32)
        zeros = self.count(parameters.ZeroPointLength())
        zero_point = parameters.ZeroPointAsNumpy().tolist() if zeros else [0]
        axis = parameters.QuantizedDimension() if length > 1 else 0
        note = lambda text: self.problems.append(Problem(name, "", text))  # noqa: E731
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            note(f"scales must be finite and above 0, not {scale[~(scale > 0) | ~np.isfinite(scale)][0]}")
            return None
        if length > 1 and (not 0 <= axis < len(shape) or shape[axis] != length):
            note(f"has {length} scales for axis {axis} of shape {shape}")
            return None
        if zeros not in (0, 1, length):
            note(f"has {zeros} zero points for {length} scales")
            return None
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            if min(zero_point) < limits.min or max(zero_point) > limits.max:
                note(f"zero points must be from {limits.min} to {limits.max} for {dtype}, not {zero_point[0]}")
                return None
        return Quantisation(scale, np.array(zero_point), axis)

    # Operators -------------------------------------------------------------------------------------------------------

    def operator(self, index, operator, values):
        """The Operator at a place in the file."""
        codes = self.count(self.model.OperatorCodesLength())
        if not 0 <= operator.OpcodeIndex() < codes:
            raise ValueError(f"operator code {operator.OpcodeIndex()} of {codes}")
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = _KINDS.get(number, f"BUILTIN_{number}")
        inputs = [operator.Inputs(i) for i in range(self.count(operator.InputsLength()))]
        inputs = tuple("" if i == -1 else self.tensor(i) for i in inputs)
        outputs = tuple(self.tensor(operator.Outputs(i)) for i in range(self.count(operator.OutputsLength())))
        name = f"{kind}_{index}:{outputs[0] if outputs else ''}"
        if kind == "CUSTOM":
            custom = (code.CustomCode() or b"").decode("utf-8", "replace")
            self.problems.append(Problem(name, kind, f"custom operator {custom!r} cannot be used"))
        attributes = attributes_of(kind, operator.BuiltinOptions())
        if kind in SHAPED:
            attributes["output_shape"] = values[outputs[0]].shape if outputs else ()
        if kind in ("ARG_MAX", "QUANTIZE") and outputs:
            attributes["output_type"] = values[outputs[0]].dtype
        if kind == "FULLY_CONNECTED":
            attributes["single_rounding"] = self.runtime == "litert"

        def meanings(names):
            return tuple(values[n].quantisation if n else None for n in names)

        return Operator(kind, name, inputs, outputs, attributes, meanings(inputs), meanings(outputs))

    def check_operator(self, op, values):
        """Types, ranks, axes, shapes and numbers are those of its kind."""
        texts = tuple(
            f"{name} must be finite, not {value}"
            for name, value in op.attributes.items()
            if isinstance(value, float) and not math.isfinite(value)
        ) or check_signature(op, values)
        if not texts and op.outputs:
            inputs = [values[name] if name else None for name in op.inputs]
            shapes, constants = ([getattr(value, which, None) for value in inputs] for which in ("shape", "data"))
            try:
                made, stated = output_shape(op, shapes, constants), values[op.outputs[0]].shape
                if made is not None and made != stated:
                    texts = (f"makes shape {made}, but output {op.outputs[0]!r} has {stated} in the file",)
            except ShapeProblem as error:
                texts = (str(error),)
        self.problems.extend(Problem(op.name, op.kind, text) for text in texts)

    def check_order(self, operators, values, inputs, outputs):
        """Every operator takes what is there when its turn comes, and nothing is made twice."""
        there = {*inputs, *(name for name, value in values.items() if value.data is not None)}
        for op in operators:
            missing = [name for name in op.inputs if name and name not in there]
            if missing:
                self.problems.append(Problem(op.name, op.kind, f"takes {missing[0]!r}, which nothing before it makes"))
            again = [name for name in op.outputs if name in there]
            if again or not op.outputs:
                what = f"makes {again[0]!r}, which is there already" if again else "makes nothing"
                self.problems.append(Problem(op.name, op.kind, what))
            there.update(op.outputs)
        for name in outputs:
            if name not in there:
                self.problems.append(Problem(name, "", "is an output that nothing makes"))

    def check_quantised(self, operators, values):
        """Float models and hybrid ones (float activations, int8 weights) are another thing: say how to make int8."""
        working = [op for op in operators if op.kind not in ("QUANTIZE", "DEQUANTIZE")]
        if working and all(values[name].dtype == np.float32 for op in working for name in op.outputs):
            self.problems = [Problem("", "", (
                "this model is not quantised: its activations are float32; convert it to full int8 with the TensorFlow "
                "Lite converter (a representative dataset, and TFLITE_BUILTINS_INT8)"
            ))]  # fmt: skip
