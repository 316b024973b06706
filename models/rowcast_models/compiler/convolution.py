"""Lowering of one convolution (or fully connected layer) with a mapping: passes, transfers, settings."""

from dataclasses import dataclass

import numpy as np

from .boxes import Tile
from .filters import ConvFilters, Shared
from .flow import Flow, Need
from .geometry import ceil_div, chunk_runs, packed, row_flits, window
from .results import ConvResults, slots_of
from .settings import Place, PostSettings, set_loops
from .tiling import band, filter_words, num_rounds

__all__ = ["ConvJob", "ConvLowering", "convolution_steps"]


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


class ConvLowering(ConvFilters, ConvResults):
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

    def visits(self):
        """By tile, (first unit, first filter group, box, y, x) of every pass.

        Every other tile goes through the rounds backwards, so that the filters of the round in which it begins are there.
        """
        rounds, found = list(self.rounds()), []
        for tile in self.tile_list():
            places = tile.visits()
            found.append((tile, [(u0, m0, *where) for u0, m0 in rounds for where in places]))
            if not self.job.tiling.whole:
                rounds.reverse()
        return found

    def steps(self):
        """All passes, with the input of the next tile loaded while this one is at work."""
        tiles, rounds = self.visits(), num_rounds(self.shape, self.map)
        self.b.filter_ring.rest()
        if self.job.tiling.whole and self.job.shared is None:
            self.b.filter_ring.reserve(filter_words(self.shape, self.map, self.config) * rounds)
        for i, (tile, visits) in enumerate(tiles):
            following = tiles[i + 1][0] if i + 1 < len(tiles) and self.job.tiling.buffers == 2 else None
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
                last_round = at >= len(visits) - len(visits) // rounds
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
        left = shape.column(x.start * shape.stride[1] - shape.pad[1])
        pixel, pitch = shape.in_pitch, tile.pitch

        def point(dy, dx, words):
            return (dy * pitch + dx * pixel + words, dy, dx)

        def group(step):
            words = step[2] * shape.in_words + step[3] * tile.image
            return point(step[0] * shape.stride[0], shape.column(step[1] * shape.stride[1]), words)

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
            left, width + (self.map.groups("x") - 1) * shape.column(x.step * shape.stride[1]),
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
        if shape.grain:
            pixel = shape.grain[0]
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
