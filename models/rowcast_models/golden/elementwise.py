"""Two tensors, element by element."""

import numpy as np

from .table import look_up

__all__ = ["elementwise"]

_OPERATIONS = {"add": np.add, "mul": np.multiply}


def elementwise(kind, a, b, table_a, table_b):
    """acc = table_a[a + 128] (+ or *) table_b[b + 128].

    Parameters
    ----------
    kind : "add" or "mul".
    a, b : int8, one shape.
    table_a, table_b : int32 [256]: the operands' zero point, scale and rounding.

    Returns
    -------
    int64, the shape of a
    """
    if kind not in _OPERATIONS:
        raise ValueError(f"kind must be one of {', '.join(_OPERATIONS)}, not {kind!r}")
    return _OPERATIONS[kind](look_up(a, table_a.astype(np.int64)), look_up(b, table_b.astype(np.int64)))
