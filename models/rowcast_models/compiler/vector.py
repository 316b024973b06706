"""Lowering of what the vector unit does: pooling, element-wise operations, tables.

The result is cut into boxes whose inputs and outputs fit the buffer; a box is loaded at once, ahead of its turn, and worked off
in pieces of any size, which can stand between the passes of a convolution.
"""

from dataclasses import dataclass, replace
from math import ceil, gcd

import numpy as np

from rowcast.isa import PostSource, Space

from .flow import Flow, Need, in_turn
from .geometry import ceil_div, same_place
from .settings import Place, set_loops

__all__ = [
    "BoxWork", "PIECE", "Part", "TURNS", "VectorError", "VectorJob", "column_cycles", "lower_vector", "one_loop", "parts", "result_loops",
    "vector_steps",
]  # fmt: skip

PIECE = 2048  # cycles of a piece of work when nothing else is at work
ALL = 1 << 40  # cycles: a whole box
BUS_SHARE = 1.25  # cycles of the memory bus for a beat, with others at work
RUN_OVERHEAD = 60  # cycles from one run of the vector unit to the next
TURNS = 4095  # turns of one feeder loop
_PIXELS = 65535  # turns of one loop of results


class VectorError(ValueError):
    """An operation that the vector unit cannot do with this configuration."""


@dataclass(frozen=True)
class Part:
    """What one run does of each row of neighbouring words: from `first` on, `words` in each of its `turns`."""

    first: int
    turns: int
    words: int


def column_cycles(config, words):
    """Cycles of the columns for a turn of so many words: a group takes them in one, and `lanes` cycles."""
    columns = config.columns // config.vector_words * config.vector_words
    return ceil_div(config.lanes << (words - 1).bit_length(), columns)


