"""What QLinearConcat and Concat share."""

import numpy as np

from ... import graph as g
from ._arithmetic import dequantise, limits_of, output_dtype, quantise

__all__ = ["golden", "lower"]

_EVERY = np.arange(-128, 128)


def _rescaled(op, which, x, dtype):
    """Input `which` in the output's scale: dequantised and quantised again, or as it is where nothing changes."""
    source, output = op.input_quantisation[which], op.output_quantisation[0]
    if source is None or output is None or (source.same(output) and x.dtype == dtype):
        made = x.astype(dtype)
    else:
        made = quantise(dequantise(x, source), output, dtype)
    return np.clip(made, *limits_of(op, dtype)) if op.attributes.get("then") else made


def golden(op, *parts):
    """The inputs one after the other along `axis`, each in the output's scale and zero point.

    parts : int8 or uint8, equal but for the axis.
    """
    items = max(len(part) for part in parts)
    made = [_rescaled(op, i, part, output_dtype(op, part.dtype)) for i, part in enumerate(parts)]
    made = [np.broadcast_to(part, (items, *part.shape[1:])) for part in made]  # constants have one item
    return (np.concatenate(made, axis=op.attributes["axis"]),)


def lower(op, build):
    """A Concat along the channels; along rows or columns the largest of the inputs, each with a border of -128."""
    shape = build.value(op.outputs[0]).shape
    axis = op.attributes["axis"] % len(shape)
    if axis == 0 or (axis > 1 and len(shape) not in (3, 4)):
        raise op.problem(f"axis {op.attributes['axis']} of {shape} must be the channels, rows or columns")
    tensors, tables = [], []
    for which, name in enumerate(op.inputs):
        value = build.value(name)
        if value.data is not None:
            raise op.problem(f"input {name!r} is a constant; concatenated values must be computed")
        every = (_EVERY - build.offset(name)).astype(value.dtype)
        table = _rescaled(op, which, every, build.value(op.outputs[0]).dtype).astype(np.int16) + build.offset(op.outputs[0])
        tables.append(None if np.array_equal(table, _EVERY) else table.astype(np.int8))
        tensors.append(build.image(op, which))
    if axis == 1:
        build.output(op, g.Concat, tensors, tables=tuple(tables))
    else:
        _lower_pixels(op, build, tensors, tables, 1 if axis == 2 and len(shape) == 4 else 2)


def _lower_pixels(op, build, tensors, tables, axis):
    """Every input where it belongs in an image of -128, and the largest of them all."""
    total, before, images = sum(tensor.shape[axis] for tensor in tensors), 0, []
    for which, (tensor, table) in enumerate(zip(tensors, tables, strict=True)):
        if table is not None:
            tensor = build.append(g.Table, f"{op.name}/{which}/scale", [tensor], table=table)
        size = tensor.shape[axis]
        border = [(0, 0), (0, 0)]
        border[axis - 1] = (before, total - before - size)
        images.append(build.append(g.Pad, f"{op.name}/{which}", [tensor], padding=tuple(border), value=-128))
        before += size
    if len(images) == 1:
        build.output(op, g.Table, images, table=_EVERY)
        return
    for number, image in enumerate(images[1:-1]):
        images[0] = build.append(g.Elementwise, f"{op.name}/max{number}", [images[0], image], kind="max")
    build.output(op, g.Elementwise, [images[0], images[-1]], kind="max")
