"""LRN between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ._arithmetic import bytes_quantised, clamp, dequantise, limits_of, output_dtype, quantise, zero_point

__all__ = ["OPERATOR"]

STEPS = 255  # of the squares, and of the windows' sums
MAX_CHANNELS = 4096  # on the accelerator, whose sums are a dense matrix
FRACTION = (1 << 15) - 1  # largest entry of the table of factors


def golden(op, x):
    """x * (bias + alpha / size * sum of x^2 over the window of channels)^-beta in float32, between dequantising and
    quantising.  The window of channel c is c - (size - 1) // 2 to c + size // 2, inside.

    x : int8 or uint8 [N, C, H, W].
    """
    a = op.attributes
    real = dequantise(x, op.input_quantisation[0])
    squares = real * real
    total = np.zeros_like(squares)
    channels = x.shape[1]
    for c in range(channels):
        low, high = max(c - (a["size"] - 1) // 2, 0), min(c + a["size"] // 2, channels - 1) + 1
        total[:, c] = squares[:, low:high].sum(axis=1)
    scale = np.float32(a["bias"]) + np.float32(a["alpha"]) / np.float32(a["size"]) * total
    made = real * scale ** np.float32(-a["beta"])
    dtype = output_dtype(op, x.dtype)
    return (np.clip(quantise(made, op.output_quantisation[0], dtype), *limits_of(op, dtype)),)


def _factor(op, total):
    """(bias + alpha / size * total)^-beta for a sum of squares in real units."""
    a = op.attributes
    return (a["bias"] + a["alpha"] / a["size"] * total) ** -a["beta"]


def _bound(op, largest):
    """Largest error in steps of the output: squares and sums are each rounded to 1/255 of their largest value."""
    a, sx = op.attributes, float(op.input_quantisation[0].scale[0])
    most = a["size"] * largest**2
    sums = np.linspace(0, most, 4 * STEPS)
    error = most / STEPS
    x = np.minimum(largest, np.sqrt(sums + error))
    there, below, above = (_factor(op, sx**2 * s) for s in (sums, np.maximum(sums - error, 0), sums + error))
    worst = np.max(x * np.maximum(np.abs(below - there), np.abs(above - there)))
    return worst * sx / float(op.output_quantisation[0].scale[0])


def _centred(op, model):
    """x - zx for the graph's bytes from -128."""
    low = np.iinfo(model.values[op.inputs[0]].dtype).min
    return np.arange(low, low + 256) - zero_point(op.input_quantisation[0])


def on_host(op, model):
    """Where it normalises so strongly that 8-bit sums of squares are wrong by a step of the output, or has so many channels
    that the matrix that sums their windows is large."""
    if model.values[op.inputs[0]].shape[1] > MAX_CHANNELS:
        return True
    per_tensor = all(q is not None and q.per_tensor for q in (op.input_quantisation[0], op.output_quantisation[0]))
    return per_tensor and not _bound(op, int(np.abs(_centred(op, model)).max())) < 1


def lower(op, build):
    """A table of squares, a ChannelSum over the window, and the product with a table of the sum's factors."""
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "input and output")
    a, (qx,), (qy,) = op.attributes, op.input_quantisation[:1], op.output_quantisation
    image = build.image(op, 0)
    centred = _centred(op, build.model)
    largest = int(np.abs(centred).max())
    squares = build.append(
        g.Table, f"{op.name}/squares", [image], zero_point=-128,
        table=np.rint(centred**2 * (STEPS / largest**2)).astype(np.int64) - 128,
    )  # fmt: skip
    multiplier = -(-(1 << 30) // a["size"])
    sums = build.append(
        g.ChannelSum, f"{op.name}/sums", [squares], zero_point=-128, before=(a["size"] - 1) // 2, after=a["size"] // 2,
        post=g.Requantisation(mode="single", multiplier=multiplier, shift=30, zero_point=-128),
    )  # fmt: skip
    sx, sy = float(qx.scale[0]), float(qy.scale[0])
    factors = _factor(op, sx**2 * np.arange(256) * (a["size"] * largest**2 / STEPS))
    unit = factors.max() / FRACTION
    scale = unit * sx / sy
    fraction, exponent = np.frexp(scale)
    post = g.Requantisation(
        mode="single", multiplier=min(int(np.rint(fraction * (1 << 31))), (1 << 31) - 1), shift=31 - int(exponent), **clamp(op, build)
    )
    build.output(
        op, g.Elementwise, [image, sums], kind="mul", table_a=centred, table_b=np.rint(factors / unit).astype(np.int64), post=post
    )


OPERATOR = OperatorKind(
    kind="LRN", golden=golden, lower=lower, on_host=on_host,
    supports="any size, alpha and beta as long as 8-bit sums of squares are exact to a step, else on the host",
    source="ONNX specification, LRN: float32", share=0.05,
)  # fmt: skip
