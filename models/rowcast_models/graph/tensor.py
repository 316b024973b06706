"""Tensors, and how an accumulator becomes one of their values."""

import math
from dataclasses import dataclass

import numpy as np

from rowcast.isa import PostMode

from ..golden.requantise import requantise

__all__ = ["GraphError", "Requantisation", "Tensor", "check_clamp", "frozen"]

MODES = {"tflite": PostMode.TFLITE, "onnx": PostMode.ONNX, "single": PostMode.SINGLE}


class GraphError(ValueError):
    """A node or graph that cannot be evaluated: names the node, what is wrong, and the shapes or values at hand."""



@dataclass(frozen=True)
class Tensor:
    """An int8 tensor: its name and what its values mean.

    Parameters
    ----------
    name : unique in the graph.
    shape : (N, H, W, C) or (N, C); None to have the graph infer it.
    zero_point : int8 value that represents 0.
    scale : real value of one step; documentation, no result depends on it.
    """

    name: str
    shape: tuple | None = None
    zero_point: int = 0
    scale: float | None = None

    def __post_init__(self):
        if self.shape is not None:
            shape = tuple(int(size) for size in self.shape)
            if len(shape) not in (2, 4) or min(shape) < 1:
                raise GraphError(f"tensor {self.name!r}: shape must be (N, H, W, C) or (N, C), not {self.shape!r}")
            object.__setattr__(self, "shape", shape)
        if not -128 <= self.zero_point <= 127:
            raise GraphError(f"tensor {self.name!r}: zero_point must be from -128 to 127, not {self.zero_point!r}")

    @property
    def features(self):
        """Elements of one batch item."""
        return math.prod(self.shape[1:])


def frozen(value, dtype, what, ndim):
    """A read-only array of `ndim` dimensions; refuses values that do not fit `dtype`."""
    given = np.asarray(value)
    array = given.astype(dtype)
    if given.dtype != array.dtype and not np.array_equal(array, given):
        raise GraphError(f"{what} must fit {np.dtype(dtype).name}, not {given.min()}..{given.max()} ({given.dtype})")
    if array.ndim != ndim:
        raise GraphError(f"{what} must have {ndim} dimensions, not shape {array.shape}")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False, kw_only=True)
class Requantisation:
    """How an int32 accumulator becomes int8.

        y = clamp(requantise(acc, multiplier[m], shift[m]) + zero_point, low, high)

    and then table[y + 128] if there is a table.

    Parameters
    ----------
    mode : "tflite", "onnx" or "single": the rounding, `golden.requantise.requantise_tflite` and so on.
    multiplier : int32 [M], or [1] for all channels; from 0 to 2**31 - 1 ("onnx": 2**24 - 1).
    shift : int32, same shape, right.  The real scale is multiplier * 2**-(31 + shift) for "tflite", else
        multiplier * 2**-shift.
    zero_point : added after scaling; of the output tensor, or of the table's argument.
    low, high : clamp.
    table : int8 [256], entry y + 128 is the result for y, or None.
    """

    mode: str
    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int = 0
    low: int = -128
    high: int = 127
    table: np.ndarray | None = None

    def __post_init__(self):
        if self.mode not in MODES:
            raise GraphError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}")
        for name in ("multiplier", "shift"):
            object.__setattr__(self, name, frozen(np.atleast_1d(getattr(self, name)), np.int32, name, 1))
        if self.multiplier.shape != self.shift.shape:
            raise GraphError(f"shift must have multiplier's shape {self.multiplier.shape}, not {self.shift.shape}")
        try:
            requantise(0, self.multiplier, self.shift, self.post_mode)
        except ValueError as error:
            raise GraphError(str(error)) from None
        if not -256 <= self.zero_point <= 255:
            raise GraphError(f"zero_point must be from -256 to 255, not {self.zero_point!r}")
        check_clamp(self)

    @property
    def post_mode(self):
        """The mode as the hardware names it."""
        return MODES[self.mode]


def check_clamp(owner):
    """Check `low`, `high` and `table`, and freeze the table."""
    if not -128 <= owner.low <= owner.high <= 127:
        raise GraphError(f"low and high must be -128 <= low <= high <= 127, not {owner.low!r} and {owner.high!r}")
    if owner.table is not None:
        table = frozen(owner.table, np.int8, "table", 1)
        if table.shape != (256,):
            raise GraphError(f"table must have 256 entries, not {table.size}")
        object.__setattr__(owner, "table", table)
