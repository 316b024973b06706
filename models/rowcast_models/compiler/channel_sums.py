"""Sums over neighbouring channels of a box of pixels, for networks that carry several words in a flit.

The window of `shapes.channel_sum_shape` slides over the words of a pixel and needs padding beside them, which a flit of several
words cannot have.  So it slides over all words of the box in a row here, across the ends of pixels, and what comes out wrong
there is then made again by windows that end with the pixel.  A PE has whole pixels, and the same ones each time, so only loops
are set anew.
"""

from dataclasses import dataclass

from .geometry import ConvShape, cut_axis, plan_chunks
from .mapping import Mapping
from .tiling import plan_tilings

__all__ = ["Split", "split_box", "sum_parts"]


@dataclass(frozen=True)
class Split:
    """A box on the array: so many rows and columns of PEs with so many pixels each."""

    rows: int
    columns: int
    pixels: int

    @property
    def box(self):
        """Pixels in all."""
        return self.rows * self.columns * self.pixels


def split_box(config, box, words):
    """The Split with the most pixels up to `box`, of so many words each; None if a PE's psums do not hold a pixel."""
    choices = [
        Split(rows, columns, pixels)
        for rows in range(1, config.rows + 1)
        for columns in range(1, config.columns + 1)
        for pixels in range(1, config.psum_pixels // 2 // words + 1)
        if rows * columns * pixels <= box
    ]
    return max(choices, key=lambda split: (split.box, -split.pixels), default=None)


def sum_parts(config, split, words, weights, left, right):
    """[(ConvShape, Mapping, Tiling, weights, first word of the results)], in order: all words, then the ends of pixels.

    Parameters
    ----------
    words : of a pixel.
    weights : int8 [1, 1, lanes, 1, left + 1 + right, lanes]; left, right : 0 or 1, words beside the result's own.

    Returns
    -------
    None if the windows are wider or a pixel narrower than that, or if they do not fit a PE's scratchpads.
    """
    if max(left, right) > 1 or words <= max(left, right):
        return None
    shared = {
        "n": 1, "r": 1, "stride": (1, 1), "dilation": (1, 1), "units": 1, "in_words": 1, "out_words": 1, "channels": config.lanes,
        "depthwise": False, "padded": False,
    }  # fmt: skip
    size = split.box * words
    # The last windows reach beyond the box; they are among those that are made again.
    line = ConvShape(h=1, w=size + left + right, e=1, f=size, s=1 + left + right, pad=(0, 0), **shared)
    parts = [(line, "x", weights, left)]
    ends = [(0, 0, slice(left, None))] if left else []
    ends += [(words - 1, words - 1 - left, slice(left + 1))] if right else []
    for result, first, taps in ends:
        some = weights[..., taps, :]
        end = ConvShape(h=split.box, w=words, e=split.box, f=1, s=some.shape[-2], pad=(0, -first), pitch=words, **shared)
        parts.append((end, "y", some, result))
    placed = []
    for shape, kind, some, result in parts:
        axes = [cut_axis(length, 1, split.rows * split.columns if kind == name else 1) for name, length in (("y", shape.e), ("x", shape.f))]
        chunks = plan_chunks(shape, config, *(axis.largest for axis in axes), 1)
        if chunks is None:
            return None
        mapping = Mapping(1, split.rows, kind, 1, split.columns, kind, *axes, chunks)
        tiling = plan_tilings(shape, mapping, config, 0, input_resident=True, output_resident=True)[0]
        placed.append((shape, mapping, tiling, some, result))
    return placed
