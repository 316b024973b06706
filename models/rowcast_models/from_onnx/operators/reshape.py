"""Reshape."""

from ...frontend import OperatorKind
from . import _movement

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Reshape", golden=_movement.reshaped, lower=_movement.lower_reshaped,
    supports="any constant shape that keeps the batch; free", free=True, source="ONNX specification, Reshape",
)  # fmt: skip
