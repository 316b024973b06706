"""Functions of one value between DequantizeLinear and QuantizeLinear: a table of what float32 gives for each byte."""

import numpy as np

from ...frontend import OperatorKind
from ._arithmetic import bytes_quantised, dequantise, quantise

__all__ = ["FUNCTIONS", "apply", "golden", "kind", "lower"]

_F = np.float32


def _sigmoid(x, a):
    return 1 / (1 + np.exp(-x))


def _hard_sigmoid(x, a):
    return np.clip(_F(a["alpha"]) * x + _F(a["beta"]), 0, 1)


def _clip(x, a):
    low, high = a.get("min"), a.get("max")
    x = x if low is None else np.maximum(x, _F(low))
    return x if high is None else np.minimum(x, _F(high))


# kind -> function of float32 values and attributes
FUNCTIONS = {
    "Abs": lambda x, a: np.abs(x),
    "Clip": _clip,
    "Elu": lambda x, a: np.where(x < 0, _F(a["alpha"]) * (np.exp(x) - 1), x),
    "Exp": lambda x, a: np.exp(x),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x, a: x * np.clip(x / 6 + _F(0.5), 0, 1),
    "LeakyRelu": lambda x, a: np.where(x < 0, _F(a["alpha"]) * x, x),
    "Neg": lambda x, a: -x,
    "Relu": lambda x, a: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Sqrt": lambda x, a: np.sqrt(np.maximum(x, 0)),
    "Tanh": lambda x, a: np.tanh(x),
    "QLinearLeakyRelu": lambda x, a: np.where(x < 0, _F(a["alpha"]) * x, x),
    "QLinearSigmoid": _sigmoid,
}


def apply(op, x):
    """The operator's function, and those that follow it, of float32 values."""
    with np.errstate(over="ignore", invalid="ignore"):
        x = FUNCTIONS[op.kind](x, op.attributes).astype(_F)
        for kind, attributes in op.attributes.get("then", ()):
            if kind not in FUNCTIONS:
                raise op.problem(f"{kind} follows it without quantisation between; quantise its input too")
            x = FUNCTIONS[kind](x, attributes).astype(_F)
    return x


def golden(op, x, *limits):
    """quantise(function(dequantise(x))), in float32.

    Parameters
    ----------
    x : int8 or uint8, any shape.
    limits : of Clip, float32 scalars or None.
    """
    if op.kind == "Clip":
        named = dict(zip(("min", "max"), (None if each is None else float(each) for each in limits)))
        op.attributes.update(named)
    return (quantise(apply(op, dequantise(x, op.input_quantisation[0])), op.output_quantisation[0], x.dtype),)


def lower(op, build):
    """A Table."""
    for quantisation in (op.input_quantisation[0], op.output_quantisation[0]):
        bytes_quantised(op, quantisation, "input and output")
    offset, dtype = build.offset(op.inputs[0]), build.value(op.inputs[0]).dtype
    limits = [build.model.constant(name) for name in op.inputs[1:]]
    made = golden(op, (np.arange(-128, 128) - offset).astype(dtype), *limits)[0]
    build.unary(op, (made.astype(np.int16) + build.offset(op.outputs[0])).astype(np.int8))


def kind(name, supports="int8 and uint8, any scales; then others of one input", *, source="ONNX specification", share=0.0):
    """OperatorKind of a function."""
    return OperatorKind(kind=name, golden=golden, lower=lower, supports=supports, source=f"{source}, {name}: float32", share=share)
