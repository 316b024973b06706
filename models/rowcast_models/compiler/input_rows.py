"""Inputs whose pixels do not fill words: rows of bytes, so that an RGB image takes three bytes a pixel and not a word."""

from dataclasses import replace

from .. import graph as g
from .geometry import ceil_div
from .mapping import MappingError, find_mapping
from .placement import nhwc
from .program import Rows
from .shapes import conv_shape

__all__ = ["input_rows"]

SPARED = 1.5  # times the bytes of a pixel: so many a word has at least, else there is little to spare


def input_rows(graph, name, config, memory, joined):
    """The Rows in which an input of the graph stands in memory; None if its pixels stand in words.

    `joined`: {tensor: [node]}, what is done in the passes of the convolution that makes it.

    That is for the one convolution that reads it to say: a PE finds the bytes wherever they are, but the windows of its
    patches have to begin with words, and padding beside the rows has to stand in memory.
    """
    tensor, users = graph.tensors[name], graph.consumers(name)
    if len(users) != 1 or name in graph.outputs or not isinstance(users[0], g.Conv):
        return None
    (node,), (_, h, w, c), lanes = users, nhwc(tensor.shape), config.lanes
    _, r, s, _ = node.weights.shape
    if node.groups > 1 or SPARED * c > lanes or h == 1 or r == s == 1:
        return None
    made = nhwc(graph.tensors[node.output].shape)
    left = node.padding[1][0]
    reach = (made[2] - 1) * node.stride[1] + (s - 1) * node.dilation[1] + 1
    rows = Rows(ceil_div(max(left + w, reach) * c, lanes), left, tensor.zero_point)
    pool = next((tuple(other.window) for other in joined.get(node.output, ())[:1] if isinstance(other, g.MaxPool)), ())
    costs = []
    for form in (None, rows):
        shape, _ = conv_shape(node, nhwc(tensor.shape), made, lanes, form)
        try:
            costs.append(find_mapping(replace(shape, pool=pool), config, room=config.act_words, memory=memory)[2])
        except MappingError:
            return None
    whole, fewer = costs
    return rows if fewer.cycles <= (1 + memory.slack) * whole.cycles and fewer.words <= whole.words else None
