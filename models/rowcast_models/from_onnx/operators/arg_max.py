"""ArgMax, on the host."""

import numpy as np

from ...frontend import OperatorKind

__all__ = ["OPERATOR"]


def golden(op, x):
    """Position of the largest along `axis`, the first or the last of equals."""
    axis, a = op.attributes["axis"], op.attributes
    if a["select_last_index"]:
        made = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis)
    else:
        made = np.argmax(x, axis=axis)
    return ((np.expand_dims(made, axis) if a["keepdims"] else made).astype(np.int64),)


OPERATOR = OperatorKind(
    kind="ArgMax", golden=golden, lower=None, supports="any axis; on the host", source="ONNX specification, ArgMax"
)
