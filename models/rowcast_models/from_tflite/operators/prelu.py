"""PRELU."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from . import _tables
from ._common import check_bytes, check_constant, quantised_by_tensor, requantisation

__all__ = ["OPERATOR"]


def golden(op, x, alpha):
    """(x - zx) * sx / sy where that is positive, else (x - zx) * (alpha - za) * sx * sa / sy, by two roundings, plus zy.

    x : int8 [N, H, W, C]; alpha : int8, broadcast to x.
    """
    sx, zx, sy, zy = _tables.integers(op)
    quantisation = op.input_quantisation[1]
    centred, slope = x.astype(np.int64) - zx, alpha.astype(np.int64) - int(quantisation.zero_point[0])
    above = _tables.rescaled(centred, sx / sy)
    below = _tables.rescaled(centred * slope, sx * float(quantisation.scale[0]) / sy)
    return (np.clip(np.where(centred >= 0, above, below) + zy, -128, 127).astype(np.int8),)


def lower(op, build):
    """One alpha: a Table.  One for every channel: a depthwise 1x1 Conv of the negative part, and an Elementwise that adds the
    positive one; where one of them counts the other is 0."""
    check_bytes(op, build)
    for quantisation in (*op.input_quantisation, op.output_quantisation[0]):
        quantised_by_tensor(op, quantisation, "every operand")
    alpha = check_constant(op, build, 1, "alpha")
    every = np.arange(-128, 128).astype(np.int8)
    if alpha.size == 1:
        build.unary(op, golden(op, every, alpha.reshape(1))[0])
        return
    image = build.image(op, 0)
    if alpha.size != image.shape[3] or alpha.shape[-1] != image.shape[3]:
        raise op.problem(f"alpha {alpha.shape} must be one, or one for each of {image.shape[3]} channels (shared_axes)")
    sx, zx, sy, zy = _tables.integers(op)
    sa, za = float(op.input_quantisation[1].scale[0]), int(op.input_quantisation[1].zero_point[0])
    negative = build.append(g.Table, f"{op.name}/negative", [image], zero_point=zx, scale=sx, table=np.minimum(every, zx))
    below = build.append(
        g.Conv, f"{op.name}/below", [negative], zero_point=zy, scale=sy, groups=alpha.size, bias=np.zeros(alpha.size, np.int32),
        weights=(alpha.reshape(-1).astype(np.int64) - za)[:, None, None, None], post=requantisation(sx * sa / sy, zy, -128, 127),
    )  # fmt: skip
    above = np.where(every >= zx, _tables.rescaled(every.astype(np.int64) - zx, sx / sy), 0)
    post = g.Requantisation(mode="single", multiplier=1, shift=0, zero_point=zy)
    build.output(
        op, g.Elementwise, [image, below], kind="add", table_a=np.clip(above, -512, 512), table_b=every.astype(np.int64) - zy, post=post
    )


OPERATOR = OperatorKind(
    kind="PRELU", golden=golden, lower=lower, supports="int8, one alpha or one for each channel", source="reference/prelu.h"
)
