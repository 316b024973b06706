"""FULLY_CONNECTED."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...golden.convolution import fully_connected
from ._common import activation_range, check_bytes, check_constant, quantised_by_tensor, requantisation, requantised

__all__ = ["OPERATOR"]


def _scales(op):
    """sx * sw / sy in double.

    For a scale per tensor TensorFlow Lite Micro multiplies the first two in float32 (`GetQuantizedConvolutionMultipler`).
    LiteRT does not: of sums that lie within 1e-8 of a half, its results follow the product in double.
    """
    source, filters = op.input_quantisation[:2]
    output = float(op.output_quantisation[0].scale[0])
    if filters.per_tensor and not op.attributes["single_rounding"]:
        return np.array([float(np.float32(source.scale[0] * filters.scale[0])) / output])
    return float(source.scale[0]) * filters.scale.astype(np.float64) / output


def _mode(op):
    return "single" if op.attributes["single_rounding"] else "tflite"


def golden(op, x, weights, bias=None):
    """acc[n, m] = bias[m] + sum over k of (x[n, k] - zx) * weights[m, k], requantised by sx * sw / sy.

    LiteRT's reference kernel (`single_rounding`) rounds `double(acc) * scale` half away from zero, TensorFlow Lite Micro
    twice like the convolutions.

    Parameters
    ----------
    x : int8 [..., K]; leading axes are rows.
    weights : int8 [M, K].
    bias : int32 [M] or None.
    """
    bias = np.zeros(len(weights), np.int64) if bias is None else bias.reshape(-1)
    low, high = activation_range(op, op.output_quantisation[0])
    rows = x.reshape(-1, weights.shape[1])
    acc = fully_connected(rows, int(op.input_quantisation[0].zero_point[0]), weights, bias)
    zero_point = int(op.output_quantisation[0].zero_point[0])
    made = requantised(acc, _scales(op), zero_point, low, high, mode=_mode(op))
    if op.attributes["keep_num_dims"]:
        return (made.reshape(*x.shape[:-1], len(weights)),)
    return (made.reshape(len(x), -1) if len(made) == len(x) else made,)


def lower(op, build):
    """A FullyConnected over batch items, or a 1x1 Conv where there are several rows to an item."""
    check_bytes(op, build)
    weights = check_constant(op, build, 1, "the weights")
    for quantisation, what in ((op.input_quantisation[0], "the input"), (op.output_quantisation[0], "the output")):
        quantised_by_tensor(op, quantisation, what)
    filters = op.input_quantisation[1]
    if filters is None or np.any(filters.zero_point):
        raise op.problem("the weights must be int8 with zero point 0")
    if op.attributes["weights_format"]:
        raise op.problem("shuffled weights cannot be used: convert the model for int8 reference kernels")
    has_bias = len(op.inputs) > 2 and op.inputs[2]
    bias = check_constant(op, build, 2, "the bias").reshape(-1) if has_bias else np.zeros(len(weights), np.int32)
    low, high = activation_range(op, op.output_quantisation[0])
    zero_point = int(op.output_quantisation[0].zero_point[0])
    fields = {"bias": bias, "post": requantisation(_scales(op), zero_point, low, high, mode=_mode(op))}
    tensor, positions = build.rows(op, 0)
    if len(positions) == weights.shape[1]:
        arranged = np.empty_like(weights)
        arranged[:, positions] = weights
        build.output(op, g.FullyConnected, [tensor], weights=arranged, **fields)
        return
    if not op.attributes["keep_num_dims"] or build.value(op.inputs[0]).shape[-1] != weights.shape[1]:
        raise op.problem(
            f"the weights {weights.shape} take rows of {weights.shape[1]}, a batch item has {len(positions)} values; "
            "several rows to an item work with keep_num_dims"
        )
    build.output(op, g.Conv, [build.image(op, 0)], weights=weights[:, None, None, :], **fields)


OPERATOR = OperatorKind(
    kind="FULLY_CONNECTED", golden=golden, lower=lower,
    supports="int8, scale per tensor or channel, with or without bias, rows in leading axes with keep_num_dims, fused RELU, RELU6, RELU_N1_TO_1",
    source="reference_integer_ops/fully_connected.h; LiteRT rounds once",
)  # fmt: skip
