"""Nodes that move elements and compute nothing."""

import math
from dataclasses import dataclass

import numpy as np

from .node import Node, check_padding
from .tensor import GraphError, frozen

__all__ = ["Concat", "Constant", "Pad", "Reshape", "Resize", "Select"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Node):
    """The same elements in NHWC order under another shape.

    Parameters
    ----------
    shape : without the batch: (H, W, C) or (C,); None is flat, (H * W * C,).
    """

    shape: tuple | None = None

    def _infer_shape(self, tensor):
        shape = (tensor.features,) if self.shape is None else tuple(self.shape)
        if math.prod(shape) != tensor.features:
            raise GraphError(
                f"shape must have the {tensor.features} elements of {tensor.name!r} {tensor.shape}, not {shape}"
            )
        return (tensor.shape[0], *shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Node):
    """Tensors one after the other along the channels, each through its table if it has one (to change its scale).

    Parameters
    ----------
    tables : for each input int8 [256] or None; () is none for any.
    """

    tables: tuple = ()

    num_inputs = None

    def _check(self):
        tables = tuple(self.tables) or (None,) * len(self.inputs)
        if not self.inputs or len(tables) != len(self.inputs):
            raise GraphError(f"tables must have an entry for each of {len(self.inputs)} inputs, not {len(tables)}")
        tables = tuple(None if table is None else frozen(table, np.int8, "table", 1) for table in tables)
        if any(table is not None and len(table) != 256 for table in tables):
            raise GraphError("a table must have 256 entries")
        object.__setattr__(self, "tables", tables)

    def _infer_shape(self, *tensors):
        if len({tensor.shape[:-1] for tensor in tensors}) != 1:
            raise GraphError(f"inputs must be equal but for the channels, not {[tensor.shape for tensor in tensors]}")
        return (*tensors[0].shape[:-1], sum(tensor.shape[-1] for tensor in tensors))


def _positions(value, name):
    """A non-empty vector of integers from 0."""
    positions = frozen(value, np.int64, name, 1)
    if not positions.size or positions.min() < 0:
        raise GraphError(f"{name} must be positions from 0, not {positions.tolist()!r}")
    return positions


def _inside(positions, size, name, tensor):
    if positions.max() >= size:
        raise GraphError(f"{name} must be below {size} for input {tensor.name!r} {tensor.shape}, not {positions.max()}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Select(Node):
    """y[..., m] = x[..., channels[m]]: channels in another order, some of them, or some of them twice.

    Parameters
    ----------
    channels : integers [M].
    """

    channels: np.ndarray

    def _check(self):
        object.__setattr__(self, "channels", _positions(self.channels, "channels"))

    def _infer_shape(self, tensor):
        _inside(self.channels, tensor.shape[-1], "channels", tensor)
        return (*tensor.shape[:-1], len(self.channels))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Node):
    """The ifmap with a border of one value.

    Parameters
    ----------
    padding : ((top, bottom), (left, right)) pixels.
    value : int8 of the border, in every channel.
    """

    padding: tuple
    value: int

    def _check(self):
        check_padding(self.padding)
        if not -128 <= self.value <= 127:
            raise GraphError(f"value must be from -128 to 127, not {self.value!r}")

    def _infer_shape(self, tensor):
        if len(tensor.shape) != 4:
            raise GraphError(f"input {tensor.name!r} must be (N, H, W, C), not {tensor.shape}")
        n, height, width, channels = tensor.shape
        return (n, height + sum(self.padding[0]), width + sum(self.padding[1]), channels)


@dataclass(frozen=True, eq=False, kw_only=True)
class Resize(Node):
    """y[n, e, f, c] = x[n, rows[e], columns[f], c]: nearest neighbours, crops, a pixel for all pixels.

    Parameters
    ----------
    rows, columns : integers [E] and [F].
    """

    rows: np.ndarray
    columns: np.ndarray

    def _check(self):
        for name in ("rows", "columns"):
            object.__setattr__(self, name, _positions(getattr(self, name), name))

    def _infer_shape(self, tensor):
        if len(tensor.shape) != 4:
            raise GraphError(f"input {tensor.name!r} must be (N, H, W, C), not {tensor.shape}")
        _inside(self.rows, tensor.shape[1], "rows", tensor)
        _inside(self.columns, tensor.shape[2], "columns", tensor)
        return (tensor.shape[0], len(self.rows), len(self.columns), tensor.shape[3])


@dataclass(frozen=True, eq=False, kw_only=True)
class Constant(Node):
    """A tensor of the model, the same for every batch item.  It takes no input.

    Parameters
    ----------
    values : int8 [N, H, W, C] or [N, C]; N is the graph's batch, and all items are equal.
    """

    values: np.ndarray

    num_inputs = 0

    def _check(self):
        object.__setattr__(self, "values", frozen(self.values, np.int8, "values", np.ndim(self.values)))
        if self.values.ndim not in (2, 4) or not self.values.size:
            raise GraphError(f"values must be (N, H, W, C) or (N, C), not {self.values.shape}")
        if np.any(self.values != self.values[:1]):
            raise GraphError("values must be equal for every batch item")

    def _infer_shape(self):
        return self.values.shape
