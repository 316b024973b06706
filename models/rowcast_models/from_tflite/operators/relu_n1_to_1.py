"""RELU_N1_TO_1."""

from . import _tables
from .relu import clamped

__all__ = ["OPERATOR"]

OPERATOR = _tables.kind("RELU_N1_TO_1", lambda op: clamped(op, -1, 1), source="kernels/activations.cc, QuantizedReluX")
