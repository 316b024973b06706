"""BatchNormalization between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ...frontend import OperatorKind
from ._affine import lower_affine
from ._arithmetic import bytes_quantised, clamp, constant, dequantise, limits_of, output_dtype, quantise

__all__ = ["OPERATOR"]


def _factors(op, scale, shift, mean, variance):
    """float32 factor and addend of every channel, as the kernel computes them first."""
    factor = scale / np.sqrt(variance + np.float32(op.attributes["epsilon"]))
    return factor.astype(np.float32), (shift - mean * factor).astype(np.float32)


def golden(op, x, scale, shift, mean, variance):
    """x * (scale / sqrt(variance + epsilon)) + (shift - mean * that), in float32, between dequantising and quantising.

    Parameters
    ----------
    x : int8 or uint8 [N, C, ...].
    scale, shift, mean, variance : float32 [C].
    """
    factor, addend = (each.reshape(-1, *[1] * (x.ndim - 2)) for each in _factors(op, scale, shift, mean, variance))
    real = dequantise(x, op.input_quantisation[0]) * factor + addend
    dtype = output_dtype(op, x.dtype)
    return (np.clip(quantise(real, op.output_quantisation[0], dtype), *limits_of(op, dtype)),)


def lower(op, build):
    """A depthwise 1x1 Conv that gives the same byte for each of the 256 that a channel can have."""
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "input and output")
    constants = [constant(op, build, which, "scale, bias, mean and variance") for which in range(1, 5)]
    image, value = build.image(op, 0), build.value(op.inputs[0])
    offset = build.offset(op.inputs[0])
    every = np.arange(-128, 128) - offset
    made = golden(op, np.broadcast_to(every.astype(value.dtype), (len(constants[0]), 256)).T[:, :, None], *constants)[0]
    target = made[:, :, 0].T.astype(np.int64) + build.offset(op.outputs[0])
    factor, addend = _factors(op, *constants)
    unit = np.float64(op.output_quantisation[0].scale[0])
    slope = factor.astype(np.float64) * np.float64(op.input_quantisation[0].scale[0]) / unit
    lower_affine(op, build, image, target, slope, addend / unit, **clamp(op, build))


OPERATOR = OperatorKind(
    kind="BatchNormalization", golden=golden, lower=lower, supports="constant parameters, then Relu or Clip",
    source="ONNX Runtime, BatchNormalization: float32 factor and addend of a channel",
)  # fmt: skip
