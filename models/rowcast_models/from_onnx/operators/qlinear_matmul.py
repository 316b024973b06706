"""QLinearMatMul."""

from ...frontend import OperatorKind
from . import _matmul

__all__ = ["OPERATOR"]


def lower(op, build):
    """A FullyConnected, or a 1x1 Conv for rows inside a batch item."""
    _matmul.lower(op, build)


OPERATOR = OperatorKind(
    kind="QLinearMatMul", golden=_matmul.golden, lower=lower,
    supports="rows (last axis) times a constant matrix, int8 and uint8, per tensor or column, any zero points",
    source="ONNX Runtime, QLinearMatMul in MLAS: one float32 multiplication and rint",
)  # fmt: skip
