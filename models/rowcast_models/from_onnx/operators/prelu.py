"""PRelu between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ._affine import fit
from ._arithmetic import bytes_quantised, clamp, constant, dequantise, limits_of, output_dtype, quantise, zero_point
from ._unary import lower_table

__all__ = ["OPERATOR"]

_EVERY = np.arange(-128, 128)


def golden(op, x, slope):
    """quantise(x < 0 ? slope * x : x) of the dequantised x, in float32.

    x : int8 or uint8 [N, C, ...]; slope : float32 or bytes, broadcast to x.
    """
    if op.input_quantisation[1] is not None:
        slope = dequantise(slope, op.input_quantisation[1])
    real = dequantise(x, op.input_quantisation[0])
    made = np.where(real < 0, slope * real, real).astype(np.float32)
    dtype = output_dtype(op, x.dtype)
    return (np.clip(quantise(made, op.output_quantisation[0], dtype), *limits_of(op, dtype)).astype(dtype),)


def lower(op, build):
    """A Table; with a slope for each channel, the sum of the positive and the negative part."""
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "input and output")
    slope = constant(op, build, 1, "the slope")
    if slope.size == 1:
        lower_table(op, build, 0, lambda x: golden(op, x, slope.reshape(1))[0])
        return
    shape = build.value(op.inputs[0]).shape
    axes = (1,) * (len(shape) - slope.ndim) + slope.shape
    if len(axes) != len(shape) or axes[1] != slope.size:
        raise op.problem(f"slope {slope.shape} must be one element, or one for each channel: ({shape[1]}, 1, 1)")
    _lower_channels(op, build, slope.reshape(-1))


def _lower_channels(op, build, slope):
    """A Table for max(x, 0), a depthwise 1x1 Conv of min(x, 0), exact for every byte, and their sum."""
    source, output = op.input_quantisation[0], op.output_quantisation[0]
    offset, fields = build.offset(op.inputs[0]), clamp(op, build)
    zero, out = zero_point(source) + offset, fields["zero_point"]
    every = (_EVERY - offset).astype(build.value(op.inputs[0]).dtype)
    target = golden(op, every[None, :], slope[:, None])[0].astype(np.int64) + build.offset(op.outputs[0])
    # Both parts are without the clamps of what follows, which their sum has.
    line = _line(op, every, slope) + build.offset(op.outputs[0])
    unit = np.float64(output.scale[0])
    real = slope if op.input_quantisation[1] is None else dequantise(slope, op.input_quantisation[1])
    steep = real.astype(np.float64) * np.float64(source.scale[0]) / unit
    post = {"zero_point": out, "low": -128, "high": 127}
    weights, bias, multiplier, shift, found = fit(line, steep, np.zeros(len(slope)), zero, **_limits(post))
    if not np.all(found):
        raise op.problem(
            f"the slope of channel {int(np.flatnonzero(~found)[0])} has no fixed-point product that is exact for every byte; "
            "use one slope for all channels"
        )
    image = build.image(op, 0)
    below = build.append(g.Table, f"{op.name}/below", [image], like=image, table=np.minimum(_EVERY, zero))
    falling = build.append(
        g.Conv, f"{op.name}/falling", [below], zero_point=out, weights=weights[:, None, None, None], bias=bias,
        groups=len(weights), post=g.Requantisation(mode="single", multiplier=multiplier, shift=shift, **post),
    )  # fmt: skip
    rising = np.where(_EVERY >= zero, target[0], out)  # positive values have no slope: any channel's
    positive = build.append(g.Table, f"{op.name}/rising", [image], zero_point=out, table=np.clip(rising, -128, 127))
    sum_of = g.Requantisation(mode="single", multiplier=1 << 30, shift=30, **fields)
    build.output(op, g.Elementwise, [positive, falling], kind="add", table_a=_EVERY - out, table_b=_EVERY - out, post=sum_of)


def _limits(post):
    return {"output_zero_point": post["zero_point"], "low": post["low"], "high": post["high"]}


def _line(op, every, slope):
    """Model bytes int64 [C, 256] of slope * x for all x, without the operators that follow."""
    if op.input_quantisation[1] is not None:
        slope = dequantise(slope, op.input_quantisation[1])
    real = slope[:, None] * dequantise(every, op.input_quantisation[0])[None, :]
    return quantise(real, op.output_quantisation[0], output_dtype(op, every.dtype)).astype(np.int64)


OPERATOR = OperatorKind(
    kind="PRelu", golden=golden, lower=lower, supports="one slope, or one for each channel",
    source="ONNX specification, PRelu: float32",
)  # fmt: skip
