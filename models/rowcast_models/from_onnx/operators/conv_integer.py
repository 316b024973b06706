"""ConvInteger: 32-bit sums on the host, or bytes where constants scale them and QuantizeLinear follows."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from . import _convolution
from ._arithmetic import bytes_quantised, constant
from ._integer import SHARE, on_host, scaled, with_line

__all__ = ["OPERATOR"]


def golden(op, x, weights):
    """int32 sum of (x - zx) * (w - zw); with `steps` cast to float32, scaled and quantised.

    x : int8 or uint8 [N, C, H, W]; weights : int8 or uint8 [M, C / groups, R, S].
    """
    acc = _convolution.accumulate(op, x, weights, None)
    return (scaled(op, acc, x.ndim - 2) if "steps" in op.attributes else acc.astype(np.int32),)


def lower(op, build):
    """A Conv."""
    weights = constant(op, build, 1, "the weights")
    bytes_quantised(op, op.output_quantisation[0], "the output")
    sign, bias, post = with_line(op, build, len(weights))
    build.output(
        op, g.Conv, [build.image(op, 0)], weights=_convolution.weights_of(op, weights) * sign[:, None, None, None], bias=bias,
        post=post, groups=op.attributes["group"], **_convolution.window(op, weights.ndim - 2),
    )  # fmt: skip


OPERATOR = OperatorKind(
    kind="ConvInteger", golden=golden, lower=lower, on_host=on_host, share=SHARE,
    supports="before Cast, multiplications and additions of constants, Relu or Clip, and QuantizeLinear; int32 results on the host",
    source="ONNX specification, ConvInteger; the float32 operators one by one",
)  # fmt: skip
