"""Pooling: windows of pixels, channel by channel; padding is left out."""

import numpy as np

__all__ = ["channel_sum", "average_tflite", "max_pool", "sum_pool"]


def _padded(x, padding, value, kind):
    return np.pad(x.astype(kind), ((0, 0), *padding, (0, 0)), constant_values=value)


def _taps(padded, window, stride):
    """The pixels (r, s) of all windows, one view [N, E, F, C] after the other."""
    height, width = ((size - taps) // step + 1 for size, taps, step in zip(padded.shape[1:3], window, stride))
    for r in range(window[0]):
        for s in range(window[1]):
            rows = slice(r, r + (height - 1) * stride[0] + 1, stride[0])
            columns = slice(s, s + (width - 1) * stride[1] + 1, stride[1])
            yield padded[:, rows, columns]


def max_pool(x, *, window, stride, padding):
    """The largest value of each window; padding never wins.

    Parameters
    ----------
    x : int8 [N, H, W, C].
    window, stride : (y, x).
    padding : ((top, bottom), (left, right)); every window has a pixel inside.

    Returns
    -------
    int8 [N, E, F, C]
    """
    taps = _taps(_padded(x, padding, -128, np.int8), window, stride)
    largest = next(taps).copy()
    for tap in taps:
        np.maximum(largest, tap, out=largest)
    return largest


def sum_pool(x, *, window, stride, padding, zero_point=0):
    """The sum of (x - zero_point) over each window's pixels inside the ifmap, and their number.

    Parameters as in `max_pool`.

    Returns
    -------
    acc : int32 [N, E, F, C]
    count : int32 [1, E, F, 1]
    """
    centred = x.astype(np.int32) - zero_point
    inside = np.ones((1, *x.shape[1:3], 1), np.int32)
    acc = sum(_taps(_padded(centred, padding, 0, np.int32), window, stride))
    return acc, sum(_taps(_padded(inside, padding, 0, np.int32), window, stride))


def average_tflite(acc, count):
    """TFLite's `(acc > 0 ? acc + count / 2 : acc - count / 2) / count`, both divisions truncating
    (`reference_integer_ops/pooling.h`): to nearest, ties away from zero.

    Parameters
    ----------
    acc, count : integers, broadcast.

    Returns
    -------
    the type of acc
    """
    return np.sign(acc) * ((np.abs(acc) + count // 2) // count)


def channel_sum(x, zero_point, before, after):
    """acc[..., c] = sum over c' from c - before to c + after, inside, of (x[..., c'] - zero_point).

    Parameters
    ----------
    x : int8 [..., C].

    Returns
    -------
    int64 [..., C]
    """
    channels = x.shape[-1]
    # Entry i is the sum of the channels before i.
    total = np.zeros((*x.shape[:-1], channels + 1), np.int64)
    np.cumsum(x.astype(np.int64) - zero_point, axis=-1, out=total[..., 1:])
    c = np.arange(channels)
    return total[..., np.minimum(c + after, channels - 1) + 1] - total[..., np.maximum(c - before, 0)]
