"""Gemm between DequantizeLinear and QuantizeLinear."""

from ...frontend import OperatorKind
from . import _gemm

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="Gemm", golden=_gemm.golden, lower=_gemm.lower,
    supports="constant B and C, transB, alpha = beta = 1, int8 and uint8, per tensor or column",
    source="ONNX Runtime, QGemm in MLAS: one float32 multiplication and rint",
)  # fmt: skip