def parts(words, rows, most, cycles):
    """The Parts of rows of so many words: turns of equal size, or full turns and one run more for the rest.

    Parameters
    ----------
    most : words of a turn.
    cycles : function: cycles of a turn of so many words.
    """
    full, rest = divmod(words, most)
    equal = [size for size in range(most, 0, -1) if words % size == 0 and words // size <= TURNS]
    best = min(equal, key=lambda size: words // size * cycles(size), default=0)
    if full and rest:
        split = rows * (full * cycles(most) + cycles(rest)) + RUN_OVERHEAD
        if not best or split < rows * (words // best) * cycles(best):
            return [Part(0, full, most), Part(full * most, 1, rest)]
    return [Part(0, words // best, best)]


def one_loop(words, pixel, most):
    """Whether one loop of results goes over the turns of pixels, whatever their parts are."""
    return words == pixel and (words % most == 0 or words < most)


def result_loops(*levels):
    """POST_LOOP fields of three loops (turns, distance), innermost first, two of which must be like one."""
    for inner in (0, 1):
        (turns, distance), (outer_turns, outer_distance) = levels[inner : inner + 2]
        if turns == 1 or outer_turns == 1 or turns * distance == outer_distance:
            one = turns * outer_turns, outer_distance if turns == 1 else distance
            (count_x, step_x), (count_y, across) = (one, levels[2]) if inner == 0 else (levels[0], one)
            step_y = across - (count_x - 1) * step_x if count_y > 1 else 0
            return {"count_x": count_x, "step_x": step_x, "count_y": count_y, "step_y": step_y}
    raise AssertionError(f"three loops of results: {levels}")


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
    room : first word and words of activation memory for boxes.
    in_pitch : words from one input pixel to the next; 0 if there is nothing between them.
    flow : of the inputs and the output; pixels : that they have in it, 0 if as many as here.
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
    flow: Flow = Flow()
    pixels: int = 0


def lower_vector(builder, job):
    """Append the operations of the layer at once."""
    for _ in vector_steps(builder, job):
        pass


def vector_steps(builder, job):
    """The operations of the layer, as a generator.

    It yields the Need of the next piece, and appends that piece when it is sent the cycles that it may take (None: a whole box).

    Raises
    ------
    VectorError
        At once: a pixel does not fit the room.
    """
    try:
        return _Lowering(builder, job).steps()
    except VectorError:
        # First one half of the words of each pixel, then the other.
        half = ceil_div(ceil_div(job.words, 2), builder.config.dram_words) * builder.config.dram_words
        if len(job.inputs) > 1 or half >= job.words:
            raise
        parts = [
            vector_steps(builder, replace(
                job, words=words, inputs=(job.inputs[0].moved(start),), in_pitch=job.in_pitch or job.words,
                target=replace(job.target.moved(start), pitch=job.target.pitch or job.words),
                flow=replace(job.flow, output=job.flow.output if start else ""),
            )) for start, words in ((0, half), (half, job.words - half))
        ]  # fmt: skip
        return in_turn(parts)


@dataclass(frozen=True)
class _Box:
    """A part of the result: image, rows from y, columns from x."""

    n: int
    y: int
    x: int
    rows: int
    columns: int


class _Lowering:
    def __init__(self, builder, job):
        self.b, self.job, self.config = builder, job, builder.config
        self.beat = self.config.dram_words
        in_pitch = job.in_pitch or job.words
        self.in_pitch = in_pitch
        # In a box, too, a pixel keeps its place in a beat of the memory.
        self.in_pixel = in_pitch if job.inputs[0].act is not None else job.words + (in_pitch - job.words) % self.beat
        self.pitch = job.target.pitch or job.words  # of a pixel of the target
        self.pixel = self.pitch if job.target.act is not None else job.words + (self.pitch - job.words) % self.beat
        self.whole = self.in_pixel == in_pitch == self.pitch == job.words  # pixels stand side by side everywhere
        self.moving = [place for place in job.inputs if place.act is None]
        base, size = job.room
        self.base = ceil_div(base, self.beat) * self.beat
        self.half = (base + size - self.base) // 2 // self.beat * self.beat
        self.reads = 2 if len(job.inputs) == 2 else job.window[0] * job.window[1]
        if max(job.f, job.words, *job.window) > TURNS:
            raise VectorError(f"a tensor of {job.f} columns or {job.words} words a pixel: at most {TURNS} are possible")
        self.rows, self.columns = self.box_size()
        # Pixels that lie behind each other, in the input as in the result, are like one of many words: all turns of a run
        # are full but the last.
        self.most = self.config.vector_words
        inside = [
            p == 0 and s == 1 and many - 1 + window <= size for p, s, many, window, size in
            zip(job.pad, job.stride, (job.e, job.f), job.window, (job.h, job.w), strict=True)
        ]  # fmt: skip
        self.joined = self.most > 1 and self.whole and inside[1]  # pixels of a row
        self.joined_rows = self.joined and inside[0]
        # Words of the longest run.
        self.longest = TURNS * self.most if self.joined else _PIXELS
        self.pixel_cycles = self.estimate()

    def turn_cycles(self, words):
        """Cycles of so many words: of the feeder for each turn that is read, of the columns, of the memory bus."""
        loaded = self.in_rows(self.rows) * self.in_columns(self.columns) / (self.rows * self.columns)
        moved = len(self.moving) * loaded + (self.job.target.act is None)
        bus = int(BUS_SHARE * words * moved / self.beat + 0.99)
        return max(self.reads, column_cycles(self.config, words), bus)

    def estimate(self):
        """Cycles of a pixel."""
        if self.joined:
            return self.job.words * self.turn_cycles(self.most) / self.most
        runs = parts(self.job.words, self.rows * self.columns, self.most, self.turn_cycles)
        return sum(part.turns * self.turn_cycles(part.words) for part in runs)

    # Boxes --------------------------------------------------------------------------------------------------------------

    def in_rows(self, rows):
        """Input rows that so many output rows read at most."""
        return min(self.job.h, (rows - 1) * self.job.stride[0] + self.job.window[0])

    def in_columns(self, columns):
        """Input columns that so many output columns read at most."""
        if not self.whole:
            return self.job.w
        return min(self.job.w, (columns - 1) * self.job.stride[1] + self.job.window[1])

    def in_words(self, rows, columns):
        """Words of an input of such a box."""
        line = same_place(self.in_columns(columns) * self.in_pixel, self.job.w * self.in_pitch, self.beat)
        return self.in_rows(rows) * line + self.beat

    def box_words(self, rows, columns):
        """Words of such a box, inputs and output."""
        words = len(self.moving) * self.in_words(rows, columns)
        if self.job.target.act is None:
            words += rows * same_place(columns * self.pixel, self.job.f * self.pitch, self.beat) + 2 * self.beat
        return words

    def box_size(self):
        """(rows, columns) of a box: the one of those that fit which loads the fewest words."""
        job = self.job
        if not self.moving and job.target.act is not None:
            return min(job.e, TURNS), job.f
        # Several boxes, so that transfers and work overlap.
        most = min(job.e, TURNS) if job.e * job.n < 4 else min(TURNS, max(1, ceil_div(job.e * job.n, 4)))
        best = None
        # Pairs are read with one distance between them, so both have whole rows.
        for pieces in range(1, job.f + 1 if self.whole and len(job.inputs) == 1 else 2):
            columns = ceil_div(job.f, pieces)
            if pieces > 1 and columns == ceil_div(job.f, pieces - 1):
                continue
            rows = min(most, job.e, max(1, _PIXELS // columns))
            while rows and self.box_words(rows, columns) > self.half:
                rows = rows - 1 if rows < 8 else rows * 7 // 8
            if not rows:
                continue
            loaded = self.in_rows(rows) * self.in_columns(columns) / (rows * columns)
            if best is None or loaded < best[0] * 0.95:
                best = loaded, rows, columns
        if best is None:
            raise VectorError(
                f"one row of {job.w} pixels of {job.words} words does not fit half of "
                f"{job.room[1]} words of activation memory (act_words)"
            )
        return best[1:]

    def boxes(self):
        """The boxes in order."""
        job = self.job
        return [
            _Box(n, y, x, min(self.rows, job.e - y), min(self.columns, job.f - x))
            for n in range(job.n) for y in range(0, job.e, self.rows) for x in range(0, job.f, self.columns)
        ]  # fmt: skip

    def span(self, box):
        """(top, bottom, left, right) of the input that a box reads, inside the input."""
        job = self.job
        top, left = (max(at * s - p, 0) for at, s, p in zip((box.y, box.x), job.stride, job.pad, strict=True))
        bottom = min((box.y + box.rows - 1) * job.stride[0] - job.pad[0] + job.window[0], job.h)
        right = min((box.x + box.columns - 1) * job.stride[1] - job.pad[1] + job.window[1], job.w)
        top, left = min(top, job.h), min(left, job.w)
        bottom, right = max(bottom, top), max(right, left)
        return (top, bottom, left, right) if self.whole else (top, bottom, 0, job.w)

    # Order --------------------------------------------------------------------------------------------------------------

    def need(self, box):
        """Pixels of the inputs that a box reads, as the flow counts them."""
        job = self.job
        _, bottom, _, right = self.span(box)
        pixels = (box.n * job.h + bottom - 1) * job.w + right if bottom else 0
        if job.pixels and job.pixels != job.n * job.h * job.w:  # other pixels than the flow's, of the same words
            pixels = ceil_div(pixels * job.pixels, job.n * job.h * job.w)
        return (pixels,) * len(job.inputs)

    def made(self, box):
        """Note that a box is there."""
        job = self.job
        if not job.flow.output:
            return
        if box.x + box.columns == job.f:
            pixels = (box.n * job.e + box.y + box.rows) * job.f
            if job.pixels and job.pixels != job.n * job.h * job.w:
                pixels = pixels * job.pixels // (job.n * job.h * job.w)
            job.flow.made(pixels)

    def there(self, box):
        """Whether everything a box reads is in the program."""
        return all(self.job.flow.ready(i) >= pixels for i, pixels in enumerate(self.need(box)))

    def steps(self):
        boxes = self.boxes()
        loaded, spent = None, 0
        for number, box in enumerate(boxes):
            if loaded is None:
                yield Need(self.need(box), spent)
                loaded, spent = self.load(number, box), 0
                if self.moving:
                    yield Need(self.need(box), pause=True)
            starts, done = loaded, 0
            loaded = None
            while done < box.rows * box.columns:
                cycles = yield Need(self.need(box), spent)
                if loaded is None and number + 1 < len(boxes) and self.there(boxes[number + 1]):
                    loaded = self.load(number + 1, boxes[number + 1])
                piece = self.piece(box, done, ALL if cycles is None else cycles)
                spent = self.execute(box, starts, piece)
                done += piece.rows * piece.columns
            self.store(box, starts[1])
            self.made(box)

    def piece(self, box, done, cycles):
        """The part of a box behind `done` pixels that takes about so many cycles."""
        y, x = divmod(done, box.columns)
        longest = self.longest // self.job.words
        pixels = max(1, min(int((cycles - RUN_OVERHEAD) // self.pixel_cycles), longest))
        if x or pixels < box.columns:
            # A row's last piece is not much smaller than the others.
            rest = box.columns - x
            columns = rest
            if pixels * 3 < rest * 2 or rest > longest:
                columns = self.even(min(pixels, rest), self.job.words)
            return _Box(box.n, box.y + y, box.x + x, 1, columns)
        rows = min(pixels // box.columns, box.rows - y)
        if self.joined_rows:
            rows = self.even(rows, box.columns * self.job.words) if rows < box.rows - y else rows
        elif not self.joined and box.columns < self.job.f and not one_loop(self.job.words, self.pixel, self.most):
            rows = 1  # the two loops of results are the turns of a pixel and the pixels
        return _Box(box.n, box.y + y, box.x, rows, box.columns)

    def even(self, count, words):
        """About so many, but rather as many as fill their last turn if they are joined."""
        step = self.most // gcd(words, self.most) if self.joined else 1
        return count // step * step or count

    # Operations -----------------------------------------------------------------------------------------------------------

    def line(self, box):
        """Words from one input row of a loaded box to the next."""
        _, _, left, right = self.span(box)
        return same_place((right - left) * self.in_pixel, self.job.w * self.in_pitch, self.beat)

    def load(self, number, box):
        """Load the inputs that are in memory; the first word of each input's box, and where its output can stand."""
        job = self.job
        top, bottom, left, right = self.span(box)
        free = self.base + number % 2 * self.half
        starts = []
        for place in job.inputs:
            offset = ((box.n * job.h + top) * job.w + left) * self.in_pitch
            if place.act is not None:
                starts.append((place.act + offset, job.w * self.in_pixel))
                continue
            line = self.line(box)
            start = free + (place.dram + offset - free) % self.beat
            rows, columns = bottom - top, right - left
            if rows and columns and self.in_pixel == self.in_pitch == job.words:
                self.b.load(Space.ACT, place.dram + offset, start, columns * self.in_pixel, rows, job.w * self.in_pitch, line)
            elif rows and columns:
                self.b.load(Space.ACT, place.dram + offset, start, job.words, rows * columns, self.in_pitch, self.in_pixel)
            starts.append((start, line))
            free = ceil_div(start + rows * line, self.beat) * self.beat
        return starts, free

    def out(self, box, free):
        """(first word, words from row to row) of a box's output."""
        job = self.job
        first = ((box.n * job.e + box.y) * job.f + box.x) * self.pitch
        if job.target.act is not None:
            return job.target.act + first, job.f * self.pitch
        line = same_place(box.columns * self.pixel, job.f * self.pitch, self.beat)
        return free + (job.target.dram + first - free) % self.beat, line

    def settings(self):
        """Settings and parameters of the layer; the intervals that its POST_RUNs read, and the slot."""
        job = self.job
        slot, reads = 0, []
        if job.params is not None:
            slot = self.b.parameters(job.params)
            reads.append(self.b.parameter_interval(slot, len(job.params) // self.config.lanes))
        reads += self.b.post_set(job.post)
        for which, values in enumerate(job.tables):
            reads.append(self.b.table(1 + which, values))
        return reads, slot

    def execute(self, box, loaded, piece):
        """Reduce a piece of a box; returns its estimated cycles."""
        job = self.job
        starts, free = loaded
        reads, slot = self.settings()
        out, line = self.out(box, free)
        out += (piece.y - box.y) * line + (piece.x - box.x) * self.pixel
        end = out + (piece.rows - 1) * line + (piece.columns - 1) * self.pixel + job.words
        words, columns, rows = job.words, piece.columns, piece.rows
        if self.joined and words * columns <= self.longest:
            words, columns = words * columns, 1
            if self.joined_rows and starts[0][1] == line == words and words * rows <= self.longest:
                words, rows = words * rows, 1
        runs = parts(words, columns * rows, self.most, self.turn_cycles)
        for part in runs:
            self.feed(box, starts, piece, part, columns, rows)
            loops = (part.turns, part.words), (columns, self.pixel), (rows, line)
            self.b.setting("loop", "POST_LOOP", **result_loops(*loops))
            self.b.emit(
                "POST_RUN", reads=reads, writes=[("act", out, end)], source=job.source, buffer=out + part.first,
                slot=slot, by_count=job.by_count, more_words=part.words - 1,
            )  # fmt: skip
        return ceil(piece.rows * piece.columns * self.pixel_cycles) + RUN_OVERHEAD * len(runs)

    def store(self, box, free):
        """The box's output to memory."""
        job = self.job
        if job.target.act is not None:
            return
        out, line = self.out(box, free)
        first = job.target.dram + ((box.n * job.e + box.y) * job.f + box.x) * self.pitch
        if self.pixel == self.pitch == job.words:
            self.b.store(first, out, box.columns * job.words, box.rows, job.f * self.pitch, line)
        elif box.columns < job.f:
            for row in range(box.rows):
                self.b.store(
                    first + row * job.f * self.pitch, out + row * line, job.words, box.columns, self.pitch, self.pixel
                )
        else:
            self.b.store(first, out, job.words, box.rows * box.columns, self.pitch, self.pixel)

    def feed(self, box, starts, piece, part, columns, rows):
        """The feeder's loops of a part of a piece: the window innermost, then turns, columns, rows."""
        job = self.job
        top, bottom, left, right = self.span(box)
        line = starts[0][1]
        if len(starts) == 2:
            inner = [(2, (starts[1][0] - starts[0][0], 0, 0)), (1, (0, 0, 0))]
        else:
            inner = [(job.window[1], (self.in_pixel, 0, 1)), (job.window[0], (line, 1, 0))]
        down = (job.stride[0] * line, job.stride[0], 0)
        across = (job.stride[1] * self.in_pixel, 0, job.stride[1])
        padded = (
            min(job.pad) < 0 or max(job.pad) > 0
            or (job.e - 1) * job.stride[0] + job.window[0] - job.pad[0] > job.h
            or (job.f - 1) * job.stride[1] + job.window[1] - job.pad[1] > job.w
        )  # fmt: skip
        levels = [*inner, (part.turns, (part.words, 0, 0)), (columns, across), (rows, down), (1, (0, 0, 0))]
        set_loops(self.b, levels, padded=padded)
        inside = (job.h, job.w) if padded else (1, 1)
        self.b.setting("ifmap", "IFMAP_SET", height=inside[0], width=inside[1], pad=0)
        row, column = (at * s - p for at, s, p in zip((piece.y, piece.x), job.stride, job.pad, strict=True))
        end = (bottom - top - 1) * line + (right - left) * self.in_pixel
        self.b.emit(
            "IFMAP_RUN",
            reads=[("act", start, start + end) for start, _ in starts],
            buffer=starts[0][0] + (row - top) * line + (column - left) * self.in_pixel + part.first,
            y=row if padded else 0, x=column if padded else 0, vector=1,
        )  # fmt: skip


class BoxWork(_Lowering):
    """Work on boxes that are in the buffer already, wherever they stand: results of a convolution's passes, or of other work."""

    def work(self, where, starts, free):
        """The operations of the box of these results (image, y, x, rows, columns), as a generator of cycles spent before each piece.

        `starts`: first word of each input of the box, and words from row to row.  Results on their way to memory stand from word
        `free` on.  It is sent the cycles that the next piece may take (None: all), and returns those of the last one.
        """
        box, done, spent = _Box(*where), 0, 0
        while done < box.rows * box.columns:
            cycles = yield spent
            piece = self.piece(box, done, ALL if cycles is None else cycles)
            spent = self.execute(box, (starts, free), piece)
            done += piece.rows * piece.columns
        return spent

    def do(self, where, starts, free):
        """All of a box at once, and its STOREs; returns the word after the results that are on their way to memory."""
        for _ in self.work(where, starts, free):
            pass
        return self.finish(where, free)

    def finish(self, where, free):
        """The STOREs of a box; returns the word after the results that are on their way to memory."""
        box = _Box(*where)
        self.store(box, free)
        out, line = self.out(box, free)
        return free if self.job.target.act is not None else out + box.rows * line

    def span(self, box):
        """The input of the box itself; its rows are whole even if the tensor's are longer."""
        job, (down, across), (height, width) = self.job, self.job.stride, self.job.window
        y, x = box.y * down, box.x * across
        bottom, right = y + (box.rows - 1) * down + height, x + (box.columns - 1) * across + width
        return y, min(bottom, job.h), x, min(right, job.w)
