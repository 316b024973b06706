"""Average pooling as ONNX Runtime's QLinearAveragePool and QLinearGlobalAveragePool compute it."""

import numpy as np

from ... import graph as g
from ...golden.requantise import quantise_multiplier_onnx
from . import _pooling
from ._arithmetic import bytes_quantised, clamp, dequantise, limits_of, output_dtype, zero_point

__all__ = ["golden", "golden_global", "lower", "lower_global"]


def _float_windows(op, x):
    """float32 sums of the windows, element after element, and how many of them count."""
    fields = _pooling.window(op, x.shape)
    image = _pooling.spatial(dequantise(x, op.input_quantisation[0]))
    image, padding = _pooling.crop(image, fields["padding"])
    inside = np.ones((1, *image.shape[1:3], 1), np.int32)
    pads = op.attributes["pads"]
    padded = np.pad(image, ((0, 0), *padding, (0, 0)))
    if op.attributes["count_include_pad"]:  # what ceil mode adds behind does not count
        rank = len(pads) // 2
        given = [(pads[i], pads[i + rank]) for i in range(rank)]
        given = [(0, 0), *given] if rank == 1 else given
        more = [(max(fit[0] - have[0], 0), max(fit[1] - have[1], 0)) for fit, have in zip(padding, given, strict=True)]
        have = [(min(a[0], b[0]), min(a[1], b[1])) for a, b in zip(padding, given, strict=True)]
        counted = np.pad(np.pad(inside, ((0, 0), *have, (0, 0)), constant_values=1), ((0, 0), *more, (0, 0)))
    else:
        counted = np.pad(inside, ((0, 0), *padding, (0, 0)))
    total, count = np.float32(0), 0
    (r, s), (down, across) = fields["window"], fields["stride"]
    for i in range(r):
        for k in range(s):
            rows = slice(i, i + padded.shape[1] - r + 1, down)
            columns = slice(k, k + padded.shape[2] - s + 1, across)
            total = total + padded[:, rows, columns]
            count = count + counted[:, rows, columns]
    return total, count


def golden(op, x):
    """rint(sum / n / sy + zy) in float32, sum of the dequantised elements in the window's order, then the clamp.

    x : int8 or uint8 [N, C, H, W] or [N, C, L].
    """
    output = op.output_quantisation[0]
    total, count = _float_windows(op, x)
    average = total / count.astype(np.float32)
    made = np.rint(average / output.scale[0] + np.float32(zero_point(output))).astype(np.float64)
    dtype = output_dtype(op, x.dtype)
    made = np.clip(made, *limits_of(op, dtype)).astype(dtype)
    return (_pooling.as_model(made, x.ndim),)


def _posts(op, build, counts):
    """Requantisation whose entry n - 1 is for windows of n elements, or of one entry for all."""
    x, y = (q.scale[0] for q in (op.input_quantisation[0], op.output_quantisation[0]))
    pairs = [quantise_multiplier_onnx(np.float32(np.float64(x) / (np.float64(y) * n))) for n in counts]
    multiplier, shift = np.array(pairs).T
    return g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift, **clamp(op, build))


def lower(op, build):
    """An AveragePool whose multipliers contain 1 / n."""
    _pooling.check(op)
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "input and output")
    image = build.image(op, 0)
    shape = build.value(op.inputs[0]).shape
    fields = _pooling.window(op, shape)
    (top, bottom), (left, right) = fields["padding"]
    fields["padding"] = ((top, max(bottom, 0)), (left, max(right, 0)))
    most = fields["window"][0] * fields["window"][1]
    if op.attributes["count_include_pad"]:
        if op.attributes["ceil_mode"]:
            raise op.problem("count_include_pad with ceil_mode 1 cannot be used: windows at the end have other counts")
        counts = [most] * (most if np.any(fields["padding"]) else 1)
    else:
        counts = range(1, most + 1) if np.any(fields["padding"]) else [most]
    build.output(op, g.AveragePool, [image], **fields, post=_posts(op, build, counts))


def _global_scale(op, size):
    return np.float32(op.input_quantisation[0].scale[0]) / np.float32(op.output_quantisation[0].scale[0] * np.float32(size))


def golden_global(op, x):
    """clamp(rint(float32(sum of x - zx) * (sx / (sy * n))) + zy), the sum in int32.

    x : int8 or uint8 [N, C, ...].
    """
    size = int(np.prod(x.shape[2:]))
    acc = (x.astype(np.int64) - zero_point(op.input_quantisation[0])).sum(axis=tuple(range(2, x.ndim)), keepdims=True)
    made = np.rint(acc.astype(np.float32) * _global_scale(op, size)).astype(np.float64)
    made += zero_point(op.output_quantisation[0])
    dtype = output_dtype(op, x.dtype)
    return (np.clip(made, *limits_of(op, dtype)).astype(dtype),)


def lower_global(op, build):
    """An AveragePool over the whole ifmap."""
    if op.attributes.get("channels_last"):
        raise op.problem("channels_last must be 0")
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "input and output")
    image = build.image(op, 0)
    multiplier, shift = quantise_multiplier_onnx(_global_scale(op, image.shape[1] * image.shape[2]))
    post = g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift, **clamp(op, build))
    build.output(op, g.AveragePool, [image], window=image.shape[1:3], stride=(1, 1), post=post)
