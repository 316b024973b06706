"""The integer graph: what the compiler maps and the golden evaluates.  Every node has exact integer semantics.

All tensors are int8, NHWC ([N, H, W, C]) or [N, C]; N, the batch, is free.  A node holds everything that its result
depends on (weights, multipliers, tables) but the zero points of the tensors it takes.  Nodes name tensors; the graph
has the tensors, checks every node against them, and infers the shapes that are left out:

>>> pool = MaxPool(name="pool", inputs=("image",), output="small", window=(2, 2), stride=(2, 2))
>>> tensors = [Tensor("image", (1, 8, 8, 4), zero_point=-128), Tensor("small", zero_point=-128)]
>>> graph = Graph(name="example", tensors=tensors, inputs=("image",), outputs=("small",), nodes=(pool,))
>>> graph.tensors["small"].shape
(1, 4, 4, 4)
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rowcast.isa import PostMode

from .golden.requantise import quantise_multiplier_tflite, requantise, requantise_tflite

__all__ = [
    "AveragePool", "Concat", "Conv", "Elementwise", "FullyConnected", "Graph", "GraphError", "MaxPool", "Node",
    "Requantisation", "Reshape", "Table", "Tensor", "tflite_add", "tflite_mul",
]  # fmt: skip

MODES = {"tflite": PostMode.TFLITE, "onnx": PostMode.ONNX, "single": PostMode.SINGLE}
ACC_LIMIT = 1 << 31  # the magnitude of an int32 accumulator stays below


class GraphError(ValueError):
    """A node or graph that cannot be evaluated: names the node, what is wrong, and the shapes or values at hand."""


# Tensors and requantisation ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    """An int8 tensor: its name and what its values mean.

    Parameters
    ----------
    name : unique in the graph.
    shape : (N, H, W, C) or (N, C); None to have the graph infer it.
    zero_point : int8 value that represents 0.
    scale : real value of one step; documentation, no result depends on it.
    """

    name: str
    shape: tuple | None = None
    zero_point: int = 0
    scale: float | None = None

    def __post_init__(self):
        if self.shape is not None:
            shape = tuple(int(size) for size in self.shape)
            if len(shape) not in (2, 4) or min(shape) < 1:
                raise GraphError(f"tensor {self.name!r}: shape must be (N, H, W, C) or (N, C), not {self.shape!r}")
            object.__setattr__(self, "shape", shape)
        if not -128 <= self.zero_point <= 127:
            raise GraphError(f"tensor {self.name!r}: zero_point must be from -128 to 127, not {self.zero_point!r}")

    @property
    def features(self):
        """Elements of one batch item."""
        return math.prod(self.shape[1:])


def _frozen(value, dtype, what, ndim):
    """A read-only array of `ndim` dimensions; refuses values that do not fit `dtype`."""
    given = np.asarray(value)
    array = given.astype(dtype)
    if not np.array_equal(array, given):
        raise GraphError(f"{what} must fit {np.dtype(dtype).name}, not {given.min()}..{given.max()} ({given.dtype})")
    if array.ndim != ndim:
        raise GraphError(f"{what} must have {ndim} dimensions, not shape {array.shape}")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False, kw_only=True)
class Requantisation:
    """How an int32 accumulator becomes int8.

        y = clamp(requantise(acc, multiplier[m], shift[m]) + zero_point, low, high)

    and then table[y + 128] if there is a table.

    Parameters
    ----------
    mode : "tflite", "onnx" or "single": the rounding, `golden.requantise.requantise_tflite` and so on.
    multiplier : int32 [M], or [1] for all channels; from 0 to 2**31 - 1 ("onnx": 2**24 - 1).
    shift : int32, same shape, right.  The real scale is multiplier * 2**-(31 + shift) for "tflite", else
        multiplier * 2**-shift.
    zero_point : added after scaling; of the output tensor, or of the table's argument.
    low, high : clamp.
    table : int8 [256], entry y + 128 is the result for y, or None.
    """

    mode: str
    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int = 0
    low: int = -128
    high: int = 127
    table: np.ndarray | None = None

    def __post_init__(self):
        if self.mode not in MODES:
            raise GraphError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}")
        for name in ("multiplier", "shift"):
            object.__setattr__(self, name, _frozen(np.atleast_1d(getattr(self, name)), np.int32, name, 1))
        if self.multiplier.shape != self.shift.shape:
            raise GraphError(f"shift must have multiplier's shape {self.multiplier.shape}, not {self.shift.shape}")
        try:
            requantise(0, self.multiplier, self.shift, self.post_mode)
        except ValueError as error:
            raise GraphError(str(error)) from None
        if not -256 <= self.zero_point <= 255:
            raise GraphError(f"zero_point must be from -256 to 255, not {self.zero_point!r}")
        _check_clamp(self)

    @property
    def post_mode(self):
        """The mode as the hardware names it."""
        return MODES[self.mode]


def _check_clamp(owner):
    """Check `low`, `high` and `table`, and freeze the table."""
    if not -128 <= owner.low <= owner.high <= 127:
        raise GraphError(f"low and high must be -128 <= low <= high <= 127, not {owner.low!r} and {owner.high!r}")
    if owner.table is not None:
        table = _frozen(owner.table, np.int8, "table", 1)
        if table.shape != (256,):
            raise GraphError(f"table must have 256 entries, not {table.size}")
        object.__setattr__(owner, "table", table)


# Nodes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """What all nodes have.  A subclass checks what it can in `_check`, and the rest when the graph asks for its shape.

    Parameters
    ----------
    name : unique in the graph, for messages and reports.
    inputs : names of the tensors it takes.
    output : name of the tensor it makes.
    """

    name: str
    inputs: tuple
    output: str

    num_inputs: ClassVar[int | None] = 1

    def __post_init__(self):
        object.__setattr__(self, "inputs", tuple(self.inputs))
        if self.num_inputs is not None and len(self.inputs) != self.num_inputs:
            self._fail(f"inputs must name {self.num_inputs} tensors, not {self.inputs!r}")
        try:
            self._check()
        except GraphError as error:
            self._fail(error)

    def infer_shape(self, *inputs):
        """The output's shape for these input `Tensor`s.

        Raises
        ------
        GraphError
            The node cannot take such inputs.
        """
        try:
            return self._infer_shape(*inputs)
        except GraphError as error:
            self._fail(error)

    def macs(self, *shapes):
        """Multiply-accumulates for input shapes and then the output's shape; those on padding count."""
        return 0

    def _fail(self, message):
        raise GraphError(f"node {self.name!r} ({type(self).__name__}): {message}") from None

    def _freeze(self, name, dtype, ndim, length=None):
        array = _frozen(getattr(self, name), dtype, name, ndim)
        if length is not None and len(array) != length:
            raise GraphError(f"{name} must have {length} entries, not {len(array)}")
        object.__setattr__(self, name, array)

    def _check(self):
        """Refuse fields that cannot be evaluated, freeze arrays."""

    def _infer_shape(self, tensor):
        return tensor.shape


