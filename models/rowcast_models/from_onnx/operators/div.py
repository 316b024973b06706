"""Div by a constant, or of one, between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ...frontend import OperatorKind
from ._arithmetic import dequantise, limits_of, output_dtype, quantise
from ._constants import lower_with_constant

__all__ = ["OPERATOR"]


def golden(op, a, b):
    """quantise(dequantise(a) / dequantise(b)) in float32.

    a, b : int8 or uint8, shapes that numpy broadcasts; or one is float32.
    """
    real = [part if q is None else dequantise(part, q) for part, q in zip((a, b), op.input_quantisation, strict=True)]
    dtype = output_dtype(op, a.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        made = quantise(real[0] / real[1], op.output_quantisation[0], dtype)
    return (np.clip(made, *limits_of(op, dtype)).astype(dtype),)


def lower(op, build):
    """A Table, or a depthwise 1x1 Conv for a float divisor of every channel."""
    by = build.model.constant(op.inputs[1])
    several = by is None or (by.size > 1 and op.input_quantisation[1] is not None)
    if several or not lower_with_constant(op, build, lambda a, b: golden(op, a, b)[0]):
        raise op.problem("the divisor must be a constant: one element, or float32 for each channel; write others as Mul")


OPERATOR = OperatorKind(
    kind="Div", golden=golden, lower=lower, supports="by a constant of one element, or float32 for each channel",
    source="ONNX specification, Div: float32",
)  # fmt: skip
