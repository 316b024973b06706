"""QLinearAveragePool."""

from ...frontend import OperatorKind
from . import _average

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="QLinearAveragePool", golden=_average.golden, lower=_average.lower,
    supports="int8 and uint8, any window, stride and pads, ceil_mode, count_include_pad (not both)",
    source="ONNX Runtime, QLinearAveragePool: float32 sum in order", share=0.04,
)  # fmt: skip
