"""RESHAPE."""

import math

from ...frontend import OperatorKind
from ...frontend.build import View

__all__ = ["OPERATOR"]


def golden(op, x, shape=None):
    """The same elements in the output's shape; the first axis, the batch, stays."""
    return (x.reshape(len(x), *op.attributes["output_shape"][1:]),)


def lower(op, build):
    """No node: the elements stay where they are."""
    source, made = build.value(op.inputs[0]), build.value(op.outputs[0])
    if source.shape[0] != made.shape[0] or math.prod(source.shape) != math.prod(made.shape):
        raise op.problem(f"{source.shape} to {made.shape} must keep the first axis, the batch, and the number of elements")
    view = build.view(op.inputs[0])
    positions = view.where().reshape(made.shape[1:])
    build.place(op, build.tensors[view.tensor], view=View("", tuple(made.shape[1:]), positions=positions))


OPERATOR = OperatorKind(
    kind="RESHAPE", golden=golden, lower=lower, supports="any shape that keeps the batch; free", free=True,
    source="kernels/reshape.cc",
)  # fmt: skip
