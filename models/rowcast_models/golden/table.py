"""Tables of 256 entries: any function of one int8."""

import numpy as np

__all__ = ["clamp_and_look_up", "look_up"]


def look_up(x, table):
    """table[x + 128], in the table's type.

    Parameters
    ----------
    x : int8, any shape.
    table : [256].
    """
    return np.asarray(table)[x.astype(np.int64) + 128]


def clamp_and_look_up(x, low, high, table):
    """What follows an operation that keeps its scale: clamp to low..high, then the table if there is one.

    Parameters
    ----------
    x : integers, any shape.
    low, high : from -128 to 127.
    table : int8 [256] or None.

    Returns
    -------
    int8, the shape of x
    """
    clamped = np.clip(x, low, high).astype(np.int8)
    return clamped if table is None else look_up(clamped, table)
