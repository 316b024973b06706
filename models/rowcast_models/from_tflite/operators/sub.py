"""SUB."""

from ...frontend import OperatorKind
from .add import golden_sum, lower_sum

__all__ = ["OPERATOR"]


def golden(op, a, b):
    """As ADD, with the second operand subtracted.  a, b : int8, shapes that numpy broadcasts."""
    return golden_sum(op, a, b, -1)


def lower(op, build):
    """An Elementwise."""
    lower_sum(op, build, -1)


OPERATOR = OperatorKind(
    kind="SUB", golden=golden, lower=lower, supports="int8, any scales, broadcasting, constant operands, fused activations",
    source="reference/sub.h",
)  # fmt: skip
