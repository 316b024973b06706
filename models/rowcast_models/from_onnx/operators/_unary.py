"""Functions of one value between DequantizeLinear and QuantizeLinear: a table of what float32 gives for each byte."""

import math

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind
from ...frontend.model import Quantisation
from ._arithmetic import bytes_quantised, dequantise, is_fused, output_dtype, quantise
from ._float32 import elu_exp, exp, logistic, tanh

__all__ = ["CLOSE", "FUNCTIONS", "apply", "golden", "kind", "lower", "lower_table"]

CLOSE = 1e-5  # share of functions of which float32's last bit is not reproduced; measured: 3e-7

_F = np.float32


def _clip(x, a):
    low, high = a.get("min"), a.get("max")
    x = x if low is None else np.maximum(x, _F(low))
    return x if high is None else np.minimum(x, _F(high))


def _celu(x, a):
    alpha = _F(a["alpha"])
    return np.maximum(x, 0) + np.minimum(alpha * (elu_exp(x / alpha) - 1), 0)


def _selu(x, a):
    alpha, gamma = _F(a["alpha"]), _F(a["gamma"])
    return np.where(x > 0, gamma * x, gamma * alpha * (elu_exp(x) - 1))


def _erf(x, a=None):
    return np.array([math.erf(each) for each in x.astype(np.float64)]).astype(_F)


def _gelu(x, a):
    if a["approximate"] == "tanh":
        return _F(0.5) * x * (1 + tanh(x * (_F(0.7978845608) + _F(0.0356774081) * x * x)))
    return _F(0.5) * x * (1 + _erf(x * _F(math.sqrt(0.5))))


def _softplus(x, a=None):
    return np.maximum(x, 0) + np.log1p(elu_exp(-np.abs(x)).astype(np.float64)).astype(_F)


# kind -> function of float32 values [n] and attributes
FUNCTIONS = {
    "Abs": lambda x, a: np.abs(x),
    "Ceil": lambda x, a: np.ceil(x),
    "Celu": _celu,
    "Clip": _clip,
    "Elu": lambda x, a: np.where(x > 0, x, _F(a["alpha"]) * (elu_exp(x) - 1)),
    "Erf": _erf,
    "Exp": lambda x, a: exp(x),
    "Floor": lambda x, a: np.floor(x),
    "Gelu": _gelu,
    "HardSigmoid": lambda x, a: np.clip(_F(a["alpha"]) * x + _F(a["beta"]), 0, 1),
    "HardSwish": lambda x, a: x * np.clip(x * _F(1 / 6) + _F(0.5), 0, 1),
    "LeakyRelu": lambda x, a: np.where(x < 0, _F(a["alpha"]) * x, x),
    "Log": lambda x, a: np.log(x.astype(np.float64)),
    "Mish": lambda x, a: x * tanh(_softplus(x)),
    "Neg": lambda x, a: -x,
    "QLinearLeakyRelu": lambda x, a: np.where(x < 0, _F(a["alpha"]) * x, x),
    "QLinearSigmoid": lambda x, a: logistic(x),
    "Reciprocal": lambda x, a: 1 / x,
    "Relu": lambda x, a: np.maximum(x, 0),
    "Round": lambda x, a: np.rint(x),
    "Selu": _selu,
    "Sigmoid": lambda x, a: logistic(x),
    "Sign": lambda x, a: np.sign(x),
    "Softplus": _softplus,
    "Softsign": lambda x, a: x * (1 / (1 + np.abs(x))),
    "Sqrt": lambda x, a: np.sqrt(x),
    "Tanh": lambda x, a: tanh(x),
    "ThresholdedRelu": lambda x, a: np.where(x > _F(a["alpha"]), x, 0),
}


def apply(op, x, attributes):
    """The operator's function, and those that follow it, of float32 values [n]."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for kind, given in ((op.kind, attributes), *op.attributes.get("then", ())):
            if kind not in FUNCTIONS:
                raise op.problem(f"{kind} follows it without quantisation between; quantise its input too")
            x = FUNCTIONS[kind](x, given).astype(_F)
    return x


def _meanings(op):
    """Quantisation of input and output; bytes that no DequantizeLinear is before are the integers that they are."""
    if op.kind in ("Clip", "Relu") and not is_fused(op):
        return (Quantisation(1.0, 0),) * 2
    return op.input_quantisation[0], op.output_quantisation[0]


def golden(op, x, *limits):
    """quantise(function(dequantise(x))), in float32, of each of the 256 bytes there are.

    Parameters
    ----------
    x : int8 or uint8, any shape.
    limits : of Clip, float32 scalars or None.
    """
    attributes = dict(op.attributes)
    if op.kind == "Clip":
        attributes |= zip(("min", "max"), (None if each is None else float(each) for each in limits))
    source, output = _meanings(op)
    bounds = np.iinfo(x.dtype)
    every = np.arange(bounds.min, bounds.max + 1).astype(x.dtype)
    real = apply(op, dequantise(every, source), attributes)
    table = quantise(real, output, output_dtype(op, x.dtype))
    return (table[x.astype(np.int64) - bounds.min],)


def lower(op, build):
    """A Table."""
    for quantisation in _meanings(op):
        bytes_quantised(op, quantisation, "input and output")
    limits = [build.model.constant(name) for name in op.inputs[1:]]
    for name, array in zip(op.inputs[1:], limits):
        if name and array is None:
            raise op.problem(f"{name!r} must be a constant, but it is computed")
        if name and array.ndim:
            raise op.problem(f"{name!r} {array.tolist()} must be one number, without axes")
    lower_table(op, build, 0, lambda x: golden(op, x, *limits)[0])


def lower_table(op, build, which, function):
    """Any function of input `which` alone, of model bytes to model bytes, as a Table."""
    name = op.inputs[which]
    view = build.view(name)
    if view.shape != tuple(build.value(op.outputs[0]).shape[1:]):
        raise op.problem(f"a constant must not give {name!r} {build.value(name).shape} more axes or elements")
    every = (np.arange(-128, 128) - build.offset(name)).astype(build.value(name).dtype)
    table = function(every).astype(np.int16) + build.offset(op.outputs[0])
    build.output(op, g.Table, [build.tensors[view.tensor]], view=view, table=table)


def kind(name, supports="int8 and uint8, any scales; then others of one input", *, source="ONNX Runtime", share=0.0):
    """OperatorKind of a function."""
    return OperatorKind(kind=name, golden=golden, lower=lower, supports=supports, source=f"{source}, {name}: float32", share=share)
