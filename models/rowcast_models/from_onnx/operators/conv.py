"""Conv."""

from ...frontend import OperatorKind
from . import _convolution

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Conv", golden=_convolution.golden, lower=_convolution.lower,
    supports="int8 and uint8, weights per tensor or channel with any zero point, strides, dilations, groups, pads, 1-D and 2-D",
    source="ONNX Runtime, QLinearConv in MLAS: one float32 multiplication and rint",
)  # fmt: skip
