"""Min."""

import numpy as np

from ...frontend import OperatorKind
from . import _extreme

__all__ = ["OPERATOR"]


def golden(op, *parts):
    """The smallest of the inputs, quantised."""
    return _extreme.golden(op, *parts, extreme=np.minimum)


def lower(op, build):
    """As Max, of the complements."""
    _extreme.lower(op, build, smallest=True)


OPERATOR = OperatorKind(
    kind="Min", golden=golden, lower=lower, supports="any number of inputs, any scales, broadcasting",
    source="ONNX specification, Min",
)  # fmt: skip
