"""What ConvInteger and MatMulInteger share: their 32-bit sums, scaled to bytes by what follows them."""

import numpy as np

from ... import graph as g
from ...golden.requantise import quantise_multiplier_onnx
from ._arithmetic import clamp, limits_of, output_dtype, quantise

__all__ = ["COARSEST", "SHARE", "line", "on_host", "scaled", "with_line"]

# On the accelerator a constant that is added is rounded to a whole number of units of the sum, so a result is off by up to
# half a unit / output scale before it is rounded; a unit may be at most so many steps of the output.
COARSEST = 1 / 32
SHARE = 0.02  # of values that may differ by 1 then: a quarter of a unit on average
_STEPS = {"Mul": np.multiply, "Add": np.add, "Sub": np.subtract, "Div": np.divide}


def _shaped(array, behind):
    return array.reshape(-1, *[1] * behind)


def scaled(op, acc, behind):
    """What the operators between the sums and QuantizeLinear make of them, each rounded to float32 in turn; then bytes.

    acc : int64, the axis of channels followed by `behind` others.
    """
    made = acc.astype(np.int32).astype(np.float32)
    for kind, array in op.attributes["steps"]:
        made = _STEPS[kind](made, _shaped(array, behind), dtype=np.float32)
    dtype = output_dtype(op, None)
    return np.clip(quantise(made, op.output_quantisation[0], dtype), *limits_of(op, dtype)).astype(dtype)


def line(op):
    """(slope, intercept) float64 of the steps: real value = slope * acc + intercept, of channels or one."""
    slope, intercept = np.ones(1), np.zeros(1)
    for kind, array in op.attributes["steps"]:
        array = array.astype(np.float64)
        if kind in ("Mul", "Div"):
            slope, intercept = _STEPS[kind](slope, array), _STEPS[kind](intercept, array)
        else:
            intercept = _STEPS[kind](intercept, array)
    return np.broadcast_arrays(slope, intercept)


def on_host(op, model):
    """Where the sums themselves are wanted, weights are computed, or units are too coarse to add a constant in them."""
    if "steps" not in op.attributes or model.constant(op.inputs[1]) is None or not op.input_quantisation[0].per_tensor:
        return True
    slope, intercept = line(op)
    units = np.abs(slope) / float(op.output_quantisation[0].scale[0])
    return not np.all(np.isfinite(intercept)) or bool(np.any((intercept != 0) & (units > COARSEST)) or np.any(slope == 0))


def with_line(op, build, channels):
    """(sign int64 [channels], bias int32 [channels], Requantisation) that make bytes of the sums: sign * acc + bias, scaled.

    The scale is |slope| / output scale in mode "onnx", the bias the intercept in units of the sum.
    """
    slope, intercept = (np.broadcast_to(part, channels) for part in line(op))
    sign = np.where(slope < 0, -1, 1)
    bias = np.rint(intercept / np.abs(slope))
    if np.abs(bias).max(initial=0) >= 1 << 30:
        raise op.problem("the constant added to its sums is too large for 32 bits in their units")
    scale = (np.abs(slope) / np.float64(op.output_quantisation[0].scale[0])).astype(np.float32)
    try:
        multiplier, shift = np.array([quantise_multiplier_onnx(each) for each in scale]).T
    except ValueError as error:
        raise op.problem(f"scale of its sums / output scale: {error}") from None
    return sign, bias.astype(np.int64), g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift, **clamp(op, build))
