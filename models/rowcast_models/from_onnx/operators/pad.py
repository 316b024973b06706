"""Pad."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ._arithmetic import quantise

__all__ = ["OPERATOR"]

_NUMPY = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def _pads(op, pads, axes, rank):
    """((before, after), ...) of every axis."""
    which = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    made, count = [(0, 0)] * rank, len(pads) // 2
    for i, axis in enumerate(which):
        made[axis] = (int(pads[i]), int(pads[i + count]))
    return made


def _value(op, value, dtype):
    """The byte of the border: a float value is quantised, none is real 0."""
    quantisation = op.output_quantisation[0]
    if value is None or (np.size(value) and np.issubdtype(np.asarray(value).dtype, np.floating)):
        real = np.float32(0) if value is None else np.float32(np.asarray(value).reshape(-1)[0])
        return int(quantise(real, quantisation, dtype)) if quantisation is not None else int(real)
    return int(np.asarray(value).reshape(-1)[0])


def golden(op, x, pads, value=None, axes=None):
    """x with a border: of one value, or of what `mode` says of its own elements.

    x : int8 or uint8; value : a byte, or a real number between DequantizeLinear and QuantizeLinear.
    """
    widths, mode = _pads(op, pads, axes, x.ndim), op.attributes["mode"]
    fields = {"constant_values": _value(op, value, x.dtype)} if mode == "constant" else {}
    return (np.pad(x, widths, mode=_NUMPY[mode], **fields),)


def lower(op, build):
    """A Pad; in other modes a Resize that picks rows and columns again."""
    constants = [build.model.constant(name) for name in op.inputs[1:]]
    for name, array in zip(op.inputs[1:], constants):
        if name and array is None:
            raise op.problem(f"{name!r} must be a constant, but it is computed")
    pads, value, axes = [*constants, None, None][:3]
    if value is not None and value.size != 1:
        raise op.problem(f"the constant value {value.shape} must be one")
    rank, mode = len(build.value(op.inputs[0]).shape), op.attributes["mode"]
    source, output = op.input_quantisation[0], op.output_quantisation[0]
    types = build.value(op.inputs[0]).dtype, build.value(op.outputs[0]).dtype
    if op.attributes["then"] or types[0] != types[1] or (source is not None and not source.same(output)):
        raise op.problem("input and output must have one type, scale and zero point, and nothing may follow it without")
    if pads.shape != (2 * (rank if axes is None else axes.size),):
        raise op.problem(f"pads {pads.shape} must be two for each axis")
    widths = _pads(op, pads, axes, rank)
    if any(any(width) for width in widths[:2]) or rank not in (3, 4) or min(map(min, widths)) < 0:
        raise op.problem(f"pads {[int(pad) for pad in pads]} must be 0 for batch and channels, and not negative")
    image = build.image(op, 0)
    padding = tuple(widths[2:]) if rank == 4 else ((0, 0), widths[2])
    if mode == "constant":
        byte = _value(op, value, build.value(op.inputs[0]).dtype) + build.offset(op.inputs[0])
        build.output(op, g.Pad, [image], padding=padding, value=byte)
        return
    if mode not in _NUMPY:
        raise op.problem(f"mode {mode!r} must be one of {', '.join(_NUMPY)}")
    rows, columns = (np.pad(np.arange(size), width, mode=_NUMPY[mode]) for size, width in zip(image.shape[1:3], padding))
    build.output(op, g.Resize, [image], rows=rows, columns=columns)


OPERATOR = OperatorKind(
    kind="Pad", golden=golden, lower=lower, supports="rows and columns; constant, edge, reflect, wrap",
    source="ONNX specification, Pad",
)  # fmt: skip
