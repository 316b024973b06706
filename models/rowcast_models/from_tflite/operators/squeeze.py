"""SQUEEZE."""

from ...frontend import OperatorKind
from . import reshape

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="SQUEEZE", golden=reshape.golden, lower=reshape.lower, supports="any axes but the batch; free", free=True,
    source="kernels/squeeze.cc",
)  # fmt: skip
