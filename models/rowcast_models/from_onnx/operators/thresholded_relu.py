"""ThresholdedRelu."""

from . import _unary

__all__ = ["OPERATOR"]

OPERATOR = _unary.kind("ThresholdedRelu")
