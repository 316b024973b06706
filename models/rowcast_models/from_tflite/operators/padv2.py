"""PADV2."""

from ...frontend import OperatorKind
from . import _padding

__all__ = ["OPERATOR"]


def golden(op, x, paddings, value):
    """`_padding.golden` with the byte that is given.  value : int8, one."""
    return _padding.golden(x, paddings, int(value.reshape(-1)[0]))


def lower(op, build):
    """`_padding.lower` with the byte that is given."""
    _padding.lower(op, build, int(build.model.constant(op.inputs[2]).reshape(-1)[0]))


OPERATOR = OperatorKind(
    kind="PADV2", golden=golden, lower=lower, supports="int8, any axes of up to 4 but the batch, any constant", source="reference/pad.h"
)
