"""QuantizeLinear of float values, on the host."""

import numpy as np

from ...frontend import OperatorKind
from ._arithmetic import quantise

__all__ = ["OPERATOR"]


def golden(op, x):
    """clamp(rint(x / s) + z): half to even, a division.  x : float32."""
    return (quantise(x, op.output_quantisation[0], np.dtype(op.attributes["output_type"])),)


OPERATOR = OperatorKind(
    kind="QuantizeLinear", golden=golden, lower=None, supports="float32 to int8 or uint8, per tensor or axis; on the host",
    source="ONNX specification, QuantizeLinear",
)  # fmt: skip
