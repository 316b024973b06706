"""Lowering of Resize: rows and columns of a tensor, picked by position, through the vector unit."""

from dataclasses import dataclass

from rowcast.isa import PostSource, Space

from .convolution import set_loops
from .geometry import ceil_div
from .vector import VectorError

__all__ = ["ResizeJob", "Segment", "lower_resize", "segments"]

_TURNS = 4095  # of one feeder loop


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
        while i + count < len(runs) and count < _TURNS and runs[i + count][2] == repeat:
            distance = runs[i + count][1] - runs[i + count - 1][1]
            if count > 1 and distance != step:
                break
            step, count = distance, count + 1
        found.append(Segment(start, first, step, count, min(repeat, _TURNS)))
        if repeat > _TURNS:  # the rest of a very long run
            runs[i] = [start + _TURNS, first, repeat - _TURNS]
            found[-1] = Segment(start, first, 0, 1, _TURNS)
            continue
        i += count
    return found


@dataclass(frozen=True, eq=False)
class ResizeJob:
    """A Resize: layout of the input, positions of rows and columns, places, settings, free activation memory."""

    layout: tuple
    rows: object
    columns: object
    source: object
    target: object
    post: object
    room: tuple


def lower_resize(builder, job):
    """Append the operations, band of output rows by band."""
    _Lowering(builder, job).run()
    builder.mark()


class _Lowering:
    def __init__(self, builder, job):
        self.b, self.job, self.config = builder, job, builder.config
        self.beat = self.config.dram_words
        self.n, self.h, self.w, channels = job.layout
        self.words = ceil_div(channels, self.config.lanes)
        self.e, self.f = len(job.rows), len(job.columns)
        self.line = self.w * self.words
        self.pitch = job.target.pitch or self.words
        self.pixel = self.words + (self.pitch - self.words) % self.beat
        self.half = job.room[1] // 2 // self.beat * self.beat
        self.base = ceil_div(job.room[0], self.beat) * self.beat
        if self.words > _TURNS:
            raise VectorError(f"a tensor of {self.words} words a pixel: at most {_TURNS} are possible")

    def needed(self, rows):
        """Words of a band for these output rows."""
        words = 0
        if self.job.source.act is None:
            words += (max(rows) - min(rows) + 1) * self.line + self.beat
        if self.job.target.act is None:
            words += len(rows) * self.f * self.pixel + self.beat
        return words

    def run(self):
        reads = list(self.b.post_set(self.job.post))
        rows = [int(row) for row in self.job.rows]
        number = 0
        for n in range(self.n):
            start = 0
            while start < self.e:
                count = self.e - start
                while count > 1 and self.needed(rows[start : start + count]) > self.half - self.beat:
                    count = ceil_div(count, 2)
                band = rows[start : start + count]
                if self.needed(band) > max(self.half - self.beat, 0) and self.needed(band):
                    raise VectorError(
                        f"one row of {self.w} pixels of {self.words} words does not fit half of {self.job.room[1]} words of "
                        "activation memory (act_words)"
                    )
                self.band(number, n, start, band, reads)
                start += count
                number += 1

    def band(self, number, n, start, rows, reads):
        """Load, pick and store some output rows."""
        job, low, high = self.job, min(rows), max(rows) + 1
        free = self.base + number % 2 * self.half
        offset = (n * self.h + low) * self.line
        if job.source.act is not None:
            source = job.source.act + offset
        else:
            source = free + (job.source.dram + offset - free) % self.beat
            self.b.load(Space.ACT, job.source.dram + offset, source, (high - low) * self.line)
            free = ceil_div(source + (high - low) * self.line, self.beat) * self.beat
        first = (n * self.e + start) * self.f * self.pitch
        if job.target.act is not None:
            out, pixel = job.target.act + first, self.pitch
        else:
            out, pixel = free + (job.target.dram + first - free) % self.beat, self.pixel
        downs = segments([row - low for row in rows])
        if pixel != self.words:  # the results' two loops are the words of a pixel and the pixels
            downs = [row for down in downs for row in _rows(down)]
        for down in downs:
            for across in segments(job.columns):
                for again in range(down.repeat):
                    self.pick(source, out, pixel, down, across, again, (high - low) * self.line, reads)
        if job.target.act is None:
            self.b.store(job.target.dram + first, out, self.words, len(rows) * self.f, self.pitch, pixel)

    def pick(self, source, out, pixel, down, across, again, size, reads):
        """One run: the rows of a Segment, each repeat of theirs by itself, and the columns of another."""
        levels = [
            (1, (0, 0, 0)),
            (1, (0, 0, 0)),
            (self.words, (1, 0, 0)),
            (across.repeat, (0, 0, 0)),
            (across.count, (across.step * self.words, 0, 0)),
            (down.count, (down.step * self.line, 0, 0)),
        ]
        set_loops(self.b, levels, padded=False)
        self.b.setting("ifmap", "IFMAP_SET", height=1, width=1, pad=0)
        self.b.emit(
            "IFMAP_RUN", reads=[("act", source, source + size)],
            buffer=source + down.first * self.line + across.first * self.words, y=0, x=0, vector=1,
        )  # fmt: skip
        line, columns = self.f * pixel, across.count * across.repeat
        start = out + (down.start + again) * line + across.start * pixel
        end = start + (down.count - 1) * down.repeat * line + (columns - 1) * pixel + self.words
        if pixel == self.words:  # a row of the result has no gaps
            length = columns * self.words
            loop = {"count_x": length, "step_x": 1, "count_y": down.count, "step_y": down.repeat * line - length + 1}
        else:
            loop = {"count_x": self.words, "step_x": 1, "count_y": columns, "step_y": pixel - self.words + 1}
        if loop["count_y"] == 1:
            loop["step_y"] = 0
        self.b.setting("loop", "POST_LOOP", **loop)
        self.b.emit("POST_RUN", reads=reads, writes=[("act", start, end)], source=PostSource.MAX, buffer=start)


def _rows(down):
    """The rows of a Segment one by one."""
    return [Segment(down.start + i * down.repeat, down.first + i * down.step, 0, 1, down.repeat) for i in range(down.count)]
