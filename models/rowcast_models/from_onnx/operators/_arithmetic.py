"""What the operators share: scales, ONNX Runtime's requantisation, clamps of what follows, checks."""

import numpy as np

from ... import graph as g
from ...golden.requantise import quantise_multiplier_onnx

__all__ = [
    "bytes_quantised", "centred_weights", "clamp", "combined_scale", "constant", "dequantise", "is_fused", "limits_of",
    "output_dtype", "quantise", "requantisation", "requantised", "zero_point",
]  # fmt: skip


def bytes_quantised(op, quantisation, what):
    """Refuse a value without a scale, or with one for every channel."""
    if quantisation is None or not quantisation.per_tensor:
        raise op.problem(f"{what} must be quantised with one scale and zero point")
    return quantisation


def constant(op, build, which, what):
    """The array of an input that must be a constant."""
    array = build.model.constant(op.inputs[which])
    if array is None:
        raise op.problem(f"{what} must be a constant, not {op.inputs[which]!r}, which is computed")
    return array


def zero_point(quantisation):
    """The one zero point, an int."""
    return int(quantisation.zero_point[0])


def dequantise(x, quantisation):
    """float32 `(x - z) * s`, as ONNX Runtime's DequantizeLinear; scales of an axis, or one."""
    shape = [1] * x.ndim
    if not quantisation.per_tensor:
        shape[quantisation.axis] = -1
    zero = quantisation.zero_point.reshape(shape)
    return (x.astype(np.int32) - zero).astype(np.float32) * quantisation.scale.reshape(shape)


def quantise(x, quantisation, dtype):
    """clamp(rint(x / s) + z) of float32 values: a division, not a product with 1 / s.  What is no number is the lowest
    byte, as the vector instructions' maximum has it."""
    shape = [1] * np.ndim(x)
    if not quantisation.per_tensor:
        shape[quantisation.axis] = -1
    limits = np.iinfo(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(np.asarray(x, np.float32) / quantisation.scale.reshape(shape)).astype(np.float64)
    made = np.fmin(np.fmax(scaled + quantisation.zero_point.reshape(shape), limits.min), limits.max)
    return made.astype(dtype)


def is_fused(op):
    """Whether the operator was float, between DequantizeLinear and QuantizeLinear."""
    return "output_dtype" in op.attributes


def output_dtype(op, dtype):
    """numpy type of output 0 of a fused operator; others have that of their input."""
    return np.dtype(op.attributes.get("output_dtype", dtype))


def limits_of(op, dtype):
    """(low, high) bytes after the operators that follow in float: Relu and Clip are clamps, since rint keeps the order."""
    limits = np.iinfo(dtype)
    low, high = limits.min, limits.max
    quantisation = op.output_quantisation[0]
    for kind, attributes in op.attributes.get("then", ()):
        if kind == "Relu":
            bounds = (0.0, None)
        elif kind == "Clip":
            bounds = (attributes.get("min"), attributes.get("max"))
        else:
            raise op.problem(
                f"{kind} follows it without quantisation between; quantise its input too (QuantizeLinear, "
                "DequantizeLinear), then it is a table"
            )
        below, above = (None if b is None else int(quantise(np.float32(b), quantisation, dtype)) for b in bounds)
        if below is not None:
            low, high = max(low, below), max(high, below)
        if above is not None:
            low, high = min(low, above), min(high, above)
    return low, high


def combined_scale(op):
    """float32 scales sx * sw / sy of a convolution or matrix product, one or one a channel; products first."""
    x, w = op.input_quantisation[:2]
    with np.errstate(over="ignore"):  # infinite: refused where it is made a multiplier
        return (x.scale[0] * w.scale) / op.output_quantisation[0].scale[0]


def requantised(acc, scale, op, dtype):
    """`clamp(rint(float32(acc) * scale) + zy)`, ONNX Runtime's for convolutions and matrix products."""
    low, high = limits_of(op, dtype)
    scaled = np.rint(acc.astype(np.float32) * np.asarray(scale, np.float32)).astype(np.float64)
    return np.clip(scaled + zero_point(op.output_quantisation[0]), low, high).astype(dtype)


def clamp(op, build, which=0):
    """zero_point, low and high of an output as the graph has them."""
    name = op.outputs[which]
    low, high = limits_of(op, build.value(name).dtype)
    offset = build.offset(name)
    return {"zero_point": zero_point(op.output_quantisation[which]) + offset, "low": low + offset, "high": high + offset}


def requantisation(op, build, scale):
    """The graph's Requantisation in mode "onnx" for float32 scales."""
    try:
        multiplier, shift = np.array([quantise_multiplier_onnx(each) for each in np.atleast_1d(scale)]).T
    except ValueError as error:
        raise op.problem(f"input scale x weight scale / output scale: {error}") from None
    return g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift, **clamp(op, build))


def centred_weights(weights, quantisation, axis=0):
    """int16 `w - zw`; zero points of one axis, or one."""
    shape = [1] * weights.ndim
    shape[axis] = -1
    return (weights.astype(np.int32) - quantisation.zero_point.reshape(shape)).astype(np.int16)
