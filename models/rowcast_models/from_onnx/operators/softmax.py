"""Softmax, on the host: of float values, or of bytes between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ...frontend import OperatorKind
from . import qlinear_softmax

__all__ = ["OPERATOR"]


def golden(op, x):
    """exp(x - max) / sum of them along `axis`, in float32; of bytes as QLinearSoftmax, which the runtime puts in its place.

    x : float32, int8 or uint8.
    """
    if x.dtype.kind != "f":
        return qlinear_softmax.golden(op, x)
    shifted = np.exp(x - x.max(axis=op.attributes["axis"], keepdims=True))
    return ((shifted / shifted.sum(axis=op.attributes["axis"], keepdims=True)).astype(np.float32),)


OPERATOR = OperatorKind(
    kind="Softmax", golden=golden, lower=None, supports="float32, and int8 and uint8 between QDQ nodes; on the host",
    source="ONNX specification, Softmax; of bytes as QLinearSoftmax", share=1.0,
)  # fmt: skip
