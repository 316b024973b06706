"""Mul."""

from ...frontend import OperatorKind
from . import _mul

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Mul", golden=_mul.golden, lower=_mul.lower, supports="int8 and uint8, any scales, broadcasting, constant operands",
    source="ONNX Runtime, MlasQLinearMul: float32", share=_mul.HALVES,
)  # fmt: skip
