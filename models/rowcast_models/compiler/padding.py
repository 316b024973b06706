"""Borders that a convolution or a maximum adds by itself: the Pad before it needs not be made."""

from dataclasses import replace

from .. import graph as g

__all__ = ["fold_padding"]


def fold_padding(graph, *, keep_all=False):
    """The graph whose convolutions read in front of a Pad of their zero point, and maxima in front of one of -128.

    A Pad that no one reads any more is left out, but with `keep_all`, where its tensor is wanted.
    """
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        pad = _pad_before(graph, node)
        while pad is not None:
            folded = _folded(graph, nodes[node.name], pad)
            if folded is None:
                break
            nodes[node.name] = folded
            pad = _pad_before(graph, folded)
    wanted, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if isinstance(node, g.Pad) and node.output not in wanted and not keep_all:
            continue
        kept.append(nodes[node.name])
        wanted.update(kept[-1].inputs)
    kept.reverse()
    if kept == list(graph.nodes):
        return graph
    present = {*graph.inputs, *(node.output for node in kept)}
    tensors = [tensor for name, tensor in graph.tensors.items() if name in present]
    return g.Graph(name=graph.name, tensors=tensors, inputs=graph.inputs, outputs=graph.outputs, nodes=kept)


def _pad_before(graph, node):
    """The Pad that makes the first input of a node that could do it itself, or None."""
    if not isinstance(node, g.Conv | g.MaxPool):
        return None
    producer = graph.producer(node.inputs[0])
    return producer if isinstance(producer, g.Pad) else None


def _folded(graph, node, pad):
    """The node with the Pad's border as its own padding, or None if that means something else."""
    before, after = graph.tensors[pad.inputs[0]], graph.tensors[pad.output]
    if isinstance(node, g.MaxPool):
        same = pad.value == -128  # never wins against a pixel
    else:
        same = pad.value == before.zero_point == after.zero_point
    if not same:
        return None
    padding = tuple(
        tuple(own + border for own, border in zip(*sides, strict=True))
        for sides in zip(node.padding, pad.padding, strict=True)
    )
    folded = replace(node, inputs=(before.name, *node.inputs[1:]), padding=padding)
    try:
        folded.infer_shape(before)
    except g.GraphError:  # a maximum over padding alone
        return None
    return folded
