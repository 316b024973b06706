"""ONNX Runtime: every quantised tensor of a model."""

import numpy as np
import onnx

from .litert import MissingRuntime

__all__ = ["run"]


def _runtime():
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingRuntime("ONNX Runtime is not installed: pip install 'rowcast[check]'") from error
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


def run(model, inputs, *, fuse=True):
    """Every tensor of bytes that the runtime computes, and the outputs.

    Between DequantizeLinear and QuantizeLinear the runtime computes on bytes only where it finds the pattern, and an
    intermediate float tensor that is wanted outside hides it: so only tensors of bytes are asked for.

    Parameters
    ----------
    model : path, bytes or ModelProto.
    inputs : arrays by name; items along the first axis are run by themselves if the model takes one.
    fuse : let the runtime replace patterns of a QDQ model by its operators on bytes.

    Returns
    -------
    dict : arrays by name, items along the first axis.
    """
    runtime = _runtime()
    proto = _with_outputs(model)
    options = runtime.SessionOptions()
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if fuse else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    # As on ARM.  On x86 it leaves patterns of int8 activations in float, which differs by 1 in some of 100,000 values.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    shape = session.get_inputs()[0].shape
    items = len(next(iter(inputs.values())))
    step = shape[0] if shape and isinstance(shape[0], int) else items
    runs = [
        session.run(names, {name: array[start : start + step] for name, array in inputs.items()})
        for start in range(0, items, step)
    ]
    made = {name: np.concatenate(parts) if np.ndim(parts[0]) else parts[0] for name, parts in zip(names, zip(*runs))}
    return {**inputs, **made}


def _with_outputs(model):
    """A copy of the model that gives every tensor of bytes."""
    proto = onnx.ModelProto()
    if isinstance(model, onnx.ModelProto):
        proto.CopyFrom(model)
    elif isinstance(model, (bytes, bytearray)):
        proto.ParseFromString(bytes(model))
    else:
        proto = onnx.load(model)
    kinds = _byte_types(proto)
    there = {output.name for output in proto.graph.output}
    for name, kind in kinds.items():
        if name not in there:
            proto.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    proto.ir_version = max(min(proto.ir_version, 10), 4)
    return proto


def _byte_types(proto):
    """Element type by name of every value of bytes that a node makes: of a zero point, or of what it is made of."""
    constants = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    known = {value.name: value.type.tensor_type.elem_type for value in proto.graph.input}
    byte = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    places = {"QLinearConv": 7, "QLinearMatMul": 7, "QLinearAdd": 7, "QLinearMul": 7, "QGemm": 8, "QLinearConcat": 1,
              "QuantizeLinear": 2}  # fmt: skip
    for node in proto.graph.node:
        if node.op_type.startswith("QLinear") or node.op_type in places:
            place = places.get(node.op_type, 4)
            kind = constants.get(node.input[place], known.get(node.input[place])) if len(node.input) > place else None
            kind = kind if kind is not None else (onnx.TensorProto.UINT8 if node.op_type == "QuantizeLinear" else None)
        elif node.op_type in ("DequantizeLinear", "ConvInteger", "MatMulInteger", "Cast", "ArgMax", "Shape"):
            kind = None
        else:
            kind = known.get(node.input[0]) if node.input else None
        if kind in byte:
            known[node.output[0]] = kind
    made = {name for node in proto.graph.node for name in node.output}
    return {name: kind for name, kind in known.items() if kind in byte and name in made}
