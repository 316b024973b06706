"""MAXIMUM and MINIMUM."""

import numpy as np

from ... import graph as g
from ._common import check_bytes, quantised_by_tensor

__all__ = ["lower"]


def lower(op, build, *, smallest):
    """An Elementwise "max"; the smallest is the complement of the largest complement."""
    check_bytes(op, build)
    qa, qb, qy = (quantised_by_tensor(op, q, "every operand") for q in (*op.input_quantisation, op.output_quantisation[0]))
    if not (qa.same(qy) and qb.same(qy)):
        raise op.problem("inputs and output must have one scale and zero point, as the specification says")
    tensors, view = build.operands(op, (0, 1))
    complement = -1 - np.arange(-128, 128)
    if smallest:
        tensors = [build.append(g.Table, f"{op.name}/{i}", [t], table=complement) for i, t in enumerate(tensors)]
    build.output(op, g.Elementwise, tensors, view=view, kind="max", table=complement if smallest else None)
