"""Sub between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ...frontend import OperatorKind
from . import _add
from ._arithmetic import dequantise, limits_of, quantise

__all__ = ["OPERATOR"]


def golden(op, a, b):
    """quantise(dequantise(a) - dequantise(b)) in float32: ONNX Runtime has no operator on bytes for it."""
    real = dequantise(a, op.input_quantisation[0]) - dequantise(b, op.input_quantisation[1])
    return (np.clip(quantise(real, op.output_quantisation[0], a.dtype), *limits_of(op, a.dtype)),)


def lower(op, build):
    """An Elementwise, as of Add."""
    _add.lower(op, build, sign=-1)


OPERATOR = OperatorKind(
    kind="Sub", golden=golden, lower=lower, supports="int8 and uint8, any scales, broadcasting, constant operands",
    source="ONNX specification, Sub: float32", share=1e-3,
)  # fmt: skip
