"""Addition as ONNX Runtime's QLinearAdd computes it: two fused multiply-adds in float32."""

import numpy as np

from ... import graph as g
from ._arithmetic import bytes_quantised, limits_of, zero_point

__all__ = ["golden", "lower"]

FRACTION = 22  # fractional bits at most: results that matter are below 2^9


def _fma(a, b, c):
    """float32 a * b + c, rounded once: the product of float32 and a byte is exact in float64, and so is nearly every sum."""
    return (np.asarray(a, np.float64) * np.float64(b) + np.asarray(c, np.float64)).astype(np.float32)


def _ratios(op):
    a, b = op.input_quantisation
    output = op.output_quantisation[0].scale[0]
    return a.scale[0] / output, b.scale[0] / output


def _inner(op, b, sign):
    """float32 `fma(b, rb, zc - fma(ra, za, rb * zb))`; with `sign` -1, of a - b."""
    ra, rb = _ratios(op)
    rb = np.float32(sign) * rb
    za, zb, zc = (zero_point(q) for q in (*op.input_quantisation, op.output_quantisation[0]))
    constant = np.float32(zc) - _fma(za, ra, np.float32(rb * np.float32(zb)))
    return _fma(b.astype(np.float64), rb, constant)


def golden(op, a, b, *, sign=1):
    """rint(fma(a, ra, fma(b, rb, zc - fma(ra, za, rb * zb)))) in float32, ra = sa / sc and rb = sb / sc, then the clamp.

    a, b : int8 or uint8, shapes that numpy broadcasts.
    """
    dtype = np.dtype(op.attributes.get("output_dtype", a.dtype))
    made = np.rint(_fma(a.astype(np.float64), _ratios(op)[0], _inner(op, b, sign)))
    return (np.clip(made.astype(np.float64), *limits_of(op, dtype)).astype(dtype),)


def lower(op, build, *, sign=1):
    """An Elementwise: the operands' tables hold both fused multiply-adds in fixed point, the requantiser's mode "onnx"
    rounds their sum to float32 as the second one does."""
    for quantisation in (*op.input_quantisation, op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "every operand")
    (a, b), view = build.operands(op, (0, 1))
    every = np.arange(-128, 128)
    left = (every - build.offset(op.inputs[0])) * np.float64(_ratios(op)[0])
    right = _inner(op, every - build.offset(op.inputs[1]), sign).astype(np.float64)
    largest = np.abs(left).max() + np.abs(right).max() + 1
    bits = min(FRACTION, 30 - int(np.frexp(largest)[1]))
    if bits < 8:
        raise op.problem(f"its operands reach {largest:.0f} steps of the output: scales that differ so much cannot be added")
    unit = 2.0**bits
    offset = build.offset(op.outputs[0])
    low, high = (limit + offset for limit in limits_of(op, build.value(op.outputs[0]).dtype))
    post = g.Requantisation(mode="onnx", multiplier=1 << 23, shift=23 + bits, zero_point=offset, low=low, high=high)
    build.output(
        op, g.Elementwise, [a, b], view=view, kind="add", table_a=np.rint(left * unit).astype(np.int64),
        table_b=np.rint(right * unit).astype(np.int64), post=post,
    )  # fmt: skip
