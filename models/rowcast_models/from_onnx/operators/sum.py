"""Sum of up to two between DequantizeLinear and QuantizeLinear."""

from ...frontend import OperatorKind
from . import _add
from ._unary import lower_table

__all__ = ["OPERATOR"]


def lower(op, build):
    """An Elementwise, as of Add; of one input a Table."""
    if len(op.inputs) > 2:
        raise op.problem(f"has {len(op.inputs)} inputs; write it as Adds of two, each quantised")
    if len(op.inputs) == 1:
        lower_table(op, build, 0, lambda x: _add.golden_float(op, x)[0])
        return
    _add.lower(op, build, function=_add.golden_float)


OPERATOR = OperatorKind(
    kind="Sum", golden=_add.golden_float, lower=lower, supports="one or two inputs, as Add",
    source="ONNX specification, Sum: float32", share=_add.HALVES,
)  # fmt: skip
