"""AVERAGE_POOL_2D."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...golden.pooling import average_tflite, sum_pool
from . import _pooling
from ._common import activation_range

__all__ = ["OPERATOR"]


def golden(op, x):
    """(acc > 0 ? acc + n / 2 : acc - n / 2) / n of each window's n pixels inside, divisions truncating, then the clamp.

    x : int8 [N, H, W, C].
    """
    low, high = activation_range(op, op.output_quantisation[0])
    average = average_tflite(*sum_pool(x, **_pooling.window(op, x.shape)))
    return (np.clip(average, low, high).astype(np.int8),)


def lower(op, build):
    """An AveragePool."""
    image = build.image(op, 0)
    build.output(op, g.AveragePool, [image], **_pooling.window(op, image.shape), **_pooling.check(op, build))


OPERATOR = OperatorKind(
    kind="AVERAGE_POOL_2D", golden=golden, lower=lower,
    supports="int8, any window and stride, SAME or VALID, fused activations",
    source="reference_integer_ops/pooling.h",
)  # fmt: skip
