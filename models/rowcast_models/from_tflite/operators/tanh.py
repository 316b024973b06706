"""TANH."""

import numpy as np

from . import _tables

__all__ = ["OPERATOR"]


OPERATOR = _tables.kind("TANH", lambda op: _tables.looked_up(op, np.tanh), source="kernels/activations.cc, a table of float32 values")
