"""Sub between DequantizeLinear and QuantizeLinear."""

from functools import partial

from ...frontend import OperatorKind
from . import _add

__all__ = ["OPERATOR"]

golden = partial(_add.golden_float, sign=-1)


def lower(op, build):
    """An Elementwise, as of Add."""
    _add.lower(op, build, sign=-1, function=golden)


OPERATOR = OperatorKind(
    kind="Sub", golden=golden, lower=lower, supports="int8 and uint8, any scales, broadcasting, constant operands",
    source="ONNX specification, Sub: float32", share=_add.HALVES,
)  # fmt: skip
