"""DEPTHWISE_CONV_2D."""

from ...frontend import OperatorKind
from . import _convolution

__all__ = ["OPERATOR"]


def _arrange(weights):
    """[1, R, S, M] to [M, R, S, 1]; filter m reads channel m // multiplier, as in the kernel."""
    return weights.transpose(3, 1, 2, 0)


def golden(op, x, weights, bias=None):
    """`_convolution.golden` with a channel a group."""
    return _convolution.golden(op, x, _arrange(weights), bias, x.shape[3])


def lower(op, build):
    """A Conv with as many groups as channels."""
    _convolution.lower(op, build, _arrange, lambda shape, weights: shape[3])


OPERATOR = OperatorKind(
    kind="DEPTHWISE_CONV_2D", golden=golden, lower=lower,
    supports="as CONV_2D, any depth multiplier",
    source="reference_integer_ops/depthwise_conv.h",
)  # fmt: skip
