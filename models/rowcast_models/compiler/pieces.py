"""Layers in two pieces with mappings of their own, where one mapping leaves a part of the array idle.

13 rows of an ofmap on 4 groups of PEs take the time of 16; 12 of them take that of 12, and the last one can have groups along x.
12 words of filters on 16 columns take that of 16; 8 of them can have two groups of pixels beside them, the other 4 four.
"""

from dataclasses import dataclass, replace

from .geometry import Axis, ceil_div
from .mapping import MappingError

__all__ = ["Piece", "cut_layer", "cuts", "moved"]

IDLE = 0.08  # part of the array that one mapping leaves idle, at least, for two to be tried
GAIN = 0.97  # of the cycles of one mapping that two may take
GROUPS = (2, 4, 8, 16, 32)  # PEs that share an axis: the first piece is a multiple of one of these
TRIES = 2  # cuts of rows and of filters that are tried, the largest first pieces first


@dataclass(frozen=True)
class Piece:
    """A part of a layer.

    Parameters
    ----------
    shape : with the filters of this piece, and all rows and columns.
    first : word of the results' pixels with which its filters begin.
    last : whether pixels are complete with it, in their order.
    mapping, tiling, cost : the mapping's spans are those of the whole layer.
    """

    shape: object
    mapping: object
    tiling: object
    cost: object
    first: int = 0
    last: bool = True


def cut_layer(one, config, best):
    """The Pieces of a layer: `[one]`, or two that are faster.

    Parameters
    ----------
    one : Piece, all of it.
    best : function: (mapping, tiling, cost) of a ConvShape; raises MappingError.
    """
    shape = one.shape
    ideal = ceil_div(shape.n * shape.e * shape.f * shape.k * shape.units * shape.out_words, config.num_pes)
    if shape.depthwise or shape.pool or ideal > (1 - IDLE) * one.cost.cycles:
        return [one]
    found, least = [one], GAIN * one.cost.cycles
    for cut in cuts(shape, best):
        try:
            pieces = cut()
        except MappingError:
            continue
        cycles, memory = (sum(getattr(piece.cost, name) for piece in pieces) for name in ("cycles", "memory"))
        # What is loaded twice must be worth it.
        if cycles < least and memory - one.cost.memory < one.cost.cycles - cycles:
            found, least = pieces, cycles
    return found


def cuts(shape, best):
    """Functions that give two Pieces of a layer, or raise MappingError; `best` as above."""
    yield from _cuts_of_pixels(shape, best)
    yield from _cuts_of_filters(shape, best)


def _sizes(length):
    """First pieces of an axis of this length that are worth trying."""
    return sorted({length // groups * groups for groups in GROUPS} - {0, length}, reverse=True)[:TRIES]


def _cuts_of_pixels(shape, best):
    """Functions: the Pieces of rows, or of columns if there is only one row."""
    axis = int(shape.e == 1)
    if axis and (shape.n > 1 or shape.grain):  # pixels would not be made in order, or not begin with words
        return
    size, name = (("e", "y"), ("f", "x"))[axis]
    length = getattr(shape, size)

    def piece(start, count):
        pad = list(shape.pad)
        pad[axis] -= start * shape.stride[axis]
        mapping, tiling, cost = best(replace(shape, **{size: count}, pad=tuple(pad)))
        # An image is complete with its last rows, so a first piece that goes from image to image says nothing of them.
        last = start > 0 or shape.n == mapping.images
        return Piece(shape, moved(mapping, name, start), tiling, cost, last=last)

    for cut in _sizes(length):
        yield lambda cut=cut: [piece(0, cut), piece(cut, length - cut)]


def moved(mapping, name, start):
    """A mapping whose spans along y or x begin so many pixels later."""
    along = getattr(mapping, name)
    spans = tuple(replace(span, start=span.start + start) for span in along.spans)
    return replace(mapping, **{name: Axis(spans, (*along.key, start))})


def _cuts_of_filters(shape, best):
    """Functions: the Pieces of filters, words by words."""
    if shape.units > 1:
        return

    def piece(first, words):
        some = replace(shape, out_words=words, pitch=shape.out_pitch)
        return Piece(some, *best(some), first, first + words == shape.out_words)

    for cut in _sizes(shape.out_words):
        yield lambda cut=cut: [piece(0, cut), piece(cut, shape.out_words - cut)]
