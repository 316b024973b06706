"""Normalisation over channels in one: squares, their sums over neighbouring channels, and the product with what the sums give.

All three look at one pixel at a time.  So a box of pixels goes through all of them while it is in the buffer, and neither the
squares nor the sums ever see the memory.
"""

from dataclasses import dataclass, replace

import numpy as np
from rowcast.isa import PostSource, Space

from .convolution import ConvLowering
from .flow import Flow, Need
from .geometry import ceil_div
from .settings import Place, PostSettings
from .vector import BoxWork, VectorError, VectorJob

__all__ = ["ChainJob", "chain_box", "chain_steps"]

BUFFERS = 5  # of a box: two of the input, two of the squares and then the results, one of the sums


@dataclass
class ChainJob:
    """Everything the lowering needs.

    Parameters
    ----------
    source, target : Place of the input and of the result: `pixels` of `words` words, nothing between them.
    box : pixels that are at work together.
    squares : PostSettings of the squares: their table.
    sums : ConvJob of the sums of a box, from Place 0 to Place 0.
    product, params, tables : PostSettings, parameters and operands' tables of the product; `swapped`: the sums come first.
    room : first word and words of activation memory; flow : of the input and the result.
    """

    source: Place
    target: Place
    pixels: int
    words: int
    box: int
    squares: PostSettings
    sums: object
    product: PostSettings
    params: np.ndarray
    tables: tuple
    swapped: bool
    room: tuple
    flow: Flow


def chain_box(config, pixels, words, room):
    """Pixels of a box for so many words of activation memory.

    Raises
    ------
    VectorError
        Not one pixel fits.
    """
    box = min(pixels, (room // BUFFERS - 2 * config.dram_words) // words)
    if box < 1:
        raise VectorError(f"pixels of {words} words do not fit {room} words of activation memory (act_words)")
    return box


def chain_steps(builder, job):
    """The operations of the chain, as a generator like those of the vector unit; some of its steps are passes of the array."""
    return _Chain(builder, job).steps()


class _Passes:
    """Counts the passes of a box whose sums are still to come; stands for the Flow of the sums."""

    def __init__(self):
        self.left = 0

    def ready(self, which=0):
        """The squares are there before a pass begins."""
        return 1 << 62

    def made(self, pixels):
        """A pass has been drained."""
        self.left -= 1

    def over(self):
        """Whether all have been drained."""
        return self.left <= 0


class _Chain:
    def __init__(self, builder, job):
        self.b, self.job, self.beat = builder, job, builder.config.dram_words
        step = ceil_div(job.box * job.words, self.beat) * self.beat + self.beat
        base = ceil_div(job.room[0], self.beat) * self.beat
        self.inputs, self.made = [base, base + step], [base + 2 * step, base + 3 * step]
        self.summed = base + 4 * step
        self.firsts = [*range(0, job.pixels - job.box, job.box), job.pixels - job.box]
        self.passes = _Passes()
        sums = replace(job.sums, target=Place(act=self.summed), flow=self.passes)
        self.sums = ConvLowering(builder, sums)
        self.boxes = [ConvLowering(builder, replace(sums, source=Place(act=made))).visits() for made in self.made]
        self.squares = [self.lowering(PostSource.MAX, made, 1, job.squares) for made in self.made]

    def lowering(self, source, target, inputs, post, **more):
        """A VectorJob of a box as it lies in the buffer."""
        job = self.job
        return BoxWork(self.b, VectorJob(
            source, (Place(act=0),) * inputs, Place(act=target), 1, 1, job.box, job.words, 1, job.box, post, (0, 1 << 24), **more
        ))  # fmt: skip

    def steps(self):
        line, spent, starts = self.job.box * self.job.words, 0, {}
        for number in range(len(self.firsts)):
            need = (self.firsts[number] + self.job.box,)
            if number not in starts:  # what follows was not there in time
                spent = yield from self.begin(number, starts, spent)
            spent = yield from self.sum_up(number, need, spent)
            if number + 1 < len(self.firsts) and self.job.flow.ready() >= self.firsts[number + 1] + self.job.box:
                spent = yield from self.begin(number + 1, starts, spent)  # while the array is at work
            spent = yield from self.multiply(number, (starts.pop(number), line), need, spent)

    def begin(self, number, starts, spent):
        """The input and the squares of a box."""
        first, job = self.firsts[number], self.job
        need, line = (first + job.box,), job.box * job.words
        yield Need(need, spent)
        starts[number] = self.load(number, first)
        if job.source.act is None:
            yield Need(need, pause=True)
        return (yield from self.vector(self.squares[number % 2], [(starts[number], line)], need, 0))

    def multiply(self, number, source, need, spent):
        """The results of a box whose sums are on their way."""
        job, first, made = self.job, self.firsts[number], self.made[number % 2]
        kept = job.target.act is not None
        # Either where they stay, or in place of the squares, at their place in a beat.
        at = first * job.words + (job.target.act if kept else job.target.dram)
        out = at if kept else made + (at - made) % self.beat
        operands = [source, (self.summed, source[1])]
        product = self.lowering(PostSource.MUL, out, 2, job.product, params=job.params, tables=job.tables)
        spent = yield from self.vector(product, operands[:: -1 if job.swapped else 1], need, spent, self.passes.over)
        if not kept:
            self.b.store(at, out, job.box * job.words)
        job.flow.made(first + job.box)
        return spent

    def load(self, number, first):
        """Where a box of the input stands, loaded if it has to be."""
        job = self.job
        if job.source.act is not None:
            return job.source.act + first * job.words
        start, memory = self.inputs[number % 2], job.source.dram + first * job.words
        start += (memory - start) % self.beat
        self.b.load(Space.ACT, memory, start, job.box * job.words)
        return start

    def vector(self, lowering, starts, need, spent, when=None):
        """The vector unit's work for a box, piece by piece; returns the cycles of the last one."""
        work = lowering.work((0, 0, 0, 1, self.job.box), starts, 0)
        cycles = None
        while True:
            try:
                spent = work.send(cycles) or spent
            except StopIteration as end:
                return end.value
            cycles = yield Need(need, spent, when=when)

    def sum_up(self, number, need, spent):
        """The array's passes for a box; returns the cycles of the last one."""
        visits = self.boxes[number % 2]
        self.passes.left = len(visits)
        for u0, m0, box, y, x in visits:
            yield Need(need, spent, light=True)
            self.sums.keep(u0, m0)
            spent = self.sums.one_pass(box, u0, m0, y, x, [], 1)
        return spent
