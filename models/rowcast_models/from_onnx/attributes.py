"""The attributes of ONNX operators with their defaults, and padding as numbers."""

import math

import onnx
from onnx import helper

__all__ = ["AttributeProblem", "attributes_of"]

MAX_PADDING = 512  # pixels that a window may reach over one edge; beyond, a file means something else

_WINDOWS = (
    "Conv", "QLinearConv", "ConvInteger", "MaxPool", "AveragePool", "QLinearAveragePool", "LpPool",
)  # fmt: skip
# Of operators that are no part of the standard.
_CONTRIB = {
    "QLinearAveragePool": {"auto_pad": "NOTSET", "ceil_mode": 0, "count_include_pad": 0, "channels_last": 0},
    "QLinearGlobalAveragePool": {"channels_last": 0},
    "QLinearLeakyRelu": {"alpha": 0.01},
    "QLinearSoftmax": {"axis": -1, "opset": 13},
    "QGemm": {"alpha": 1.0, "transA": 0, "transB": 0},
    "QLinearConcat": {"axis": 1},
    "Gelu": {"approximate": "none"},
}


class AttributeProblem(ValueError):
    """An attribute that the operator cannot have."""


def attributes_of(node, shapes, version):
    """Attributes by name.

    Parameters
    ----------
    node : NodeProto.
    shapes : of values by name.
    version : opset of the standard's operators.

    Raises
    ------
    AttributeProblem
        What cannot be.
    """
    made = dict(_CONTRIB.get(node.op_type, {}))
    if node.domain in ("", "ai.onnx"):
        schema = onnx.defs.get_schema(node.op_type, version, "")
        for name, attribute in schema.attributes.items():
            if attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
                made[name] = _plain(helper.get_attribute_value(attribute.default_value))
    for attribute in node.attribute:
        made[attribute.name] = _plain(helper.get_attribute_value(attribute))
    first = 2 if node.op_type == "QLinearConcat" else 0  # behind the output's scale and zero point
    _check(node, made, shapes[node.input[first]] if node.input else ())
    if node.op_type in _WINDOWS:
        weights = {"Conv": 1, "QLinearConv": 3, "ConvInteger": 1}.get(node.op_type)
        kernel = made.get("kernel_shape") or tuple(shapes[node.input[weights]][2:])
        _window(made, kernel, shapes[node.input[0]])
    return made


def _check(node, made, shape):
    """Refuse numbers that are none, and an axis that input 0 does not have."""
    for name, value in made.items():
        numbers = value if isinstance(value, tuple) else (value,)
        odd = [number for number in numbers if isinstance(number, float) and not math.isfinite(number)]
        if odd:
            raise AttributeProblem(f"{name} must be finite, not {odd[0]}")
    if node.op_type == "LRN" and made["size"] < 1:
        raise AttributeProblem(f"size {made['size']} must be from 1")
    axis, rank = made.get("axis"), max(len(shape), 1)
    last = rank if node.op_type == "Flatten" or node.op_type.endswith("tizeLinear") else rank - 1
    if axis is not None and (not isinstance(axis, int) or not -rank <= axis <= last):
        raise AttributeProblem(f"axis {axis} must be one of an input {tuple(shape)}")


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)) or type(value).__name__ == "RepeatedScalarContainer":
        return tuple(_plain(each) for each in value)
    return value


def _window(made, kernel, shape):
    """Fill in what depends on the number of axes; `pads` becomes numbers whatever `auto_pad` says."""
    rank = len(shape) - 2
    made["kernel_shape"] = tuple(kernel)
    strides = made["strides"] = tuple(made.get("strides") or (1,) * rank)
    dilations = made["dilations"] = tuple(made.get("dilations") or (1,) * rank)
    for name in ("kernel_shape", "strides", "dilations"):
        if len(made[name]) != rank or min(made[name], default=1) < 1:
            raise AttributeProblem(f"{name} {made[name]} must be {rank} numbers from 1, one for each pixel axis")
    if made.get("group", 1) < 1:
        raise AttributeProblem(f"group {made['group']} must be from 1")
    auto = made.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = made["pads"] = tuple(made.get("pads") or (0,) * (2 * rank))
        if len(pads) != 2 * rank or max(pads, default=0) > MAX_PADDING:
            raise AttributeProblem(f"pads {pads} must be {2 * rank} numbers up to {MAX_PADDING}")
        return
    if auto not in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        raise AttributeProblem(f"auto_pad {auto!r} must be NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    before, after = [0] * rank, [0] * rank
    if auto.startswith("SAME"):
        for i, (size, taps, stride, spread) in enumerate(zip(shape[2:], kernel, strides, dilations)):
            total = max((-(-size // stride) - 1) * stride + (taps - 1) * spread + 1 - size, 0)
            less, more = total // 2, total - total // 2
            before[i], after[i] = (less, more) if auto == "SAME_UPPER" else (more, less)
    made["pads"] = (*before, *after)
    made["auto_pad"] = "NOTSET"
