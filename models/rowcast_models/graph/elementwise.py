"""Nodes that work element by element, and TFLite's operators as such nodes."""

from dataclasses import dataclass

import numpy as np

from ..golden.requantise import quantise_multiplier_tflite, requantise_tflite
from .node import Node, check_entries
from .tensor import GraphError, Requantisation, check_clamp

__all__ = ["Elementwise", "Table", "tflite_add", "tflite_mul"]

ACC_LIMIT = 1 << 31  # the magnitude of an int32 accumulator stays below


@dataclass(frozen=True, eq=False, kw_only=True)
class Elementwise(Node):
    """Two tensors of one shape, element by element.

    "add", "mul": acc = table_a[a + 128] (+ or *) table_b[b + 128], then `post`.  The tables hold zero point, scale and
    rounding of each operand exactly, whatever the runtime: see `tflite_add`.
    "max": max(a, b), then the clamp, then the table; both inputs have the output's scale and zero point.

    Parameters
    ----------
    kind : "add", "mul" or "max".
    table_a, table_b : int32 [256] ("add", "mul").
    post : with one multiplier ("add", "mul").
    low, high : clamp ("max").
    table : int8 [256] or None ("max").
    """

    kind: str
    table_a: np.ndarray | None = None
    table_b: np.ndarray | None = None
    post: Requantisation | None = None
    low: int = -128
    high: int = 127
    table: np.ndarray | None = None

    num_inputs = 2

    def _check(self):
        if self.kind not in ("add", "mul", "max"):
            raise GraphError(f"kind must be 'add', 'mul' or 'max', not {self.kind!r}")
        check_clamp(self)
        operands = (self.table_a, self.table_b, self.post)
        if self.kind == "max":
            if any(operand is not None for operand in operands):
                raise GraphError("table_a, table_b and post must be None for 'max'")
            return
        if any(operand is None for operand in operands):
            raise GraphError(f"table_a, table_b and post must be given for {self.kind!r}")
        if (self.low, self.high) != (-128, 127) or self.table is not None:
            raise GraphError("clamp and table must be given in post, not beside it")
        self._freeze("table_a", np.int32, 1, 256)
        self._freeze("table_b", np.int32, 1, 256)
        check_entries(self.post, (1,))
        a, b = (int(np.abs(table.astype(np.int64)).max()) for table in (self.table_a, self.table_b))
        worst = a + b if self.kind == "add" else a * b
        if worst >= ACC_LIMIT:
            raise GraphError(f"the {self.kind} of the tables can reach {worst}, more than int32 holds")

    def _infer_shape(self, a, b):
        if a.shape != b.shape:
            raise GraphError(f"inputs must have one shape, not {a.name!r} {a.shape} and {b.name!r} {b.shape}")
        return a.shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Node):
    """y = table[x + 128]: any function of one int8, such as a sigmoid, a leaky ReLU, or another scale.

    Parameters
    ----------
    table : int8 [256].
    """

    table: np.ndarray

    def _check(self):
        self._freeze("table", np.int8, 1, 256)



# Element-wise operators of TFLite ----------------------------------------------------------------------------------

TFLITE_ADD_SHIFT = 20
_BYTES = np.arange(-128, 128, dtype=np.int64)


def _scale(tensor):
    if tensor.scale is None:
        raise GraphError(f"tensor {tensor.name!r} must have a scale")
    return float(np.float32(tensor.scale))  # the file holds float32, the kernel computes in double


def _tflite_post(scale, output, clamp):
    multiplier, shift = quantise_multiplier_tflite(scale)
    return Requantisation(mode="tflite", multiplier=multiplier, shift=shift, zero_point=output.zero_point, **clamp)


def tflite_add(*, name, a, b, output, **clamp):
    """TFLite ADD (`reference_integer_ops/add.h`) as an `Elementwise`.

    Each operand is shifted left by 20 and requantised to twice the larger input scale; the sum is requantised to the
    output's.

    Parameters
    ----------
    name : of the node.
    a, b, output : Tensors with scales and zero points.
    clamp : `low`, `high` (fused activation) and `table` of the `Requantisation`.
    """
    twice = 2 * max(_scale(a), _scale(b))

    def operand(tensor):
        shifted = (_BYTES - tensor.zero_point) << TFLITE_ADD_SHIFT
        return requantise_tflite(shifted, *quantise_multiplier_tflite(_scale(tensor) / twice))

    post = _tflite_post(twice / ((1 << TFLITE_ADD_SHIFT) * _scale(output)), output, clamp)
    return Elementwise(
        name=name,
        inputs=(a.name, b.name),
        output=output.name,
        kind="add",
        table_a=operand(a),
        table_b=operand(b),
        post=post,
    )


def tflite_mul(*, name, a, b, output, **clamp):
    """TFLite MUL as an `Elementwise`: (a - za) * (b - zb), requantised by sa * sb / sy.

    Parameters as in `tflite_add`.
    """
    post = _tflite_post(_scale(a) * _scale(b) / _scale(output), output, clamp)
    return Elementwise(
        name=name, inputs=(a.name, b.name), output=output.name, kind="mul",
        table_a=_BYTES - a.zero_point, table_b=_BYTES - b.zero_point, post=post,
    )  # fmt: skip
