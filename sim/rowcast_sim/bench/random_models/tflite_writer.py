"""Small TensorFlow Lite models for tests, through the object interface of the schema."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32, np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.uint8): schema.TensorType.UINT8, np.dtype(np.int16): schema.TensorType.INT16,
}  # fmt: skip
MAGIC = b"TFL3"
# Of operators whose int8 form is not their second version.
VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "RELU_N1_TO_1": 1, "RESHAPE": 1, "PRELU": 1, "HARD_SWISH": 1,
    "EXPAND_DIMS": 1, "SQUEEZE": 1,
}  # fmt: skip


class Writer:
    """Collects tensors and operators; `data` makes the file."""

    def __init__(self, rng):
        self.rng = rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
        self.tensors, self.buffers, self.operators, self.codes = [], [schema.BufferT()], [], []

    def tensor(self, shape, *, scale=None, zero_point=None, dtype=np.int8, data=None, axis=0):
        """Index of a tensor; random scale and zero point for int8 if they are not given."""
        made = schema.TensorT()
        made.shape, made.type, made.name = list(shape), TYPES[np.dtype(dtype)], f"t{len(self.tensors)}".encode()
        made.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = list(np.ascontiguousarray(data, dtype).tobytes())
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
        if dtype == np.int8 or scale is not None:
            scale = 2.0 ** self.rng.uniform(-6, -2) if scale is None else scale
            zero_point = self.rng.integers(-128, 128) if zero_point is None else zero_point
            quantisation = schema.QuantizationParametersT()
            quantisation.scale = np.atleast_1d(scale).astype(np.float32).tolist()
            quantisation.zeroPoint = np.broadcast_to(zero_point, np.shape(np.atleast_1d(scale))).astype(int).tolist()
            quantisation.quantizedDimension = axis
            made.quantization = quantisation
        self.tensors.append(made)
        return len(self.tensors) - 1

    def filters(self, shape, *, axis=0, per_channel=True, low=-9, high=-5):
        """Index of a constant tensor of random weights, scales from 2^low to 2^high."""
        scale = 2.0 ** self.rng.uniform(low, high, shape[axis] if per_channel else 1)
        return self.tensor(shape, scale=scale, zero_point=0, data=self.rng.integers(-127, 128, shape), axis=axis)

    def numbers(self, values, dtype=np.int32):
        """Index of a constant tensor of integers."""
        return self.tensor(np.shape(values), dtype=dtype, data=values)

    def like(self, index, shape, **more):
        """Index of a new tensor with another's scale and zero point."""
        return self.tensor(shape, scale=self.scale(index), zero_point=self.zero_point(index), **more)

    def arrays(self, inputs, items):
        """Random arrays for these tensors, by name; one in four has nothing but the extremes."""
        arrays = {}
        for index in inputs:
            tensor = self.tensors[index]
            limits = np.iinfo(np.uint8 if tensor.type == schema.TensorType.UINT8 else np.int8)
            shape = (items * tensor.shape[0], *tensor.shape[1:])
            array = self.rng.integers(limits.min, limits.max + 1, shape)
            if self.rng.random() < 0.25:
                array = self.rng.choice([limits.min, limits.max], shape)
            arrays[f"t{index}"] = array.astype(limits.dtype)
        return arrays

    def scale(self, index):
        """The first scale of a tensor."""
        return self.tensors[index].quantization.scale[0]

    def zero_point(self, index):
        """The first zero point of a tensor."""
        return self.tensors[index].quantization.zeroPoint[0]

    def operator(self, kind, inputs, outputs, options=None, **fields):
        """Append an operator; `options` is the name of its options table, `fields` what it holds."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), VERSIONS.get(kind, 2)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(self.codes), list(inputs), list(outputs)
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                setattr(made.builtinOptions, name, value)
        self.codes.append(code)
        self.operators.append(made)

    def data(self, inputs, outputs):
        """The file's bytes."""
        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, list(inputs), list(outputs)
        model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], self.codes, self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), MAGIC)
        return bytes(builder.Output())
