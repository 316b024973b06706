"""Two convolutions in one: rows of the first one's ofmap stay in the buffer until the second one has read them.

That ofmap never sees the memory.  The second ofmap is made in laps of some rows; what a lap reads stands row by row in the
ring, a part of the activation memory with room for one lap, so the convolutions take turns lap by lap.  Rows that windows of
two laps read are made twice.
"""

from dataclasses import dataclass, replace

from rowcast import isa

from .convolution import ConvLowering
from .filters import Shared
from .flow import Need
from .geometry import ceil_div
from .mapping import MappingError, find_mapping
from .pieces import moved
from .tiling import band, chunk_words, num_rounds

__all__ = ["Bands", "Lap", "Stage", "band_steps", "plan_bands", "plan_laps", "take_turns"]

LENGTHS = 3  # of laps that are tried, the longest first
SWITCH = 100  # cycles that the array loses from one convolution to the other, beside the instructions
TURN = 3  # instructions a PE of such a change: its IDs on both networks, and what is done with its results


@dataclass(frozen=True)
class Lap:
    """Rows [first, end) of the second ofmap, before pooling; they read rows [low, high) of the first one, of image n."""

    n: int
    first: int
    end: int
    low: int
    high: int


@dataclass(frozen=True)
class Stage:
    """One of the convolutions.

    shape : ConvShape of one image.
    maps : {rows: (mapping, tiling, cost)} for the laps.
    room : first word and words of activation memory for tiles and slots.
    """

    shape: object
    maps: dict
    room: tuple = (0, 0)


@dataclass(frozen=True)
class Bands:
    """What `plan_bands` finds.

    laps : [Lap].
    ring : first word of the rows between the convolutions.
    stages : the two Stages.
    cycles, words : estimated cycles, and words that pass through memory.
    end : the word after the last of activation memory in use.
    """

    laps: tuple
    ring: int
    stages: tuple
    cycles: int
    words: int
    end: int


def plan_laps(shape, rows, images):
    """The laps of so many rows, image by image; `shape` is the second convolution's, of one image."""
    found = []
    for n in range(images):
        for first in range(0, shape.e, rows):
            end = min(first + rows, shape.e)
            found.append(Lap(n, first, end, *_read(shape, first, end)))
    return tuple(found)


def _read(shape, first, end):
    """First and last + 1 ifmap row that these ofmap rows read."""
    reach = (shape.r - 1) * shape.dilation[0] + 1
    low, high = first * shape.stride[0] - shape.pad[0], (end - 1) * shape.stride[0] - shape.pad[0] + reach
    return max(low, 0), min(high, shape.h)


