"""Transpose."""

from ...frontend import OperatorKind
from . import _movement

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Transpose", golden=_movement.transposed, lower=_movement.lower_transposed,
    supports="where it is free: before a fully connected layer, where no pixel moves, or channels in another order",
    free=True, source="ONNX specification, Transpose",
)  # fmt: skip
