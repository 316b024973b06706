"""EXPAND_DIMS."""

from ...frontend import OperatorKind
from . import reshape

__all__ = ["OPERATOR"]

OPERATOR = OperatorKind(
    kind="EXPAND_DIMS", golden=reshape.golden, lower=reshape.lower, supports="any axes but the batch; free", free=True,
    source="kernels/expand_dims.cc",
)  # fmt: skip
