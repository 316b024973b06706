"""MatMulInteger, on the host: its result has 32 bits."""

import numpy as np

from ...frontend import OperatorKind

__all__ = ["OPERATOR"]


def golden(op, a, b):
    """int32 matrix product of a - za and b - zb.  a, b : int8 or uint8 [..., N, K] and [..., K, M]."""
    za, zb = (q.zero_point for q in op.input_quantisation)
    za = za.reshape(-1, 1) if za.size > 1 else za
    return (np.matmul(a.astype(np.int32) - za, b.astype(np.int32) - zb).astype(np.int32),)


OPERATOR = OperatorKind(
    kind="MatMulInteger", golden=golden, lower=None, supports="int32 results, on the host; QLinearMatMul runs on the accelerator",
    source="ONNX specification, MatMulInteger",
)  # fmt: skip
