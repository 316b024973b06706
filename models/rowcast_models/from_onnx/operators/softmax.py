"""Softmax of float values, on the host."""

import numpy as np

from ...frontend import OperatorKind

__all__ = ["OPERATOR"]


def golden(op, x):
    """exp(x - max) / sum of them along `axis`, in float32.  x : float32."""
    shifted = np.exp(x - x.max(axis=op.attributes["axis"], keepdims=True))
    return ((shifted / shifted.sum(axis=op.attributes["axis"], keepdims=True)).astype(np.float32),)


OPERATOR = OperatorKind(
    kind="Softmax", golden=golden, lower=None, supports="float32; on the host", source="ONNX specification, Softmax",
    share=1.0,
)  # fmt: skip
