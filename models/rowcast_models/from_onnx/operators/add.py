"""Add."""

from ...frontend import OperatorKind
from . import _add

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Add", golden=_add.golden, lower=_add.lower, supports="int8 and uint8, any scales, broadcasting, constant operands",
    source="ONNX Runtime, MlasQLinearAdd: float32 fused multiply-adds", share=1e-4,
)  # fmt: skip
