"""MatMulInteger: 32-bit sums on the host, or bytes where constants scale them and QuantizeLinear follows."""

import numpy as np

from ...frontend import OperatorKind
from ._integer import SHARE, on_host, scaled, with_line
from ._matmul import lower_rows

__all__ = ["OPERATOR"]


def golden(op, a, b):
    """int32 matrix product of a - za and b - zb; with `steps` cast to float32, scaled and quantised.

    a, b : int8 or uint8 [..., N, K] and [..., K, M].
    """
    za, zb = (q.zero_point for q in op.input_quantisation)
    za = za.reshape(-1, 1) if za.size > 1 else za
    acc = np.matmul(a.astype(np.int32) - za, b.astype(np.int32) - zb)
    return (scaled(op, acc, 0) if "steps" in op.attributes else acc.astype(np.int32),)


def lower(op, build):
    """A FullyConnected, or a 1x1 Conv for rows inside a batch item."""
    lower_rows(op, build, lambda channels: with_line(op, build, channels))


OPERATOR = OperatorKind(
    kind="MatMulInteger", golden=golden, lower=lower, on_host=on_host, share=SHARE,
    supports="before Cast, multiplications and additions of constants, Relu or Clip, and QuantizeLinear; int32 results on the host",
    source="ONNX specification, MatMulInteger; the float32 operators one by one",
)  # fmt: skip
