"""Slice."""

import numpy as np

from ...frontend import OperatorKind
from ._pick import golden_picked, lower_picked

__all__ = ["OPERATOR"]


def _picked(shape, starts, ends, axes=None, steps=None):
    """Positions by axis, those that change nothing left out."""
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    picked = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = int(axis) % len(shape)
        positions = np.arange(shape[axis])[slice(int(start), int(end) if end >= -shape[axis] else None, int(step))]
        if len(positions) != shape[axis] or step != 1:
            picked[axis] = positions
    return picked


def golden(op, x, starts, ends, axes=None, steps=None):
    """x[starts:ends:steps] along the axes.  x : int8 or uint8."""
    return (golden_picked(op, x, _picked(x.shape, starts, ends, axes, steps)),)


def lower(op, build):
    """A Select, a Resize, or both."""
    constants = [build.model.constant(name) for name in op.inputs[1:]]
    for name, array in zip(op.inputs[1:], constants):
        if name and array is None:
            raise op.problem(f"{name!r} must be a constant, but it is computed")
        if name and array.shape != constants[0].shape[:1]:
            raise op.problem(f"{name!r} {array.shape} must be a list, as long as starts {constants[0].shape}")
    lower_picked(op, build, _picked(build.value(op.inputs[0]).shape, *constants))


OPERATOR = OperatorKind(
    kind="Slice", golden=golden, lower=lower, supports="any axes but the batch, any constant steps",
    source="ONNX specification, Slice",
)  # fmt: skip
