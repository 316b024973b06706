"""What the quantised convolutions share, whatever their spelling."""

import numpy as np

from ... import graph as g
from ...golden.convolution import convolution
from ._arithmetic import bytes_quantised, centred_weights, combined_scale, constant, requantisation, requantised, zero_point

__all__ = ["accumulate", "golden", "lower", "weights_of", "window"]


def window(op, rank):
    """Fields of a Conv node; one spatial axis is a row."""
    a = op.attributes
    pads, strides, dilations = a["pads"], a["strides"], a["dilations"]
    if rank == 1:
        return {"stride": (1, strides[0]), "dilation": (1, dilations[0]), "padding": ((0, 0), tuple(pads))}
    return {
        "stride": tuple(strides), "dilation": tuple(dilations), "padding": ((pads[0], pads[2]), (pads[1], pads[3])),
    }  # fmt: skip


def weights_of(op, weights):
    """[M, R, S, C / groups] of [M, C / groups, (R,) S], its zero point subtracted."""
    centred = centred_weights(weights, op.input_quantisation[1])
    if weights.ndim == 3:
        centred = centred[:, :, None]
    return centred.transpose(0, 2, 3, 1)


def accumulate(op, x, weights, bias):
    """int64 [N, M, (E,) F]: bias + sum of (x - zx) * (w - zw)."""
    rank = x.ndim - 2
    image = x if rank == 2 else x[:, :, None]
    zero = zero_point(op.input_quantisation[0])
    if x.dtype == np.uint8:
        image, zero = (image.astype(np.int16) - 128).astype(np.int8), zero - 128
    bias = np.zeros(len(weights), np.int64) if bias is None else bias
    acc = convolution(
        image.transpose(0, 2, 3, 1), zero, weights_of(op, weights), bias, groups=op.attributes["group"], **window(op, rank)
    )
    acc = acc.transpose(0, 3, 1, 2)
    return acc if rank == 2 else acc[:, :, 0]


def golden(op, x, weights, bias=None):
    """clamp(rint(float32(acc) * sx*sw/sy) + zy), acc = bias + sum of (x - zx) * (w - zw); scales per filter or one.

    Parameters
    ----------
    x : int8 or uint8 [N, C, H, W] or [N, C, L].
    weights : int8 or uint8 [M, C / groups, R, S].
    bias : int32 [M] or None.
    """
    acc = accumulate(op, x, weights, bias)
    scale = combined_scale(op).reshape(-1, *[1] * (x.ndim - 2))
    dtype = op.attributes.get("output_dtype", x.dtype)
    return (requantised(acc, scale, op, dtype),)


def lower(op, build):
    """A Conv."""
    weights = constant(op, build, 1, "the weights")
    bytes_quantised(op, op.input_quantisation[0], "the input")
    bytes_quantised(op, op.output_quantisation[0], "the output")
    if weights.ndim not in (3, 4):
        raise op.problem(f"weights {weights.shape} must have one or two spatial axes")
    if min(op.attributes["pads"], default=0) < 0:
        raise op.problem(f"pads {op.attributes['pads']} must not be negative")
    has_bias = len(op.inputs) > 2 and op.inputs[2]
    bias = constant(op, build, 2, "the bias") if has_bias else np.zeros(len(weights), np.int32)
    post = requantisation(op, build, combined_scale(op))
    build.output(
        op, g.Conv, [build.image(op, 0)], weights=weights_of(op, weights), bias=bias, post=post,
        groups=op.attributes["group"], **window(op, weights.ndim - 2),
    )  # fmt: skip
