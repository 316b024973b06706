"""Collects the nodes of an integer graph while operators are lowered, and knows where every value of the model lies in it.

Graph tensors are int8, [N, H, W, C] or [N, C].  A model has other axes (ONNX: NCHW), other ranks, and bytes without sign
(graph = uint8 - 128).  A `View` says how the elements of a value are found in a graph tensor, so that transposing and
reshaping move nothing until an operator needs the elements elsewhere; what cannot be had for free is refused.
"""

import math
from dataclasses import dataclass

import numpy as np

from .. import graph as g

__all__ = ["Axes", "GraphBuilder", "View", "default_axes"]


@dataclass(frozen=True)
class Axes:
    """Which axes of a value (from 1; 0 is the batch) are the graph's rows, columns and channels, each in this order."""

    height: tuple = ()
    width: tuple = ()
    channels: tuple = ()

    def order(self):
        """All axes, without the batch, in the graph's order."""
        return (*self.height, *self.width, *self.channels)

    def sizes(self, shape):
        """(H, W, C) for a value of this shape, batch included."""
        return tuple(math.prod(shape[axis] for axis in axes) for axes in (self.height, self.width, self.channels))


def default_axes(format, rank):
    """How values of this rank lie in a graph unless there is a reason: channels last in TFLite, second in ONNX."""
    if rank <= 2:
        return Axes(channels=tuple(range(1, rank)))
    if format == "tflite":
        return Axes(tuple(range(1, rank - 2)), (rank - 2,), (rank - 1,))
    return Axes(tuple(range(2, rank - 1)), (rank - 1,), (1,))


@dataclass(frozen=True, eq=False)
class View:
    """Where the elements of a value are.

    Parameters
    ----------
    tensor : name of the graph tensor.
    shape : of the value, without the batch.
    axes : the value's axes in the tensor's order, or None.
    positions : without `axes`, int [shape]: where in a batch item of the tensor, flattened, each element is.
    """

    tensor: str
    shape: tuple
    axes: Axes | None = None
    positions: np.ndarray | None = None

    def where(self):
        """`positions`, whichever way they are given."""
        if self.axes is None:
            return self.positions
        order = [axis - 1 for axis in self.axes.order()]
        physical = np.arange(math.prod(self.shape)).reshape([self.shape[axis] for axis in order])
        return physical.transpose(np.argsort(order)) if order else physical

    def alike(self, other):
        """Whether the other value's elements lie in the same order."""
        if self.shape != other.shape:
            return False
        if self.axes is not None and self.axes == other.axes:
            return True
        return np.array_equal(self.where(), other.where())


