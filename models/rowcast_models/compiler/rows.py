"""Normalisation over channels with the pooling of its results: rows stay in the buffer until no window needs them any more.

The boxes of `chain` are parts of rows here.  Their results are lined up in a few rows' room; a row of maxima is made as
soon as its windows are complete.  When the room is full, the rows that the next windows need are copied to its start.
"""

from dataclasses import dataclass

from rowcast.isa import PostSource

from .chain import Chain, buffers, chain_box
from .geometry import ceil_div
from .posts import BYPASS
from .settings import Place, PostSettings
from .vector import BoxWork, VectorError, VectorJob

__all__ = ["Pooling", "pooled_plan", "pooled_steps"]

ALONE = 6  # part of the activation memory of a normalisation without the pooling: so many make the whole
TOGETHER = 2  # whole rows whose sums follow one another
SHRINK = 2  # times as large as here: boxes there that are not worth giving up
LEAST = 0.024  # part of the activation memory that a box takes at least, unless it is a whole row: smaller ones are too many passes


@dataclass(frozen=True)
class Pooling:
    """A pooling of a chain's results, with no padding above and to the left; its windows touch or overlap.

    Parameters
    ----------
    n, h, w, e, f : images, rows and columns of what is pooled, rows and columns of the result.
    window, stride : (vertical, horizontal) pairs.
    post : PostSettings of the maxima.
    lines : rows that are kept.
    """

    n: int
    h: int
    w: int
    e: int
    f: int
    window: tuple
    stride: tuple
    post: PostSettings
    lines: int = 0


def pooled_plan(config, pooling, words, room, most, place, source):
    """(pixels of a box, boxes that go together, rows that are kept, words of activation memory), for at most so many words.

    There is one set of buffers unless boxes are whole rows: large boxes, and room for others, are worth more here than what a
    second one hides.

    Parameters
    ----------
    words : of a pixel.
    room, most : words of activation memory; those of boxes that go together.
    place, source : Place of the result and of the input.

    Raises
    ------
    VectorError
        Boxes would be small beside the rows.
    """
    many, out = buffers(source, 1), 0 if place.act is not None else 2 * _out_words(config, pooling, words)
    (height, _), (down, _) = pooling.window, pooling.stride
    # What is copied must not meet its copy.
    lines = next(lines for lines in range(height, 2 * height + down, down) if lines >= 2 * (height - down))
    rest = room - out - lines * pooling.w * words - config.dram_words
    box = min(pooling.w, (rest // many - 2 * config.dram_words) // words)
    alone = chain_box(config, pooling.n * pooling.h * pooling.w, words, config.act_words // ALONE, source)
    if box < 1 or box * words < LEAST * config.act_words and box < pooling.w or SHRINK * box < alone:
        raise VectorError(
            f"{lines} rows of {pooling.w} pixels of {words} words do not fit {room} words of activation memory "
            "(act_words), with boxes of some size beside them"
        )
    box, together = ceil_div(pooling.w, ceil_div(pooling.w, box)), 1
    taken = box * words + 2 * config.dram_words
    if box == pooling.w and (more := buffers(source, TOGETHER, TOGETHER)) * taken <= rest + (most - room):
        many, together = more, TOGETHER
    return box, together, lines, room - rest + many * taken


def _out_words(config, pooling, words):
    return pooling.f * words + 2 * config.dram_words


def pooled_steps(builder, job, pooling):
    """The operations of a ChainJob whose results, `job.target`, are pooled."""
    return _Pooled(builder, job, pooling).steps()


class _Pooled(Chain):
    def __init__(self, builder, job, pooling):
        self.pooling = pooling
        super().__init__(builder, job)
        self.row = pooling.w * job.words
        self.room = self.free  # where the rows that are kept begin
        free = self.room + pooling.lines * self.row
        self.outs = [free, free + _out_words(builder.config, pooling, job.words)]
        self.low = self.next = 0  # image's row at the room's start, next row of maxima
        self.maxima = BoxWork(builder, VectorJob(
            PostSource.MAX, (Place(act=0),), job.target, pooling.n, pooling.h, pooling.w, job.words, pooling.e, pooling.f,
            pooling.post, (0, 1 << 24), window=pooling.window, stride=pooling.stride,
        ))  # fmt: skip

    def first_pixels(self):
        pooling, box = self.pooling, self.job.box
        line = [*range(0, pooling.w - box, box), pooling.w - box]
        return [row * pooling.w + first for row in range(pooling.n * pooling.h) for first in line]

    def multiply(self, number, source, need, spent):
        """The results of a box into their row, and the maxima that are complete with it."""
        row, column = divmod(self.firsts[number], self.pooling.w)
        image, row = divmod(row, self.pooling.h)
        if row == column == 0:
            self.low = self.next = 0
        if row - self.low >= self.pooling.lines:
            spent = yield from self.move_up(row, need, spent)
        out = self.room + (row - self.low) * self.row + column * self.job.words
        spent = yield from self.product(number, out, source, need, spent)
        if column + self.job.box == self.pooling.w:
            spent = yield from self.pool(image, row + 1, need, spent)
        return spent

    def move_up(self, row, need, spent):
        """The rows from the next window's first one on, up to `row`, to the start of the room."""
        pooling, words = self.pooling, self.job.words
        first = min(row, self.next * pooling.stride[0])
        count = row - first
        if count:
            copy = BoxWork(self.b, VectorJob(
                PostSource.MAX, (Place(act=0),), Place(act=self.room), 1, count, pooling.w, words, count, pooling.w, BYPASS,
                (0, 1 << 24),
            ))  # fmt: skip
            start = self.room + (first - self.low) * self.row
            spent = yield from self.vector(copy.work((0, 0, 0, count, pooling.w), [(start, self.row)], 0), need, spent)
        self.low = first
        return spent

    def pool(self, image, rows, need, spent):
        """The rows of maxima whose windows are complete with so many rows."""
        pooling, job = self.pooling, self.job
        while self.next < pooling.e and min(self.next * pooling.stride[0] + pooling.window[0], pooling.h) <= rows:
            start = self.room + (self.next * pooling.stride[0] - self.low) * self.row
            where, free = (image, self.next, 0, 1, pooling.f), self.outs[self.next % 2]
            spent = yield from self.vector(self.maxima.work(where, [(start, self.row)], free), need, spent)
            self.maxima.finish(where, free)
            self.next += 1
            job.flow.made((image * pooling.e + self.next) * pooling.f)
        return spent
