"""Lowering of one convolution (or fully connected layer) with a mapping: passes, transfers, settings."""

from dataclasses import dataclass

import numpy as np

from rowcast.isa import PostSource, Space

from .boxes import Tile
from .flow import Flow, Need
from .geometry import ceil_div, chunk_runs, packed, row_flits, same_place, window
from .settings import Place, PostSettings, set_loops
from .tiling import band, filter_words, pass_words
from .vector import BoxWork, VectorJob

__all__ = ["ConvJob", "ConvLowering", "Shared", "convolution_steps"]


class Shared:
    """What lowerings of parts of a layer have in common: where its filters are in memory, and whose turn among the slots it is."""

    def __init__(self):
        self.streams, self.passes = {}, 0


@dataclass
class ConvJob:
    """Everything the lowering needs.

    weights : int8 [parts, units, out_words x lanes, R, S, channels]; params : uint32 [units, out_words x lanes, 4] with the
    input's zero point folded into the biases; pad : the input's zero point; room : first word and words of
    activation memory for tiles and slots; flow : of the input and the output; pixels, made : that the input and the output
    have in it; maxima : of the shape's pooling; shared : with other parts of the layer, which are emitted in turns with
    those of another one; the filters of both stay on chip.
    """

    shape: object
    mapping: object
    tiling: object
    weights: np.ndarray
    params: np.ndarray
    post: PostSettings
    pad: int
    source: Place
    target: Place
    room: tuple
    flow: Flow = Flow()
    pixels: int = 0
    made: int = 0
    maxima: PostSettings | None = None
    shared: Shared | None = None


def convolution_steps(builder, job):
    """The operations of the layer, as a generator: it yields the Need of the next pass, and appends it when resumed."""
    return ConvLowering(builder, job).steps()


HANDOVER = 80  # cycles that the units need to change over to other work and back


