"""Multiplication as ONNX Runtime's QLinearMul computes it."""

import numpy as np

from ... import graph as g
from ._arithmetic import bytes_quantised, clamp, limits_of, zero_point
from ...golden.requantise import quantise_multiplier_onnx

__all__ = ["golden", "lower"]


def _scale(op):
    a, b = op.input_quantisation
    return np.float32(a.scale[0] * b.scale[0]) / op.output_quantisation[0].scale[0]


def golden(op, a, b):
    """rint(float32((a - za) * (b - zb)) * (sa * sb / sc) + zc) in float32, then the clamp.

    a, b : int8 or uint8, shapes that numpy broadcasts.
    """
    za, zb = (zero_point(q) for q in op.input_quantisation)
    product = (a.astype(np.int32) - za) * (b.astype(np.int32) - zb)
    made = np.rint(product.astype(np.float32) * _scale(op) + np.float32(zero_point(op.output_quantisation[0])))
    return (np.clip(made.astype(np.float64), *limits_of(op, a.dtype)).astype(a.dtype),)


def lower(op, build):
    """An Elementwise in mode "onnx"; the zero point is added after rounding, which at ties may round otherwise."""
    for quantisation in (*op.input_quantisation, op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "every operand")
    (a, b), view = build.operands(op, (0, 1))
    every = np.arange(-128, 128)
    tables = [every - build.offset(op.inputs[i]) - zero_point(op.input_quantisation[i]) for i in (0, 1)]
    multiplier, shift = quantise_multiplier_onnx(_scale(op))
    post = g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift, **clamp(op, build))
    build.output(op, g.Elementwise, [a, b], view=view, kind="mul", table_a=tables[0], table_b=tables[1], post=post)
