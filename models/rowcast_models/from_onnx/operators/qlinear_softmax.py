"""QLinearSoftmax, of ONNX Runtime, on the host."""

import numpy as np

from ...frontend import OperatorKind
from ._arithmetic import output_dtype, zero_point

__all__ = ["OPERATOR"]

LARGEST = 0x7FFFFF  # of an exponential in fixed point


def golden(op, x):
    """Fixed-point softmax along `axis`: exponentials of the distance from the largest byte, from a table of integers
    scaled by min((2^32 - 1) / n, 2^23 - 1); y = (e * floor(1 / sy) + sum / 2) / sum + zy, clamped.

    x : int8 or uint8.
    """
    axis, output = op.attributes["axis"], op.output_quantisation[0]
    flat = op.attributes.get("opset", 13) < 13  # the axes from `axis` on are one; of Softmax the reader makes opset 13
    if flat:
        axis = axis % x.ndim
        rows = x.reshape(*x.shape[:axis], -1)
    else:
        rows = np.moveaxis(x, axis, -1)
    count = rows.shape[-1]
    unit = min(float((1 << 32) - 1) / count, float(LARGEST))
    scale = float(op.input_quantisation[0].scale[0])
    distance = rows.max(axis=-1, keepdims=True).astype(np.int64) - rows
    table = np.floor(unit * np.exp(-np.arange(256) * scale) + 0.5).astype(np.int64)
    exponentials = table[distance]
    total = exponentials.sum(axis=-1, keepdims=True)
    one = int(np.floor(np.float32(1) / output.scale[0]))
    dtype = output_dtype(op, x.dtype)
    limits = np.iinfo(dtype)
    made = (exponentials * one + (total >> 1)) // total + zero_point(output)
    made = np.clip(made, limits.min, limits.max).astype(dtype)
    return (made.reshape(x.shape) if flat else np.ascontiguousarray(np.moveaxis(made, -1, axis)),)


OPERATOR = OperatorKind(
    kind="QLinearSoftmax", golden=golden, lower=None, supports="int8 and uint8, any axis; on the host",
    source="ONNX Runtime, QLinearSoftmax: a table of exponentials in fixed point",
)  # fmt: skip
