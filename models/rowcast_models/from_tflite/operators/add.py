"""ADD."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...golden.requantise import requantise_tflite
from ._common import activation_range, check_bytes, multipliers, quantised_by_tensor, requantised

__all__ = ["OPERATOR", "golden_sum", "lower_sum"]

SHIFT = 20  # left shift of the operands


def _operand(x, quantisation, twice):
    """Table or values of one operand: (x - z) << 20, requantised to twice the larger input scale."""
    shifted = (x.astype(np.int64) - int(quantisation.zero_point[0])) << SHIFT
    return requantise_tflite(shifted, *(v[0] for v in multipliers(float(quantisation.scale[0]) / twice)))


def golden_sum(op, a, b, sign):
    """a + sign * b; see `golden`."""
    qa, qb = op.input_quantisation
    qy = op.output_quantisation[0]
    twice = 2.0 * max(float(qa.scale[0]), float(qb.scale[0]))
    total = _operand(a, qa, twice) + sign * _operand(b, qb, twice)
    scale = twice / ((1 << SHIFT) * float(qy.scale[0]))
    return (requantised(total, scale, int(qy.zero_point[0]), *activation_range(op, qy)),)


def lower_sum(op, build, sign):
    """An Elementwise whose tables are the requantised operands."""
    check_bytes(op, build)
    qa, qb, qy = (quantised_by_tensor(op, q, "every operand") for q in (*op.input_quantisation, op.output_quantisation[0]))
    (a, b), view = build.operands(op, (0, 1))
    twice = 2.0 * max(float(qa.scale[0]), float(qb.scale[0]))
    values = np.arange(-128, 128)
    low, high = activation_range(op, qy)
    multiplier, shift = multipliers(twice / ((1 << SHIFT) * float(qy.scale[0])))
    post = g.Requantisation(
        mode="tflite", multiplier=multiplier, shift=shift, zero_point=int(qy.zero_point[0]), low=low, high=high
    )
    build.output(
        op, g.Elementwise, [a, b], view=view, kind="add", table_a=_operand(values, qa, twice),
        table_b=sign * _operand(values, qb, twice), post=post,
    )  # fmt: skip


def golden(op, a, b):
    """Each operand << 20, requantised to twice the larger input scale; the sum requantised to the output's.

    a, b : int8, shapes that numpy broadcasts.
    """
    return golden_sum(op, a, b, 1)


def lower(op, build):
    """An Elementwise."""
    lower_sum(op, build, 1)


OPERATOR = OperatorKind(
    kind="ADD", golden=golden, lower=lower, supports="int8, any scales, broadcasting, constant operands, fused activations",
    source="reference_integer_ops/add.h",
)  # fmt: skip
