"""PRelu between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ...frontend import OperatorKind
from ._arithmetic import bytes_quantised, constant, dequantise, limits_of, quantise

__all__ = ["OPERATOR"]


def golden(op, x, slope):
    """quantise(x < 0 ? slope * x : x) of the dequantised x, in float32.

    x : int8 or uint8 [N, C, ...]; slope : float32 or bytes, broadcast to x.
    """
    if op.input_quantisation[1] is not None:
        slope = dequantise(slope, op.input_quantisation[1])
    real = dequantise(x, op.input_quantisation[0])
    made = np.where(real < 0, slope * real, real).astype(np.float32)
    return (np.clip(quantise(made, op.output_quantisation[0], x.dtype), *limits_of(op, x.dtype)),)


def lower(op, build):
    """A Table."""
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "input and output")
    slope = constant(op, build, 1, "the slope")
    offset, dtype = build.offset(op.inputs[0]), build.value(op.inputs[0]).dtype
    every = (np.arange(-128, 128) - offset).astype(dtype)
    if slope.size == 1:
        build.unary(op, (golden(op, every, slope.reshape(1))[0].astype(np.int16) + offset).astype(np.int8))
        return
    raise op.problem(f"slope {slope.shape} must be one for all channels; a LeakyRelu, or BatchNormalization and Relu, work too")


OPERATOR = OperatorKind(
    kind="PRelu", golden=golden, lower=lower, supports="one slope", source="ONNX specification, PRelu: float32"
)
