"""CONCATENATION."""

import functools

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...frontend.build import default_axes
from ._common import check_bytes, quantised_by_tensor

__all__ = ["OPERATOR"]


def golden(op, *parts):
    """The inputs one after the other along `axis`; all have the output's scale and zero point."""
    items = max(len(part) for part in parts)
    return (np.concatenate([np.broadcast_to(part, (items, *part.shape[1:])) for part in parts], axis=op.attributes["axis"]),)


def _check(op, build):
    """The axis; refuses what the kernel refuses."""
    check_bytes(op, build)
    rank = len(build.value(op.outputs[0]).shape)
    axis = op.attributes["axis"] % rank
    if axis == 0:
        raise op.problem("axis 0 is the batch, whose items have nothing to do with each other; other axes can be concatenated")
    output = quantised_by_tensor(op, op.output_quantisation[0], "the output")
    for which, name in enumerate(op.inputs):
        if not quantised_by_tensor(op, op.input_quantisation[which], "every input").same(output):
            raise op.problem(f"input {name!r} must have the output's scale and zero point, as the specification says")
    if op.attributes["fused_activation"] != "NONE":
        raise op.problem(f"fused activation {op.attributes['fused_activation']} must be NONE, as the kernel demands")
    return axis, default_axes(build.model.format, rank)


def _part(op, build, which, axes):
    """Graph tensor of an input; a constant becomes one."""
    name = op.inputs[which]
    data = build.model.constant(name)
    if data is None:
        return build.image(op, which)
    if np.any(data != data[:1]):
        raise op.problem(f"constant {name!r} {data.shape} must be the same for every batch item")
    _, height, width, channels = (1, *axes.sizes(data.shape))
    values = np.broadcast_to(data[:1].reshape(1, height, width, channels), (build.batch, height, width, channels))
    return build.append(g.Constant, f"{op.name}/{name}.{which}", [], quantisation=op.output_quantisation[0], values=values)


def _joined(op, build, parts, dimension):
    """Parts along rows (1) or columns (2): each in a border of the lowest byte, and the largest of all is the one inside."""
    total, start, padded = sum(part.shape[dimension] for part in parts), 0, []
    for which, part in enumerate(parts):
        border = [(0, 0), (0, 0)]
        border[dimension - 1] = (start, total - start - part.shape[dimension])
        start += part.shape[dimension]
        padded.append(build.append(g.Pad, f"{op.name}/pad{which}", [part], like=part, padding=tuple(border), value=-128))
    *first, last = padded
    if not first:
        build.place(op, parts[0])
        return
    so_far = functools.reduce(
        lambda a, b: build.append(g.Elementwise, f"{op.name}/joined", [a, b], like=a, kind="max"), first
    )
    build.output(op, g.Elementwise, [so_far, last], kind="max")


def lower(op, build):
    """A Concat along the channels; along rows and columns padding and maxima."""
    axis, axes = _check(op, build)
    parts = [_part(op, build, which, axes) for which in range(len(op.inputs))]
    if axis in axes.channels:
        build.output(op, g.Concat, parts)
    elif axes.height[:-1] and axis in axes.height:
        raise op.problem(f"axis {axis} of {len(build.value(op.outputs[0]).shape)} must be among the last three")
    else:
        _joined(op, build, parts, 1 if axis in axes.height else 2)


OPERATOR = OperatorKind(
    kind="CONCATENATION", golden=golden, lower=lower, supports="int8 of one scale, any of up to 4 axes but the batch, constant parts",
    source="reference/concatenation.h",
)  # fmt: skip
