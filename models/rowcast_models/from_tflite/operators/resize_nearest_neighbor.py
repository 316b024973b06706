"""RESIZE_NEAREST_NEIGHBOR."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ._common import check_bytes

__all__ = ["OPERATOR"]


def _positions(op, size, made):
    """`GetNearestNeighbor`, in float32."""
    corners, half = op.attributes["align_corners"], op.attributes["half_pixel_centers"]
    scale = np.float32(size - 1) / np.float32(made - 1) if corners and made > 1 else np.float32(size) / np.float32(made)
    x = (np.arange(made, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    picked = np.floor(x + np.float32(0.5)) if corners else np.floor(x)
    return np.clip(picked.astype(np.int64), 0, size - 1)


def golden(op, x, size):
    """The nearest pixel of every output pixel.  x : int8 [N, H, W, C]; size : int32 [2]."""
    rows, columns = (_positions(op, *axis) for axis in zip(x.shape[1:3], size.tolist(), strict=True))
    return (x[:, rows[:, None], columns[None, :]],)


def lower(op, build):
    """A Resize."""
    check_bytes(op, build)
    image, made = build.image(op, 0), build.value(op.outputs[0]).shape
    rows, columns = (_positions(op, *axis) for axis in zip(image.shape[1:3], made[1:3], strict=True))
    build.output(op, g.Resize, [image], rows=rows, columns=columns)


OPERATOR = OperatorKind(
    kind="RESIZE_NEAREST_NEIGHBOR", golden=golden, lower=lower, supports="int8, align_corners, half_pixel_centers",
    source="reference/resize_nearest_neighbor.h",
)  # fmt: skip
