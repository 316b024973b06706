"""The attributes of ONNX operators with their defaults, and padding as numbers."""

import onnx
from onnx import helper

__all__ = ["attributes_of"]

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
}


def attributes_of(node, shapes, version):
    """Attributes by name.

    Parameters
    ----------
    node : NodeProto.
    shapes : of values by name.
    version : opset of the standard's operators.
    """
    made = dict(_CONTRIB.get(node.op_type, {}))
    if node.domain in ("", "ai.onnx"):
        schema = onnx.defs.get_schema(node.op_type, version, "")
        for name, attribute in schema.attributes.items():
            if attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
                made[name] = _plain(helper.get_attribute_value(attribute.default_value))
    for attribute in node.attribute:
        made[attribute.name] = _plain(helper.get_attribute_value(attribute))
    if node.op_type in _WINDOWS:
        weights = {"Conv": 1, "QLinearConv": 3, "ConvInteger": 1}.get(node.op_type)
        kernel = made.get("kernel_shape") or tuple(shapes[node.input[weights]][2:])
        _window(made, kernel, shapes[node.input[0]])
    return made


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)) or type(value).__name__ == "RepeatedScalarContainer":
        return tuple(_plain(each) for each in value)
    return value


def _window(made, kernel, shape):
    """Fill in what depends on the number of axes; `pads` becomes numbers whatever `auto_pad` says."""
    rank = len(kernel)
    made["kernel_shape"] = tuple(kernel)
    strides = made["strides"] = tuple(made.get("strides") or (1,) * rank)
    dilations = made["dilations"] = tuple(made.get("dilations") or (1,) * rank)
    auto = made.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        made["pads"] = tuple(made.get("pads") or (0,) * (2 * rank))
        return
    before, after = [0] * rank, [0] * rank
    if auto.startswith("SAME"):
        for i, (size, taps, stride, spread) in enumerate(zip(shape[2:], kernel, strides, dilations)):
            total = max((-(-size // stride) - 1) * stride + (taps - 1) * spread + 1 - size, 0)
            less, more = total // 2, total - total // 2
            before[i], after[i] = (less, more) if auto == "SAME_UPPER" else (more, less)
    made["pads"] = (*before, *after)
    made["auto_pad"] = "NOTSET"
