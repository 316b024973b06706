"""What several operators of TensorFlow Lite share: padding, fused activations, multipliers, quantisation checks."""

import numpy as np

from ... import graph as g
from ...golden.requantise import quantise_multiplier_tflite, requantise_tflite

__all__ = [
    "activation_range", "check_bytes", "check_constant", "multipliers", "quantised_by_tensor", "requantisation", "requantised",
    "same_padding", "single_scale", "window_padding",
]  # fmt: skip


def same_padding(size, taps, stride, dilation=1):
    """(before, after) of SAME padding along one axis: outputs are ceil(size / stride), an odd pixel goes behind
    (`kernels/padding.h`)."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def window_padding(op, shape, kernel, dilation=(1, 1)):
    """((top, bottom), (left, right)) of an operator with windows over an NHWC shape."""
    if op.attributes["padding"] == "VALID":
        return ((0, 0), (0, 0))
    strides = (op.attributes["stride_h"], op.attributes["stride_w"])
    return tuple(same_padding(*axis) for axis in zip(shape[1:3], kernel, strides, dilation, strict=True))


def activation_range(op, quantisation, dtype=np.int8):
    """(low, high) of the output's bytes under the fused activation (`CalculateActivationRangeQuantized`)."""
    limits = np.iinfo(dtype)
    low, high = limits.min, limits.max
    scale, zero_point = quantisation.scale[0], int(quantisation.zero_point[0])

    def quantise(value):
        if np.abs(np.float64(value)) > scale * np.float64(1 << 30):
            raise op.problem(f"fused activation {kind}: scale {scale} of the output is too small for {value}")
        return zero_point + int(np.sign(value) * np.floor(np.abs(np.float32(value) / scale) + np.float32(0.5)))

    kind = op.attributes.get("fused_activation", "NONE")
    bounds = {"NONE": (None, None), "RELU": (0, None), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}
    if kind not in bounds:
        raise op.problem(f"fused activation {kind} must be one of {', '.join(bounds)}")
    below, above = bounds[kind]
    if below is not None:
        low = max(low, quantise(below))
    if above is not None:
        high = min(high, quantise(above))
    return low, high


def quantised_by_tensor(op, quantisation, what):
    """Refuse a value that has no scale, or one for every channel."""
    if quantisation is None or not quantisation.per_tensor:
        raise op.problem(f"{what} must have one scale and zero point: convert the model to full int8")
    return quantisation


def check_bytes(op, build):
    """Refuse bytes without sign: TensorFlow Lite's int8 specification is meant."""
    for name in (*op.inputs, *op.outputs):
        if name and build.value(name).dtype == np.uint8:
            raise op.problem(f"{name!r} is uint8, the older quantisation; convert the model to int8")


def check_constant(op, build, which, what):
    """The array of an input that must be a constant."""
    array = build.model.constant(op.inputs[which])
    if array is None:
        raise op.problem(f"{what} must be a constant, not {op.inputs[which]!r}, which is computed")
    return array


def single_scale(op):
    """float64 scales of input 0 and output 0."""
    return float(op.input_quantisation[0].scale[0]), float(op.output_quantisation[0].scale[0])


def multipliers(scales):
    """(multiplier, shift) arrays of real scales."""
    return np.array([quantise_multiplier_tflite(scale) for scale in np.atleast_1d(scales)]).T


def requantised(acc, scales, zero_point, low, high, *, mode="tflite"):
    """`clamp(requantise(acc) + zero_point)` as int8; scales of the last axis, or one."""
    multiplier, shift = multipliers(scales)
    if mode == "tflite":
        scaled = requantise_tflite(acc, multiplier, shift)
    else:
        real = acc * np.atleast_1d(scales)
        scaled = (np.sign(real) * np.floor(np.abs(real) + 0.5)).astype(np.int64)
    return np.clip(scaled + zero_point, low, high).astype(np.int8)


def requantisation(scales, zero_point, low, high, *, mode="tflite"):
    """The graph's Requantisation for real scales."""
    multiplier, shift = multipliers(scales)
    if mode == "single":
        shift = np.where(multiplier > 0, shift + 31, 0)
    return g.Requantisation(mode=mode, multiplier=multiplier, shift=shift, zero_point=zero_point, low=low, high=high)
