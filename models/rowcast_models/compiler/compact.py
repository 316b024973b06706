"""What a compact configuration can run: other forms of some nodes, and limits of its instructions' fields."""

import numpy as np
from rowcast.isa import TOKEN_UNITS, PostSource, Unit

from .. import graph as g
from ..golden.requantise import quantise_multiplier_average

__all__ = ["check_program", "unsupported", "without_vector_unit"]

HINT = "set compact=0"
_DONE = (g.Conv, g.FullyConnected, g.Reshape)


def without_vector_unit(graph):
    """The graph with every average of full windows as a depthwise convolution of ones: the same sums, rounded alike."""
    nodes = [_average_as_conv(graph, node) if _is_plain_average(node) else node for node in graph.nodes]
    if nodes == list(graph.nodes):
        return graph
    return g.Graph(
        name=graph.name, tensors=list(graph.tensors.values()), inputs=graph.inputs, outputs=graph.outputs, nodes=nodes
    )


def _is_plain_average(node):
    return isinstance(node, g.AveragePool) and not np.any(node.padding)


def _average_as_conv(graph, node):
    tensor = graph.tensors[node.inputs[0]]
    channels, pixels = tensor.shape[3], node.window[0] * node.window[1]
    if node.post is None:  # the sum of the bytes as they are: what the convolution takes off goes into the bias
        multiplier, shift = quantise_multiplier_average(pixels)
        bias = pixels * tensor.zero_point
        post = g.Requantisation(
            mode="single", multiplier=[multiplier], shift=[shift], zero_point=0, low=node.low, high=node.high,
            table=node.table,
        )  # fmt: skip
    else:
        old, bias = node.post, 0
        post = g.Requantisation(
            mode=old.mode, multiplier=[old.multiplier[-1]], shift=[old.shift[-1]], zero_point=old.zero_point, low=old.low,
            high=old.high, table=old.table,
        )  # fmt: skip
    return g.Conv(
        name=node.name, inputs=node.inputs, output=node.output, weights=np.ones((channels, *node.window, 1), np.int8),
        bias=np.full(channels, bias), post=post, stride=node.stride, groups=channels,
    )  # fmt: skip


def unsupported(node):
    """What stands in the way of a node, and what would work; None if nothing does."""
    if isinstance(node, g.AveragePool):
        return f"averages at a padding need the vector unit, which a compact configuration does not have: {HINT}"
    if not isinstance(node, _DONE):
        return f"a compact configuration has no unit for it: {HINT}"
    post = getattr(node, "post", None)
    if post is not None and post.mode == "onnx":
        return f"a compact configuration does not round as ONNX Runtime does: {HINT}, or quantise the network for TFLite"
    return None


def check_program(ops, config):
    """The (op, what is wrong) of the first instruction that the configuration would cut; None if there is none."""
    for op in ops:
        problem = _problem(op.instruction, config.compact_widths())
        if problem:
            return op, problem
    return None


# Units that touch the same memories: tokens between others are not counted.
_MEET = {frozenset(pair) for pair in (
    (Unit.LOAD, Unit.STORE), (Unit.LOAD, Unit.FILTER), (Unit.LOAD, Unit.IFMAP), (Unit.LOAD, Unit.POST),
    (Unit.STORE, Unit.POST), (Unit.IFMAP, Unit.POST),
)}  # fmt: skip


def _problem(i, widths):
    for other in tuple(Unit)[:TOKEN_UNITS]:
        if (i.wait | i.signal) >> other & 1 and frozenset((i.unit, other)) not in _MEET:
            return f"{i.name} has tokens with {other.name}, of which there are none: {HINT}"
    limits = {
        "IFMAP_SET": {"height": "coordinate", "width": "coordinate"},
        "COMPUTE_LOOP_K": {"count_c": "half", "count_s": "half", "count_r": "half"},
        "COMPUTE_LOOP_P": {"count_x": "pixels", "count_y": "pixels"},
        "POST_LOOP": {"count_x": "pixels", "count_y": "pixels"},
        "LOAD": {"dram": "dram", "rows": "rows"},
        "STORE": {"dram": "dram", "rows": "rows"},
        "FILTER_RUN": {"flits": "half"},
    }.get(i.name, {})
    for name, width in limits.items():
        if i[name] >> widths[width]:
            way = f"coordinate_width={i[name].bit_length()}, or compact=0" if width == "coordinate" else "compact=0"
            return f"{i.name}.{name} = {i[name]} has more than {widths[width]} bits: set {way}"
    wrong = False
    if i.name in ("LOAD", "STORE"):
        wrong = i["words"] - 1 >> widths["words"] or i["buffer"] >> widths["buffer"]
    elif i.name == "IFMAP_RUN":
        wrong = i["vector"] or not all(-(1 << widths["place"] - 1) <= i[n] < 1 << widths["place"] - 1 for n in "yx")
    elif i.name == "IFMAP_LOOP":
        first, second = i["count_a"], i["count_b"]
        wrong = ((first | second) >> widths["half"], second != 1, first != 1)[i["pair"]] or (
            i["pair"] == 1 and first >> widths["half"]
        )
    elif i.name == "FILTER_RUN":
        wrong = i["groups_column"] != 1 or i["groups_row"] != 1
    elif i.name == "POST_PE":
        wrong = i["offset"] or i["slot"] or not i["valid"]
    elif i.name == "POST_RUN":
        wrong = i["source"] != PostSource.DRAIN
    return f"{i.name} {i.fields} is not for a compact configuration: {HINT}" if wrong else None
