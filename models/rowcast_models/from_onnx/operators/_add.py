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


def _swapped(a, b):
    """Whether the runtime adds b and a, as its kernel wants the operand that is one value for a whole row second.

    a, b : shapes.
    """
    rank = max(len(a), len(b))
    a, b = ((1,) * (rank - len(shape)) + tuple(shape) for shape in (a, b))
    last = next(((m, n) for m, n in zip(a[::-1], b[::-1]) if (m, n) != (1, 1)), (1, 1))
    return last[0] == 1 < last[1]


def _terms(op, swapped):
    """(ratio of the first operand, function that gives the rest of the second) of the kernel; both of float32."""
    first, second = op.input_quantisation[::-1] if swapped else op.input_quantisation
    output = op.output_quantisation[0]
    ra, rb = first.scale[0] / output.scale[0], second.scale[0] / output.scale[0]
    za, zb, zc = (zero_point(q) for q in (first, second, output))
    constant = np.float32(zc) - fma(za, ra, rb * np.float32(zb))
    return ra, lambda b: fma(b.astype(np.float32), rb, constant)


def golden(op, a, b):
    """rint(fma(a, ra, fma(b, rb, zc - fma(ra, za, rb * zb)))) in float32, ra = sa / sc and rb = sb / sc, then the clamp
    (MlasQLinearAdd).

    a, b : int8 or uint8, shapes that numpy broadcasts; or one is float32.
    """
    return (_added(op, a, b, _swapped(a.shape, b.shape)) if replaced(op, a, b) else golden_float(op, a, b)[0],)


def _added(op, a, b, swapped):
    ratio, rest = _terms(op, swapped)
    first, second = (b, a) if swapped else (a, b)
    made = np.rint(fma(first.astype(np.float32), ratio, rest(second)))
    return np.clip(made.astype(np.float64), *limits_of(op, a.dtype)).astype(a.dtype)


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


def lower(op, build, *, sign=1, function=None):
    """An Elementwise whose tables hold the operands in fixed point, in steps of the output; mode "onnx" rounds their sum to
    float32, as the second fused multiply-add does."""
    given = function or golden
    if lower_with_constant(op, build, lambda a, b: given(op, a, b)[0]):
        return
    for quantisation in (*op.input_quantisation, op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "every operand")
    values = [build.value(name) for name in op.inputs]
    a, b = (np.arange(-128, 128) - build.offset(name) for name in op.inputs)
    fields = clamp(op, build)
    if function is None and replaced(op, *(np.zeros(1, value.dtype) for value in values)):
        swapped = _swapped(*(value.shape for value in values))
        ratio, rest = _terms(op, swapped)
        left, right = (rest(a), b * np.float64(ratio)) if swapped else (a * np.float64(ratio), rest(b))
        fields["zero_point"] = build.offset(op.outputs[0])  # the model's is in the sum
        target = pairs(op, build, lambda a, b: _added(op, a, b, swapped))
        lower_sum(op, build, target, left.astype(np.float64), right.astype(np.float64), **fields)
        return
    unit = np.float64(op.output_quantisation[0].scale[0])
    left, right = (dequantise(x, q).astype(np.float64) / unit for x, q in zip((a, b), op.input_quantisation, strict=True))
    target = pairs(op, build, lambda a, b: (function or golden_float)(op, a, b)[0])
    lower_sum(op, build, target, left, sign * right, **fields)
