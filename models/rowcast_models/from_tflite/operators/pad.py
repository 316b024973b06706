"""PAD."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ._common import check_bytes, check_constant

__all__ = ["OPERATOR"]


def golden(op, x, paddings):
    """x with a border of its zero point.  x : int8; paddings : int32 or int64 [rank, 2]."""
    return (np.pad(x, paddings.tolist(), constant_values=int(op.output_quantisation[0].zero_point[0])),)


def lower(op, build):
    """A Pad."""
    check_bytes(op, build)
    paddings = check_constant(op, build, 1, "paddings").tolist()
    rank = len(build.value(op.inputs[0]).shape)
    if rank != 4 or any(paddings[0]) or any(paddings[3]):
        raise op.problem(f"paddings {paddings} must be of [N, H, W, C], and 0 for N and C")
    build.output(
        op, g.Pad, [build.image(op, 0)], padding=tuple(map(tuple, paddings[1:3])), value=int(op.output_quantisation[0].zero_point[0])
    )


OPERATOR = OperatorKind(kind="PAD", golden=golden, lower=lower, supports="int8, rows and columns", source="reference/pad.h")
