"""QUANTIZE."""

import numpy as np

from ...frontend import OperatorKind
from . import _tables

__all__ = ["OPERATOR"]


def _table(op):
    """int8 to int8 of another scale: two roundings."""
    sx, zx, sy, zy = _tables.integers(op)
    return np.clip(_tables.rescaled(np.arange(-128, 128) - zx, sx / sy) + zy, -128, 127).astype(np.int8)


_BYTES = _tables.kind("QUANTIZE", _table, source="reference/quantize.h, reference/requantize.h")


def golden(op, x):
    """float32: clamp(round(x / s) + z), ties away from zero; int8: requantised.  x : float32 or int8."""
    if x.dtype == np.int8:
        return _BYTES.golden(op, x)
    quantisation = op.output_quantisation[0]
    scaled = x / quantisation.scale[0]
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))
    return (np.clip(rounded.astype(np.float64) + quantisation.zero_point[0], -128, 127).astype(np.int8),)


OPERATOR = OperatorKind(
    kind="QUANTIZE", golden=golden, lower=_BYTES.lower, supports="float32 to int8 on the host; int8 to another scale",
    source=_BYTES.source,
)  # fmt: skip
