"""Parts of an ifmap in activation memory: what passes read, and how it gets there."""

from rowcast.isa import Space

from .flow import COMPLETE
from .geometry import ceil_div, same_place
from .tiling import band

__all__ = ["Box", "Tile"]


class Tile:
    """Boxes that are in activation memory together, one behind the other: those of several images, or a single one."""

    def __init__(self, lowering, base, boxes):
        step = lowering.job.tiling.tile_words
        self.boxes = [Box(lowering, base + i * step, *where) for i, where in enumerate(boxes)]

    def visits(self):
        """(box, y, x) of every pass of a round."""
        return [(box, y, x) for box in self.boxes for y in box.ys for x in box.xs]

    @property
    def complete(self):
        """Whether all of it has been loaded."""
        return all(box.complete for box in self.boxes)

    def load_part(self, part, parts):
        """Load the next of `parts` equal shares."""
        for i, box in enumerate(self.boxes):
            mine = part * len(self.boxes) - i * parts
            if mine > 0:
                box.load_part(min(mine, parts), parts)


class Box:
    """A part of the ifmap in activation memory: the whole resident tensor, or a box loaded from memory."""

    def __init__(self, lowering, base, n, ys, xs):
        shape, job = lowering.shape, lowering.job
        self.low_, self.n, self.ys, self.xs = lowering, n, ys, xs
        self.pixel = shape.in_pitch
        self.apart = shape.spread or self.pixel  # words from one pixel to the next in memory
        self.axis = 1 if shape.h == 1 else 0  # a single long row is loaded by columns
        if job.source.act is not None:
            self.top, self.left, self.right = 0, 0, shape.w
            self.pitch = shape.w * self.pixel
            self.image = shape.h * self.pitch
            self.base = job.source.act + n * self.image
            self.start = self.loaded = self.end = (shape.h, shape.w)[self.axis]
            return
        (self.top, bottom), (self.left, self.right) = band(shape, ys, 0), band(shape, xs, 1)
        self.pitch = same_place((self.right - self.left) * self.pixel, shape.w * self.apart, lowering.beat)
        self.dram = job.source.dram + ((n * shape.h + self.top) * shape.w + self.left) * self.apart
        self.base = base + (self.dram - base) % lowering.beat
        self.loaded, self.end = ((self.top, bottom), (self.left, self.right))[self.axis]
        self.start = self.loaded
        self.image = same_place(max(1, bottom - self.top) * self.pitch, shape.h * shape.w * self.apart, lowering.beat)

    def at(self, y, x, word):
        """Word address of a pixel's word."""
        return self.base + (y - self.top) * self.pitch + (x - self.left) * self.pixel + word

    def intervals(self, top, height, left, width):
        """The words of these rows, or in a single row of these columns, as far as they are inside the tile, by image."""
        if self.axis:
            first, end = self.at(0, max(left, self.left), 0), self.at(0, min(left + width, self.right), 0)
        else:
            first = self.at(max(top, self.top), self.left, 0)
            end = self.at(min(top + height, self.end) - 1, self.right, 0)
        return [("act", first + i * self.image, end + i * self.image) for i in range(self.low_.map.images)]

    def load_lines(self, until):
        """Load ifmap rows (columns of a single row) up to `until`, if they are not there yet."""
        until = min(until, self.end, self.there())
        if until <= self.loaded or self.left == self.right:
            return
        shape, done, count = self.low_.shape, self.loaded - self.start, until - self.loaded
        width, line = self.right - self.left, shape.w * self.apart
        if self.axis:
            dram_step, step, lines, pixels = self.apart, self.pixel, 1, count
        else:
            dram_step, step, lines, pixels = line, self.pitch, count, width
        for i in range(self.low_.map.images):
            memory, chip = self.dram + i * shape.h * line + done * dram_step, self.base + i * self.image + done * step
            if self.apart == self.pixel:
                self.low_.b.load(Space.ACT, memory, chip, pixels * self.pixel, lines, line, self.pitch)
            elif self.pitch == shape.w * self.pixel:  # whole lines
                self.low_.b.load(Space.ACT, memory, chip, self.pixel, lines * pixels, self.apart, self.pixel)
            else:
                for row in range(lines):
                    self.low_.b.load(
                        Space.ACT, memory + row * line, chip + row * self.pitch, self.pixel, pixels, self.apart, self.pixel
                    )
        self.loaded = until

    def there(self):
        """Rows (columns of a single row) of the input that are in memory by now."""
        shape, ready = self.low_.shape, self.low_.job.flow.ready()
        if ready == COMPLETE:
            return ready
        ready = max(0, ready - self.low_.job.flow.read_before) * (shape.n * shape.h * shape.w) // self.low_.job.pixels
        last = self.n + self.low_.map.images - 1
        return ready - last * shape.w if self.axis else ready // shape.w - last * shape.h

    @property
    def complete(self):
        """Whether all of it has been loaded."""
        return self.loaded >= self.end or self.left == self.right

    def load_until(self, y, x):
        """Load what the spans up to (y, x) read."""
        need = band(self.low_.shape, ((y, x)[self.axis],), self.axis)[1]
        self.load_lines(need)

    def load_part(self, part, parts):
        """Load the next of `parts` equal shares."""
        self.load_lines(self.start + ceil_div((self.end - self.start) * part, parts))
