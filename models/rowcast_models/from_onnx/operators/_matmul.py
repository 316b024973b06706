"""What the quantised matrix products share: rows times constant weights."""

import numpy as np

from ... import graph as g
from ...frontend.build import Axes, View
from ...golden.convolution import fully_connected
from ._arithmetic import bytes_quantised, centred_weights, combined_scale, constant, requantisation, requantised, zero_point

__all__ = ["accumulate", "golden", "lower", "lower_rows"]


def accumulate(op, x, weights, bias=None):
    """int64 [..., M] of x [..., K] and weights [K, M]: bias + sum over k of (x - zx) * (w - zw)."""
    centred = centred_weights(weights, op.input_quantisation[1], axis=1)
    zero = zero_point(op.input_quantisation[0])
    if x.dtype == np.uint8:
        x, zero = (x.astype(np.int16) - 128).astype(np.int8), zero - 128
    bias = np.zeros(weights.shape[1], np.int64) if bias is None else bias.reshape(-1)
    acc = fully_connected(x.reshape(-1, weights.shape[0]), zero, centred.T, bias)
    return acc.reshape(*x.shape[:-1], weights.shape[1])


def golden(op, x, weights, bias=None):
    """clamp(rint(float32(acc) * sx*sw/sy) + zy), acc = bias + sum over k of (x - zx) * (w - zw).

    Parameters
    ----------
    x : int8 or uint8 [..., K].
    weights : int8 or uint8 [K, M].
    bias : int32 [M] or None.
    """
    return (requantised(accumulate(op, x, weights, bias), combined_scale(op), op, op.attributes.get("output_dtype", x.dtype)),)


def lower(op, build, weights=None, bias=None, scale=None):
    """A FullyConnected over batch items; rows inside an item are pixels of a 1x1 Conv.  `weights` [K, M]."""
    bytes_quantised(op, op.input_quantisation[0], "the input")

    def line(columns):
        post = requantisation(op, build, combined_scale(op) if scale is None else scale)
        return np.ones(columns, np.int64), np.zeros(columns, np.int32) if bias is None else bias.reshape(-1), post

    lower_rows(op, build, line, weights)


def lower_rows(op, build, line, weights=None):
    """As `lower`; line(columns) -> (sign [columns], bias [columns], Requantisation) of sign * sum + bias."""
    weights = constant(op, build, 1, "one of the factors") if weights is None else weights
    bytes_quantised(op, op.output_quantisation[0], "the output")
    if weights.ndim != 2:
        raise op.problem(f"the constant factor {weights.shape} must have two axes")
    sign, bias, post = line(weights.shape[1])
    centred = centred_weights(weights, op.input_quantisation[1], axis=1).T
    if np.any(sign < 0):
        centred = centred * sign[:, None].astype(np.int16)
    rank = len(build.value(op.inputs[0]).shape)
    if rank == 2:
        tensor, positions = build.rows(op, 0)
        arranged = np.take(centred, np.argsort(positions), axis=1)
        build.output(op, g.FullyConnected, [tensor], weights=arranged, bias=bias, post=post)
        return
    axes = Axes(tuple(range(1, rank - 2)), (rank - 2,), (rank - 1,))
    view = View("", tuple(build.value(op.outputs[0]).shape[1:]), axes)
    image = build.image(op, 0, axes)
    build.output(op, g.Conv, [image], view=view, weights=centred[:, None, None, :], bias=bias, post=post)