def _lengths(shape, most):
    """Rows of a lap that are worth trying, if a lap may read `most` rows: cut evenly, the longest first."""
    step = shape.pool[0] if shape.pool else 1
    found = []
    for rows in range(shape.e // step, 0, -1):
        rows = ceil_div(shape.e // step, ceil_div(shape.e // step, rows)) * step
        if rows not in found and (rows - 1) * shape.stride[0] + (shape.r - 1) * shape.dilation[0] + 1 <= most:
            found.append(rows)
    return found[:LENGTHS]


def _mapped(shape, counts, choose, room):
    """{rows: (mapping, tiling, cost)} of laps of so many rows, wherever they are in the image."""
    reach = (shape.r - 1) * shape.dilation[0] + 1
    return {
        rows: choose(replace(shape, e=rows, h=(rows - 1) * shape.stride[0] + reach, pad=(0, shape.pad[1])), room)
        for rows in counts
    }


def _filters(shape, maps, config):
    """Words of filter memory of all filters of a convolution, with the largest of its mappings."""
    align = max(config.noc_words, config.dram_words)
    return max(
        sum(ceil_div(chunk_words(mapping, chunk, shape, config), align) * align for chunk in mapping.chunks)
        * num_rounds(shape, mapping)
        for mapping, _, _ in maps.values()
    )  # fmt: skip


def _room(maps, step):
    """Words of activation memory for tiles and slots of all these mappings."""
    return max(ceil_div(tiling.room, step) * step for _, tiling, _ in maps.values())


def plan_bands(config, shapes, images, room, memory, *, input_resident, output_resident, vector=0):
    """The Bands of two convolutions.

    Parameters
    ----------
    shapes : their ConvShapes, of one image each.
    images : how many there are.
    room : (first word, words) of activation memory for all of it.
    vector : cycles of the vector unit's work that could be done at the same time.

    Raises
    ------
    MappingError
        They do not fit together.
    """
    one, two = shapes
    step, line = config.dram_words, one.f * one.out_pitch

    def first(shape, size):
        return find_mapping(
            shape, config, room=size, memory=memory, input_resident=input_resident, output_resident=True, many=True
        )

    def second(shape, size):
        return find_mapping(
            shape, config, room=size, memory=memory, input_resident=True, output_resident=output_resident, vector=vector,
            many=True,
        )

    best = None
    for rows in _lengths(two, (room[1] * 7 // 8) // line):
        laps = plan_laps(two, rows, images)
        if any(lap.low >= lap.high for lap in laps):  # it reads padding only
            continue
        ring = ceil_div(max(lap.high - lap.low for lap in laps) * line, step) * step
        rest = (room[1] - ring) // step * step
        try:
            made = _mapped(two, {lap.end - lap.first for lap in laps}, second, rest // 2)
            used = _room(made, step)
            read = _mapped(one, {lap.high - lap.low for lap in laps}, first, rest - used)
        except MappingError:
            continue
        filters = _filters(one, read, config) + _filters(two, made, config)
        if filters > config.filter_buffer_words:
            continue
        costs = [cost for lap in laps for cost in (read[lap.high - lap.low][2], made[lap.end - lap.first][2])]
        turn = TURN * config.num_pes
        fewer = (len(laps) - 1) * filters - len(costs) * turn * isa.BYTES // config.lanes
        words = sum(cost.words for cost in costs) - fewer
        array, bus = sum(cost.array + SWITCH + turn for cost in costs), sum(cost.memory for cost in costs) - fewer // step
        cycles = max(array, bus) + max(cost.edges for cost in costs)
        if best is None or cycles < best.cycles:
            at, tiles = room[0] + ring, min(_room(read, step), rest - used)
            stages = Stage(one, read, (at, tiles)), Stage(two, made, (at + tiles, used))
            best = Bands(laps, room[0], stages, cycles, words, at + tiles + used)
    if best is None:
        raise MappingError("the rows between two convolutions, or the filters of both, do not fit the buffer")
    return best


def take_turns(made, read):
    """The order of the passes of both convolutions: a list of (0 or 1, passes of the first one that this one needs).

    All passes of a lap of the first one, then all of the second one: each change of convolution sends the IDs and settings of
    all PEs, and what the first passes of the second one read has been drained while the last ones of the first are made.

    Parameters
    ----------
    made : by lap, the (first row, last + 1) of the ring that each pass of the first convolution writes.
    read : by lap, the (first row, last + 1) of the ring that each pass of the second one reads.
    """
    order, before = [], 0
    for writes, reads in zip(made, read, strict=True):
        order += [(0, 0)] * len(writes)
        for rows in reads:
            order.append((1, max((before + i + 1 for i, written in enumerate(writes) if _meet(rows, written)), default=0)))
        before += len(writes)
    return order


def _meet(a, b):
    return a[0] < b[1] and b[0] < a[1]


class _Walk:
    """The passes of one convolution, lap by lap."""

    def __init__(self, builder, lowerings):
        self.b = builder
        self.left = list(lowerings)[::-1]
        self.lowering = self.steps = self.need = None
        self._next()

    def _next(self):
        if not self.left:
            return
        last, self.lowering = self.lowering, self.left.pop()
        if last and last.slots != self.lowering.slots:
            self.b.flush()  # results in the old slots are still to be stored
        self.steps = self.lowering.steps()
        self.need = next(self.steps)

    def emit(self):
        """Emit the next pass; returns its estimated cycles."""
        lowering = self.lowering
        try:
            self.need = next(self.steps)
        except StopIteration:
            self._next()
        return lowering.spent


def band_steps(builder, bands, jobs):
    """The operations of both convolutions, as a generator of Needs.

    Parameters
    ----------
    jobs : function: the ConvJob of a stage (0 or 1) for a Lap, with this shape, mapping, tiling, room and Shared.
    """
    config, shared, lowerings, places = builder.config, (Shared(), Shared()), ([], []), ([], [])
    builder.filter_ring.reserve(sum(_filters(stage.shape, stage.maps, config) for stage in bands.stages))
    for lap in bands.laps:
        for which, stage in enumerate(bands.stages):
            start, rows = (lap.low, lap.high - lap.low) if which == 0 else (lap.first, lap.end - lap.first)
            mapping, tiling, _ = stage.maps[rows]
            here = moved(mapping, "y", start)
            lowering = ConvLowering(builder, jobs(which, lap, stage.shape, here, tiling, stage.room, shared[which]))
            lowerings[which].append(lowering)
            spans = [visit[3] for _, visits in lowering.visits() for visit in visits]
            touched = [(y.start, y.start + y.size) if which == 0 else band(stage.shape, (y,), 0) for y in spans]
            places[which].append([(low - lap.low, high - lap.low) for low, high in touched])
    walks, spent, done, last = [_Walk(builder, found) for found in lowerings], 0, 0, None
    for which, needed in take_turns(*places):
        if which == 0:
            yield Need(walks[0].need.pixels, spent)
            done += 1
        else:
            if last == 0 and needed == done:
                builder.flush()  # it reads what the pass just emitted makes
            yield Need((0,), spent)
        spent, last = walks[which].emit(), which
    builder.flush()
