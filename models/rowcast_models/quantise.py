"""A float ONNX model to int8, by ONNX Runtime's own quantiser and calibration."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .from_onnx.loading import first_line, load
from .frontend.model import ModelError

__all__ = ["FORMS", "TYPES", "QuantiseError", "prepare", "quantise"]

FORMS = ("qoperator", "qdq")
TYPES = ("int8", "uint8")
MAX_CONSTANT = 1 << 27  # elements of a constant that is made: the weights of VGG-19's largest layer


class QuantiseError(ValueError):
    """A model or calibration data that cannot be quantised with: says what is wrong and what would work."""


def quantise(model, calibration, output, *, form="qoperator", activations="int8", per_channel=True):
    """Quantise a float model statically; writes `output`.

    Weights are symmetric, int8 with int8 activations and uint8 with uint8 ones: ONNX Runtime is wrong for uint8
    activations with int8 weights on some processors.

    Parameters
    ----------
    model : path of a float .onnx file, or a ModelProto.
    calibration : float32 arrays by name of the model's inputs, first axis the items; or a path of such a .npz file.
    output : path of the .onnx file to write.
    form : "qoperator" (QLinearConv, ...) or "qdq" (QuantizeLinear and DequantizeLinear around float operators).
    activations : "int8" or "uint8".
    per_channel : a scale for every filter of a convolution; with int8 activations only.

    Raises
    ------
    QuantiseError, ModelError
    """
    if form not in FORMS or activations not in TYPES:
        raise ValueError(f"form must be one of {', '.join(FORMS)} and activations of {', '.join(TYPES)}, not {form!r}, {activations!r}")
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise QuantiseError("ONNX Runtime is not installed: pip install 'rowcast[check]'") from error
    proto = prepare(model)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") or node.op_type.startswith("QLinear")
           for node in proto.graph.node):  # fmt: skip
        raise QuantiseError("this model is quantised already")
    reader = _calibration(proto, calibration)
    kind = quantization.QuantType.QInt8 if activations == "int8" else quantization.QuantType.QUInt8
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "prepared.onnx"
        target = Path(folder) / "quantised.onnx"
        onnx.save(proto, source)
        logging.disable(logging.WARNING)  # it recommends what `prepare` has done
        try:
            quantization.quantize_static(
                str(source), str(target), reader, activation_type=kind, weight_type=kind,
                # Per channel it makes int8 weights whatever it is asked for.
                per_channel=per_channel and activations == "int8",
                quant_format=quantization.QuantFormat.QOperator if form == "qoperator" else quantization.QuantFormat.QDQ,
                extra_options={"WeightSymmetric": True},
            )  # fmt: skip
        except Exception as error:  # its session and its tools raise whatever they stumble over
            raise QuantiseError(f"ONNX Runtime cannot quantise this model: {first_line(error)}") from None
        finally:
            logging.disable(logging.NOTSET)
        Path(output).write_bytes(target.read_bytes())


def _calibration(proto, calibration):
    """A CalibrationDataReader of checked arrays, item by item."""
    from onnxruntime.quantization import CalibrationDataReader

    if not isinstance(calibration, dict):
        with np.load(calibration, allow_pickle=False) as archive:
            calibration = {name: archive[name] for name in archive.files}
    constants = {tensor.name for tensor in proto.graph.initializer}
    wanted = {value.name: value for value in proto.graph.input if value.name not in constants}
    if set(calibration) != set(wanted):
        raise QuantiseError(f"calibration arrays must be named {', '.join(wanted)}, not {', '.join(calibration) or 'nothing'}")
    for name, array in calibration.items():
        shape = [dim.dim_value for dim in wanted[name].type.tensor_type.shape.dim]
        fits = len(shape) == array.ndim and all(a == b or b < 1 for a, b in zip(array.shape[1:], shape[1:]))
        if array.dtype != np.float32 or not fits or not len(array):
            raise QuantiseError(
                f"calibration array {name!r} must be float32 [items, {', '.join(map(str, shape[1:]))}], "
                f"not {array.dtype} {list(array.shape)}"
            )
        if not np.all(np.isfinite(array)):
            raise QuantiseError(f"calibration array {name!r} must have finite values only")
    if len({len(array) for array in calibration.values()}) > 1:
        raise QuantiseError("calibration arrays must have one number of items")
    step = max(max((d.dim_value for d in v.type.tensor_type.shape.dim[:1]), default=1) for v in wanted.values()) or 1
    items = len(next(iter(calibration.values())))
    if items % step:
        raise QuantiseError(f"the model takes {step} items at a time; give a multiple of it, not {items}")

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.parts = iter(range(0, items, step))

        def get_next(self):
            start = next(self.parts, None)
            return None if start is None else {name: a[start : start + step] for name, a in calibration.items()}

    return Reader()


# Preparation ---------------------------------------------------------------------------------------------------------


def prepare(model):
    """The float model as the quantiser wants it: a new opset, constants as initializers, batch norm in the convolutions,
    Sum of two as Add, no Dropout.  A ModelProto."""
    try:
        proto, _ = load(model)
    except ModelError as error:
        raise QuantiseError(str(error)) from None
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    nodes, same = [], {}
    read = {name for node in proto.graph.node for name in node.input} | {value.name for value in proto.graph.output}
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
        if node.op_type in ("Identity", "Dropout") and not read.intersection(node.output[1:]):
            same[node.output[0]] = node.input[0]
        elif node.op_type in ("Constant", "ConstantOfShape") and all(name in constants for name in node.input):
            constants[node.output[0]] = _constant(node, constants)
        elif node.op_type == "Reshape" and all(name in constants for name in node.input):
            array, shape = (constants[name] for name in node.input)
            try:
                constants[node.output[0]] = array.reshape(shape.tolist())
            except (TypeError, ValueError):
                raise QuantiseError(f"node {node.name!r} reshapes {array.shape} to {shape.tolist()}") from None
        else:
            if node.op_type == "Sum" and len(node.input) == 2:
                node.op_type = "Add"
            nodes.append(node)
    for output in proto.graph.output:
        if output.name in same:  # keep the name that people know
            nodes.append(helper.make_node("Identity", [same[output.name]], [output.name]))
    nodes = _fold_batch_norm(nodes, constants, {output.name for output in proto.graph.output})
    used = {name for node in nodes for name in node.input}
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items() if name in used
    )
    kept = [value for value in proto.graph.input if value.name not in constants]
    del proto.graph.input[:], proto.graph.value_info[:]
    proto.graph.input.extend(kept)
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not np.all(np.isfinite(constants[tensor.name])):
            raise QuantiseError(f"constant {tensor.name!r} must have finite values only")
    for output in proto.graph.output:  # inferred too: one that the file leaves out has become a scalar's
        output.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    except Exception as error:  # InferenceError, and what the C++ side throws
        raise QuantiseError(f"the model's shapes do not fit: {first_line(error)}") from None


def _constant(node, constants):
    """The array of a Constant or ConstantOfShape node."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "ConstantOfShape":
        shape = constants[node.input[0]].tolist()
        if np.prod([float(size) for size in shape]) > MAX_CONSTANT:
            raise QuantiseError(f"node {node.name!r} makes a constant of shape {shape}, which is too large")
        value = numpy_helper.to_array(values["value"]).reshape(-1)[0] if "value" in values else np.float32(0)
        if min(shape, default=0) < 0:
            raise QuantiseError(f"node {node.name!r} makes a constant of shape {shape}, which is none")
        return np.full(shape, value)
    value = next(iter(values.values()))
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _fold_batch_norm(nodes, constants, outputs):
    """Scale and shift of a BatchNormalization behind a Conv, in the Conv's weights and bias."""
    consumers = {}
    for node in nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    producer = {name: node for node in nodes for name in node.output}
    kept = []
    for node in nodes:
        conv = producer.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if (conv is None or conv.op_type != "Conv" or len(consumers[conv.output[0]]) > 1 or conv.output[0] in outputs
                or any(name not in constants for name in (*node.input[1:], *conv.input[1:]))
                or {constants[name].shape for name in (*node.input[1:], *conv.input[2:])} != {constants[conv.input[1]].shape[:1]}):  # fmt: skip
            kept.append(node)
            continue
        scale, shift, mean, variance = (constants[name].astype(np.float64) for name in node.input[1:5])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        weights = constants[conv.input[1]].astype(np.float64)
        bias = constants[conv.input[2]] if len(conv.input) > 2 and conv.input[2] else np.zeros(len(weights))
        names = [f"{conv.output[0]}/folded_weights", f"{conv.output[0]}/folded_bias"]
        constants[names[0]] = (weights * factor.reshape(-1, *[1] * (weights.ndim - 1))).astype(np.float32)
        constants[names[1]] = ((bias - mean) * factor + shift).astype(np.float32)
        del conv.input[1:]
        conv.input.extend(names)
        conv.output[0] = node.output[0]
        producer[node.output[0]] = conv
    return kept
