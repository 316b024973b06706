"""ConvInteger, on the host: its result has 32 bits."""

import numpy as np

from ...frontend import OperatorKind
from ._convolution import accumulate

__all__ = ["OPERATOR"]


def golden(op, x, weights):
    """int32 sum of (x - zx) * (w - zw).

    x : int8 or uint8 [N, C, H, W]; weights : int8 or uint8 [M, C / groups, R, S].
    """
    return (accumulate(op, x, weights, None).astype(np.int32),)


OPERATOR = OperatorKind(
    kind="ConvInteger", golden=golden, lower=None, supports="int32 results, on the host; QLinearConv runs on the accelerator",
    source="ONNX specification, ConvInteger",
)  # fmt: skip
