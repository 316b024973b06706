"""LEAKY_RELU."""

import numpy as np

from . import _tables

__all__ = ["OPERATOR"]


def _table(op):
    """Positive values times sx / sy, negative ones times alpha * sx / sy, each by two roundings."""
    sx, zx, sy, zy = _tables.integers(op)
    x = np.arange(-128, 128) - zx
    alpha = float(np.float32(op.attributes["alpha"]))
    slope = alpha * sx / sy
    below = np.sign(slope) * _tables.rescaled(x, abs(slope)) if slope else 0 * x
    return np.clip(np.where(x >= 0, _tables.rescaled(x, sx / sy), below) + zy, -128, 127).astype(np.int8)


OPERATOR = _tables.kind("LEAKY_RELU", _table, source="reference/leaky_relu.h")
