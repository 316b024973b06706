"""How a convolution's ifmap passes through the buffer: tiles of passes, and what of the filters stays for them."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache

from .geometry import ceil_div

__all__ = ["Tiling", "band", "filter_words", "filters_loaded", "first_words", "num_passes", "num_rounds", "num_tiles", "pass_words", "plan_tilings", "slot_words"]

SLOTS = 4  # passes whose results may wait for the memory bus
FEW_SLOTS = 2  # at least: one is drained while the other one is stored


@dataclass(frozen=True)
class Tiling:
    """How the layer visits memory: input tiles of `rows` x `columns` spans, and which filters stay on chip.

    `kept`: chunks of a round, from the first, whose filters stay for all its passes of a tile; `whole`: all filters of the layer
    stay.
    `tile_words`: words of a tile's box, all images of a pass; `slot_words`: of the results of a pass, of which `slots` have room.
    `buffers`: 2 if the next tile is loaded while one is at work, 1 if each waits for the one before to be done with.
    `boxes`: boxes of a tile, one behind the other: more than one if whole ifmaps fit, so that filters are loaded for all of them.
    """

    rows: int
    columns: int
    kept: int
    whole: bool
    tile_words: int
    slot_words: int
    buffers: int = 2
    slots: int = SLOTS
    boxes: int = 1

    @property
    def room(self):
        """Words of activation memory that the layer makes use of."""
        return self.buffers * self.boxes * self.tile_words + self.slots * self.slot_words


def band(shape, spans, axis):
    """First and last + 1 ifmap row (axis 0) or column (axis 1) that the output spans read, inside the ifmap.

    They are equal if the spans' windows are all padding.
    """
    size = (shape.h, shape.w)[axis]
    reach = ((shape.r, shape.s)[axis] - 1) * shape.dilation[axis] + 1
    low = spans[0].start * shape.stride[axis] - shape.pad[axis]
    last = max(span.start + span.size for span in spans) - 1
    high = last * shape.stride[axis] - shape.pad[axis] + reach
    if axis:
        low, high = shape.column(low), shape.columns(high)
    low = min(max(low, 0), size)
    return low, max(min(high, size), low)


@lru_cache(maxsize=1 << 16)
def _extent(shape, cut, axis, take):
    """Most ifmap rows (axis 0) or columns (axis 1) that `take` spans in a row read."""
    bands = (band(shape, cut.spans[i : i + take], axis) for i in range(0, len(cut.spans), take))
    return max(high - low for low, high in bands)


def _tile_words(shape, mapping, rows, columns, config):
    """Words of the largest input tile of rows x columns spans."""
    height, width = _extent(shape, mapping.y, 0, rows), _extent(shape, mapping.x, 1, columns)
    # A row's pitch keeps the row's place in a beat, and so may be up to a beat longer.
    image = height * (width * shape.in_pitch + (config.dram_words - 1)) + config.dram_words
    return image * mapping.images + (mapping.images > 1) * mapping.images * config.dram_words


def pass_words(shape, mapping):
    """Words of one pass in the buffer, of a layer whose maxima are its results: no row begins at a place of its own."""
    pixel = min(mapping.filters, shape.out_words) * min(mapping.units, shape.units)
    return max(s.size for s in mapping.y.spans) * max(s.size for s in mapping.x.spans) * pixel


def first_words(shape, mapping, tiling):
    """Words of a tile that its first pass waits for."""
    rows, all_rows = _extent(shape, mapping.y, 0, 1), _extent(shape, mapping.y, 0, tiling.rows)
    if shape.h == 1:
        rows, all_rows = _extent(shape, mapping.x, 1, 1), _extent(shape, mapping.x, 1, tiling.columns)
    return ceil_div(tiling.tile_words * rows, max(1, all_rows))


def slot_words(shape, mapping, config, *, output_resident=False):
    """Words of one output slot: the results of one pass."""
    align, (down, across) = config.dram_words - 1, shape.pool or (1, 1)
    height = max(s.size for s in mapping.y.spans) // down
    width = max(s.size for s in mapping.x.spans) // across
    units, unit = min(mapping.units, shape.units), min(mapping.filters, shape.out_words)
    if units > 1 and unit < shape.out_words:  # each unit's part keeps its place in a beat
        unit += align
    pixel = unit * units + align
    words = 0 if output_resident else height * (width * pixel + align) + config.dram_words
    return (words + pass_words(shape, mapping) * bool(shape.pool)) * mapping.images


def filter_words(shape, mapping, config):
    """Words of one round's filters, in the filter memory."""
    noc = config.noc_words
    groups = mapping.filter_rows * mapping.filter_columns
    return sum(ceil_div(c.macs(shape), noc) * noc for c in mapping.chunks) * groups


def chunk_words(mapping, chunk, shape, config):
    """Words of a chunk's filters, of all groups."""
    return ceil_div(chunk.macs(shape), config.noc_words) * config.noc_words * mapping.filter_rows * mapping.filter_columns


def _kept(shape, mapping, config, one):
    """How many chunks of a round may stay: all, or as many as leave room for two others."""
    sizes = [chunk_words(mapping, chunk, shape, config) for chunk in mapping.chunks]
    align, room = max(config.noc_words, config.dram_words), config.filter_buffer_words
    most = ceil_div(max(sizes), align) * align
    room -= 2 * most
    kept = 0
    for size in sizes:
        room -= ceil_div(size, align) * align
        if room < 0:
            break
        kept += 1
    return len(sizes) if one * 3 <= config.filter_buffer_words * 2 else kept


