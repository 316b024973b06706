"""QLinearConcat."""

from ...frontend import OperatorKind
from . import _concat

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="QLinearConcat", golden=_concat.golden, lower=_concat.lower, supports="along channels, rows or columns, any scales",
    source="ONNX Runtime, QLinearConcat: a table of dequantised and quantised bytes",
)  # fmt: skip
