"""ELU."""

import numpy as np

from . import _tables

__all__ = ["OPERATOR"]


def _elu(x):
    return np.where(x < 0, np.expm1(x), x)


OPERATOR = _tables.kind(
    "ELU", lambda op: _tables.looked_up(op, _elu),
    source="kernels/activations.cc, a table of float32 values; LiteRT has no reference kernel to compare with",
)  # fmt: skip
