"""What PAD and PADV2 share: `reference/pad.h`."""

import numpy as np

from ... import graph as g
from ...frontend.build import default_axes
from ._common import check_bytes, check_constant

__all__ = ["golden", "lower"]


def golden(x, paddings, value):
    """x with a border of `value`.  x : int8; paddings : int32 or int64 [rank, 2], before and after."""
    return (np.pad(x, paddings.tolist(), constant_values=value),)


def lower(op, build, value):
    """A Pad for rows and columns, a Concat with constants for channels."""
    check_bytes(op, build)
    paddings = [tuple(pair) for pair in check_constant(op, build, 1, "paddings").tolist()]
    if any(paddings[0]):
        raise op.problem(f"paddings {paddings} must be 0 for the first axis, the batch")
    axes = default_axes(build.model.format, len(paddings))
    if len(axes.height) > 1:
        raise op.problem(f"paddings {paddings} must be of at most 4 axes, [N, H, W, C]")
    image = build.image(op, 0)
    border = tuple(paddings[axis[0]] if axis else (0, 0) for axis in (axes.height, axes.width))
    before, after = paddings[axes.channels[0]] if axes.channels else (0, 0)
    kept = {"quantisation": op.output_quantisation[0], "offset": build.offset(op.outputs[0])}
    if not before and not after:
        build.output(op, g.Pad, [image], padding=border, value=value)
        return
    if np.any(border):
        image = build.append(g.Pad, f"{op.name}/pixels", [image], padding=border, value=value, **kept)
    parts = [image]
    for place, (size, name) in enumerate(((before, "before"), (after, "after"))):
        if size:
            values = np.full((*image.shape[:-1], size), value)
            constant = build.append(g.Constant, f"{op.name}/{name}", [], values=values, **kept)
            parts.insert(place * len(parts), constant)
    build.output(op, g.Concat, parts)
