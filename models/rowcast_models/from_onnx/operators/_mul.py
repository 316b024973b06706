"""Multiplications: as ONNX Runtime's QLinearMul, or in float32 between dequantising and quantising where it does not replace
them."""

import numpy as np

from ._add import replaced
from ._arithmetic import bytes_quantised, clamp, dequantise, limits_of, output_dtype, quantise, zero_point
from ._constants import lower_with_constant
from ._pairs import lower_product, pairs

__all__ = ["HALVES", "golden", "lower"]

# Share that may differ: where the scales are ratios of small integers, products lie half way between bytes, and the float32
# sum with the zero point decides.  Measured: 0.018 at worst there, 3e-7 for other scales, 0 for powers of two.
HALVES = 0.02


def _scale(op):
    a, b = op.input_quantisation
    return np.float32(a.scale[0] * b.scale[0]) / op.output_quantisation[0].scale[0]


def golden(op, a, b):
    """rint(float32((a - za) * (b - zb)) * (sa * sb / sc) + zc) in float32, then the clamp (MlasQLinearMul).

    a, b : int8 or uint8, shapes that numpy broadcasts; or one is float32.
    """
    dtype, output = output_dtype(op, a.dtype), op.output_quantisation[0]
    if replaced(op, a, b):
        za, zb = (zero_point(q) for q in op.input_quantisation)
        product = (a.astype(np.int32) - za) * (b.astype(np.int32) - zb)
        made = np.rint(product.astype(np.float32) * _scale(op) + np.float32(zero_point(output))).astype(np.float64)
    else:
        real = [part if q is None else dequantise(part, q) for part, q in zip((a, b), op.input_quantisation, strict=True)]
        made = quantise(real[0] * real[1], output, dtype)
    return (np.clip(made, *limits_of(op, dtype)).astype(dtype),)


def lower(op, build):
    """An Elementwise in mode "onnx", or what `lower_product` finds to give the same bytes."""

    def function(a, b):
        return golden(op, a, b)[0]

    if lower_with_constant(op, build, function):
        return
    for quantisation in (*op.input_quantisation, op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "every operand")
    left, right = (
        np.arange(-128, 128) - build.offset(name) - zero_point(q)
        for name, q in zip(op.inputs, op.input_quantisation, strict=True)
    )
    lower_product(op, build, pairs(op, build, function), left, right, _scale(op), **clamp(op, build))
