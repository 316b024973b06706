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

__all__ = ["Chain", "ChainJob", "buffers", "chain_box", "chain_steps"]



SETS = 2  # of buffers: the next box is loaded and squared while the array sums one up


@dataclass
class ChainJob:
    """Everything the lowering needs.

    Parameters
    ----------
    source, target : Place of the input and of the result: `pixels` of `words` words, nothing between them.
    box : pixels that are at work together.
    squares : PostSettings of the squares: their table.
    sums : ConvJobs of the sums of a box, one after the other, from Place 0 to Place 0 or some words behind it.
    product, params, tables : PostSettings, parameters and operands' tables of the product; `swapped`: the sums come first.
    room : first word and words of activation memory; flow : of the input and the result; sets : of buffers.
    together : boxes whose sums follow one another, between the same two passes of another node.
    """

    source: Place
    target: Place
    pixels: int
    words: int
    box: int
    squares: PostSettings
    sums: tuple
    product: PostSettings
    params: np.ndarray
    tables: tuple
    swapped: bool
    room: tuple
    flow: Flow
    sets: int = SETS
    together: int = 1


def buffers(source, sets, together=1):
    """Buffers of a box: `sets` of the input if it has to be loaded, as many of the squares and then the results, and of the sums."""
    return sets * (1 + (source.act is None)) + together


