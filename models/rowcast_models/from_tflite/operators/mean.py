"""MEAN over rows and columns."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...golden.requantise import requantise_tflite
from . import _tables
from ._common import check_bytes, check_constant, multipliers, quantised_by_tensor

__all__ = ["OPERATOR"]


def _multiplier(op, count):
    """(multiplier, right shift) of sx / sy with the division by `count` in it, as the kernel makes them."""
    sx, _, sy, _ = _tables.integers(op)
    multiplier, right = (int(v[0]) for v in multipliers(sx / sy))
    shift = min(count.bit_length() - 1, 32, 31 - right)
    return (multiplier << shift) // count, right + shift


def golden(op, x, axes):
    """Sum of x - zx, requantised by sx / (sy * n): the 31-bit multiplier is divided by n.  x : int8 [N, H, W, C]."""
    _, zx, _, zy = _tables.integers(op)
    axes = tuple(int(axis) % x.ndim for axis in axes.reshape(-1))
    count = int(np.prod([x.shape[axis] for axis in axes]))
    acc = (x.astype(np.int64) - zx).sum(axis=axes, keepdims=bool(op.attributes["keep_dims"]))
    return (np.clip(requantise_tflite(acc, *_multiplier(op, count)) + zy, -128, 127).astype(np.int8),)


def lower(op, build):
    """An AveragePool over the whole ifmap."""
    check_bytes(op, build)
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        quantised_by_tensor(op, quantisation, "input and output")
    axes = check_constant(op, build, 1, "axes")
    rank = len(build.value(op.inputs[0]).shape)
    if rank != 4 or sorted(int(axis) % rank for axis in axes.reshape(-1)) != [1, 2]:
        raise op.problem(f"axes {axes.reshape(-1).tolist()} must be rows and columns, 1 and 2, of [N, H, W, C]")
    image = build.image(op, 0)
    multiplier, shift = _multiplier(op, image.shape[1] * image.shape[2])
    post = g.Requantisation(mode="tflite", multiplier=multiplier, shift=shift, zero_point=_tables.integers(op)[3])
    build.output(op, g.AveragePool, [image], window=image.shape[1:3], stride=(1, 1), post=post)


OPERATOR = OperatorKind(
    kind="MEAN", golden=golden, lower=lower, supports="int8, over rows and columns, any scales", source="reference_integer_ops/mean.h"
)
