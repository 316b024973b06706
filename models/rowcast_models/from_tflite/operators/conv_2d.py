"""CONV_2D."""

from ...frontend import OperatorKind
from . import _convolution

__all__ = ["OPERATOR"]


def _groups(shape, weights):
    """The kernel finds the groups by the filter's depth."""
    return max(shape[3] // weights.shape[3], 1)


def golden(op, x, weights, bias=None):
    """`_convolution.golden` with weights as they are in the file, [M, R, S, C / groups]."""
    return _convolution.golden(op, x, weights, bias, _groups(x.shape, weights))


def lower(op, build):
    """A Conv."""
    _convolution.lower(op, build, lambda weights: weights, _groups)


OPERATOR = OperatorKind(
    kind="CONV_2D", golden=golden, lower=lower,
    supports="int8, scale per tensor or channel, any stride, dilation, SAME or VALID, groups, fused RELU, RELU6, RELU_N1_TO_1",
    source="reference_integer_ops/conv.h",
)  # fmt: skip