class GraphBuilder:
    """The graph under construction.  A lowering takes tensors from it (`image`, `rows`, `alike`), and makes new ones.

    Parameters
    ----------
    model : the Model.
    batch : items that the graph works on at a time.

    Members
    -------
    tensors : graph Tensor by name; nodes : in order; inputs : names of model values that come from outside.
    views : View by name of the model's values; None for one whose operator could not be lowered.
    """

    def __init__(self, model, *, batch):
        self.model, self.batch = model, batch
        self.tensors, self.nodes, self.inputs, self.views = {}, [], [], {}

    # Values of the model ---------------------------------------------------------------------------------------------

    def value(self, name):
        """The model's Value."""
        return self.model.values[name]

    def offset(self, name):
        """What is added to a byte of this value to make it the graph's: 0, or -128 for bytes without sign."""
        return -128 if self.value(name).dtype == np.uint8 else 0

    def view(self, name, axes=None):
        """The View of a value that is not constant; one from outside becomes an input of the graph, in these axes."""
        if name not in self.views:
            value = self.value(name)
            if value.data is not None:
                raise g.GraphError(f"{name!r} is a constant, and must be computed")
            axes = axes or default_axes(self.model.format, len(value.shape))
            sizes = axes.sizes(value.shape)
            shape = sizes[2:] if len(value.shape) <= 2 else sizes
            zero_point, scale = 0, None
            if value.quantisation is not None:
                zero_point = int(value.quantisation.zero_point[0]) + self.offset(name)
                scale = float(value.quantisation.scale[0])
            self.tensors[name] = g.Tensor(name, (self.batch, *shape), zero_point, scale)
            self.inputs.append(name)
            self.views[name] = View(name, tuple(value.shape[1:]), axes)
        return self.views[name]

    # Tensors for operators -------------------------------------------------------------------------------------------

    def image(self, op, which, axes=None):
        """Graph tensor [N, H, W, C] of input `which` of an operator, in these axes (the format's by default).

        It has the zero point and scale that the operator means.  Transposes are refused, but for those that move no
        element, and for another order of channels, which is a Select.
        """
        name = op.inputs[which]
        view = self.view(name, axes)
        axes = axes or default_axes(self.model.format, len(view.shape) + 1)
        sizes = axes.sizes((self.batch, *view.shape))
        tensor = self.tensors[view.tensor]
        if view.axes != axes:
            order = [axis - 1 for axis in axes.order()]
            tensor = self._arrange(op, name, tensor, view.where().transpose(order).reshape(sizes))
        return self._meaning(op, which, self.reshape(tensor, sizes))

    def _arrange(self, op, name, tensor, wanted):
        """The tensor with its elements in the order `wanted` [H, W, C]."""
        if np.array_equal(wanted.reshape(-1), np.arange(wanted.size)):
            return tensor
        height, width, channels = wanted.shape
        pixels = np.arange(height * width).reshape(height, width, 1) * channels
        selected = wanted - pixels
        if tensor.shape[-1] == channels and np.array_equal(selected, np.broadcast_to(selected[:1, :1], wanted.shape)):
            return self.append(g.Select, f"{name}/channels", [self.reshape(tensor, wanted.shape)],
                               like=tensor, channels=selected[0, 0])  # fmt: skip
        raise op.problem(
            f"needs input {name!r} in another order of axes, and this order cannot be had without moving pixels; "
            "transposes work that reorder channels only, or that a fully connected layer follows"
        )

    def rows(self, op, which):
        """(graph tensor, positions) of input `which`, every batch item as one row, for fully connected layers.

        The weight of the value's element k (flattened in the model's order) belongs to column positions[k].
        """
        view = self.view(op.inputs[which])
        return self._meaning(op, which, self.tensors[view.tensor]), view.where().reshape(-1)

    def operands(self, op, whiches):
        """(graph tensors, View without tensor) of inputs that are combined element by element.

        Constants become tensors, and every input is broadcast to the shape of output 0.
        """
        shape = tuple(self.value(op.outputs[0]).shape[1:])
        names = [op.inputs[which] for which in whiches]
        views = [None if self.value(name).data is not None else self.view(name) for name in names]
        first = views[0]
        if all(view is not None and view.shape == shape and view.alike(first) for view in views):
            tensors = [self._meaning(op, w, self.tensors[v.tensor]) for w, v in zip(whiches, views, strict=True)]
            if len({tensor.shape for tensor in tensors}) > 1:
                tensors = [self.reshape(tensor, _four(tensors[0].shape)) for tensor in tensors]
            return tensors, first
        axes = default_axes(self.model.format, len(shape) + 1)
        sizes = axes.sizes((self.batch, *shape))
        tensors = [
            self._constant(op, which, shape, axes) if view is None else self._broadcast(op, which, len(shape), axes, sizes)
            for which, view in zip(whiches, views, strict=True)
        ]
        return tensors, View("", shape, axes)

    def _constant(self, op, which, shape, axes):
        name = op.inputs[which]
        value = self.value(name)
        rank = len(shape) + 1
        if value.data.ndim == rank and value.data.shape[0] != 1:
            raise op.problem(f"constant {name!r} {value.data.shape} must be the same for every batch item")
        data = np.broadcast_to(value.data.astype(np.int64) + self.offset(name), (1, *shape))
        data = data.transpose(0, *axes.order()).reshape(1, *axes.sizes((1, *shape)))
        data = np.broadcast_to(data, (self.batch, *data.shape[1:]))
        quantisation = op.input_quantisation[which]
        return self.append(
            g.Constant, f"{op.name}/{name}", [], quantisation=quantisation, offset=self.offset(name), values=data
        )

    def _broadcast(self, op, which, rank, axes, sizes):
        """The image of an input, with its rows, columns or channels repeated where there is one for all."""
        name = op.inputs[which]
        view = self.view(name)
        if len(view.shape) != rank:
            raise op.problem(f"input {name!r} must have {rank + 1} axes like the output, not {len(view.shape) + 1}")
        tensor = self.image(op, which, axes)
        height, width, channels = tensor.shape[1:]
        if (height, width) != sizes[:2]:
            rows, columns = (
                np.zeros(want, int) if have == 1 else np.arange(want) for have, want in zip((height, width), sizes)
            )
            tensor = self.append(g.Resize, f"{op.name}/{name}/pixels", [tensor], like=tensor, rows=rows, columns=columns)
        if channels != sizes[2]:
            tensor = self.append(
                g.Select, f"{op.name}/{name}/channels", [tensor], like=tensor, channels=np.zeros(sizes[2], int)
            )
        return tensor

    def _meaning(self, op, which, tensor):
        """The tensor, with the zero point and scale that the operator gives its bytes."""
        quantisation = op.input_quantisation[which] if which < len(op.input_quantisation) else None
        if quantisation is None:
            return tensor
        zero_point = int(quantisation.zero_point[0]) + self.offset(op.inputs[which])
        scale = float(quantisation.scale[0])
        if zero_point == tensor.zero_point and scale == tensor.scale:
            return tensor
        return self.append(g.Reshape, f"{op.name}/{op.inputs[which]}", [tensor], zero_point=zero_point, scale=scale,
                           shape=tensor.shape[1:])  # fmt: skip

    def reshape(self, tensor, sizes):
        """The tensor as [N, *sizes], without moving anything."""
        sizes = tuple(sizes)
        if tensor.shape[1:] == sizes:
            return tensor
        return self.append(g.Reshape, f"{tensor.name}/{'x'.join(map(str, sizes))}", [tensor], like=tensor, shape=sizes)

    # Nodes -----------------------------------------------------------------------------------------------------------

    def append(self, kind, name, inputs, /, *, like=None, quantisation=None, offset=0, zero_point=0, scale=None, **fields):
        """Append a node of a graph class, and the Tensor it makes, which has the node's name; returns the Tensor.

        A name that is taken gets a number.

        Parameters
        ----------
        inputs : graph Tensors.
        like : Tensor whose zero point and scale the new one has; or
        quantisation, offset : a model's Quantisation, and what its bytes are moved by (`offset(name)`); or
        zero_point, scale : themselves, the graph's.
        fields : of the node.
        """
        if like is not None:
            zero_point, scale = like.zero_point, like.scale
        elif quantisation is not None:
            zero_point, scale = int(quantisation.zero_point[0]) + offset, float(quantisation.scale[0])
        unique, number = name, 1
        while unique in self.tensors:
            number += 1
            unique = f"{name}.{number}"
        node = kind(name=unique, inputs=tuple(t.name for t in inputs), output=unique, **fields)
        tensor = g.Tensor(unique, node.infer_shape(*inputs), zero_point, scale)
        self.nodes.append(node)
        self.tensors[unique] = tensor
        return tensor

    def output(self, op, kind, inputs, /, *, view=None, which=0, **fields):
        """Append the node that makes output `which` of an operator; its tensor has the value's name.

        `view` says how the value lies in it; by default in the format's usual axes.
        """
        name = op.outputs[which]
        quantisation = op.output_quantisation[which] if op.output_quantisation else None
        fields = {"quantisation": quantisation, "offset": self.offset(name)} | fields
        tensor = self.append(kind, name, inputs, **fields)
        self.place(op, tensor, view=view, which=which)
        return tensor

    def place(self, op, tensor, *, view=None, which=0):
        """Say that output `which` of an operator is this tensor, or lies in it as `view` says."""
        shape = tuple(self.value(op.outputs[which]).shape[1:])
        if view is None:
            view = View(tensor.name, shape, default_axes(self.model.format, len(shape) + 1))
        elif view.axes is not None:
            view = View(tensor.name, shape, view.axes)
        else:
            view = View(tensor.name, shape, positions=view.positions)
        if math.prod(tensor.shape[1:]) != math.prod(shape):
            raise op.problem(f"output {op.outputs[which]!r} has shape {shape}, but {tensor.shape[1:]} was made")
        self.views[op.outputs[which]] = view

    def unary(self, op, table):
        """An operator on every byte of input 0: `table` int8 [256], index graph byte + 128, the graph's bytes."""
        view = self.view(op.inputs[0])
        self.output(op, g.Table, [self.tensors[view.tensor]], view=view, table=table)


def _four(shape):
    """(H, W, C) of a graph shape."""
    return shape[1:] if len(shape) == 4 else (1, 1, shape[1])
