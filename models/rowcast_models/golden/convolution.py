"""Convolution and fully connected layers: exact accumulators, at the speed of floating-point BLAS.

float32 arithmetic on integers is exact as long as no partial sum, in whatever order, passes 2^24.  So the dot products
are cut into pieces so short that weights at their extremes stay below, and the pieces are added in float64, exact
to 2^53.  That is twice as fast as float64 throughout, and the ifmap never decides it.
"""

import itertools

import numpy as np

__all__ = ["convolution", "fully_connected"]

PATCH_BYTES = 1 << 23  # patches gathered at a time: stays near the caches, and VGG's do not fill the memory


def _pieces(length, zero_point, weights):
    """Slices of a dot product of `length`, of about equal size, each exact in float32."""
    furthest = max(127 - zero_point, 128 + zero_point)
    largest = 128 if weights.dtype == np.int8 else int(np.abs(weights).max(initial=1))
    longest = ((1 << 24) - 1) // (furthest * largest)
    count = -(-length // longest)
    edges = [length * i // count for i in range(count + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


def _product(left, pieces, filters):
    """left float32 [P, K] by filters, float32 [M, k] for each piece of K: float64 [P, M], integers."""
    total = np.zeros((len(left), len(filters[0])))
    for piece, matrix in zip(pieces, filters):
        total += left[:, piece] @ matrix.T
    return total


def _filters(flat, pieces):
    """int8 [M, K] as `_product` takes it."""
    return [flat[:, piece].astype(np.float32) for piece in pieces]


def fully_connected(x, zero_point, weights, bias):
    """acc[n, m] = bias[m] + sum over k of (x[n, k] - zero_point) * weights[m, k].

    Parameters
    ----------
    x : int8 [N, ...], flattened to [N, K].
    zero_point : of x.
    weights : int8 or int16 [M, K].
    bias : int32 [M].

    Returns
    -------
    int64 [N, M]
    """
    centred = x.reshape(len(x), -1).astype(np.float32) - np.float32(zero_point)
    pieces = _pieces(centred.shape[1], zero_point, weights)
    return _product(centred, pieces, _filters(weights, pieces)).astype(np.int64) + bias


def convolution(x, zero_point, weights, bias, *, stride, dilation, padding, groups):
    """acc[n, e, f, m] = bias[m] + sum over r, s, c of (pixel - zero_point) * weights[m, r, s, c].

    pixel = x[n, e * sy + r * dy - top, f * sx + s * dx - left, g * C' + c] or, outside of x, zero_point;
    C' = C / groups and g = m * groups // M.

    Parameters
    ----------
    x : int8 [N, H, W, C].
    zero_point : of x.
    weights : int8 or int16 [M, R, S, C / groups].
    bias : int32 [M].
    stride, dilation : (y, x).
    padding : ((top, bottom), (left, right)).
    groups : depthwise if it is C.

    Returns
    -------
    int64 [N, E, F, M]
    """
    windowed = (stride, dilation, padding)
    if groups == x.shape[3] > 1:
        return _depthwise(x, zero_point, weights, *windowed) + bias
    if groups == 1:
        return _dense(x, zero_point, weights, *windowed) + bias
    parts = zip(np.split(x, groups, axis=3), np.split(weights, groups))
    return np.concatenate([_dense(part, zero_point, filters, *windowed) for part, filters in parts], axis=3) + bias


def _centred(x, zero_point, padding, kind):
    """x - zero_point with a border of zeros, in the type `kind`."""
    n, height, width, channels = x.shape
    (top, bottom), (left, right) = padding
    result = np.zeros((n, height + top + bottom, width + left + right, channels), kind)
    np.subtract(x, zero_point, out=result[:, top : top + height, left : left + width], dtype=kind, casting="unsafe")
    return result


def _windows(padded, kernel, stride, dilation):
    """A view [N, E, F, R, S, C] of [N, H, W, C]."""
    spans = tuple((taps - 1) * spread + 1 for taps, spread in zip(kernel, dilation))
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(1, 2))
    view = view[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    return view.transpose(0, 1, 2, 4, 5, 3)


def _dense(x, zero_point, weights, stride, dilation, padding):
    """Rows of ofmap pixels as matrix products: patches [rows * F, R * S * C] by filters [R * S * C, M]."""
    filters, *kernel, _ = weights.shape
    flat = weights.reshape(filters, -1)
    length = flat.shape[1]
    pieces = _pieces(length, zero_point, weights)
    matrices = _filters(flat, pieces)
    windows = _windows(_centred(x, zero_point, padding, np.float32), kernel, stride, dilation)
    batch, height, width = windows.shape[:3]
    acc = np.empty((batch, height, width, filters), np.int64)
    rows = max(1, PATCH_BYTES // (width * length * 4))
    for n in range(batch):
        for start in range(0, height, rows):
            patches = windows[n, start : start + rows].reshape(-1, length)
            acc[n, start : start + rows] = _product(patches, pieces, matrices).reshape(-1, width, filters)
    return acc


def _depthwise(x, zero_point, weights, stride, dilation, padding):
    """One input channel to a filter: a product a tap, no matrix in it.  Channel c has the filters from c * M / C on."""
    filters, *kernel, _ = weights.shape
    multiple = filters // x.shape[3]
    windows = _windows(_centred(x, zero_point, padding, np.int32), kernel, stride, dilation)
    acc = np.zeros(
        (*windows.shape[:3], filters), np.int32
    )  # R * S products of 255 * 128: the graph has checked the sum
    for r in range(kernel[0]):
        for s in range(kernel[1]):
            tap = windows[:, :, :, r, s]
            acc += (np.repeat(tap, multiple, axis=3) if multiple > 1 else tap) * weights[:, r, s, 0].astype(np.int32)
    return acc.astype(np.int64)
