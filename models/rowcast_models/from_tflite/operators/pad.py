"""PAD."""

from ...frontend import OperatorKind
from . import _padding

__all__ = ["OPERATOR"]


def _value(op):
    return int(op.output_quantisation[0].zero_point[0])


def golden(op, x, paddings):
    """`_padding.golden` with the zero point."""
    return _padding.golden(x, paddings, _value(op))


def lower(op, build):
    """`_padding.lower` with the zero point."""
    _padding.lower(op, build, _value(op))


OPERATOR = OperatorKind(
    kind="PAD", golden=golden, lower=lower, supports="int8, any axes of up to 4 but the batch", source="reference/pad.h"
)
