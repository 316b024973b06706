"""Lowering of what the vector unit does: pooling, element-wise operations, tables."""

from dataclasses import dataclass, replace

import numpy as np

from rowcast.isa import PostSource, Space

from .convolution import Place, set_loops
from .geometry import ceil_div

__all__ = ["VectorError", "VectorJob", "lower_vector"]

_TURNS = 4095  # turns of one feeder loop
_PIXELS = 65535  # turns of one loop of results


class VectorError(ValueError):
    """An operation that the vector unit cannot do with this configuration."""


@dataclass
class VectorJob:
    """A reduction of windows of words, or of pairs of words from two tensors.

    Parameters
    ----------
    source : PostSource (MAX, SUM, ADD, MUL).
    inputs : Place of each input: one, or two for pairs (MAX too).
    n, h, w, words : images, rows, columns and words a pixel of the inputs.
    e, f : output rows and columns.
    window, stride, pad : (vertical, horizontal) pairs; pad above and to the left.
    params : uint32 [slots x lanes, 4]; by_count : entry c - 1 is for windows of c words inside the ifmap.
    tables : int32 [256] of each operand (ADD, MUL).
    room : first word and words of activation memory for bands.
    in_pitch : words from one input pixel to the next; 0 if there is nothing between them.
    """

    source: PostSource
    inputs: tuple
    target: Place
    n: int
    h: int
    w: int
    words: int
    e: int
    f: int
    post: object
    room: tuple
    window: tuple = (1, 1)
    stride: tuple = (1, 1)
    pad: tuple = (0, 0)
    params: np.ndarray | None = None
    by_count: bool = False
    tables: tuple = ()
    in_pitch: int = 0


def lower_vector(builder, job, *, mark=True):
    """Append the operations of the layer, band of output rows by band; `mark` its end."""
    _lower(builder, job)
    if mark:
        builder.mark()


def _lower(builder, job):
    """The job, or if a row of its pixels does not fit, first one half of their words and then the other."""
    try:
        lowering = _Lowering(builder, job)
    except VectorError:
        half = ceil_div(ceil_div(job.words, 2), builder.config.dram_words) * builder.config.dram_words
        if len(job.inputs) > 1 or half >= job.words:
            raise
        for start, words in ((0, half), (half, job.words - half)):
            _lower(builder, replace(
                job, words=words, inputs=(_moved(job.inputs[0], start),), in_pitch=job.in_pitch or job.words,
                target=replace(_moved(job.target, start), pitch=job.target.pitch or job.words),
            ))  # fmt: skip
        return
    lowering.run()


def _moved(place, words):
    """The place so many words further."""
    return replace(
        place, act=None if place.act is None else place.act + words, dram=None if place.dram is None else place.dram + words
    )