NO_PADDING = ((0, 0), (0, 0))


def _check_pair(name, pair):
    if len(pair) != 2 or min(pair) < 1:
        raise GraphError(f"{name} must be two integers from 1, not {pair!r}")


def _check_padding(padding):
    if np.shape(padding) != (2, 2) or np.min(padding) < 0:
        raise GraphError(f"padding must be ((top, bottom), (left, right)) from 0, not {padding!r}")


def _window_size(tensor, kernel, stride, dilation, padding):
    """(E, F) of a window that slides over an ifmap."""
    if len(tensor.shape) != 4:
        raise GraphError(f"input {tensor.name!r} must be (N, H, W, C), not {tensor.shape}")
    sizes = tuple(
        (size + sum(pads) - (taps - 1) * spread - 1) // step + 1
        for size, pads, taps, spread, step in zip(tensor.shape[1:3], padding, kernel, dilation, stride)
    )
    if min(sizes) < 1:
        raise GraphError(
            f"a window of {tuple(kernel)} with dilation {dilation} and padding {padding} does not fit "
            f"input {tensor.name!r} {tensor.shape}"
        )
    return sizes


def _check_entries(post, allowed):
    if len(post.multiplier) not in allowed:
        raise GraphError(
            f"post.multiplier must have {' or '.join(map(str, allowed))} entries, not {len(post.multiplier)}"
        )


