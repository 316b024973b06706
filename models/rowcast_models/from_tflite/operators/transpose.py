"""TRANSPOSE."""

import numpy as np

from ...frontend import OperatorKind
from ...frontend.build import View
from ._common import check_constant

__all__ = ["OPERATOR"]


def golden(op, x, perm):
    """The axes in the order `perm`."""
    return (np.ascontiguousarray(x.transpose(perm.tolist())),)


def lower(op, build):
    """No node: what takes the value finds the elements where they are, or says that it cannot."""
    view = build.view(op.inputs[0])
    perm = [axis % (len(view.shape) + 1) for axis in check_constant(op, build, 1, "perm").tolist()]
    if perm[0] != 0:
        raise op.problem(f"perm {perm} must leave the first axis, the batch, where it is")
    positions = view.where().transpose([axis - 1 for axis in perm[1:]])
    build.place(op, build.tensors[view.tensor], view=View("", positions.shape, positions=positions))


OPERATOR = OperatorKind(
    kind="TRANSPOSE", golden=golden, lower=lower, free=True,
    supports="where it is free: before a fully connected layer, where no pixel moves, or channels in another order",
    source="reference/transpose.h",
)  # fmt: skip
