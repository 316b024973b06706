"""What QLinearConcat and Concat share."""

import numpy as np

from ... import graph as g
from ._arithmetic import dequantise, quantise

__all__ = ["golden", "lower"]


def _rescaled(op, which, x, dtype):
    """Input `which` in the output's scale: dequantised and quantised again, or as it is where nothing changes."""
    source, output = op.input_quantisation[which], op.output_quantisation[0]
    if source is None or output is None or source.same(output):
        return x.astype(dtype)
    return quantise(dequantise(x, source), output, dtype)


def golden(op, *parts):
    """The inputs one after the other along `axis`, each in the output's scale and zero point.

    parts : int8 or uint8, equal but for the axis.
    """
    items = max(len(part) for part in parts)
    made = [_rescaled(op, i, part, part.dtype) for i, part in enumerate(parts)]
    made = [np.broadcast_to(part, (items, *part.shape[1:])) for part in made]  # constants have one item
    return (np.concatenate(made, axis=op.attributes["axis"]),)


def lower(op, build):
    """A Concat along the channels."""
    rank = len(build.value(op.outputs[0]).shape)
    if op.attributes["axis"] % rank != 1:
        raise op.problem(f"axis {op.attributes['axis']} must be 1: channels can be concatenated")
    every = np.arange(-128, 128)
    tensors, tables = [], []
    for which, name in enumerate(op.inputs):
        offset, dtype = build.offset(name), build.value(name).dtype
        table = _rescaled(op, which, (every - offset).astype(dtype), dtype).astype(np.int16) + offset
        tables.append(None if np.array_equal(table, every) else table.astype(np.int8))
        if build.value(name).data is not None:
            raise op.problem(f"input {name!r} is a constant; concatenated values must be computed")
        tensors.append(build.image(op, which))
    build.output(op, g.Concat, tensors, tables=tuple(tables))
