"""QGemm, of ONNX Runtime."""

from ...frontend import OperatorKind
from . import _gemm

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="QGemm", golden=_gemm.golden, lower=_gemm.lower,
    supports="constant B and C, transB, any alpha, int8 and uint8, per tensor or column",
    source="ONNX Runtime, QGemm in MLAS: one float32 multiplication and rint",
)  # fmt: skip
