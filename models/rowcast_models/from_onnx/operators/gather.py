"""Gather with constant indices."""

import numpy as np

from ...frontend import OperatorKind
from ._arithmetic import constant
from ._pick import golden_picked, lower_picked

__all__ = ["OPERATOR"]


def _positions(op, shape, indices):
    axis = op.attributes["axis"] % len(shape)
    indices = np.asarray(indices, np.int64)
    return axis, np.where(indices < 0, indices + shape[axis], indices)


def golden(op, x, indices):
    """The elements of `indices` along `axis`.  x : int8 or uint8; indices : any shape."""
    axis, positions = _positions(op, x.shape, indices)
    made = golden_picked(op, x, {axis: positions.reshape(-1)})
    return (made.reshape(*x.shape[:axis], *positions.shape, *x.shape[axis + 1 :]),)


def lower(op, build):
    """A Select or a Resize."""
    axis, positions = _positions(op, build.value(op.inputs[0]).shape, constant(op, build, 1, "indices"))
    lower_picked(op, build, {axis: positions.reshape(-1)})


OPERATOR = OperatorKind(
    kind="Gather", golden=golden, lower=lower, supports="constant indices along any axis but the batch",
    source="ONNX specification, Gather",
)  # fmt: skip
