"""What CONV_2D and DEPTHWISE_CONV_2D share: `reference_integer_ops/{conv,depthwise_conv}.h`."""

import numpy as np

from ... import graph as g
from ...golden.convolution import convolution
from ._common import (
    activation_range, check_bytes, check_constant, quantised_by_tensor, requantisation, requantised, window_padding,
)  # fmt: skip

__all__ = ["golden", "lower"]


def _scales(op):
    """Real scale of every filter: double(input) * double(filter) / double(output)."""
    source, filters = op.input_quantisation[:2]
    return float(source.scale[0]) * filters.scale.astype(np.float64) / float(op.output_quantisation[0].scale[0])


def _window(op, shape, kernel):
    a = op.attributes
    dilation = (a["dilation_h"], a["dilation_w"])
    return {
        "stride": (a["stride_h"], a["stride_w"]), "dilation": dilation,
        "padding": window_padding(op, shape, kernel, dilation),
    }  # fmt: skip


def golden(op, x, weights, bias, groups):
    """acc = bias + sum of (x - zx) * w, requantised by sx * sw / sy, plus zy, clamped.

    Parameters
    ----------
    x : int8 [N, H, W, C].
    weights : int8 [M, R, S, C / groups].
    bias : int32 [M] or None.
    """
    bias = np.zeros(len(weights), np.int64) if bias is None else bias
    low, high = activation_range(op, op.output_quantisation[0])
    acc = convolution(
        x, int(op.input_quantisation[0].zero_point[0]), weights, bias, groups=groups,
        **_window(op, x.shape, weights.shape[1:3]),
    )  # fmt: skip
    return (requantised(acc, _scales(op), int(op.output_quantisation[0].zero_point[0]), low, high),)


def lower(op, build, arrange, groups_of):
    """One Conv; `arrange` makes [M, R, S, C / groups] of the file's weights, `groups_of(shape, weights)` the groups."""
    check_bytes(op, build)
    weights = check_constant(op, build, 1, "the filter")
    for quantisation, what in ((op.input_quantisation[0], "the input"), (op.output_quantisation[0], "the output")):
        quantised_by_tensor(op, quantisation, what)
    filters = op.input_quantisation[1]
    if filters is None or np.any(filters.zero_point):
        raise op.problem("the filter must be int8 with zero point 0")
    weights = arrange(weights)
    if not filters.per_tensor and len(filters.scale) != len(weights):
        raise op.problem(f"the filter must have one scale or {len(weights)}, not {len(filters.scale)}")
    has_bias = len(op.inputs) > 2 and op.inputs[2]
    bias = check_constant(op, build, 2, "the bias") if has_bias else np.zeros(len(weights), np.int32)
    image = build.image(op, 0)
    low, high = activation_range(op, op.output_quantisation[0])
    post = requantisation(_scales(op), int(op.output_quantisation[0].zero_point[0]), low, high)
    build.output(
        op, g.Conv, [image], weights=weights, bias=bias, post=post, groups=groups_of(image.shape, weights),
        **_window(op, image.shape, weights.shape[1:3]),
    )  # fmt: skip
