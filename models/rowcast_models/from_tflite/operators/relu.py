"""RELU."""

import numpy as np

from . import _tables

__all__ = ["OPERATOR", "clamped"]


def clamped(op, low, high):
    """Bytes requantised to the output's scale, then the clamp of real `low` and `high` (None is open)."""
    sx, zx, sy, zy = _tables.integers(op)
    made = zy + _tables.rescaled(np.arange(-128, 128) - zx, sx / sy)
    floor, ceiling = (None if each is None else zy + int(np.floor(np.float32(each) / np.float32(sy) + 0.5)) for each in (low, high))
    floor = -128 if floor is None else max(floor, -128)
    return np.clip(made, floor, 127 if ceiling is None else min(ceiling, 127)).astype(np.int8)


OPERATOR = _tables.kind("RELU", lambda op: clamped(op, 0, None), source="kernels/activations.cc, QuantizedReluX")
