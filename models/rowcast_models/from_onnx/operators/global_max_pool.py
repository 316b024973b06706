"""GlobalMaxPool."""

from ... import graph as g
from ...frontend import OperatorKind

__all__ = ["OPERATOR"]


def golden(op, x):
    """The largest element of every channel.  x : int8 or uint8 [N, C, ...]."""
    return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


def lower(op, build):
    """A MaxPool over the whole ifmap."""
    source, output = op.input_quantisation[0], op.output_quantisation[0]
    if source is not None and not source.same(output):
        raise op.problem("input and output must have one scale and zero point")
    image = build.image(op, 0)
    build.output(op, g.MaxPool, [image], window=image.shape[1:3], stride=(1, 1))


OPERATOR = OperatorKind(
    kind="GlobalMaxPool", golden=golden, lower=lower, supports="int8 and uint8, any size", source="ONNX specification, GlobalMaxPool"
)
