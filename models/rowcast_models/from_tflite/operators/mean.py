"""MEAN."""

import math

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...frontend.build import View, default_axes
from ...golden.requantise import requantise_tflite
from . import _tables
from ._common import check_bytes, check_constant, multipliers, quantised_by_tensor

__all__ = ["OPERATOR"]


def _axes(array, rank):
    return sorted({int(axis) % rank for axis in array.reshape(-1)})


def _multiplier(op, count):
    """(multiplier, right shift) of sx / sy with the division by `count` in it, as the kernel makes them."""
    sx, _, sy, _ = _tables.integers(op)
    multiplier, right = (int(v[0]) for v in multipliers(sx / sy))
    shift = min(count.bit_length() - 1, 32, 31 - right)
    return (multiplier << shift) // count, right + shift


def golden(op, x, axes):
    """Sum of x - zx, requantised by sx / (sy * n): the 31-bit multiplier is divided by n.  x : int8; axes : integers."""
    _, zx, _, zy = _tables.integers(op)
    axes = tuple(_axes(axes, x.ndim))
    count = math.prod(x.shape[axis] for axis in axes)
    acc = (x.astype(np.int64) - zx).sum(axis=axes, keepdims=bool(op.attributes["keep_dims"]))
    return (np.clip(requantise_tflite(acc, *_multiplier(op, count)) + zy, -128, 127).astype(np.int8),)


def lower(op, build):
    """An AveragePool over rows and columns; a Conv with weights of 1 where channels are summed too."""
    check_bytes(op, build)
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        quantised_by_tensor(op, quantisation, "input and output")
    rank = len(build.value(op.inputs[0]).shape)
    axes = _axes(check_constant(op, build, 1, "axes"), rank)
    if 0 in axes or not axes or rank > 4:
        raise op.problem(f"axes {axes} of {rank} must be some of 1, 2, 3 of at most four: [N, H, W, C]")
    image, places = build.image(op, 0), default_axes(build.model.format, rank)
    height, width, channels = (
        size if set(axes) & set(place) else 1
        for size, place in zip(image.shape[1:], (places.height, places.width, places.channels), strict=True)
    )
    multiplier, shift = _multiplier(op, height * width * channels)
    post = g.Requantisation(mode="tflite", multiplier=multiplier, shift=shift, zero_point=_tables.integers(op)[3])
    shape = tuple(build.value(op.outputs[0]).shape[1:])
    view = View("", shape, positions=np.arange(math.prod(shape)).reshape(shape))
    if rank - 1 in axes:
        weights = np.ones((1, height, width, image.shape[3]), np.int8)
        build.output(op, g.Conv, [image], view=view, weights=weights, bias=np.zeros(1, np.int32), post=post)
    else:
        build.output(op, g.AveragePool, [image], view=view, window=(height, width), stride=(1, 1), post=post)


OPERATOR = OperatorKind(
    kind="MEAN", golden=golden, lower=lower, supports="int8, any of up to 4 axes but the batch, any scales",
    source="reference_integer_ops/mean.h",
)  # fmt: skip
