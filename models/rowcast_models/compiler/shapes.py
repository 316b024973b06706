"""Convolutions as the array does them: depthwise, in groups of whole words, or dense; weights past int8 in parts."""

from dataclasses import replace

import numpy as np

from .geometry import ConvShape, ceil_div

__all__ = ["channel_sum_shape", "conv_shape", "in_parts"]

MAX_ROWS = (1 << 14) - 1  # of an ifmap


def conv_shape(node, layout, out_layout, lanes, rows=None):
    """(ConvShape, weights int8 [parts, units, out_words x lanes, R, S, channels]) of a Conv; `rows`: Rows of its input, or None."""
    n, h, w, c = layout
    _, e, f, m = out_layout
    weights = np.asarray(node.weights)
    _, r, s, per_group = weights.shape
    words_in, words_out = ceil_div(c, lanes), ceil_div(m, lanes)
    groups = node.groups
    depthwise = groups == c == m and groups > 1
    if depthwise:
        units, in_words, out_words, channels = words_in, 1, 1, 1
        full = np.zeros((words_in * lanes, r, s, 1), weights.dtype)
        full[:m] = weights
    elif groups > 1 and per_group % lanes == 0 and (m // groups) % lanes == 0:
        units, in_words, out_words, channels = groups, per_group // lanes, m // groups // lanes, per_group
        full = weights
    else:
        units, in_words, out_words, channels = 1, words_in, words_out, c
        full = np.zeros((words_out * lanes, r, s, c), weights.dtype)
        each = m // groups
        for group in range(groups):  # groups that are not whole words become blocks of a dense filter
            full[group * each : (group + 1) * each, :, :, group * per_group : (group + 1) * per_group] = weights[
                group * each : (group + 1) * each
            ]
    full = full.reshape(units, out_words * lanes, r, s, channels)
    (top, bottom), (left, right) = node.padding
    stride, dilation = tuple(node.stride), tuple(node.dilation)
    if rows:  # padding beside them is there
        w, left = rows.words, 0
    if r == s == 1 and stride == (1, 1) and not (top or bottom or left or right):
        n, h, w, e, f = 1, 1, n * h * w, 1, n * e * f  # every pixel for itself: one long row
    padded = (
        top > 0 or left > 0
        or (e - 1) * stride[0] + (r - 1) * dilation[0] + 1 - top > h
        or not rows and (f - 1) * stride[1] + (s - 1) * dilation[1] + 1 - left > w
    )  # fmt: skip
    shape = ConvShape(
        n, h, w, e, f, r, s, stride, dilation, (top, left), units, in_words, out_words, channels, depthwise, padded
    )
    return in_parts(replace(shape, grain=(c, lanes)) if rows else shape, full)


def channel_sum_shape(before, after, layout, lanes):
    """(ConvShape, weights int8 [1, 1, lanes, 1, S, lanes]) of a sum over neighbouring channels.

    The words of a pixel are columns of an image with one word a pixel: the window slides over them, with the same weights
    of 0 and 1 everywhere.  `layout`: NHWC, the channels are whole words.
    """
    n, h, w, c = layout
    left, right = ceil_div(before, lanes), ceil_div(after, lanes)
    tap, source, target = np.ogrid[-left : right + 1, :lanes, :lanes]
    distance = lanes * tap + source - target
    weights = ((distance >= -before) & (distance <= after)).astype(np.int8).transpose(2, 0, 1)
    images, rows = (n, h * w) if h * w <= MAX_ROWS else (n * h, w)
    shape = ConvShape(
        images, rows, c // lanes, rows, c // lanes, 1, left + 1 + right, (1, 1), (1, 1), (0, left), 1, 1, 1, lanes, False,
        left + right > 0,
    )  # fmt: skip
    return shape, weights[None, None, :, None]


def in_parts(shape, weights):
    """Weights past int8 as sums of int8: the array reads the ifmap once for each part.

    Filters of one column take the parts as columns that all read the same byte; others repeat their chunks.
    """
    high, low = int(weights.max()), int(weights.min())
    count = max(1, ceil_div(high, 127), ceil_div(-low, 128))
    parts, rest = [], weights.astype(np.int16)
    for _ in range(count):
        parts.append(np.clip(rest, -128, 127).astype(np.int8))
        rest = rest - parts[-1]
    if count > 1 and shape.s == 1:
        dilation = (shape.dilation[0], 0)
        return replace(shape, s=count, dilation=dilation), np.concatenate(parts, axis=3)[None]
    return replace(shape, parts=count), np.stack(parts)