def _check_acc(tensor, weights, bias):
    """The int32 accumulator must not overflow, whatever the input: |x - zx| is bounded and the weights are known."""
    furthest = max(127 - tensor.zero_point, 128 + tensor.zero_point)
    largest_bias = int(np.abs(bias.astype(np.int64)).max())
    if weights[0].size * 128 * furthest + largest_bias < ACC_LIMIT:  # the usual case, without a look at every weight
        return
    sums = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    worst = int((sums * furthest + np.abs(bias.astype(np.int64))).max())
    if worst >= ACC_LIMIT:
        raise GraphError(
            f"the accumulator can reach {worst}, more than int32 holds: split the layer or use smaller weights"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Node):
    """Convolution: acc[n, e, f, m] = bias[m] + sum over r, s, c of (x - zx) * weights[m, r, s, c], then `post`.

    x is pixel (e * stride + r * dilation - top, f * stride + s * dilation - left), channel g * C / groups + c of group
    g = m * groups // M.  Outside the ifmap x is zx, so that padding contributes nothing.

    Parameters
    ----------
    weights : int8 [M, R, S, C / groups], zero point 0.  Depthwise is groups == C; M is then a multiple of C.
    bias : int32 [M], as the model has it: the input's zero point is not folded in.
    post : one multiplier for each of the M channels, or one for all.
    stride, dilation : (y, x).
    padding : ((top, bottom), (left, right)) pixels.
    groups : divides C and M.
    """

    weights: np.ndarray
    bias: np.ndarray
    post: Requantisation
    stride: tuple = (1, 1)
    dilation: tuple = (1, 1)
    padding: tuple = NO_PADDING
    groups: int = 1

    @property
    def kernel(self):
        """(R, S)."""
        return self.weights.shape[1:3]

    def macs(self, *shapes):
        return math.prod(shapes[-1]) * math.prod(self.weights.shape[1:])

    def _check(self):
        self._freeze("weights", np.int8, 4)
        self._freeze("bias", np.int32, 1, len(self.weights))
        _check_pair("stride", self.stride)
        _check_pair("dilation", self.dilation)
        _check_padding(self.padding)
        _check_entries(self.post, (1, len(self.weights)))

    def _infer_shape(self, tensor):
        sizes = _window_size(tensor, self.kernel, self.stride, self.dilation, self.padding)
        channels, filters = tensor.shape[3], len(self.weights)
        if self.groups < 1 or channels % self.groups or filters % self.groups:
            raise GraphError(
                f"groups must divide input channels ({channels}) and filters ({filters}), not {self.groups!r}"
            )
        if self.weights.shape[3] != channels // self.groups:
            raise GraphError(
                f"weights must be [M, R, S, {channels // self.groups}] for input {tensor.name!r} {tensor.shape} in "
                f"{self.groups} groups, not {self.weights.shape}"
            )
        _check_acc(tensor, self.weights, self.bias)
        return (tensor.shape[0], *sizes, filters)


