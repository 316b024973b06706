"""MINIMUM."""

import numpy as np

from ...frontend import OperatorKind
from . import _extreme

__all__ = ["OPERATOR"]


def golden(op, a, b):
    """Byte by byte: all have one scale and zero point.  a, b : int8, shapes that numpy broadcasts."""
    return (np.minimum(a, b),)


def lower(op, build):
    """An Elementwise."""
    _extreme.lower(op, build, smallest=True)


OPERATOR = OperatorKind(
    kind="MINIMUM", golden=golden, lower=lower, supports="int8 of one scale, broadcasting, constant operands",
    source="kernels/maximum_minimum.cc",
)  # fmt: skip