def chain_box(config, pixels, words, room, source):
    """Pixels of a box for so many words of activation memory, of an input at this Place.

    Raises
    ------
    VectorError
        Not one pixel fits.
    """
    box = min(pixels, (room // buffers(source, SETS) - 2 * config.dram_words) // words)
    if box < 1:
        raise VectorError(f"pixels of {words} words do not fit {room} words of activation memory (act_words)")
    return box


def chain_steps(builder, job):
    """The operations of the chain, as a generator like those of the vector unit; some of its steps are passes of the array."""
    return Chain(builder, job).steps()


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


class Chain:
    """The boxes of one ChainJob."""

    def __init__(self, builder, job):
        self.b, self.job, self.beat = builder, job, builder.config.dram_words
        step = ceil_div(job.box * job.words, self.beat) * self.beat + self.beat
        base = ceil_div(job.room[0], self.beat) * self.beat
        places = [base + i * step for i in range(buffers(job.source, job.sets, job.together))]
        self.summed, rest = places[: job.together], places[job.together :]
        self.made, self.inputs = rest[: job.sets], rest[job.sets :]
        self.free = places[-1] + step
        self.firsts = self.first_pixels()
        self.whole = (0, 0, 0, 1, job.box)  # a box, for its lowerings
        self.passes = _Passes()
        sums = [[replace(part, target=part.target.moved(at), flow=self.passes) for part in job.sums] for at in self.summed]
        self.sums = [[ConvLowering(builder, part) for part in parts] for parts in sums]
        self.boxes = [
            [ConvLowering(builder, replace(part, source=Place(act=made))).visits()[0][1] for part in sums[0]] for made in self.made
        ]
        self.squares = [self.lowering(PostSource.MAX, made, 1, job.squares) for made in self.made]

    def first_pixels(self):
        """The first pixel of each box; some of the last may be in two."""
        job = self.job
        return [*range(0, job.pixels - job.box, job.box), job.pixels - job.box]

    def lowering(self, source, target, inputs, post, **more):
        """A VectorJob of a box as it lies in the buffer."""
        job = self.job
        return BoxWork(self.b, VectorJob(
            source, (Place(act=0),) * inputs, Place(act=target), 1, 1, job.box, job.words, 1, job.box, post, (0, 1 << 24), **more
        ))  # fmt: skip

    def steps(self):
        if self.job.together > 1:
            yield from self.groups()
            return
        line, spent, starts = self.job.box * self.job.words, 0, {}
        for number in range(len(self.firsts)):
            need = (self.firsts[number] + self.job.box,)
            if number not in starts:  # what follows was not there in time
                spent = yield from self.begin((number,), starts, spent)
            spent = yield from self.sum_up(number, need, spent)
            following = number + 1 < len(self.firsts) and self.job.sets > 1
            if following and self.there(number + 1):
                spent = yield from self.begin((number + 1,), starts, spent)  # while the array is at work
            spent = yield from self.multiply(number, (starts.pop(number), line), need, spent)

    def groups(self):
        """The steps of boxes that go together, as far as their input is there."""
        line, spent, number = self.job.box * self.job.words, 0, 0
        while number < len(self.firsts):
            starts, end = {}, number + 1
            yield Need((self.firsts[number] + self.job.box,), spent)
            while end < min(number + self.job.together, len(self.firsts)) and self.there(end):
                end += 1
            spent = yield from self.begin(range(number, end), starts, 0)
            number = end
            for each in starts:
                spent = yield from self.sum_up(each, (self.firsts[each] + self.job.box,), spent)
            for each, start in starts.items():
                spent = yield from self.multiply(each, (start, line), (self.firsts[each] + self.job.box,), spent)

    def there(self, number):
        """Whether the input of a box is."""
        return self.job.flow.ready() >= self.firsts[number] + self.job.box

    def begin(self, numbers, starts, spent):
        """The input and the squares of boxes."""
        job = self.job
        need, line = (self.firsts[numbers[-1]] + job.box,), job.box * job.words
        yield Need(need, spent)
        for number in numbers:
            starts[number] = self.load(number, self.firsts[number])
        if job.source.act is None:
            yield Need(need, pause=True)
        spent = 0
        for number in numbers:
            squares = self.squares[number % job.sets].work(self.whole, [(starts[number], line)], 0)
            spent = yield from self.vector(squares, need, spent)
        return spent

    def multiply(self, number, source, need, spent):
        """The results of a box whose sums are on their way."""
        job, first, made = self.job, self.firsts[number], self.made[number % self.job.sets]
        kept = job.target.act is not None
        # Either where they stay, or in place of the squares, at their place in a beat.
        at = first * job.words + (job.target.act if kept else job.target.dram)
        out = at if kept else made + (at - made) % self.beat
        spent = yield from self.product(number, out, source, need, spent)
        if not kept:
            self.b.store(at, out, job.box * job.words)
        job.flow.made(first + job.box)
        return spent

    def product(self, number, out, source, need, spent):
        """The results of a box, from word `out` on."""
        job, operands = self.job, [source, (self.summed[number % self.job.together], source[1])]
        product = self.lowering(PostSource.MUL, out, 2, job.product, params=job.params, tables=job.tables)
        work = product.work(self.whole, operands[:: -1 if job.swapped else 1], 0)
        return (yield from self.vector(work, need, spent, self.passes.over))

    def load(self, number, first):
        """Where a box of the input stands, loaded if it has to be."""
        job = self.job
        if job.source.act is not None:
            return job.source.act + first * job.words
        start, memory = self.inputs[number % job.sets], job.source.dram + first * job.words
        start += (memory - start) % self.beat
        self.b.load(Space.ACT, memory, start, job.box * job.words)
        return start

    def vector(self, work, need, spent, when=None):
        """Work of the vector unit, piece by piece; returns the cycles of the last one."""
        cycles = None
        while True:
            try:
                spent = work.send(cycles) or spent
            except StopIteration as end:
                return end.value
            cycles = yield Need(need, spent, when=when)

    def sum_up(self, number, need, spent):
        """The array's passes for a box; returns the cycles of the last one."""
        parts = self.boxes[number % self.job.sets]
        self.passes.left += sum(map(len, parts))
        for sums, visits in zip(self.sums[number % self.job.together], parts, strict=True):
            for u0, m0, box, y, x in visits:
                yield Need(need, spent, light=True)
                sums.keep(u0, m0)
                spent = sums.one_pass(box, u0, m0, y, x, [], 1)
        return spent
