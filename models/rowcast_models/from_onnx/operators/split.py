"""Split."""

import numpy as np

from ...frontend import OperatorKind
from ._pick import golden_picked, lower_picked

__all__ = ["OPERATOR"]


def _parts(op, size, sizes):
    """Positions of every output along the axis; without sizes equal ones, of which the last may be smaller."""
    count = len(op.outputs)
    each = -(-size // count)
    edges = np.arange(1, count) * each if sizes is None else np.cumsum(sizes)[:-1]
    return np.split(np.arange(size), edges.astype(int))


def golden(op, x, sizes=None):
    """x in parts along `axis`.  x : int8 or uint8."""
    axis = op.attributes["axis"] % x.ndim
    return tuple(golden_picked(op, x, {axis: part}) for part in _parts(op, x.shape[axis], sizes))


def lower(op, build):
    """A Select or Resize for each part."""
    shape = build.value(op.inputs[0]).shape
    axis = op.attributes["axis"] % len(shape)
    sizes = build.model.constant(op.inputs[1]) if len(op.inputs) > 1 and op.inputs[1] else None
    for which, part in enumerate(_parts(op, shape[axis], sizes)):
        lower_picked(op, build, {axis: part}, which)


OPERATOR = OperatorKind(
    kind="Split", golden=golden, lower=lower, supports="any axis but the batch; on bytes",
    source="ONNX specification, Split",
)  # fmt: skip