class _Lowering:
    def __init__(self, builder, job):
        self.b, self.job, self.config = builder, job, builder.config
        self.beat = self.config.dram_words
        in_pitch = job.in_pitch or job.words
        self.in_pitch = in_pitch
        # In a band, too, a pixel keeps its place in a beat of the memory.
        self.in_pixel = in_pitch if job.inputs[0].act is not None else job.words + (in_pitch - job.words) % self.beat
        self.in_line, self.out_line = job.w * self.in_pixel, job.f * job.words
        self.pitch = job.target.pitch or job.words  # of a pixel of the target
        self.pixel = job.words + (self.pitch - job.words) % self.beat
        self.moving = [place for place in job.inputs if place.act is None]
        self.rows = self.band_rows()
        base, size = job.room
        self.half = size // 2 // self.beat * self.beat
        self.base = ceil_div(base, self.beat) * self.beat

    def in_rows(self, rows):
        """Input rows that so many output rows read at most."""
        return min(self.job.h, (rows - 1) * self.job.stride[0] + self.job.window[0])

    def band_words(self, rows):
        """Words of a band of so many output rows, inputs and output."""
        words = 0 if self.job.target.act is not None else rows * self.job.f * self.pixel + self.beat
        return words + len(self.moving) * (self.in_rows(rows) * self.in_line + self.beat)

    def band_rows(self):
        """Output rows in a band."""
        half = self.job.room[1] // 2 - self.beat
        rows = self.job.e
        if self.moving or self.job.target.act is None:
            rows = min(rows, max(1, ceil_div(self.job.e, 4)))  # several bands, so that transfers and work overlap
        rows = min(rows, _TURNS, max(1, _PIXELS // self.job.f))
        while rows and self.band_words(rows) > half:
            rows -= 1
        if not rows:
            raise VectorError(
                f"one row of {self.job.w} pixels of {self.job.words} words does not fit half of "
                f"{self.job.room[1]} words of activation memory (act_words)"
            )
        return rows

    def run(self):
        job = self.job
        reads = list(self.b.post_set(job.post))
        for which, values in enumerate(job.tables):
            reads.append(self.b.table(1 + which, values))
        slot = 0
        if job.params is not None:
            slot = self.b.parameters(job.params)
            reads.append(self.b.parameter_interval(slot, len(job.params) // self.config.lanes))
        number = 0
        for n in range(job.n):
            for y in range(0, job.e, self.rows):
                self.band(number, n, y, min(self.rows, job.e - y), slot, reads)
                number += 1

    def band(self, number, n, y, rows, slot, reads):
        """Load, reduce and store one band of output rows."""
        job = self.job
        top = max(y * job.stride[0] - job.pad[0], 0)
        bottom = min((y + rows - 1) * job.stride[0] - job.pad[0] + job.window[0], job.h)
        free = self.base + number % 2 * self.half
        starts = []
        for place in job.inputs:
            offset = (n * job.h + top) * job.w * self.in_pitch
            if place.act is not None:
                starts.append(place.act + offset)
                continue
            start = free + (place.dram + offset - free) % self.beat
            if self.in_pixel == self.in_pitch == job.words:
                self.b.load(Space.ACT, place.dram + offset, start, (bottom - top) * self.in_line)
            else:
                pixels = (bottom - top) * job.w
                self.b.load(Space.ACT, place.dram + offset, start, job.words, pixels, self.in_pitch, self.in_pixel)
            starts.append(start)
            free = ceil_div(start + (bottom - top) * self.in_line, self.beat) * self.beat
        first = (n * job.e + y) * job.f * self.pitch
        if job.target.act is not None:
            out, pixel = job.target.act + first, self.pitch
        else:
            out, pixel = free + (job.target.dram + first - free) % self.beat, self.pixel
        self.feed(starts, y, top, bottom, rows)
        if pixel == job.words:
            self.b.setting("loop", "POST_LOOP", count_x=self.out_line, step_x=1, count_y=rows, step_y=1)
        else:
            self.b.setting(
                "loop", "POST_LOOP", count_x=job.words, step_x=1, count_y=rows * job.f, step_y=pixel - job.words + 1
            )
        self.b.emit(
            "POST_RUN", reads=reads, writes=[("act", out, out + (rows * job.f - 1) * pixel + job.words)],
            source=job.source, buffer=out, slot=slot, by_count=job.by_count,
        )  # fmt: skip
        if job.target.act is None and pixel == self.pitch == job.words:
            self.b.store(job.target.dram + first, out, rows * self.out_line)
        elif job.target.act is None:
            self.b.store(job.target.dram + first, out, job.words, rows * job.f, self.pitch, pixel)

    def feed(self, starts, y, top, bottom, rows):
        """The feeder's loops of one band: the window innermost, then words, columns, rows."""
        job = self.job
        if len(starts) == 2:
            inner = [(2, (starts[1] - starts[0], 0, 0)), (1, (0, 0, 0))]
        else:
            inner = [(job.window[1], (self.in_pixel, 0, 1)), (job.window[0], (self.in_line, 1, 0))]
        down = (job.stride[0] * self.in_line, job.stride[0], 0)
        across = (job.stride[1] * self.in_pixel, 0, job.stride[1])
        padded = (
            min(job.pad) < 0 or max(job.pad) > 0
            or (job.e - 1) * job.stride[0] + job.window[0] - job.pad[0] > job.h
            or (job.f - 1) * job.stride[1] + job.window[1] - job.pad[1] > job.w
        )  # fmt: skip
        levels = [*inner, (job.words, (1, 0, 0)), (job.f, across), (rows, down), (1, (0, 0, 0))]
        if max(turns for turns, _ in levels) > _TURNS:
            raise VectorError(f"a tensor of {job.f} columns or {job.words} words a pixel: at most {_TURNS} are possible")
        set_loops(self.b, levels, padded=padded)
        inside = (job.h, job.w) if padded else (1, 1)
        self.b.setting("ifmap", "IFMAP_SET", height=inside[0], width=inside[1], pad=0)
        row = y * job.stride[0] - job.pad[0]
        self.b.emit(
            "IFMAP_RUN",
            reads=[("act", start, start + (bottom - top) * self.in_line) for start in starts],
            buffer=starts[0] + (row - top) * self.in_line - job.pad[1] * self.in_pixel,
            y=row if padded else 0, x=-job.pad[1] if padded else 0, vector=1,
        )  # fmt: skip
