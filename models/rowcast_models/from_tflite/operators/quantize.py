"""QUANTIZE."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from . import _tables

__all__ = ["OPERATOR"]


def _limits(op):
    """(lowest, highest) byte of the output."""
    return (0, 255) if op.attributes["output_type"] == np.uint8 else (-128, 127)


def golden(op, x):
    """float32: clamp(round(x / s) + z), ties away from zero; bytes: requantised in two roundings.

    x : float32, int8 or uint8.
    """
    if x.dtype != np.float32:
        sx, zx, sy, zy = _tables.integers(op)
        scaled = _tables.rescaled(x.astype(np.int64) - zx, sx / sy)
    else:
        quantisation = op.output_quantisation[0]
        zy, scaled = int(quantisation.zero_point[0]), x / quantisation.scale[0]
        scaled = (np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))).astype(np.float64)
    return (np.clip(scaled + zy, *_limits(op)).astype(op.attributes["output_type"]),)


def lower(op, build):
    """A Table, or nothing where only the sign of bytes changes, which graphs do not know."""
    offset = build.offset(op.inputs[0])
    every = np.arange(-128, 128)
    (made,) = golden(op, (every - offset).astype(build.value(op.inputs[0]).dtype))
    table = made.astype(np.int64) + build.offset(op.outputs[0])
    view = build.view(op.inputs[0])
    tensor, (sx, zx, sy, zy) = build.tensors[view.tensor], _tables.integers(op)
    if np.array_equal(table, every) and (sx, zx + offset) == (sy, zy + build.offset(op.outputs[0])):
        build.place(op, tensor, view=view)
    else:
        build.output(op, g.Table, [tensor], view=view, table=table)


OPERATOR = OperatorKind(
    kind="QUANTIZE", golden=golden, lower=lower,
    supports="float32 to bytes on the host; int8 and uint8 to another scale, or with another sign: free",
    source="reference/quantize.h, reference/requantize.h",
)  # fmt: skip
