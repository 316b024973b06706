"""Lowering of what picks rows, columns or words of a tensor by position: through the vector unit, box by box."""

from dataclasses import dataclass

from rowcast.isa import PostSource, Space

from .settings import set_loops
from .geometry import ceil_div, same_place
from .vector import TURNS, VectorError, column_cycles, one_loop, parts, result_loops
from .weave import at_once

__all__ = ["ResizeJob", "Segment", "resize_steps", "segments"]

_WORDS = 65535  # turns of one loop of results


@dataclass(frozen=True)
class Segment:
    """Output positions start to start + count x repeat: position start + i x repeat + k is input first + i x step."""

    start: int
    first: int
    step: int
    count: int
    repeat: int


def segments(positions):
    """Positions as few Segments: runs of equal entries, as long as their lengths and distances stay the same."""
    runs = []  # (first output position, input position, length)
    for at, position in enumerate(positions):
        if runs and runs[-1][1] == position:
            runs[-1][2] += 1
        else:
            runs.append([at, int(position), 1])
    found, i = [], 0
    while i < len(runs):
        start, first, repeat = runs[i]
        count, step = 1, 0
        while i + count < len(runs) and count < TURNS and runs[i + count][2] == repeat:
            distance = runs[i + count][1] - runs[i + count - 1][1]
            if count > 1 and distance != step:
                break
            step, count = distance, count + 1
        found.append(Segment(start, first, step, count, min(repeat, TURNS)))
        if repeat > TURNS:  # the rest of a very long run
            runs[i] = [start + TURNS, first, repeat - TURNS]
            found[-1] = Segment(start, first, 0, 1, TURNS)
            continue
        i += count
    return found


@dataclass(frozen=True, eq=False)
class ResizeJob:
    """y[n, e, f] = x[n, rows[e], columns[f]], pixels of some words each.

    Parameters
    ----------
    layout : (images, rows, columns, words a pixel) of the input.
    rows, columns : positions of the result's rows and columns.
    source, target : Place of each.
    post : settings; room : first word and words of free activation memory.
    line : words from one row of the result to the next; 0 if there is nothing between them.
    """

    layout: tuple
    rows: object
    columns: object
    source: object
    target: object
    post: object
    room: tuple
    line: int = 0


def resize_steps(builder, job):
    """The operations, box of the result by box, as a generator of one step.

    Raises
    ------
    VectorError
        At once: a pixel does not fit the room.
    """
    return at_once(1, _Lowering(builder, job).run)


@dataclass(frozen=True)
class _Box:
    """A part of the result: rows from `e`, columns from `f`, and the input's rows and columns that they are."""

    e: int
    f: int
    rows: list
    columns: list

    @property
    def top(self):
        return min(self.rows)

    @property
    def left(self):
        return min(self.columns)

    @property
    def height(self):
        """Input rows from the first that is read to the last."""
        return max(self.rows) - self.top + 1

    @property
    def width(self):
        return max(self.columns) - self.left + 1

    def halves(self):
        """The box cut between rows, or a single row between columns."""
        if len(self.rows) > 1:
            half = ceil_div(len(self.rows), 2)
            return (
                _Box(self.e, self.f, self.rows[:half], self.columns),
                _Box(self.e + half, self.f, self.rows[half:], self.columns),
            )
        half = ceil_div(len(self.columns), 2)
        return (
            _Box(self.e, self.f, self.rows, self.columns[:half]),
            _Box(self.e, self.f + half, self.rows, self.columns[half:]),
        )


