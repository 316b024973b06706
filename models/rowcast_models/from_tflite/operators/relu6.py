"""RELU6."""

from . import _tables
from .relu import clamped

__all__ = ["OPERATOR"]

OPERATOR = _tables.kind("RELU6", lambda op: clamped(op, 0, 6), source="kernels/activations.cc, QuantizedReluX")
