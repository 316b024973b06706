"""Operators of one byte: a table, filled with the kernel's own arithmetic."""

import numpy as np

from ...frontend import OperatorKind
from ...golden.requantise import quantise_multiplier_tflite, requantise_tflite
from ._common import check_bytes, quantised_by_tensor

__all__ = ["integers", "kind", "looked_up", "rescaled"]


def integers(op):
    """Scales (float64) and zero points (int) of input and output."""
    qx, qy = op.input_quantisation[0], op.output_quantisation[0]
    return float(qx.scale[0]), int(qx.zero_point[0]), float(qy.scale[0]), int(qy.zero_point[0])


def rescaled(x, scale):
    """int64 x times a real scale, by TensorFlow Lite's two roundings."""
    return requantise_tflite(x, *quantise_multiplier_tflite(scale))


def looked_up(op, function):
    """int8 [256]: clamp(rint(function(real) / sy) + zy) of every byte, `LUTPopulate`: float32, ties away from zero."""
    sx, zx, sy, zy = integers(op)
    real = np.float32(sx) * (np.arange(-128, 128) - zx).astype(np.float32)
    scaled = function(real).astype(np.float32) * (np.float32(1) / np.float32(sy))
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))
    return np.clip(rounded.astype(np.float64) + zy, -128, 127).astype(np.int8)


def kind(name, table, *, supports="int8, any scales", source):
    """OperatorKind of `table(op)`, int8 [256]."""

    def golden(op, x, *rest):
        """table[x + 128].  x : int8."""
        return (table(op)[x.astype(np.int64) + 128],)

    def lower(op, build):
        """A Table."""
        check_bytes(op, build)
        for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
            quantised_by_tensor(op, quantisation, "input and output")
        build.unary(op, table(op))

    return OperatorKind(kind=name, golden=golden, lower=lower, supports=supports, source=source)
