"""Operators that change a value's shape or order of axes, and move nothing."""

import math

import numpy as np

from ...frontend.build import View

__all__ = ["lower_reshaped", "lower_transposed", "reshaped", "transposed"]


def reshaped(op, x, *rest):
    """The elements in the shape of the output, which the reader has inferred; the batch stays free."""
    return (x.reshape(len(x), *op.attributes["output_shape"][1:]),)


def lower_reshaped(op, build):
    """No node: the elements stay where they are."""
    source, made = build.value(op.inputs[0]).shape, build.value(op.outputs[0]).shape
    if not source or not made or source[0] != made[0] or math.prod(source) != math.prod(made):
        raise op.problem(f"{source} to {made} must keep the first axis, the batch, and the number of elements")
    view = build.view(op.inputs[0])
    positions = view.where().reshape(made[1:])
    build.place(op, build.tensors[view.tensor], view=View("", tuple(made[1:]), positions=positions))


def transposed(op, x):
    """The axes in the order `perm`."""
    return (np.ascontiguousarray(x.transpose(op.attributes.get("perm") or range(x.ndim)[::-1])),)


def lower_transposed(op, build):
    """No node: what takes the value finds the elements where they are, or says that it cannot."""
    view = build.view(op.inputs[0])
    perm = op.attributes.get("perm") or tuple(range(len(view.shape) + 1))[::-1]
    if sorted(perm) != list(range(len(view.shape) + 1)):
        raise op.problem(f"perm {perm} must name each of {len(view.shape) + 1} axes once")
    if perm[0] != 0:
        raise op.problem(f"perm {perm} must leave the first axis, the batch, where it is")
    positions = view.where().transpose([axis - 1 for axis in perm[1:]])
    build.place(op, build.tensors[view.tensor], view=View("", positions.shape, positions=positions))