class ConvLowering:
    """The passes of one ConvJob."""

    def __init__(self, builder, job):
        self.b, self.job = builder, job
        self.config, self.shape, self.map = builder.config, job.shape, job.mapping
        self.beat = self.config.dram_words
        self.common = job.shared or Shared()
        base, size = job.room
        tile = job.tiling.boxes * job.tiling.tile_words
        both = job.tiling.buffers == 2 and size >= 2 * tile + job.tiling.slots * job.tiling.slot_words
        self.tiles = [base, base + tile if both else base]
        self.pools = {}
        self.kept = set()  # keys of the filters that stay for the next pass
        top = base + size
        self.slots = [top - (i + 1) * job.tiling.slot_words for i in range(job.tiling.slots)]
        m = self.map
        self.tags = (m.row_filters, m.row_groups, m.row_kind, m.column_filters, m.column_groups, m.column_kind, m.lined, m.chunks)
        self.spent = 0

    # Order ------------------------------------------------------------------------------------------------------

    def rounds(self):
        """(first unit, first filter group) of each round."""
        units, filters = self.map.units, self.map.filters
        for u0 in range(0, self.shape.units, units):
            for m0 in range(0, self.shape.out_words, filters):
                yield min(u0, self.shape.units - units), m0

    def boxes(self):
        """(image, spans along y, spans along x) of each box of a tile."""
        rows, columns = self.job.tiling.rows, self.job.tiling.columns
        ys, xs = self.map.y.spans, self.map.x.spans
        return [
            (n, ys[i : i + rows], xs[k : k + columns])
            for n in range(0, self.shape.n, self.map.images)
            for i in range(0, len(ys), rows)
            for k in range(0, len(xs), columns)
        ]

    def tile_list(self):
        """The tiles in order."""
        boxes, many = self.boxes(), self.job.tiling.boxes
        return [Tile(self, self.tiles[i // many % 2], boxes[i : i + many]) for i in range(0, len(boxes), many)]

    def visits(self, tile=None):
        """(first unit, first filter group, box, y, x) of every pass of a tile, or of the only one."""
        places = (tile or self.tile_list()[0]).visits()
        return [(u0, m0, *where) for u0, m0 in self.rounds() for where in places]

    def steps(self):
        """All passes, with the input of the next tile loaded while this one is at work."""
        tiles, rounds = self.tile_list(), list(self.rounds())
        if self.job.tiling.whole and self.job.shared is None:
            self.b.filter_ring.reserve(filter_words(self.shape, self.map, self.config) * len(rounds))
        for i, tile in enumerate(tiles):
            visits = self.visits(tile)
            following = tiles[i + 1] if i + 1 < len(tiles) and self.job.tiling.buffers == 2 else None
            spread = max(1, len(visits) // 2)
            for at, (u0, m0, box, y, x) in enumerate(visits):
                yield Need((self.need(box, y, x),), self.spent)
                box.load_until(y, x)
                self.keep(u0, m0)
                # Loaded ahead: what the next pass reads, and the next row of passes.
                later = [visits[at + 1 : at + 2], [visit for visit in visits[at:] if visit[2:4] != (box, y)][:1]]
                ahead = [lambda where=visit[2:]: where[0].load_until(*where[1:]) for found in later for visit in found]
                if following:  # its turn comes when all of this tile is on its way
                    ahead.append(lambda at=at: tile.complete and following.load_part(at + 1, spread))
                last_round = at >= len(visits) - len(visits) // len(rounds)
                self.spent = self.one_pass(box, u0, m0, y, x, ahead, self.made(box, y, x) if last_round else 0)
        if self.job.shared is None:
            self.b.flush()

    def need(self, tile, y, x):
        """Pixels of the input, from its first, that a pass reads."""
        shape = self.shape
        last = tile.n + self.map.images - 1
        if tile.axis:
            pixels = last * shape.w + band(shape, (x,), 1)[1]
        else:
            pixels = (last * shape.h + band(shape, (y,), 0)[1]) * shape.w
        return self.job.flow.read_before + ceil_div(pixels * self.job.pixels, shape.n * shape.h * shape.w)

    def made(self, tile, y, x):
        """Pixels of the output, from its first, that are there after a pass of the last round; 0: none is new."""
        shape = self.shape
        if shape.e == 1 and shape.n == 1:
            pixels = x.start + x.size
        elif x != self.map.x.spans[-1] or len(tile.xs) < len(self.map.x.spans) and y != tile.ys[-1]:
            return 0
        else:
            rows = y.start + y.size
            images = tile.n + (self.map.images - 1) * (rows == shape.e)  # those before the last are complete with it
            pixels = (images * shape.e + rows) * shape.f
        return pixels * self.job.made // (shape.n * shape.e * shape.f)

    # Settings -----------------------------------------------------------------------------------------------------

    def place_of(self, i, j):
        """(filter row, filter column, row group, column group) of a PE; spare PEs repeat the others' places."""
        m = self.map
        if m.lined:
            group, filters = divmod(i * m.lined + j, m.column_filters)
            return 0, filters, 0, group % m.column_groups
        return (
            i % m.row_filters,
            j % m.column_filters,
            (i // m.row_filters) % m.row_groups,
            (j // m.column_filters) % m.column_groups,
        )

    def set_ids(self):
        """IDs on both networks, unless they still hold."""
        m = self.map
        if self.b.mapped == m:
            return
        self.b.mapped = m
        for i in range(self.config.rows):
            for j in range(self.config.columns):
                fr, fc, gr, gc = self.place_of(i, j)
                row = fr + (gr * m.row_filters if m.row_kind == "g" else 0)
                column = fc + (gc * m.column_filters if m.column_kind == "g" else 0)
                self.b.setting(("pe", i, j), "FILTER_ID", row=i, column=j, row_id=row, column_id=column)
                self.b.setting(("pe", i, j), "IFMAP_ID", row=i, column=j, row_id=gr, column_id=gc)

    def group_steps(self, y, x):
        """For rows and columns of the array: how far (ofmap rows, ofmap columns, units, images) the next group is."""
        m = self.map
        unit = {"y": (y.step, 0, 0, 0), "x": (0, x.step, 0, 0), "g": (0, 0, 1, 0), "n": (0, 0, 0, 1)}
        column = unit[m.column_kind]
        scale = m.column_groups if m.row_kind == m.column_kind else 1
        row = tuple(scale * value for value in unit[m.row_kind])
        return row, column

    # One pass -----------------------------------------------------------------------------------------------------

    def one_pass(self, tile, u0, m0, y, x, ahead, made):
        """Append a pass; `made` are the pixels that are there when its results are.  Returns its estimated cycles."""
        slot = None

        def load_parameters():
            nonlocal slot
            slot = self.b.parameters(self.parameters(u0, m0))
            self.b.keep = (slot, slots_of(self.map))

        self.set_ids()
        tasks, done, shared = [load_parameters, *ahead], 0, self.b.shared()
        runs = chunk_runs(self.map.chunks)
        for number, (first, count) in enumerate(runs):
            # Other nodes' work stands between the chunks, where the feeder has time for it.
            for piece in [1] * count if shared else [count]:
                self.ifmap(tile, u0, y, x, self.map.chunks[done], piece)
                if self.map.chunks[done] is first:
                    self.compute(y, x, first, count, first=number == 0, last=number == len(runs) - 1)
                # Before the next run's instructions: a queue that these fill must not wait for filters behind it.
                self.filters(u0, m0, range(done, done + piece), tasks)
                done += piece
                if shared:
                    drains = self.b.drain()
                    self.b.fill(self.slack(y, x, self.map.chunks[done - 1], drains))
        self.b.drain()
        self.b.after_pass(lambda: self.post(tile, u0, m0, y, x, slot, made), self.drain_cycles(y, x))
        cycles, ifmap = map(sum, zip(*(self.chunk_cycles(y, x, chunk) for chunk in self.map.chunks), strict=True))
        return max(cycles, ifmap, self.drain_cycles(y, x))

    def chunk_cycles(self, y, x, chunk):
        """Cycles of a chunk: until the next can start, and of the ifmap feeder."""
        k, noc, m = chunk.macs(self.shape), self.config.noc_words, self.map
        height, width = window(self.shape, y.patch, x.patch, chunk.r)
        ifmap = height * row_flits(self.shape, width, chunk.words, noc) * m.row_groups * m.column_groups
        filters = ceil_div(k, noc) * m.filter_rows * m.filter_columns
        return max(max(k, self.config.lanes) * y.patch * x.patch, filters), ifmap

    def drain_cycles(self, y, x):
        """Cycles of the drain of a pass."""
        return self.map.rows_used * y.patch * x.patch * self.config.lanes

    def slack(self, y, x, chunk, drained):
        """Cycles of a chunk in which neither the feeder nor, with so many cycles of draining, the post-processors work."""
        cycles, ifmap = self.chunk_cycles(y, x, chunk)
        return max(0, cycles - ifmap - drained - HANDOVER)

    def ifmap(self, tile, u0, y, x, chunk, count):
        """One IFMAP_RUN: the windows of all groups for `count` chunks."""
        shape, noc = self.shape, self.config.noc_words
        height, width = window(shape, y.patch, x.patch, chunk.r)
        pixels, flits = width, ceil_div(chunk.words, noc)
        if packed(shape, chunk.words, noc):  # a row of the window is one long pixel
            pixels, flits = 1, row_flits(shape, width, chunk.words, noc)
        row, column = self.group_steps(y, x)
        top = y.start * shape.stride[0] - shape.pad[0] + chunk.r0 * shape.dilation[0]
        left = x.start * shape.stride[1] - shape.pad[1]
        pixel, pitch = shape.in_pitch, tile.pitch

        def point(dy, dx, words):
            return (dy * pitch + dx * pixel + words, dy, dx)

        def group(step):
            words = step[2] * shape.in_words + step[3] * tile.image
            return point(step[0] * shape.stride[0], step[1] * shape.stride[1], words)

        levels = [
            (flits, (noc, 0, 0)),
            (pixels, point(0, 1, 0)),
            (height, point(1, 0, 0)),
            (self.map.column_groups, group(column)),
            (self.map.row_groups, group(row)),
            (count, point(0, 0, chunk.words)),
        ]
        set_loops(self.b, levels, padded=shape.padded)
        inside = (shape.h, shape.w) if shape.padded else (1, 1)
        self.b.setting("ifmap", "IFMAP_SET", height=inside[0], width=inside[1], pad=self.job.pad & 0xFF)
        reads = tile.intervals(
            top, height + (self.map.groups("y") - 1) * y.step * shape.stride[0],
            left, width + (self.map.groups("x") - 1) * x.step * shape.stride[1],
        )  # fmt: skip
        self.b.emit(
            "IFMAP_RUN",
            reads=reads,
            buffer=tile.at(top, left, u0 * shape.in_words + chunk.c0),
            y=top if shape.padded else 0,
            x=left if shape.padded else 0,
        )

    def compute(self, y, x, chunk, count, *, first, last):
        """One COMPUTE_RUN over `count` chunks, and its loops."""
        shape, noc = self.shape, self.config.noc_words
        width = window(shape, y.patch, x.patch, chunk.r)[1]
        pixel = (chunk.words if packed(shape, chunk.words, noc) else ceil_div(chunk.words, noc) * noc) * self.config.lanes
        line = row_flits(shape, width, chunk.words, noc) * noc * self.config.lanes
        counts = (chunk.channels, shape.s, chunk.r, x.patch, y.patch)
        strides = (1, shape.dilation[1] * pixel, shape.dilation[0] * line, shape.stride[1] * pixel, shape.stride[0] * line)
        steps, travelled = [], 0
        for turns, stride in zip(counts, strides, strict=True):
            steps.append(stride - travelled)
            travelled += (turns - 1) * stride
        steps = [step if turns > 1 else 0 for turns, step in zip(counts, steps, strict=True)]
        c, s, r, px, py = zip(counts, steps, strict=True)
        self.b.setting(
            "k", "COMPUTE_LOOP_K",
            count_c=c[0], step_c=c[1], count_s=s[0], step_s=s[1], count_r=r[0], step_r=r[1],
        )  # fmt: skip
        self.b.setting("p", "COMPUTE_LOOP_P", count_x=px[0], step_x=px[1], count_y=py[0], step_y=py[1])
        self.b.emit("COMPUTE_RUN", chunks=count, first=first, last=last, depthwise=shape.depthwise)

    # Filters and parameters -----------------------------------------------------------------------------------------

    def tag_counts(self, m0):
        """Row and column tags that a round needs: fewer in a last, partial round of a plain mapping."""
        m = self.map
        rows, columns = m.filter_rows, m.filter_columns
        rest = self.shape.out_words - m0
        if rest < m.filters and "g" not in (m.row_kind, m.column_kind):
            rows = min(rows, ceil_div(rest, m.column_filters))
            columns = min(columns, rest)
        return rows, columns

    def filters(self, u0, m0, numbers, ahead):
        """FILTER_RUN of these chunks; LOAD before it unless the filters are still on chip.

        Those that are there one behind the other, and as long as each other, take one FILTER_RUN.
        """
        rows, columns = self.tag_counts(m0)
        noc, numbers = self.config.noc_words, list(numbers)
        tasks = list(ahead) if 0 in numbers else []
        run = None  # (address, flits, chunks) of those that are there already

        def send(run):
            if run is None:
                return
            address, flits, chunks = run
            end = address + chunks * flits * noc * rows * columns
            self.b.emit(
                "FILTER_RUN", reads=[("filter", address, end)], buffer=address, flits=flits, groups_row=rows,
                groups_column=columns, chunks=chunks,
            )  # fmt: skip
            while tasks:  # behind the filters of the first chunk
                tasks.pop(0)()

        for number in numbers:
            flits = ceil_div(self.map.chunks[number].macs(self.shape), noc)
            words = flits * noc * rows * columns
            key = self.filter_key(u0, m0, number)
            address = self.b.filter_ring.find(key)
            if address is not None:
                if run and run[1] == flits and run[0] + run[2] * words == address:
                    run = run[0], flits, run[2] + 1
                    continue
                send(run)
                run = address, flits, 1
                continue
            send(run)
            run = None
            address = self.b.filter_ring.take(key, words, self.kept)
            self.b.load(Space.FILTER, self.filter_constant(u0, m0, number), address, words)
            send((address, flits, 1))
        send(run)

    def filter_key(self, u0, m0, number):
        """What stands for the filters of a chunk."""
        return self.common, self.tags, u0, m0, number

    def keep(self, u0, m0):
        """From now on the filters of this round that are to stay do so."""
        tiling = self.job.tiling
        kept = {self.filter_key(u0, m0, number) for number in range(tiling.kept)}
        if not tiling.whole and kept != self.kept:
            self.kept = kept
            if tiling.kept < len(self.map.chunks):
                self.b.filter_ring.next = 0  # those that stay have one end of the memory, the others take turns in the rest

    def filter_constant(self, u0, m0, number):
        """Word address in memory of one chunk's filters, in the order in which FILTER sends them."""
        key = self.filter_key(u0, m0, number)
        if key not in self.common.streams:
            chunk, m = self.map.chunks[number], self.map
            lanes = self.config.lanes
            rows, columns = self.tag_counts(m0)
            k = chunk.macs(self.shape)
            padded = ceil_div(k, self.config.noc_words) * self.config.noc_words
            stream = np.zeros((rows, columns, padded, lanes), np.int8)
            for i in range(rows):
                for j in range(columns):
                    unit = u0 + self.unit_of(i // m.row_filters, j // m.column_filters)
                    group = m0 + (i % m.row_filters) * m.column_filters + j % m.column_filters
                    if group < self.shape.out_words:
                        part = self.job.weights[
                            chunk.part, unit, group * lanes : (group + 1) * lanes, chunk.r0 : chunk.r0 + chunk.r, :,
                            chunk.c0 * lanes : chunk.c0 * lanes + chunk.channels,
                        ]  # fmt: skip
                        stream[i, j, :k] = part.transpose(1, 2, 3, 0).reshape(k, lanes)
            self.common.streams[key] = self.b.constant(stream.tobytes())
        return self.common.streams[key]

    def unit_of(self, row_group, column_group):
        """Unit of a PE within its round."""
        m = self.map
        row = row_group if m.row_kind == "g" else 0
        column = column_group if m.column_kind == "g" else 0
        return row * (m.column_groups if m.column_kind == "g" else 1) + column

    def parameters(self, u0, m0):
        """The round's parameters: unit by unit, `filters` slots each."""
        lanes, m = self.config.lanes, self.map
        items = np.zeros((m.units, m.filters * lanes, 4), np.uint32)
        part = self.job.params[u0 : u0 + m.units, m0 * lanes : (m0 + m.filters) * lanes]
        items[:, : part.shape[1]] = part
        return items.reshape(-1, 4)

    # Results --------------------------------------------------------------------------------------------------------

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
            unit = groups
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
