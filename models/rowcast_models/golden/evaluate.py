"""A whole graph on real inputs: every tensor, integer exact."""

import numpy as np

from .convolution import convolution, fully_connected
from .elementwise import elementwise
from .pooling import average_tflite, channel_sum, max_pool, sum_pool
from .requantise import postprocess
from .table import clamp_and_look_up, look_up

__all__ = ["evaluate", "evaluate_node"]


def evaluate(graph, inputs, *, progress=None):
    """Evaluate an integer graph.

    Parameters
    ----------
    graph : `rowcast_models.graph.Graph`.
    inputs : int8 array by name of the graph's inputs.  The first axis, the batch, may differ from the graph's, in all
        alike.
    progress : called with each node before it is evaluated.

    Returns
    -------
    dict : int8 array by name, for every tensor of the graph, inputs included.

    Raises
    ------
    ValueError
        An input is missing, unknown, not int8, or of another shape.
    """
    if set(inputs) != set(graph.inputs):
        raise ValueError(f"inputs must be {sorted(graph.inputs)}, not {sorted(inputs)}")
    values = {}
    for name in graph.inputs:
        array, shape = np.asarray(inputs[name]), graph.tensors[name].shape
        if array.dtype != np.int8:
            raise ValueError(f"input {name!r} must be int8, not {array.dtype}")
        if array.shape[1:] != shape[1:] or array.ndim != len(shape):
            raise ValueError(
                f"input {name!r} must have shape (any, {', '.join(map(str, shape[1:]))}), not {array.shape}"
            )
        values[name] = array
    if len({len(array) for array in values.values()}) > 1:
        raise ValueError(f"inputs must have one batch, not { ({name: len(a) for name, a in values.items()}) }")
    for node in graph.nodes:
        if progress:
            progress(node)
        value = evaluate_node(graph, node, [values[name] for name in node.inputs])
        if not node.inputs:  # a constant: one item for all
            value = np.broadcast_to(value[:1], (len(next(iter(values.values()))), *value.shape[1:]))
        values[node.output] = value
    return values


def evaluate_node(graph, node, arrays):
    """The result of one node: int8 arrays of its inputs to the int8 array of its output."""
    zero_point = graph.tensors[node.inputs[0]].zero_point if node.inputs else 0
    return _NODES[type(node).__name__](node, zero_point, *arrays)


# One function for each kind of node: the accumulator, then what follows -------------------------------------------


BLOCK = 1 << 15  # accumulators requantised at a time, so that the many steps of it stay in the cache


def _post(post, acc):
    """`postprocess` of acc [..., M], some rows at a time."""
    flat = acc.reshape(-1, acc.shape[-1])
    result = np.empty(flat.shape, np.int8)
    rows = max(1, BLOCK // flat.shape[1])
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        result[part] = postprocess(
            flat[part], 0, post.multiplier, post.shift, post.post_mode, post.zero_point, post.low, post.high, post.table
        )
    return result.reshape(acc.shape)


def _conv(node, zero_point, x):
    window = {"stride": node.stride, "dilation": node.dilation, "padding": node.padding}
    return _post(node.post, convolution(x, zero_point, node.weights, node.bias, groups=node.groups, **window))


def _fully_connected(node, zero_point, x):
    return _post(node.post, fully_connected(x, zero_point, node.weights, node.bias))


def _max_pool(node, zero_point, x):
    largest = max_pool(x, window=node.window, stride=node.stride, padding=node.padding)
    return clamp_and_look_up(largest, node.low, node.high, node.table)


def _average_pool(node, zero_point, x):
    window = {"window": node.window, "stride": node.stride, "padding": node.padding}
    if node.post is None:
        average = average_tflite(*sum_pool(x, **window))
        return clamp_and_look_up(average, node.low, node.high, node.table)
    acc, count = sum_pool(x, zero_point=zero_point, **window)
    post = node.post
    entry = np.minimum(count, len(post.multiplier)) - 1  # one multiplier: for all windows
    return postprocess(
        acc,
        0,
        post.multiplier[entry],
        post.shift[entry],
        post.post_mode,
        post.zero_point,
        post.low,
        post.high,
        post.table,
    )


def _channel_sum(node, zero_point, x):
    return _post(node.post, channel_sum(x, zero_point, node.before, node.after))


def _elementwise(node, zero_point, a, b):
    if node.kind == "max":
        return clamp_and_look_up(np.maximum(a, b), node.low, node.high, node.table)
    return _post(node.post, elementwise(node.kind, a, b, node.table_a, node.table_b))


def _table(node, zero_point, x):
    return look_up(x, node.table)


def _reshape(node, zero_point, x):
    return x.reshape(len(x), *(node.shape or (-1,)))


def _concat(node, zero_point, *parts):
    parts = [part if table is None else look_up(part, table) for part, table in zip(parts, node.tables)]
    return np.concatenate(parts, axis=-1)


def _select(node, zero_point, x):
    return x[..., node.channels]


def _pad(node, zero_point, x):
    return np.pad(x, ((0, 0), *node.padding, (0, 0)), constant_values=node.value)


def _resize(node, zero_point, x):
    return x[:, node.rows[:, None], node.columns[None, :]]


def _constant(node, zero_point):
    return node.values


# By name, so that the golden does not import the graph, which takes its arithmetic from the golden.
_NODES = {
    "Conv": _conv,
    "FullyConnected": _fully_connected,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "ChannelSum": _channel_sum,
    "Elementwise": _elementwise,
    "Table": _table,
    "Reshape": _reshape,
    "Concat": _concat,
    "Select": _select,
    "Pad": _pad,
    "Resize": _resize,
    "Constant": _constant,
}
