"""Where the parts of concatenated tensors go, and moving bytes through the array: weights of 0 and 1, sums as they are."""

import math
from dataclasses import dataclass

import numpy as np

from .. import graph as g
from .settings import Place
from .geometry import ConvShape, ceil_div

__all__ = [
    "Home", "concat_homes", "concat_parts", "is_identity", "pad_shape", "place_of_part", "reshape_positions", "select_shape",
    "selected_words",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Home:
    """Where a part of a concatenation goes.

    Parameters
    ----------
    node : name of the Concat.
    name : of the tensor in which the parts meet: the Concat's own, or one with holes where channels fill no words.
    layout : of that tensor, NHWC.
    offset, pitch : words of a pixel before the part, and of the whole pixel.
    table : int8 [256] that the part passes, or None.
    """

    node: str
    name: str
    layout: tuple
    offset: int
    pitch: int
    table: np.ndarray | None


def concat_parts(graph, node, lanes):
    """The Home of each input of a Concat."""
    shapes = [graph.tensors[name].shape for name in node.inputs]
    widths = [ceil_div(shape[-1], lanes) for shape in shapes]
    whole = all(shape[-1] % lanes == 0 for shape in shapes[:-1])
    pitch = sum(widths)
    first = shapes[0]
    n, h, w = first[:3] if len(first) == 4 else (first[0], 1, 1)
    channels = sum(shape[-1] for shape in shapes) if whole else pitch * lanes
    name = node.output if whole else f"{node.output}/parts"
    offsets = np.cumsum([0, *widths[:-1]]).tolist()
    return [
        Home(node.name, name, (n, h, w, channels), offset, pitch, table)
        for offset, table in zip(offsets, node.tables, strict=True)
    ]


def concat_homes(graph, lanes, *, whole=False):
    """Home by name of every tensor that can be made in its place in a concatenation: no one else wants it.

    `whole`: the tensor itself is wanted, too, and not only what a table makes of it.
    """
    homes = {}
    outside = set(graph.outputs)
    for node in graph.nodes:
        if not isinstance(node, g.Concat):
            continue
        for name, home in zip(node.inputs, concat_parts(graph, node, lanes), strict=True):
            producer = graph.producer(name)
            alone = graph.consumers(name) == [node] and node.inputs.count(name) == 1 and name not in outside
            # The words of a ChannelSum are pixels to the array, side by side; others have no work of their own.
            elsewhere = g.Reshape | g.Concat | g.Constant | g.ChannelSum
            moves = isinstance(producer, elsewhere) or is_identity(graph, producer)
            if producer is not None and alone and not moves and not (whole and home.table is not None):
                homes[name] = home
    return homes


def is_identity(graph, node):
    """Whether a node is a Select that is only another name."""
    if not isinstance(node, g.Select):
        return False
    return np.array_equal(node.channels, np.arange(graph.tensors[node.inputs[0]].shape[-1]))


def place_of_part(place, offset, pitch):
    """The place of a part in the place of the whole."""
    act, dram = (None if at is None else at + offset for at in (place.act, place.dram))
    return Place(act, dram, pitch)


def selected_words(positions, lanes):
    """The input words that are the output's words, if channels `positions` are whole words, else None."""
    words = []
    for at in range(0, len(positions), lanes):
        first = positions[at]
        taken = positions[at : at + lanes]
        if first % lanes or not np.array_equal(taken, np.arange(first, first + len(taken))):
            return None
        words.append(int(first) // lanes)
    return words


def select_shape(layout, channels, positions, lanes):
    """(ConvShape, weights) of a 1x1 convolution whose output channel m is input channel positions[m], or 0 if that is -1."""
    n, h, w, _ = layout
    words, made = ceil_div(channels, lanes), ceil_div(len(positions), lanes)
    weights = np.zeros((1, made * lanes, 1, 1, channels), np.int8)
    taken = np.flatnonzero(np.asarray(positions) >= 0)
    weights[0, taken, 0, 0, np.asarray(positions)[taken]] = 1
    pixels = n * h * w
    shape = ConvShape(1, 1, pixels, 1, pixels, 1, 1, (1, 1), (1, 1), (0, 0), 1, words, made, channels, False, False)
    return shape, weights


def reshape_positions(channels, made, lanes):
    """How pixels of `made` channels are cut from pixels of `channels`: (pixels taken together, positions).

    So many pixels, side by side with their padded words, are a whole number of the new ones; entry i of positions says
    which of their bytes is byte i of the new pixels' words, or -1.
    """
    together = math.lcm(channels, made)
    element = np.arange(together)
    taken = element // channels * ceil_div(channels, lanes) * lanes + element % channels
    positions = np.full((together // made, ceil_div(made, lanes) * lanes), -1)
    positions[:, :made] = taken.reshape(-1, made)
    return together // channels, positions.reshape(-1)


def pad_shape(layout, made, padding, lanes):
    """(ConvShape, weights) of a depthwise 1x1 convolution over a padded ifmap: every byte as it is."""
    n, h, w, c = layout
    units = ceil_div(c, lanes)
    weights = np.ones((units, lanes, 1, 1, 1), np.int8)
    (top, bottom), (left, right) = padding
    shape = ConvShape(
        n, h, w, made[1], made[2], 1, 1, (1, 1), (1, 1), (top, left), units, 1, 1, 1, True, bool(top or bottom or left or right)
    )
    return shape, weights