def filters_loaded(shape, mapping, tiling, config):
    """Words of filters that the layer loads."""
    one, rounds = filter_words(shape, mapping, config), num_rounds(shape, mapping)
    if tiling.whole:
        return one * rounds
    stay = sum(chunk_words(mapping, chunk, shape, config) for chunk in mapping.chunks[: tiling.kept])
    passes = len(mapping.y.spans) * len(mapping.x.spans) * (shape.n // mapping.images)
    tiles = num_tiles(shape, mapping, tiling)
    there = _still_there(shape, mapping, config, one) if tiling.kept == len(mapping.chunks) else stay
    return rounds * (passes * (one - stay) + tiles * stay) - (tiles - 1) * min(there, rounds * stay)


def _still_there(shape, mapping, config, one):
    """Words of the filters that are on chip when a tile begins with the rounds that ended the one before: as many chunks as fit."""
    whole, rest = divmod(config.filter_buffer_words, one)
    found = whole * one
    for chunk in mapping.chunks[::-1]:
        size = chunk_words(mapping, chunk, shape, config)
        if size > rest:
            break
        found, rest = found + size, rest - size
    return found


def num_rounds(shape, mapping):
    """Rounds over the filters (and units) of the layer."""
    return ceil_div(shape.out_words, mapping.filters) * ceil_div(shape.units, mapping.units)


def num_passes(shape, mapping):
    """Passes of the whole batch."""
    return num_rounds(shape, mapping) * len(mapping.y.spans) * len(mapping.x.spans) * (shape.n // mapping.images)


def num_boxes(shape, mapping, tiling):
    """Boxes of the whole batch."""
    return (
        ceil_div(len(mapping.y.spans), tiling.rows) * ceil_div(len(mapping.x.spans), tiling.columns)
        * (shape.n // mapping.images)
    )  # fmt: skip


def num_tiles(shape, mapping, tiling):
    """Tiles of the whole batch."""
    return ceil_div(num_boxes(shape, mapping, tiling), tiling.boxes)


def plan_tilings(shape, mapping, config, room, *, input_resident, output_resident):
    """The tilings worth trying in `room` words of activation memory: with two buffers, with one, and with few slots."""
    found = []
    for buffers, slots in ((2, SLOTS), (1, SLOTS), (1, FEW_SLOTS)):
        tiling = plan_tiling(
            shape, mapping, config, room, buffers, slots, input_resident=input_resident, output_resident=output_resident
        )
        if tiling is not None and all((tiling.rows, tiling.columns, tiling.boxes, tiling.buffers) != (
            other.rows, other.columns, other.boxes, other.buffers) for other in found):  # fmt: skip
            found.append(tiling)
    return found


def plan_tiling(shape, mapping, config, room, buffers, slots=SLOTS, *, input_resident, output_resident):
    """The tiling that loads the fewest words in `room` words of activation memory, or None."""
    found = _largest(shape, mapping, config, room, buffers, slots, input_resident=input_resident, output_resident=output_resident)
    if found and found.rows * found.columns * found.boxes == 1 and found.kept < len(mapping.chunks):
        return replace(found, kept=0)  # there is only one pass that they could stay for
    return found


def _largest(shape, mapping, config, room, buffers, slots, *, input_resident, output_resident):
    """`plan_tiling`, but for what does not stay since nothing comes back to it."""
    slot = slot_words(shape, mapping, config, output_resident=output_resident)
    room -= slots * slot
    if room < 0:
        return None
    rows, columns = len(mapping.y.spans), len(mapping.x.spans)
    rounds = num_rounds(shape, mapping)
    one = filter_words(shape, mapping, config)
    resident = _kept(shape, mapping, config, one), one * rounds <= config.filter_buffer_words
    if input_resident:
        return Tiling(rows, columns, *resident, 0, slot, 2, slots, shape.n // mapping.images)
    words = _tile_words(shape, mapping, rows, columns, config)
    turns = shape.n // mapping.images
    if turns == 1 and words <= room:
        return Tiling(rows, columns, *resident, words, slot, 2, slots)
    boxes = min(room // (buffers * words), turns)
    if boxes:
        boxes = 1 if not resident[0] or resident[1] else ceil_div(turns, ceil_div(turns, boxes))
        return Tiling(rows, columns, *resident, words, slot, 2 if boxes == turns else buffers, slots, boxes)
    stay = sum(chunk_words(mapping, chunk, shape, config) for chunk in mapping.chunks[: resident[0]])
    again = 0 if resident[1] else stay * rounds  # words that are loaded with every tile, beside its own
    best = None
    for pieces, columns in _lengths(len(mapping.x.spans)):
        rows = bisect_right(
            range(1, rows + 1), room, key=lambda rows: buffers * _tile_words(shape, mapping, rows, columns, config)
        )
        if rows:
            words = _tile_words(shape, mapping, rows, columns, config)
            loaded = pieces * ceil_div(len(mapping.y.spans), rows) * (words + again)
            if best is None or loaded < best[0]:
                best = loaded, Tiling(rows, columns, *resident, words, slot, buffers, slots)
        rows = len(mapping.y.spans)
    return best and best[1]


@lru_cache(maxsize=1 << 10)
def _lengths(spans):
    """(pieces, spans of a piece at most) of every way to cut so many spans in a row, whole ones first."""
    found = []
    for length in range(spans, 0, -1):
        pieces = ceil_div(spans, length)
        if not found or pieces > found[-1][0]:
            found.append((pieces, ceil_div(spans, pieces)))
    return found
