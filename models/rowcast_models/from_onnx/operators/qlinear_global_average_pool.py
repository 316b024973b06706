"""QLinearGlobalAveragePool."""

from ...frontend import OperatorKind
from . import _average

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="QLinearGlobalAveragePool", golden=_average.golden_global, lower=_average.lower_global, supports="int8 and uint8, any size",
    source="ONNX Runtime, MlasQLinearGlobalAveragePool: int32 sum, one float32 multiplication",
)  # fmt: skip
