"""Max."""

from ...frontend import OperatorKind
from . import _extreme

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Max", golden=_extreme.golden, lower=_extreme.lower, supports="any number of inputs, any scales, broadcasting",
    source="ONNX specification, Max",
)  # fmt: skip
