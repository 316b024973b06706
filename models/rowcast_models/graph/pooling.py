"""Nodes that reduce windows."""

import math
from dataclasses import dataclass

import numpy as np

from .node import NO_PADDING, Node, check_entries, check_padding, check_pair, window_size
from .tensor import GraphError, Requantisation, check_clamp

ACC_LIMIT = 1 << 31  # the magnitude of an int32 accumulator stays below

__all__ = ["AveragePool", "ChannelSum", "MaxPool"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Node):
    """What both kinds of pooling have."""

    window: tuple
    stride: tuple
    padding: tuple = NO_PADDING
    low: int = -128
    high: int = 127
    table: np.ndarray | None = None

    def _check(self):
        check_pair("window", self.window)
        check_pair("stride", self.stride)
        check_padding(self.padding)
        check_clamp(self)

    def _infer_shape(self, tensor):
        sizes = window_size(tensor, self.window, self.stride, (1, 1), self.padding)
        for size, outputs, window, stride, (before, _) in zip(
            tensor.shape[1:3], sizes, self.window, self.stride, self.padding
        ):
            if before >= window or (outputs - 1) * stride - before >= size:
                raise GraphError(
                    f"padding {self.padding} leaves a window of {self.window} without a pixel of {tensor.shape}"
                )
        return (tensor.shape[0], *sizes, tensor.shape[3])


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(_Pool):
    """The largest value of each window, then the clamp, then the table.  Padding never wins.

    Parameters
    ----------
    window, stride : (y, x).
    padding : ((top, bottom), (left, right)) pixels; ceil mode is padding at the bottom and the right.
    low, high : clamp.
    table : int8 [256] or None.
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePool(_Pool):
    """The average of each window's n pixels inside the ifmap.

    Without `post`, TFLite's: acc = sum of x, y = (acc > 0 ? acc + n / 2 : acc - n / 2) / n with truncating divisions,
    then the clamp, then the table; the output has the input's scale and zero point.
    With `post`: acc = sum of (x - zx), then `post`, whose multiplier contains 1 / n.

    Parameters
    ----------
    window, stride, padding, low, high, table : as in `MaxPool`; with `post`, its clamp and table are used, not these.
    post : None, or one multiplier, or R * S of them: entry n - 1 is for a window of n pixels.
    """

    post: Requantisation | None = None

    def _check(self):
        super()._check()
        if self.post is None:
            return
        pixels = math.prod(self.window)
        check_entries(self.post, (1, pixels))
        if len(self.post.multiplier) != pixels and np.any(self.padding):
            raise GraphError(
                f"post.multiplier must have {pixels} entries, not 1: windows at the padding have fewer pixels"
            )
        if (self.low, self.high) != (-128, 127) or self.table is not None:
            raise GraphError("clamp and table must be given in post, not beside it")


@dataclass(frozen=True, eq=False, kw_only=True)
class ChannelSum(Node):
    """A sum over neighbouring channels, as in local response normalisation (LRN):

        acc[n, e, f, c] = sum over c' from c - before to c + after, inside, of (x[n, e, f, c'] - zx), then `post`.

    Parameters
    ----------
    before, after : channels on either side, from 0.
    post : with one multiplier.
    """

    before: int
    after: int
    post: Requantisation

    def _check(self):
        if min(self.before, self.after) < 0:
            raise GraphError(f"before and after must be from 0, not {self.before!r} and {self.after!r}")
        check_entries(self.post, (1,))
        if (self.before + self.after + 1) * 255 >= ACC_LIMIT:
            raise GraphError(f"a sum over {self.before + self.after + 1} channels can be more than int32 holds")