@dataclass(frozen=True, eq=False, kw_only=True)
class FullyConnected(Node):
    """acc[n, m] = bias[m] + sum over k of (x[n, k] - zx) * weights[m, k], then `post`.

    An NHWC input is flattened in that order.

    Parameters
    ----------
    weights : int8 [M, K], K = H * W * C.
    bias : int32 [M], without the input's zero point.
    post : one multiplier for each of the M channels, or one for all.
    """

    weights: np.ndarray
    bias: np.ndarray
    post: Requantisation

    def macs(self, *shapes):
        return shapes[0][0] * self.weights.size

    def _check(self):
        self._freeze("weights", np.int8, 2)
        self._freeze("bias", np.int32, 1, len(self.weights))
        _check_entries(self.post, (1, len(self.weights)))

    def _infer_shape(self, tensor):
        if self.weights.shape[1] != tensor.features:
            raise GraphError(
                f"weights must be [M, {tensor.features}] for input {tensor.name!r} {tensor.shape}, "
                f"not {self.weights.shape}"
            )
        _check_acc(tensor, self.weights, self.bias)
        return (tensor.shape[0], len(self.weights))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Node):
    """What both kinds of pooling have."""

    window: tuple
    stride: tuple
    padding: tuple = NO_PADDING
    low: int = -128
    high: int = 127
    table: np.ndarray | None = None

    def _check(self):
        _check_pair("window", self.window)
        _check_pair("stride", self.stride)
        _check_padding(self.padding)
        _check_clamp(self)

    def _infer_shape(self, tensor):
        sizes = _window_size(tensor, self.window, self.stride, (1, 1), self.padding)
        for size, outputs, window, stride, (before, _) in zip(
            tensor.shape[1:3], sizes, self.window, self.stride, self.padding
        ):
            if before >= window or (outputs - 1) * stride - before >= size:
                raise GraphError(
                    f"padding {self.padding} leaves a window of {self.window} without a pixel of {tensor.shape}"
                )
        return (tensor.shape[0], *sizes, tensor.shape[3])


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(_Pool):
    """The largest value of each window, then the clamp, then the table.  Padding never wins.

    Parameters
    ----------
    window, stride : (y, x).
    padding : ((top, bottom), (left, right)) pixels; ceil mode is padding at the bottom and the right.
    low, high : clamp.
    table : int8 [256] or None.
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePool(_Pool):
    """The average of each window's n pixels inside the ifmap.

    Without `post`, TFLite's: acc = sum of x, y = (acc > 0 ? acc + n / 2 : acc - n / 2) / n with truncating divisions,
    then the clamp, then the table; the output has the input's scale and zero point.
    With `post`: acc = sum of (x - zx), then `post`, whose multiplier contains 1 / n.

    Parameters
    ----------
    window, stride, padding, low, high, table : as in `MaxPool`; with `post`, its clamp and table are used, not these.
    post : None, or one multiplier, or R * S of them: entry n - 1 is for a window of n pixels.
    """

    post: Requantisation | None = None

    def _check(self):
        super()._check()
        if self.post is None:
            return
        pixels = math.prod(self.window)
        _check_entries(self.post, (1, pixels))
        if len(self.post.multiplier) != pixels and np.any(self.padding):
            raise GraphError(
                f"post.multiplier must have {pixels} entries, not 1: windows at the padding have fewer pixels"
            )
        if (self.low, self.high) != (-128, 127) or self.table is not None:
            raise GraphError("clamp and table must be given in post, not beside it")


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
        _check_clamp(self)
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
        _check_entries(self.post, (1,))
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Node):
    """The same elements in NHWC order under another shape.

    Parameters
    ----------
    shape : without the batch: (H, W, C) or (C,); None is flat, (H * W * C,).
    """

    shape: tuple | None = None

    def _infer_shape(self, tensor):
        shape = (tensor.features,) if self.shape is None else tuple(self.shape)
        if math.prod(shape) != tensor.features:
            raise GraphError(
                f"shape must have the {tensor.features} elements of {tensor.name!r} {tensor.shape}, not {shape}"
            )
        return (tensor.shape[0], *shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Node):
    """Tensors one after the other along the channels, each through its table if it has one (to change its scale).

    Parameters
    ----------
    tables : for each input int8 [256] or None; () is none for any.
    """

    tables: tuple = ()

    num_inputs = None

    def _check(self):
        tables = tuple(self.tables) or (None,) * len(self.inputs)
        if not self.inputs or len(tables) != len(self.inputs):
            raise GraphError(f"tables must have an entry for each of {len(self.inputs)} inputs, not {len(tables)}")
        tables = tuple(None if table is None else _frozen(table, np.int8, "table", 1) for table in tables)
        if any(table is not None and len(table) != 256 for table in tables):
            raise GraphError("a table must have 256 entries")
        object.__setattr__(self, "tables", tables)

    def _infer_shape(self, *tensors):
        if len({tensor.shape[:-1] for tensor in tensors}) != 1:
            raise GraphError(f"inputs must be equal but for the channels, not {[tensor.shape for tensor in tensors]}")
        return (*tensors[0].shape[:-1], sum(tensor.shape[-1] for tensor in tensors))


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


# Graph -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A network: tensors, and nodes in topological order.

    Parameters
    ----------
    name : of the network.
    tensors : every tensor that is an input or made by a node; shapes of made ones may be left out.
    inputs, outputs : names of tensors.
    nodes : each after the nodes whose outputs it takes.

    Members
    -------
    tensors : Tensor by name, with shapes, in the order of evaluation.

    Raises
    ------
    GraphError
        A name is used twice or not at all, a node takes a tensor that nothing before it makes, a shape is not the
        inferred one.
    """

    name: str
    tensors: dict
    inputs: tuple
    outputs: tuple
    nodes: tuple

    def __post_init__(self):
        for which in ("inputs", "outputs", "nodes"):
            object.__setattr__(self, which, tuple(getattr(self, which)))
        given = {}
        for tensor in self.tensors.values() if isinstance(self.tensors, dict) else self.tensors:
            if given.setdefault(tensor.name, tensor) is not tensor:
                self._fail(f"there are two tensors {tensor.name!r}")
        names = [node.name for node in self.nodes]
        for name in names:
            if names.count(name) > 1:
                self._fail(f"there are two nodes {name!r}")
        object.__setattr__(self, "tensors", self._infer(given))
        for name in self.outputs:
            if name not in self.tensors:
                self._fail(f"output {name!r} is made by no node")
        for name in given:
            if name not in self.tensors:
                self._fail(f"tensor {name!r} is neither an input nor made by a node")

    def _infer(self, given):
        """The tensors in the order of evaluation, with their shapes."""
        made = {}
        for name in self.inputs:
            if name not in given or given[name].shape is None:
                self._fail(f"input {name!r} must be among the tensors, with its shape")
            made[name] = given[name]
        for node in self.nodes:
            for name in node.inputs:
                if name not in made:
                    self._fail(f"node {node.name!r} takes {name!r}, which nothing before it makes")
            if node.output in made or node.output not in given:
                problem = "exists already" if node.output in made else "is not among the tensors"
                self._fail(f"node {node.name!r} makes {node.output!r}, which {problem}")
            tensor = given[node.output]
            shape = node.infer_shape(*(made[name] for name in node.inputs))
            if tensor.shape not in (None, shape):
                self._fail(f"node {node.name!r} makes {tensor.name!r} with shape {shape}, not {tensor.shape}")
            made[node.output] = dataclasses.replace(tensor, shape=shape)
        return made

    def _fail(self, message):
        raise GraphError(f"graph {self.name!r}: {message}")

    def macs(self, node=None):
        """Multiply-accumulates of one node, or of all, for the batch of the graph's inputs."""
        if node is None:
            return sum(self.macs(each) for each in self.nodes)
        return node.macs(*(self.tensors[name].shape for name in (*node.inputs, node.output)))

    def producer(self, name):
        """The node that makes the tensor of this name, or None for an input."""
        return next((node for node in self.nodes if node.output == name), None)

    def consumers(self, name):
        """The nodes that take the tensor of this name, in order."""
        return [node for node in self.nodes if name in node.inputs]
