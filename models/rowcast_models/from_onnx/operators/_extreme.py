"""Max and Min, on bytes of one scale or between DequantizeLinear and QuantizeLinear."""

import numpy as np

from ... import graph as g
from ._arithmetic import dequantise, limits_of, output_dtype, quantise

__all__ = ["golden", "lower"]


def _rescaled(op, which, x):
    """Input `which` in the output's scale: rounding keeps the order, so the largest can be taken afterwards."""
    source, output = op.input_quantisation[which], op.output_quantisation[0]
    dtype = output_dtype(op, x.dtype)
    if source is None or output is None or (source.same(output) and x.dtype == dtype):
        return x
    return quantise(dequantise(x, source), output, dtype)


def golden(op, *parts, extreme=np.maximum):
    """The largest (smallest) of the inputs, quantised.

    parts : int8 or uint8, shapes that numpy broadcasts.
    """
    made = _rescaled(op, 0, parts[0])
    for which, part in enumerate(parts[1:], 1):
        made = extreme(made, _rescaled(op, which, part))
    return (np.clip(made, *limits_of(op, made.dtype)) if op.attributes["then"] else made,)


def lower(op, build, *, smallest=False):
    """Tables that bring the inputs to the output's scale, then an Elementwise "max" for each input after the first; the
    smallest is the largest of the complements, whose tables are reversed."""
    every = np.arange(-128, 128)
    tensors, view = build.operands(op, range(len(op.inputs)))
    prepared = []
    for which, tensor in enumerate(tensors):
        offset, dtype = build.offset(op.inputs[which]), build.value(op.inputs[which]).dtype
        table = _rescaled(op, which, (every - offset).astype(dtype)).astype(np.int16) + build.offset(op.outputs[0])
        table = -1 - table if smallest else table
        if not np.array_equal(table, every):
            tensor = build.append(g.Table, f"{op.name}/{which}", [tensor], table=table.astype(np.int8))
        prepared.append(tensor)
    for number, tensor in enumerate(prepared[1:-1]):
        prepared[0] = build.append(g.Elementwise, f"{op.name}/max{number}", [prepared[0], tensor], kind="max")
    offset, dtype = build.offset(op.outputs[0]), build.value(op.outputs[0]).dtype
    low, high = (limit + offset for limit in limits_of(op, dtype))
    last = np.clip(-1 - every if smallest else every, low, high)
    table = None if np.array_equal(last, every) else last
    if len(prepared) == 1:
        build.output(op, g.Table, prepared, view=view, table=last)
        return
    build.output(op, g.Elementwise, [prepared[0], prepared[-1]], view=view, kind="max", table=table)
