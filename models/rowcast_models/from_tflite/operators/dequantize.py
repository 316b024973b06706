"""DEQUANTIZE, on the host."""

import numpy as np

from ...frontend import OperatorKind

__all__ = ["OPERATOR"]


def golden(op, x):
    """float32 of double(scale) * (x - zero point)."""
    quantisation = op.input_quantisation[0]
    return ((float(quantisation.scale[0]) * (x.astype(np.int64) - quantisation.zero_point[0])).astype(np.float32),)


OPERATOR = OperatorKind(
    kind="DEQUANTIZE", golden=golden, lower=None, supports="int8 to float32; on the host", source="reference/dequantize.h"
)
