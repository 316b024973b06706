"""Functions a * x + b of a byte, another for every channel, exactly as a float computation rounds them.

A depthwise 1x1 convolution computes round((W * (x - zx) + bias) * multiplier * 2^-shift) + zy.  A byte has 256 values, so
whether that is a given function can be tried out: W is as large as the array takes it, so that the bias is fine enough,
and others are tried until every value agrees.
"""

import numpy as np

from ... import graph as g
from ...golden.requantise import requantise_single
from ...graph.convolution import MAX_WEIGHT

__all__ = ["fit", "lower_affine"]

_EVERY = np.arange(-128, 128)
_TRIES = [MAX_WEIGHT - 7 * i for i in range(120)]


def fit(target, slope, intercept, zero_point, output_zero_point, low, high):
    """Weights, biases, multipliers and shifts that give `target` for every byte.

    Parameters
    ----------
    target : int [C, 256], the wanted bytes of the graph for x from -128.
    slope, intercept : float64 [C]: target is about rint(slope * (x - zero_point) + intercept) + output_zero_point.
    zero_point, output_zero_point, low, high : of the graph's input and output.

    Returns
    -------
    weights int16 [C], bias int64 [C], multiplier int64 [C], shift int64 [C]; and bool [C]: whether it was found.
    """
    channels = len(target)
    x = (_EVERY - zero_point)[None, :]
    made = np.zeros((4, channels), np.int64)
    missing = np.arange(channels)
    for weight in _TRIES:
        for nudge in (0, -1, 1):
            if not len(missing):
                break
            w, bias, multiplier, shift = _candidate(slope[missing], intercept[missing], weight, nudge)
            acc = w[:, None] * x + bias[:, None]
            got = requantise_single(acc, multiplier[:, None], shift[:, None]) + output_zero_point
            right = np.all(np.clip(got, low, high) == target[missing], axis=1)
            made[:, missing[right]] = np.array([w, bias, multiplier, shift])[:, right]
            missing = missing[~right]
    found = np.ones(channels, bool)
    found[missing] = False
    return made[0].astype(np.int16), made[1], made[2], made[3], found


def _candidate(slope, intercept, weight, nudge):
    """The four numbers of every channel for a weight of this size."""
    steep = np.abs(slope)
    flat = steep * 256 < np.abs(intercept) * 2.0**-20  # the bias would not fit; the function is constant
    flat |= steep < 2.0**-40
    room = np.where(flat, 1, np.abs(intercept) / np.where(flat, 1, steep))
    size = np.where(flat, 0, np.clip(np.floor((1 << 30) / np.maximum(room, 1)), 1, weight)).astype(np.int64)
    scale = np.where(flat, 2.0**-10, steep / np.maximum(size, 1))
    fraction, exponent = np.frexp(scale)
    multiplier = np.minimum(np.floor(fraction * (1 << 31) + 0.5), (1 << 31) - 1).astype(np.int64)
    shift = 31 - exponent.astype(np.int64)
    small = shift > 62
    multiplier, shift = np.where(small, 0, multiplier), np.where(small, 62, np.maximum(shift, 0))
    bias = np.clip(np.rint(intercept / scale), -(1 << 30), 1 << 30).astype(np.int64) + nudge
    return np.sign(slope).astype(np.int64) * size, bias, multiplier, shift


def lower_affine(op, build, image, target, slope, intercept, **post):
    """The Conv node that makes output 0 of an operator.

    Parameters
    ----------
    image : graph tensor [N, H, W, C].
    target, slope, intercept : as in `fit`.
    post : zero_point, low, high of the graph's output.
    """
    weights, bias, multiplier, shift, found = fit(
        target, slope, intercept, image.zero_point, post["zero_point"], post["low"], post["high"]
    )
    if not np.all(found):
        raise op.problem(
            f"channel {int(np.flatnonzero(~found)[0])} has a scale or shift that no fixed-point product gives exactly for "
            "every byte; fold the operator into a convolution before quantising (`rowcast quantise` does)"
        )
    build.output(
        op, g.Conv, [image], weights=weights[:, None, None, None], bias=bias,
        post=g.Requantisation(mode="single", multiplier=multiplier, shift=shift, **post), groups=len(weights),
    )  # fmt: skip
