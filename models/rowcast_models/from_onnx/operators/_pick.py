"""Operators that take some of the elements along axes: what an axis becomes is a list of positions in the input."""

import numpy as np

from ... import graph as g
from ...frontend.build import View
from ._arithmetic import dequantise, output_dtype, quantise

__all__ = ["golden_picked", "lower_picked"]


def golden_picked(op, x, picked):
    """x[..., positions, ...] for each axis of `picked`, a dict of positions by axis; another scale if the output has one."""
    for axis, positions in picked.items():
        x = np.take(x, positions, axis=axis)
    return _rescaled(op, x)


def _rescaled(op, x, which=0):
    source, output = op.input_quantisation[0], op.output_quantisation[which]
    dtype = output_dtype(op, x.dtype)
    if source is None or output is None or (source.same(output) and x.dtype == dtype):
        return x
    return quantise(dequantise(x, source), output, dtype)


def lower_picked(op, build, picked, which=0):
    """A Select of channels and a Resize of rows and columns; of a value without pixels only a Select.

    Parameters
    ----------
    picked : positions by axis of input 0; the axis stays.
    which : output.
    """
    rank = len(build.value(op.inputs[0]).shape)
    if 0 in picked or rank > 4:
        raise op.problem("works along any axis but the batch, of up to four axes")
    image = build.image(op, 0)
    name = op.outputs[which]
    if 1 in picked:
        image = build.append(g.Select, f"{op.name}/{name}/channels", [image], like=image, channels=picked[1])
    rows = picked.get(2) if rank == 4 else None
    columns = picked.get(rank - 1) if rank > 2 else None
    if rows is not None or columns is not None:
        rows, columns = (
            np.arange(size) if positions is None else positions for positions, size in zip((rows, columns), image.shape[1:3])
        )
        image = build.append(g.Resize, f"{op.name}/{name}/pixels", [image], like=image, rows=rows, columns=columns)
    every = np.arange(-128, 128)
    model = (every - build.offset(op.inputs[0])).astype(build.value(op.inputs[0]).dtype)
    table = _rescaled(op, model, which).astype(np.int16) + build.offset(name)
    if not np.array_equal(table, every):
        build.output(op, g.Table, [image], which=which, table=table)
        return
    shape = build.value(op.inputs[0]).shape
    made = [len(picked[axis]) if axis in picked else shape[axis] for axis in range(1, rank)]
    positions = np.arange(image.features).reshape(image.shape[1:]).transpose(2, 0, 1).reshape(made)
    build.place(op, image, which=which, view=View("", (), positions=positions.reshape(build.value(name).shape[1:])))
