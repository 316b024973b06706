"""What QGemm and Gemm share: transposed operands, alpha, and the bias in units of alpha * sx * sw."""

import numpy as np

from . import _matmul
from ._arithmetic import combined_scale, constant, requantised

__all__ = ["golden", "lower", "on_host"]


def _weights(op, weights):
    return weights.T if op.attributes["transB"] else weights


def _bias(op, bias, columns):
    return None if bias is None else np.broadcast_to(bias.reshape(-1) if bias.size > 1 else bias.reshape(1), columns)


def _scale(op):
    """float32 alpha * sx * sw / sy; for a float output without sy."""
    alpha = np.float32(op.attributes.get("alpha", 1.0))
    if op.output_quantisation[0] is None:
        return alpha * (op.input_quantisation[0].scale[0] * op.input_quantisation[1].scale)
    if alpha == 1:
        return combined_scale(op)
    x, w = op.input_quantisation[:2]
    return (alpha * x.scale[0] * w.scale) / op.output_quantisation[0].scale[0]


def golden(op, x, weights, bias=None):
    """clamp(rint(float32(acc) * alpha*sx*sw/sy) + zy), acc = C + sum over k of (x - zx) * (w - zw); without an output scale
    float32(acc) * alpha*sx*sw.

    Parameters
    ----------
    x : int8 or uint8 [N, K], or [K, N] with transA.
    weights : int8 or uint8 [K, M], or [M, K] with transB.
    bias : int32, [M] or one, or None.
    """
    x = x.T if op.attributes["transA"] else x
    weights = _weights(op, weights)
    acc = _matmul.accumulate(op, x, weights, _bias(op, bias, weights.shape[1]))
    if op.output_quantisation[0] is None:
        return (acc.astype(np.float32) * _scale(op).astype(np.float32),)
    return (requantised(acc, _scale(op), op, op.attributes.get("output_dtype", x.dtype)),)


def lower(op, build):
    """A FullyConnected."""
    if op.attributes["transA"]:
        raise op.problem("transA must be 0: the first axis of A is the batch")
    if op.attributes.get("beta", 1.0) != 1 or (op.kind == "Gemm" and op.attributes["alpha"] != 1):
        raise op.problem(f"alpha and beta must be 1, not {op.attributes['alpha']} and {op.attributes.get('beta', 1.0)}")
    weights = _weights(op, constant(op, build, 1, "B"))
    bias = constant(op, build, 2, "C") if len(op.inputs) > 2 and op.inputs[2] else None
    _matmul.lower(op, build, weights, _bias(op, bias, weights.shape[1]), _scale(op))


def on_host(op, model):
    """Float results are made on the host."""
    return op.output_quantisation[0] is None
