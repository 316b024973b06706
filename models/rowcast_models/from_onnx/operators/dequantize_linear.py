"""DequantizeLinear of values that leave the network, on the host."""

from ...frontend import OperatorKind
from ._arithmetic import dequantise

__all__ = ["OPERATOR"]


def golden(op, x):
    """float32 (x - z) * s.  x : int8, uint8 or int32."""
    return (dequantise(x, op.input_quantisation[0]),)


OPERATOR = OperatorKind(
    kind="DequantizeLinear", golden=golden, lower=None, supports="int8, uint8 or int32 to float32; on the host",
    source="ONNX specification, DequantizeLinear",
)  # fmt: skip
