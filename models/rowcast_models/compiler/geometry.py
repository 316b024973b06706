"""Shapes of a convolution on the array: its loops, its patches, its chunks."""

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

__all__ = ["Axis", "Chunk", "ConvShape", "Span", "chunk_runs", "cut_axis", "packed", "plan_chunks", "ramped_axis", "row_flits"]


def ceil_div(a, b):
    """Integer division rounded up."""
    return -(-a // b)


def same_place(words, like, beat):
    """The smallest pitch of at least `words` that keeps the place in a beat of so many words which pitch `like` keeps."""
    return words + (like - words) % beat


@dataclass(frozen=True)
class ConvShape:
    """The loops of a convolution in the survey's letters, as the hardware sees them.

    A *unit* is a set of output words that read the same input channels: the whole layer (dense), a group, or one
    channel word (depthwise).  Unit u reads input words [u x in_words, (u + 1) x in_words) and makes output words
    [u x out_words, (u + 1) x out_words).

    Parameters
    ----------
    n, h, w, e, f : images, ifmap rows and columns, ofmap rows and columns.
    r, s, stride, dilation : filter rows and columns; (vertical, horizontal) pairs.
    pad : padding rows above and columns to the left.
    units, in_words, out_words : as above.
    channels : input channels of a unit that carry weights (1 in depthwise mode: a lane reads its own).
    depthwise : lanes read their own byte.
    padded : whether any window reaches outside the ifmap.
    pitch : words from one ofmap pixel to the next; 0 if there is nothing between them.
    spread : words from one ifmap pixel to the next in memory; 0 if there is nothing between them.
    grain : (bytes of an ifmap pixel, of a word) if the pixels of a row stand byte by byte, padding beside them included: its
        `w` columns are words then.  () if a column is a pixel.
    pool : (vertical, horizontal) windows, side by side, whose maxima are the layer's results; () if it has none.
    parts : int8 weights that stand for one; the ifmap is read as often.  A horizontal dilation of 0 does the same
        for filters of one column: their S columns are parts.
    """

    n: int
    h: int
    w: int
    e: int
    f: int
    r: int
    s: int
    stride: tuple
    dilation: tuple
    pad: tuple
    units: int
    in_words: int
    out_words: int
    channels: int
    depthwise: bool
    padded: bool
    pitch: int = 0
    parts: int = 1
    pool: tuple = ()
    spread: int = 0
    grain: tuple = ()

    @property
    def grid(self):
        """Ofmap columns of which the first one's window begins with a word: patches begin there."""
        return self.grain[1] // math.gcd(self.stride[1] * self.grain[0], self.grain[1]) if self.grain else 1

    def column(self, pixel):
        """The ifmap column in which a pixel of a row begins."""
        return pixel * self.grain[0] // self.grain[1] if self.grain else pixel

    def columns(self, pixels):
        """Ifmap columns of so many pixels side by side, of which the first one begins a column."""
        return ceil_div(pixels * self.grain[0], self.grain[1]) if self.grain else pixels

    @property
    def in_pitch(self):
        """Words of an ifmap pixel."""
        return self.units * self.in_words

    @property
    def made_words(self):
        """Words that the layer makes of an ofmap pixel."""
        return self.units * self.out_words

    @property
    def out_pitch(self):
        """Words from one ofmap pixel to the next."""
        return self.pitch or self.made_words

    @property
    def results(self):
        """(rows, columns) of what the layer makes."""
        down, across = self.pool or (1, 1)
        return self.e // down, self.f // across

    @property
    def k(self):
        """MACs of one lane for one output."""
        return self.r * self.s * self.channels * self.parts


@dataclass(frozen=True)
class Span:
    """A run of output rows (or columns) that `groups` patches cover: patch g starts at start + g x step."""

    start: int
    size: int
    step: int
    patch: int


@dataclass(frozen=True)
class Axis:
    """All spans of an axis, in order; `key` says how they were cut, and stands for them where axes are compared."""

    spans: tuple = field(compare=False)
    key: tuple

    @cached_property
    def largest(self):
        """The widest patch."""
        return max(span.patch for span in self.spans)

    @cached_property
    def patches(self):
        """How many spans have patches of each size."""
        return dict(Counter(span.patch for span in self.spans))


def _span(start, size, groups, grid=1):
    step = size // groups // grid * grid
    return Span(start, size, step, size - (groups - 1) * step)


@lru_cache(maxsize=1 << 14)
def cut_axis(length, pieces, groups, grid=1):
    """Cut `length` outputs into `pieces` spans for `groups` patches each, or None if they do not all get an output.

    Patches of a span overlap rather than reach outside: outputs in the overlap are computed twice, to the same value.  They
    do not where a span is a multiple of the groups, so spans are made so, and the last one begins earlier if need be.
    All patches begin at multiples of `grid`.
    """
    size = ceil_div(length, pieces)
    if size < groups:
        return None
    size = min(ceil_div(size, groups * grid) * groups * grid, length)
    spans = []
    for start in range(0, length, size):
        rest = min(size, length - start)
        if rest < size:
            rest = min(ceil_div(rest, groups * grid) * groups * grid, length)
            start = (length - rest) // grid * grid
            rest = length - start
        if groups > 1 and rest < groups * grid:
            return None
        spans.append(_span(start, rest, groups, grid))
    return Axis(tuple(spans), (length, pieces, groups, grid))


@lru_cache(maxsize=1 << 14)
def ramped_axis(length, first, pieces, last, groups):
    """An axis whose first and last spans have their own sizes, so that work starts and ends early; None if that cannot be."""
    rest = length - first - last
    inner = cut_axis(rest, pieces, groups) if rest > 0 else None
    if inner is None or min(first, last) < groups:
        return None
    spans = [_span(0, first, groups)]
    spans += [Span(s.start + first, s.size, s.step, s.patch) for s in inner.spans]
    return Axis((*spans, _span(length - last, last, groups)), (length, first, pieces, last, groups))


@dataclass(frozen=True)
class Chunk:
    """A part of K: filter rows [r0, r0 + r), all s, input words [c0, c0 + words), of which `channels` carry weights.

    `part` says which of the weights' parts it multiplies.
    """

    r0: int
    r: int
    c0: int
    words: int
    channels: int
    part: int = 0

    def macs(self, shape):
        """MACs of one lane for one output."""
        return self.r * shape.s * self.channels


def window(shape, rows, columns, r):
    """Rows and columns of the ifmap window of a patch, for r filter rows."""
    height = (rows - 1) * shape.stride[0] + (r - 1) * shape.dilation[0] + 1
    width = (columns - 1) * shape.stride[1] + (shape.s - 1) * shape.dilation[1] + 1
    return height, shape.columns(width)


def packed(shape, words, noc):
    """Whether a flit of `noc` words carries words of neighbouring pixels: all of a pixel's, side by side, with no padding between."""
    return noc > 1 and words == shape.in_pitch and (bool(shape.grain) or not shape.padded)


def row_flits(shape, width, words, noc):
    """Flits of a row of a window: `width` pixels, `words` of each."""
    if packed(shape, words, noc):
        return ceil_div(width * words, noc)
    return width * ceil_div(words, noc)


def plan_chunks(shape, config, rows, columns, groups, *, even=False):
    """Chunks for patches of at most rows x columns outputs, or None if no chunk fits.

    A chunk fits if a half of a PE's scratchpads holds it, and half the filter memory the filters of all `groups`.
    `even`: all of as many words, though they may be more of them.
    """
    lanes, noc = config.lanes, config.noc_words
    ifmap_half = config.ifmap_words // 2
    filter_half = min(config.filter_words // 2, config.filter_buffer_words // 2 // groups)

    def fits(r, words):
        height, width = window(shape, rows, columns, r)
        channels = min(shape.channels, words * lanes)
        return (
            height * row_flits(shape, width, words, noc) * noc <= ifmap_half
            and ceil_div(r * shape.s * channels, noc) * noc <= filter_half
        )

    r = shape.r
    while r > 1 and not fits(r, 1):
        r -= 1
    if not fits(r, 1):
        return None
    r = ceil_div(shape.r, ceil_div(shape.r, r))
    words = shape.in_words
    while not fits(r, words):
        words -= 1
    words = ceil_div(shape.in_words, ceil_div(shape.in_words, words))
    while even and shape.in_words % words:
        words -= 1
    chunks = []
    starts = [(part, r0, c0) for part in range(shape.parts) for r0 in range(0, shape.r, r)
              for c0 in range(0, shape.in_words, words)]  # fmt: skip
    for part, r0, c0 in starts:
        here = min(words, shape.in_words - c0)
        channels = 1 if shape.depthwise else min(here * lanes, shape.channels - c0 * lanes)
        chunks.append(Chunk(r0, min(r, shape.r - r0), c0, here, channels, part))
    return tuple(chunks)


def chunk_runs(chunks):
    """[(first chunk, how many)]: chunks that differ only in their first input word are one run of the feeder."""
    runs = []
    for chunk in chunks:
        if runs:
            first, count = runs[-1]
            same = (first.part, first.r0, first.r, first.words, first.channels) == (
                chunk.part, chunk.r0, chunk.r, chunk.words, chunk.channels,
            )  # fmt: skip
            if same and chunk.c0 == first.c0 + count * first.words:
                runs[-1] = (first, count + 1)
                continue
        runs.append((chunk, 1))
    return runs
