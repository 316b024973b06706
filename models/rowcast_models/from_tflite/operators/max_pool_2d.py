"""MAX_POOL_2D."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...golden.pooling import max_pool
from . import _pooling
from ._common import activation_range

__all__ = ["OPERATOR"]


def golden(op, x):
    """The largest byte of each window's pixels inside, then the fused activation's clamp.  x : int8 [N, H, W, C]."""
    low, high = activation_range(op, op.output_quantisation[0])
    return (np.clip(max_pool(x, **_pooling.window(op, x.shape)), low, high).astype(np.int8),)


def lower(op, build):
    """A MaxPool."""
    image = build.image(op, 0)
    build.output(op, g.MaxPool, [image], **_pooling.window(op, image.shape), **_pooling.check(op, build))


OPERATOR = OperatorKind(
    kind="MAX_POOL_2D", golden=golden, lower=lower, supports="int8, any window and stride, SAME or VALID, fused activations",
    source="reference_integer_ops/pooling.h",
)  # fmt: skip
