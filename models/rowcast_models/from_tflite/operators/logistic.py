"""LOGISTIC."""

import numpy as np

from . import _tables

__all__ = ["OPERATOR"]


def _function(x):
    with np.errstate(over="ignore"):  # 1 / infinity is the right result
        return 1 / (1 + np.exp(-x))


OPERATOR = _tables.kind("LOGISTIC", lambda op: _tables.looked_up(op, _function), source="kernels/activations.cc, a table of float32 values")
