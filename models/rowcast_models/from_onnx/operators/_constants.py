"""Arithmetic with a constant: of one element it is a table, of float32 for every channel a line."""

import numpy as np

from ._affine import lower_affine
from ._arithmetic import bytes_quantised, clamp
from ._unary import lower_table

__all__ = ["lower_with_constant"]

_LINES = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b, "Div": lambda a, b: a / b,
}  # fmt: skip


def lower_with_constant(op, build, golden):
    """Lower an operator of two inputs one of which is constant; whether it was done.

    Quantised constants of more elements are tensors, for the operator itself.

    Parameters
    ----------
    golden : golden(a, b) -> model bytes, of model bytes and the constant as it is.
    """
    constants = [build.model.constant(name) for name in op.inputs]
    known = [which for which, array in enumerate(constants) if array is not None]
    if len(known) != 1:
        if len(known) == 2:
            raise op.problem("both inputs are constant")
        return False
    which, array = 1 - known[0], constants[known[0]]

    def function(x, c):
        return golden(x, c) if which == 0 else golden(c, x)

    if array.size == 1:
        lower_table(op, build, which, lambda x: function(x, array.reshape(1)))
        return True
    if op.input_quantisation[known[0]] is not None:
        return False
    _lower_line(op, build, which, _of_channels(op, build, array), function)
    return True


def _of_channels(op, build, array):
    """A constant that differs between channels only, [C]."""
    shape = build.value(op.outputs[0]).shape
    axes = (1,) * (len(shape) - array.ndim) + array.shape
    if len(axes) != len(shape) or any(size != 1 for axis, size in enumerate(axes) if axis != 1):
        raise op.problem(
            f"the float constant {array.shape} must be one element, or one for each channel; quantise it (QuantizeLinear, "
            "DequantizeLinear) and any shape works"
        )
    return array.reshape(-1)


def _lower_line(op, build, which, constant, function):
    """A depthwise 1x1 Conv: slope and intercept of every channel, in steps of the output."""
    source, output = op.input_quantisation[which], op.output_quantisation[0]
    for quantisation in (source, output):
        bytes_quantised(op, quantisation, "input and output")
    name = op.inputs[which]
    if build.value(name).shape != build.value(op.outputs[0]).shape:
        raise op.problem(f"a constant must not give {name!r} {build.value(name).shape} more axes or elements")
    image, offset = build.image(op, which), build.offset(name)
    every = (np.arange(-128, 128) - offset).astype(build.value(name).dtype)
    target = function(every[None, :], constant[:, None]).astype(np.int64) + build.offset(op.outputs[0])
    real, line = constant.astype(np.float64), _LINES[op.kind]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        at0, at1 = (line(x, real) if which == 0 else line(real, x) for x in (0.0, 1.0))
    if not np.all(np.isfinite([at0, at1])):
        raise op.problem(f"the constant {constant.tolist()[:8]} makes infinite values")
    unit = np.float64(output.scale[0])
    lower_affine(op, build, image, target, (at1 - at0) * np.float64(source.scale[0]) / unit, at0 / unit, **clamp(op, build))
