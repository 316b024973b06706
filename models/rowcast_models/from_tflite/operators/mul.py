"""MUL."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ._common import activation_range, check_bytes, quantised_by_tensor, requantisation, requantised

__all__ = ["OPERATOR"]


def _scale(op):
    a, b = (float(q.scale[0]) for q in op.input_quantisation)
    return a * b / float(op.output_quantisation[0].scale[0])


def golden(op, a, b):
    """(a - za) * (b - zb), requantised by sa * sb / sy.  a, b : int8, shapes that numpy broadcasts."""
    (qa, qb), qy = op.input_quantisation, op.output_quantisation[0]
    product = (a.astype(np.int64) - qa.zero_point[0]) * (b.astype(np.int64) - qb.zero_point[0])
    return (requantised(product, _scale(op), int(qy.zero_point[0]), *activation_range(op, qy)),)


def lower(op, build):
    """An Elementwise."""
    check_bytes(op, build)
    qa, qb, qy = (quantised_by_tensor(op, q, "every operand") for q in (*op.input_quantisation, op.output_quantisation[0]))
    (a, b), view = build.operands(op, (0, 1))
    values = np.arange(-128, 128)
    post = requantisation(_scale(op), int(qy.zero_point[0]), *activation_range(op, qy))
    build.output(
        op, g.Elementwise, [a, b], view=view, kind="mul", table_a=values - int(qa.zero_point[0]),
        table_b=values - int(qb.zero_point[0]), post=post,
    )  # fmt: skip


OPERATOR = OperatorKind(
    kind="MUL", golden=golden, lower=lower, supports="int8, any scales, broadcasting, constant operands, fused activations",
    source="reference_integer_ops/mul.h",
)  # fmt: skip
