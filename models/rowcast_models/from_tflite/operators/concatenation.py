"""CONCATENATION."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ._common import check_bytes, quantised_by_tensor

__all__ = ["OPERATOR"]


def golden(op, *parts):
    """The inputs one after the other along `axis`; all have the output's scale and zero point."""
    items = max(len(part) for part in parts)
    return (np.concatenate([np.broadcast_to(part, (items, *part.shape[1:])) for part in parts], axis=op.attributes["axis"]),)


def lower(op, build):
    """A Concat along the channels."""
    check_bytes(op, build)
    rank = len(build.value(op.outputs[0]).shape)
    if op.attributes["axis"] % rank != rank - 1:
        raise op.problem(f"axis {op.attributes['axis']} must be the last: channels can be concatenated")
    output = quantised_by_tensor(op, op.output_quantisation[0], "the output")
    for which, name in enumerate(op.inputs):
        if not quantised_by_tensor(op, op.input_quantisation[which], "every input").same(output):
            raise op.problem(f"input {name!r} must have the output's scale and zero point, as the specification says")
        if build.value(name).data is not None:
            raise op.problem(f"input {name!r} is a constant; concatenated values must be computed")
    build.output(op, g.Concat, [build.image(op, which) for which in range(len(op.inputs))])


OPERATOR = OperatorKind(
    kind="CONCATENATION", golden=golden, lower=lower, supports="int8 of one scale, along the channels",
    source="reference/concatenation.h",
)  # fmt: skip
