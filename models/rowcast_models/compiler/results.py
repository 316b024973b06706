"""The results of a convolution's passes: from the psums to activation memory, to their maxima, to memory."""

from rowcast.isa import PostSource

from .geometry import same_place
from .settings import Place
from .tiling import pass_words
from .vector import BoxWork, VectorJob

__all__ = ["ConvResults", "slots_of"]


class ConvResults:
    """Part of `ConvLowering`: what drains its passes."""

    def post(self, tile, u0, m0, y, x, slot, made):
        """POST_RUN of the pass; returns what emits the STOREs of its results, or None if they stay."""
        shape, m = self.shape, self.map
        groups = min(m.filters, shape.out_words - m0)
        pixel = shape.out_pitch
        if self.job.target.act is not None:
            line, unit = shape.f * pixel, shape.out_words
            base = self.job.target.act + ((tile.n * shape.e + y.start) * shape.f + x.start) * pixel
            base += u0 * shape.out_words + m0
            image = shape.e * line
        else:
            unit = groups if m.units == 1 else same_place(groups, shape.out_words, self.beat)
            first = ((tile.n * shape.e + y.start) * shape.f + x.start) * pixel + u0 * shape.out_words + m0
            pixel = same_place(unit * m.units, shape.out_pitch, self.beat)
            line = same_place(x.size * pixel, shape.f * shape.out_pitch, self.beat)
            start = self.slots[self.common.passes % len(self.slots)]
            base = start + (self.job.target.dram + first - start) % self.beat
            image = same_place(y.size * line, shape.e * shape.f * shape.out_pitch, self.beat)
        if shape.pool:  # the results of the pass stand by themselves
            base, unit, pixel = self.slots[self.common.passes % len(self.slots)], groups, groups * m.units
            line = x.size * pixel
            image = y.size * line
        used = self.set_targets(u0, m0, y, x, pixel, line, unit, image)
        resident = self.b.post_set(self.job.post)
        self.b.setting(
            "loop", "POST_LOOP", count_x=x.patch, step_x=pixel if x.patch > 1 else 0, count_y=y.patch,
            step_y=line - (x.patch - 1) * pixel if y.patch > 1 else 0,
        )  # fmt: skip
        end = base + (y.size - 1) * line + (x.size - 1) * pixel + (m.units - 1) * unit + groups
        slots = slots_of(m)
        self.b.emit(
            "POST_RUN", reads=[self.b.parameter_interval(slot, slots), *resident],
            writes=[("act", base + i * image, end + i * image) for i in range(m.images)],
            source=0, buffer=base, slot=slot, rows=used,
        )  # fmt: skip
        self.common.passes += 1
        if shape.pool:
            return lambda: self.pool(tile, u0, m0, y, x, base, (pixel, line, image), made)
        if self.job.target.act is not None:
            self.job.flow.made(made)
            return None

        def store():
            for i in range(m.images):
                image_first = first + i * shape.e * shape.f * shape.out_pitch
                self.store(base + i * image, image_first, pixel, line, unit, groups, y, x)
            self.job.flow.made(made)

        return store

    def pool(self, box, u0, m0, y, x, base, pitches, made):
        """The maxima of a pass whose results stand at `base`, and their STOREs."""
        shape, m, (down, across) = self.shape, self.map, self.shape.pool
        pixel, line, image = pitches
        first, words = u0 * shape.out_words + m0, pixel
        if (first, words) not in self.pools:
            self.pools[first, words] = self.pooling(first, words)
        free = base + pass_words(shape, m) * m.images
        for i in range(m.images):
            where = box.n + i, y.start // down, x.start // across, y.size // down, x.size // across
            free = self.pools[first, words].do(where, [(base + i * image, line)], free)
        self.job.flow.made(made)

    def pooling(self, first, words):
        """The vector unit's part for these words of the results."""
        shape, target = self.shape, self.job.target
        place = Place(*(None if at is None else at + first for at in (target.act, target.dram)), shape.out_pitch)
        return BoxWork(self.b, VectorJob(
            PostSource.MAX, (Place(act=0),), place, shape.n, shape.e, shape.f, words, *shape.results, self.job.maxima,
            (0, 1 << 24), window=shape.pool, stride=shape.pool,
        ))  # fmt: skip

    def set_targets(self, u0, m0, y, x, pixel, line, unit, image):
        """POST_PE of every PE; returns the rows of the array to drain."""
        m, used = self.map, 0
        row_step, column_step = self.group_steps(y, x)
        for i in range(self.config.rows):
            for j in range(self.config.columns):
                fr, fc, gr, gc = self.place_of(i, j)
                mine = fr * m.column_filters + fc
                which = self.unit_of(gr, gc)
                dy = gr * row_step[0] + gc * column_step[0]
                dx = gr * row_step[1] + gc * column_step[1]
                which_image = gr * row_step[3] + gc * column_step[3]
                number = i * m.lined + j  # in its row, or in the array
                spare = i >= m.rows_used or number >= m.column_filters * m.column_groups
                valid = not spare and m0 + mine < self.shape.out_words
                if valid:
                    used = max(used, i + 1)
                    offset = dy * line + dx * pixel + which * unit + which_image * image + mine
                    fields = {"valid": 1, "offset": offset, "slot": which * m.filters + mine}
                else:
                    fields = {"valid": 0}
                self.b.setting(("pe", i, j), "POST_PE", row=i, column=j, **fields)
        return used

    def store(self, base, first, pixel, line, unit, groups, y, x):
        """STOREs of one pass: whole rows where the pass made whole pixels, else one for each row and unit."""
        shape, dram = self.shape, self.job.target.dram + first
        units = self.map.units
        if groups == shape.out_words:  # the units of the pass are neighbours in memory, too
            units, groups = 1, groups * units
        whole = units == 1 and groups == shape.out_pitch and pixel == shape.out_pitch
        for which in range(units):
            at = dram + which * shape.out_words
            if whole:
                self.b.store(at, base, x.size * pixel, y.size, shape.f * shape.out_pitch, line)
                continue
            for row in range(y.size):
                self.b.store(
                    at + row * shape.f * shape.out_pitch, base + row * line + which * unit, groups, x.size,
                    shape.out_pitch, pixel,
                )  # fmt: skip


def slots_of(mapping):
    """Parameter slots of one pass."""
    return mapping.units * mapping.filters
