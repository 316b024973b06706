"""MaxPool, on bytes or between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from . import _pooling
from ._arithmetic import dequantise, limits_of, output_dtype, quantise

__all__ = ["OPERATOR"]


def golden(op, x):
    """The largest of each window's elements inside; then another scale if the output has one.

    x : int8 or uint8 [N, C, H, W] or [N, C, L].
    """
    fields = _pooling.window(op, x.shape)
    image, padding = _pooling.crop(_pooling.spatial(x), fields["padding"])
    low = np.iinfo(x.dtype).min
    padded = np.pad(image, ((0, 0), *padding, (0, 0)), constant_values=low)
    spans = np.lib.stride_tricks.sliding_window_view(padded, fields["window"], axis=(1, 2))
    largest = spans[:, :: fields["stride"][0], :: fields["stride"][1]].max(axis=(4, 5))
    return (_rescaled(op, _pooling.as_model(largest, x.ndim)),)


def _rescaled(op, x):
    source, output = op.input_quantisation[0], op.output_quantisation[0]
    dtype = output_dtype(op, x.dtype)
    if source is not None and not (source.same(output) and x.dtype == dtype):
        x = quantise(dequantise(x, source), output, dtype)
    return np.clip(x, *limits_of(op, x.dtype)) if op.attributes.get("then") else x


def lower(op, build):
    """A MaxPool, with a table where the scale changes."""
    _pooling.check(op)
    image = build.image(op, 0)
    fields = _pooling.window(op, build.value(op.inputs[0]).shape)
    (top, bottom), (left, right) = fields["padding"]
    fields["padding"] = ((top, max(bottom, 0)), (left, max(right, 0)))  # rows that no window reads need no cut
    dtype, offset = build.value(op.inputs[0]).dtype, build.offset(op.inputs[0])
    every = np.arange(-128, 128)
    table = _rescaled(op, (every - offset).astype(dtype)).astype(np.int16) + build.offset(op.outputs[0])
    table = None if np.array_equal(table, every) else table.astype(np.int8)
    build.output(op, g.MaxPool, [image], **fields, table=table)


OPERATOR = OperatorKind(
    kind="MaxPool", golden=golden, lower=lower, supports="int8 and uint8, any window, stride and pads, ceil_mode, 1-D and 2-D",
    source="ONNX specification, MaxPool",
)  # fmt: skip