class _Lowering:
    def __init__(self, builder, job):
        self.b, self.job, self.config = builder, job, builder.config
        self.beat = self.config.dram_words
        self.n, self.h, self.w, self.words = job.layout
        self.e, self.f = len(job.rows), len(job.columns)
        self.in_line = self.w * self.words
        self.pitch = job.target.pitch or self.words
        self.out_line = job.line or self.f * self.pitch
        # In a box, too, a pixel and a row keep their places in a beat of the memory.
        self.pixel = self.pitch if job.target.act is not None else same_place(self.words, self.pitch, self.beat)
        self.half = job.room[1] // 2 // self.beat * self.beat
        self.base = ceil_div(job.room[0], self.beat) * self.beat
        if self.words > TURNS:
            raise VectorError(f"a tensor of {self.words} words a pixel: at most {TURNS} are possible")
        self.boxes = self.cut(_Box(0, 0, [int(row) for row in job.rows], [int(column) for column in job.columns]))

    def in_pitch(self, box):
        """Words from one input row to the next while the box is at work."""
        return self.in_line if self.job.source.act is not None else same_place(box.width * self.words, self.in_line, self.beat)

    def out_pitch(self, box):
        """Words from one row of the result to the next, there."""
        whole = self.job.target.act is not None
        return self.out_line if whole else same_place(len(box.columns) * self.pixel, self.out_line, self.beat)

    def needed(self, box):
        """Words of activation memory that a box takes beside resident tensors."""
        words = 0
        if self.job.source.act is None:
            words += box.height * self.in_pitch(box) + 2 * self.beat
        if self.job.target.act is None:
            words += len(box.rows) * self.out_pitch(box) + 2 * self.beat
        return words

    def cut(self, box):
        """The box, or its halves if it does not fit, and theirs."""
        if self.needed(box) <= self.half and len(box.columns) * self.words <= _WORDS:
            return [box]
        if len(box.rows) == len(box.columns) == 1:
            raise VectorError(
                f"one pixel of {self.words} words does not fit half of {self.job.room[1]} words of activation memory "
                "(act_words)"
            )
        return [piece for half in box.halves() for piece in self.cut(half)]

    def run(self):
        reads = list(self.b.post_set(self.job.post))
        for n in range(self.n):
            for number, box in enumerate(self.boxes):
                self.box(n, (n * len(self.boxes) + number) % 2, box, reads)

    def box(self, n, half, box, reads):
        """Load, pick and store one box."""
        job, free = self.job, self.base + half * self.half
        pitch, line = self.in_pitch(box), self.out_pitch(box)
        offset = (n * self.h + box.top) * self.in_line + box.left * self.words
        if job.source.act is not None:
            source = job.source.act + offset
        else:
            source = free + (job.source.dram + offset - free) % self.beat
            words = box.width * self.words
            self.b.load(Space.ACT, job.source.dram + offset, source, words, box.height, self.in_line, pitch)
            free = ceil_div(source + box.height * pitch, self.beat) * self.beat
        first = (n * self.e + box.e) * self.out_line + box.f * self.pitch
        if job.target.act is not None:
            out = job.target.act + first
        else:
            out = free + (job.target.dram + first - free) % self.beat
        downs = segments([row - box.top for row in box.rows])
        if not one_loop(self.words, self.pixel, self.config.vector_words):  # two loops of results: turns and pixels
            downs = [row for down in downs for row in _rows(down)]
        acrosses = segments([column - box.left for column in box.columns])
        read = ("act", source, source + (box.height - 1) * pitch + box.width * self.words)
        for down in downs:
            for across in acrosses:
                for again in range(down.repeat):
                    self.pick(source, pitch, out, line, down, across, again, read, reads)
        if job.target.act is None:
            self.store(job.target.dram + first, out, line, box)

    def store(self, dram, out, line, box):
        """The rows of a box to memory."""
        if self.pixel == self.pitch == self.words:
            self.b.store(dram, out, len(box.columns) * self.words, len(box.rows), self.out_line, line)
            return
        if self.out_line == self.f * self.pitch and len(box.columns) == self.f:
            self.b.store(dram, out, self.words, len(box.rows) * self.f, self.pitch, self.pixel)
            return
        for row in range(len(box.rows)):
            self.b.store(
                dram + row * self.out_line, out + row * line, self.words, len(box.columns), self.pitch, self.pixel
            )

    def pick(self, source, pitch, out, line, down, across, again, read, reads):
        """The rows of a Segment, each repeat of theirs by itself, and the columns of another: a run for each part."""
        most, words, count, repeat = self.config.vector_words, self.words, across.count, across.repeat
        columns = count * repeat
        start = out + (down.start + again) * line + across.start * self.pixel
        end = start + (down.count - 1) * down.repeat * line + (columns - 1) * self.pixel + words
        # Pixels that lie behind each other are like one of many words.
        side = self.pixel == words and repeat == 1 and (across.step == 1 or count == 1)
        if most > 1 and side and words * count <= TURNS * most:
            words, count, columns = words * count, 1, 1
        for part in parts(words, columns * down.count, most, lambda size: column_cycles(self.config, size)):
            levels = [
                (1, (0, 0, 0)),
                (1, (0, 0, 0)),
                (part.turns, (part.words, 0, 0)),
                (repeat, (0, 0, 0)),
                (count, (across.step * words, 0, 0)),
                (down.count, (down.step * pitch, 0, 0)),
            ]
            set_loops(self.b, levels, padded=False)
            self.b.setting("ifmap", "IFMAP_SET", height=1, width=1, pad=0)
            first = source + down.first * pitch + across.first * self.words + part.first
            self.b.emit("IFMAP_RUN", reads=[read], buffer=first, y=0, x=0, vector=1)
            loops = (part.turns, part.words), (columns, self.pixel), (down.count, down.repeat * line)
            self.b.setting("loop", "POST_LOOP", **result_loops(*loops))
            self.b.emit(
                "POST_RUN", reads=reads, writes=[("act", start, end)], source=PostSource.MAX, buffer=start + part.first,
                more_words=part.words - 1,
            )  # fmt: skip


def _rows(down):
    """The rows of a Segment one by one."""
    return [Segment(down.start + i * down.repeat, down.first + i * down.step, 0, 1, down.repeat) for i in range(down.count)]
