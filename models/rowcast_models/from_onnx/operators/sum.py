"""Sum of two between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ...frontend import OperatorKind
from . import _add
from ._arithmetic import dequantise, limits_of, quantise

__all__ = ["OPERATOR"]


def golden(op, *parts):
    """quantise of the float32 sum of the dequantised inputs, in order."""
    total = dequantise(parts[0], op.input_quantisation[0])
    for part, quantisation in zip(parts[1:], op.input_quantisation[1:], strict=True):
        total = total + dequantise(part, quantisation)
    return (np.clip(quantise(total, op.output_quantisation[0], parts[0].dtype), *limits_of(op, parts[0].dtype)),)


def lower(op, build):
    """An Elementwise, as of Add."""
    if len(op.inputs) != 2:
        raise op.problem(f"has {len(op.inputs)} inputs; write it as Adds of two, each quantised (`rowcast quantise` does for two)")
    _add.lower(op, build)


OPERATOR = OperatorKind(
    kind="Sum", golden=golden, lower=lower, supports="two inputs, as Add", source="ONNX specification, Sum: float32", share=1e-3
)
