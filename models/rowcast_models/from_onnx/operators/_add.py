"""Additions: as ONNX Runtime's QLinearAdd, two fused multiply-adds in float32, or in float32 between dequantising and
quantising where it does not replace them."""

import numpy as np

from ._arithmetic import bytes_quantised, clamp, dequantise, is_fused, limits_of, output_dtype, quantise, zero_point
from ._constants import lower_with_constant
from ._float32 import fma
from ._pairs import lower_sum, pairs

__all__ = ["HALVES", "golden", "golden_float", "lower", "replaced"]

# Share of float32 sums that may differ: where the output's scale is an even multiple of both inputs', sums lie half way
# between bytes, and the last bits of three roundings decide.  Measured: 0.034 there, 0 of 20 million elsewhere.
HALVES = 0.1


def replaced(op, *parts):
    """Whether ONNX Runtime has its operator on bytes for a fused one: all bytes are of one type, and what follows is no more
    than the bytes' own limits (its ReluQuantFusion and ClipQuantFusion remove that)."""
    if not is_fused(op):
        return True
    dtype, output = output_dtype(op, parts[0].dtype), op.output_quantisation[0]
    if any(quantisation is None for quantisation in op.input_quantisation) or any(part.dtype != dtype for part in parts):
        return False
    limits = np.iinfo(dtype)
    ends = [np.float32(limit - zero_point(output)) * output.scale[0] for limit in (limits.min, limits.max)]
    for kind, attributes in op.attributes["then"]:
        low, high = (0.0, None) if kind == "Relu" else (attributes.get("min"), attributes.get("max"))
        if kind not in ("Relu", "Clip") or (low is not None and low > ends[0]) or (high is not None and high < ends[1]):
            return False
    return True


def _ratios(op):
    a, b = op.input_quantisation
    output = op.output_quantisation[0].scale[0]
    return a.scale[0] / output, b.scale[0] / output


def _inner(op, b):
    """float32 `fma(b, rb, zc - fma(ra, za, rb * zb))`."""
    ra, rb = _ratios(op)
    za, zb, zc = (zero_point(q) for q in (*op.input_quantisation, op.output_quantisation[0]))
    return fma(b.astype(np.float32), rb, np.float32(zc) - fma(za, ra, rb * np.float32(zb)))


def golden(op, a, b):
    """rint(fma(a, ra, fma(b, rb, zc - fma(ra, za, rb * zb)))) in float32, ra = sa / sc and rb = sb / sc, then the clamp
    (MlasQLinearAdd).

    a, b : int8 or uint8, shapes that numpy broadcasts; or one is float32.
    """
    if not replaced(op, a, b):
        return golden_float(op, a, b)
    made = np.rint(fma(a.astype(np.float32), _ratios(op)[0], _inner(op, b)))
    return (np.clip(made.astype(np.float64), *limits_of(op, a.dtype)).astype(a.dtype),)


def golden_float(op, *parts, sign=1):
    """quantise of the float32 sum of the dequantised inputs, in order; the second is subtracted if `sign` is -1.

    parts : int8 or uint8, shapes that numpy broadcasts; or float32.
    """
    real = [part if q is None else dequantise(part, q) for part, q in zip(parts, op.input_quantisation, strict=True)]
    total = real[0]
    for part in real[1:]:
        total = total + np.float32(sign) * part
    dtype = output_dtype(op, parts[0].dtype)
    return (np.clip(quantise(total, op.output_quantisation[0], dtype), *limits_of(op, dtype)).astype(dtype),)


def _is_bytes(op, build):
    dtypes = [build.value(name).dtype for name in op.inputs]
    return replaced(op, *(np.zeros(1, dtype) for dtype in dtypes))


def lower(op, build, *, sign=1, function=None):
    """An Elementwise whose tables hold the operands in fixed point, in steps of the output; mode "onnx" rounds their sum to
    float32, as the second fused multiply-add does."""
    function = function or golden
    if lower_with_constant(op, build, lambda a, b: function(op, a, b)[0]):
        return
    for quantisation in (*op.input_quantisation, op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "every operand")
    a, b = (np.arange(-128, 128) - build.offset(name) for name in op.inputs)
    fields = clamp(op, build)
    if function is golden and _is_bytes(op, build):  # the zero point is in the sum
        left, right = a * np.float64(_ratios(op)[0]), _inner(op, b).astype(np.float64)
        fields["zero_point"] = build.offset(op.outputs[0])
    else:
        unit = np.float64(op.output_quantisation[0].scale[0])
        left, right = (
            dequantise(x, q).astype(np.float64) / unit for x, q in zip((a, b), op.input_quantisation, strict=True)
        )
        right = sign * right
    lower_sum(op, build, pairs(op, build, lambda a, b: function(op, a, b)[0]), left, right, **fields)
