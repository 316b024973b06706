"""Flatten."""

from ...frontend import OperatorKind
from . import _movement

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Flatten", golden=_movement.reshaped, lower=_movement.lower_reshaped,
    supports="any axes but the batch; free", free=True, source="ONNX specification, Flatten",
)  # fmt: skip
