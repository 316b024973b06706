"""The mapper: which PE computes what, in which order, and what it costs.

A mapping is a choice of tags.  Rows of the array are split into `row_filters` x `row_groups`, columns likewise: PE (i, j) takes
filter group (i % row_filters, j % column_filters), and pixel or unit group (i // row_filters, j // column_filters).
A `kind` says what the groups of that side are: patches along y, patches along x, images ("n"), or units ("g": channel
groups, and channel words of a depthwise layer).
With `lined` the PEs are numbered row by row instead, and PE p takes filter group p % column_filters and pixel group
p // column_filters: 12 filter groups and 10 pixel groups have 120 of 128 PEs, and in rows of 16 they would have 96.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from rowcast import isa

from .geometry import ceil_div, chunk_runs, cut_axis, plan_chunks, ramped_axis, row_flits, window
from .tiling import band, filter_words, filters_loaded, first_words, num_passes, num_rounds, num_tiles, plan_tilings

__all__ = ["Cost", "Mapping", "MappingError", "Memory", "estimate", "find_mapping"]

LATENCY = 80  # cycles from a LOAD to its first word in the array, roughly: memory, DMA, feeder, network
PATCHES = 3  # heights of patches tried for each width: so many of the tallest and of the flattest
CHUNK_OVERHEAD = 12  # cycles from a freed half to the first flit of the next chunk, and from its last flit to the first MAC
FOLLOWED_BEST = 32  # best mappings whose cost is estimated in full
FOLLOWED_CHEAP = 16  # and as many of those that move little
RAMPED = 12  # best mappings that are also tried with smaller first and last passes
RAMPED_CHEAP = 4
CROWDED = 1.3  # the memory bus is not a layer's own: what it moves is weighed so much more
MEETING = 4  # exponent: how little what takes half as long as the longest matters
LINED = 0.9  # part of the array that a mapping has at least whose PEs are numbered row by row
LINE_ROUNDS = 3  # rounds in which it makes all filters, at most
FOLLOWED = 256  # passes of a layer up to which the estimate follows each of them
END = 60  # cycles from the last psum to the interrupt, without memory's latency
SHORT_BURST = 3  # beats' time that the shortest write burst takes
POOLING = 14  # instructions of the pooling of a pass
CHANGE = 5  # and of another run of chunks than the one before
FAR = 1.5  # so many times less than the others has a mapping to move that may be slower by twice the slack
LOW_PRICE = 0.1  # the price of memory among mappings that are about equally fast, and of the instructions of a few passes
PASS_OVERHEAD = 12  # cycles that a drain loses at its ends


class MappingError(ValueError):
    """No mapping of this layer fits the configuration."""


@dataclass(frozen=True)
class Memory:
    """The memory that the mapper plans for: words a beat moves are the configuration's; this is what stands behind.

    `duplex`: reads and writes each have the whole bandwidth.  `price`: cycles of the array that a cycle of the memory's bus
    is worth: mappings that move less are taken even if they are a little slower, by at most the part `slack` of a layer, and
    twice that if they move far less and the others more than the buffer holds.
    """

    latency: int = 30
    duplex: bool = False
    price: float = 2.0
    slack: float = 0.02


@dataclass(frozen=True)
class Mapping:
    """One mapping of a convolution; see the module's text.  `lined`: columns of the array if its PEs are numbered row by row."""

    row_filters: int
    row_groups: int
    row_kind: str
    column_filters: int
    column_groups: int
    column_kind: str
    y: object
    x: object
    chunks: tuple
    lined: int = 0

    @property
    def filters(self):
        """Filter groups of one unit in a pass."""
        return self.row_filters * self.column_filters

    @property
    def units(self):
        """Units in a pass."""
        return (self.row_groups if self.row_kind == "g" else 1) * (self.column_groups if self.column_kind == "g" else 1)

    @property
    def images(self):
        """Images in a pass."""
        return self.groups("n")

    @property
    def rows_used(self):
        """Rows of the array that hold results."""
        return ceil_div(self.column_filters * self.column_groups, self.lined) if self.lined else self.row_filters * self.row_groups

    @property
    def columns_used(self):
        """Columns of the array that hold results."""
        return self.lined or self.column_filters * self.column_groups

    def groups(self, kind):
        """Groups along one kind."""
        rows = self.row_groups if self.row_kind == kind else 1
        return rows * (self.column_groups if self.column_kind == kind else 1)

    @property
    def filter_rows(self):
        """Row tags on the filter network."""
        return self.row_filters * (self.row_groups if self.row_kind == "g" else 1)

    @property
    def filter_columns(self):
        """Column tags on the filter network."""
        return self.column_filters * (self.column_groups if self.column_kind == "g" else 1)


@dataclass(frozen=True)
class Cost:
    """Estimated cycles: of the array's passes, of the memory bus, of start and end; words moved; cycles of feeder and drains.

    `program`: cycles of the bus that are the instructions', if there are few passes: they are not worth a cycle of the array then.
    """

    array: int
    memory: int
    edges: int
    words: int
    feeder: int = 0
    drains: int = 0
    program: int = 0

    @property
    def cycles(self):
        """Estimated cycles of the layer."""
        return max(self.array, self.memory) + self.edges


def _splits(size):
    return [(a, size // a) for a in range(1, size + 1) if a <= size and (size // a) * a == size] or [(1, 1)]


def _sides(size, shape, *, spare):
    """(filters, groups, kind) for one side of the array; `spare`: also with the first row or column alone."""
    if spare and size > 1:
        yield 1, 1, "x"
    for filters, groups in _splits(size):
        if groups == 1:
            yield filters, 1, "x"
            continue
        for kind in ("y", "x", "g", "n"):
            count = {"y": shape.e, "x": shape.f, "g": shape.units, "n": shape.n}[kind]
            if count >= groups and (kind != "n" or count % groups == 0):
                yield filters, groups, kind
        if shape.f < groups and shape.e < groups and shape.units < groups:
            count = max(shape.f, shape.e, shape.units)
            kind = "x" if shape.f == count else "y" if shape.e == count else "g"
            yield filters, count, kind


def candidates(shape, config):
    """All mappings that fit the scratchpads; those of a part of the array only if the whole has none (very small layers)."""
    for spare in (False, True):
        found = False
        for mapping in _candidates(shape, config, spare=spare):
            found = True
            yield mapping
        if found:
            return


def _lines(shape, config):
    """(filters, groups, kind) of mappings whose PEs are numbered row by row, if they fill the array better than rows do."""
    tags = 1 << config.tag_width
    for filters in sorted({ceil_div(shape.out_words, rounds) for rounds in range(1, LINE_ROUNDS + 1)}):
        groups = min(config.num_pes // filters, tags)
        in_rows = 0 in (config.columns % filters, filters % config.columns)
        if filters > tags or in_rows or shape.units > 1 or filters * groups < LINED * config.num_pes:
            continue
        yield from ((filters, groups, kind) for kind in ("y", "x"))


def _candidates(shape, config, *, spare):
    limit = config.psum_pixels // 2
    seen = set()
    sides = [(*both, 0) for both in product(*(_sides(size, shape, spare=spare) for size in (config.rows, config.columns)))]
    if not spare:
        sides += [((1, 1, "x"), line, config.columns) for line in _lines(shape, config)]
    for row, column, lined in sides:
        if row[0] * column[0] > 2 * shape.out_words and row[0] * column[0] > 1:
            continue
        y_groups = (row[1] if row[2] == "y" else 1) * (column[1] if column[2] == "y" else 1)
        x_groups = (row[1] if row[2] == "x" else 1) * (column[1] if column[2] == "x" else 1)
        units = (row[1] if row[2] == "g" else 1) * (column[1] if column[2] == "g" else 1)
        if y_groups > shape.e or x_groups > shape.f or units > shape.units:
            continue
        if row[0] * column[0] * units * config.lanes > config.param_channels:
            continue
        if shape.n % ((row[1] if row[2] == "n" else 1) * (column[1] if column[2] == "n" else 1)):
            continue
        for y, x in _patches(shape, limit, y_groups, x_groups):
            key = (row, column, lined, y, x)
            if key in seen:
                continue
            seen.add(key)
            if shape.pool and not _whole_windows(shape.pool, y, x):
                continue
            mapping = Mapping(*row, *column, y, x, (), lined)
            groups = mapping.filter_rows * mapping.filter_columns
            chunks = plan_chunks(shape, config, y.largest, x.largest, groups)
            if chunks:
                yield replace(mapping, chunks=chunks)
            if len(chunk_runs(chunks or ())) > 1:  # a run costs instructions
                even = plan_chunks(shape, config, y.largest, x.largest, groups, even=True)
                if even != chunks:
                    yield replace(mapping, chunks=even)


def _whole_windows(pool, y, x):
    """Whether no window of the pooling lies in two passes."""
    return all(
        span.start % size == span.size % size == 0 for axis, size in zip((y, x), pool, strict=True) for span in axis.spans
    )


@lru_cache(maxsize=1 << 14)
def _pieces(length, groups, limit, grid=1):
    """The ways to cut an axis that are worth trying: the fewest spans for every patch size up to the limit."""
    found = {}
    for patch in range(min(limit, ceil_div(length, groups)), 0, -1):
        pieces = ceil_div(length, patch * groups)
        if pieces not in found:
            axis = cut_axis(length, pieces, groups, grid)
            if axis and axis.largest <= limit:
                found[pieces] = axis
    return list(found.values())


def _patches(shape, limit, y_groups, x_groups):
    ys = _pieces(shape.e, y_groups, limit)
    for x in _pieces(shape.f, x_groups, limit, shape.grid):
        fitting = [y for y in ys if y.largest * x.largest <= limit]
        fitting.sort(key=lambda y: -y.largest)
        for y in dict.fromkeys(fitting[:PATCHES] + fitting[-PATCHES:]):
            yield y, x


def pass_cycles(shape, mapping, config, rows, columns):
    """Cycles of one pass of patches of rows x columns outputs, by what bounds it: array, filter bus, ifmap bus, drain."""
    pixels = rows * columns
    noc = config.noc_words
    macs = filters = ifmap = 0
    for chunk in mapping.chunks:
        k = chunk.macs(shape)
        macs += max(k, config.lanes) * pixels
        filters += ceil_div(k, noc) * mapping.filter_rows * mapping.filter_columns + CHUNK_OVERHEAD
        height, width = window(shape, rows, columns, chunk.r)
        flits = height * row_flits(shape, width, chunk.words, noc)
        ifmap += flits * mapping.row_groups * mapping.column_groups + CHUNK_OVERHEAD
    drain = mapping.rows_used * pixels * config.lanes + PASS_OVERHEAD
    if shape.pool:  # the feeder waits for a drain before it serves the vector unit
        pooling = mapping.rows_used * mapping.columns_used * pixels // config.vector_words + PASS_OVERHEAD
        ifmap += drain + pooling
        drain += pooling
    if len(mapping.chunks) > 1:  # the psum memory's read port is shared
        drain += ceil_div(drain * config.lanes, max(config.lanes, macs // (pixels * len(mapping.chunks))))
    return macs, filters, ifmap, drain


def estimate(shape, mapping, tiling, config, memory, *, input_resident, output_resident, follow=True):
    """The cost of a mapping; with `follow`, that of a layer with few passes is estimated pass by pass."""
    rounds, turns = num_rounds(shape, mapping), shape.n // mapping.images
    array = feeder = drains = 0
    for rows, down in mapping.y.patches.items():
        for columns, across in mapping.x.patches.items():
            cycles = pass_cycles(shape, mapping, config, rows, columns)
            times = down * across * rounds * turns
            array += (max(cycles) + PASS_OVERHEAD) * times
            feeder += cycles[2] * times
            drains += cycles[3] * times
    array += _changes(mapping) * config.num_pes * rounds * turns
    tiles = num_tiles(shape, mapping, tiling)
    if tiling.buffers == 1:  # the array waits for each tile
        array += tiles * (ceil_div(first_words(shape, mapping, tiling), config.dram_words) + memory.latency + LATENCY)
    passes = len(mapping.y.spans) * len(mapping.x.spans) * turns
    rows = ceil_div(shape.results[0], len(mapping.y.spans)) if mapping.filters < shape.out_words else 1
    runs = len(chunk_runs(mapping.chunks))
    each = 2 + 2 * runs + CHANGE * runs * (runs > 1) + len(mapping.chunks) + (0 if output_resident else rows)
    instructions = passes * (each + POOLING * bool(shape.pool)) + _changes(mapping) * turns * (8 + config.num_pes)
    instructions *= rounds
    filters = filters_loaded(shape, mapping, tiling, config)
    instructions += filters * len(mapping.chunks) // filter_words(shape, mapping, config)  # their LOADs
    instructions *= isa.BYTES // config.lanes
    reads = filters + rounds * 16 * mapping.filters * mapping.units
    if not input_resident:
        reads += tiles * tiling.boxes * tiling.tile_words
    writes = 0 if output_resident else shape.n * shape.results[0] * shape.results[1] * shape.made_words
    beats = config.dram_words
    row = min(mapping.filters, shape.out_words) * (mapping.units if mapping.filters >= shape.out_words else 1)
    if row < shape.out_pitch:  # a burst a pixel: short ones cost more than their beats
        writes = writes * max(row, SHORT_BURST * beats) // row
    reads += instructions
    bus = max(reads, writes) if memory.duplex else reads + writes
    first_y, first_x = mapping.y.spans[0], mapping.x.spans[0]
    low, high = band(shape, (first_y,), 0)
    left, right = band(shape, (first_x,) if shape.h == 1 else mapping.x.spans[: tiling.columns], 1)
    first_tile = 0 if input_resident else (high - low) * (right - left) * shape.in_pitch * mapping.images
    chunk = mapping.chunks[0]
    first_filters = chunk.macs(shape) * mapping.filter_rows * mapping.filter_columns
    height, width = window(shape, first_y.patch, first_x.patch, chunk.r)
    fill = height * row_flits(shape, width, chunk.words, config.noc_words) * mapping.row_groups * mapping.column_groups
    start = memory.latency + LATENCY + ceil_div(first_tile + first_filters, beats) + fill
    program = ceil_div(instructions, beats) if passes * rounds <= FOLLOWED else 0
    if follow and passes * rounds <= FOLLOWED and tiling.buffers > 1:
        cycles = _follow(shape, mapping, tiling, config, memory, input_resident=input_resident, row=writes)
        return Cost(cycles, ceil_div(bus, beats), 0, reads + writes, feeder, drains, program)
    last = pass_cycles(shape, mapping, config, mapping.y.spans[-1].patch, mapping.x.spans[-1].patch)
    end = last[3] + memory.latency
    return Cost(array, ceil_div(bus, beats), start + end, reads + writes, feeder, drains, program)


def _follow(shape, mapping, tiling, config, memory, *, input_resident, row):
    """Cycles of a layer with few passes, pass by pass: memory, filling, computing and draining overlap as in the hardware.

    A single chunk fills while the pass before computes, and drains while the next one does; of several chunks only the first
    one's filling can be seen.  `row` are the words that are written in all.
    """
    beats, chunks = config.dram_words, mapping.chunks
    one = filter_words(shape, mapping, config)
    first_filters = one * chunks[0].macs(shape) // sum(chunk.macs(shape) for chunk in chunks)
    rounds, passes = num_rounds(shape, mapping), len(mapping.y.spans) * len(mapping.x.spans)
    turns = shape.n // mapping.images
    stored = 0 if memory.duplex else ceil_div(row, rounds * passes * turns * beats)
    bus = memory.latency + LATENCY  # when memory will have moved all that was asked for
    filled, computed, before, drained, drained_before = 0, 0, 0, 0, 0
    chunk_time, times = 0, {}
    for _ in range(turns):
        loaded = 0
        for number in range(rounds):
            for i, y in enumerate(mapping.y.spans):
                for j, x in enumerate(mapping.x.spans):
                    if (y.patch, x.patch) not in times:
                        times[y.patch, x.patch] = pass_cycles(shape, mapping, config, y.patch, x.patch)
                    macs, filters, ifmap, drain = times[y.patch, x.patch]
                    if not input_resident and number == 0:
                        low, high = band(shape, (x,), 1) if shape.h == 1 else band(shape, (y,), 0)
                        line = 1 if shape.h == 1 else shape.w
                        if (shape.h == 1 or j == 0) and high > loaded:
                            bus += ceil_div((high - max(low, loaded)) * line * shape.in_pitch * mapping.images, beats)
                            loaded = high
                    fresh = not tiling.kept or i == j == 0
                    bus += ceil_div(first_filters * fresh, beats)
                    ready = bus
                    bus += ceil_div((one - first_filters) * fresh, beats)
                    arrived = bus
                    bus += stored
                    if len(chunks) == 1:
                        filled = max(filled, before, ready) + max(filters, ifmap)
                        work = macs
                    else:
                        height, width = window(shape, y.patch, x.patch, chunks[0].r)
                        fill = height * row_flits(shape, width, chunks[0].words, config.noc_words)
                        fill *= mapping.row_groups * mapping.column_groups
                        filled = max(filled, ready, computed - chunk_time) + max(fill, filters // len(chunks))
                        work = max(macs, filters, ifmap)
                        chunk_time = work // len(chunks)
                    before, computed = computed, max(filled, computed, drained_before) + work
                    computed = max(computed, arrived + work // len(chunks))
                    drained_before, drained = drained, max(computed, drained) + drain
    return drained + memory.latency + END


def _changes(mapping):
    """Passes of a round whose patches differ from the pass before: each costs settings, for some mappings of every PE."""

    def along(spans):
        return sum(a.patch != b.patch or a.step != b.step for a, b in zip(spans, (*spans[1:], spans[0]), strict=True))

    return along(mapping.x.spans) * len(mapping.y.spans) + along(mapping.y.spans)


def _ramps(shape, mapping):
    """The mapping with smaller first and last spans along the axis in which its passes go."""
    name = "x" if shape.h == 1 else "y"
    axis, length = getattr(mapping, name), (shape.e, shape.f)[name == "x"]
    groups = mapping.groups(name)
    size = axis.spans[0].size
    sizes = sorted({max(groups, ceil_div(size, part)) for part in (1, 2, 4, 8)})
    for first in sizes:
        for last in sizes:
            pieces = ceil_div(length - first - last, size)
            ramped = ramped_axis(length, first, pieces, last, groups) if pieces > 0 else None
            if ramped is None or ramped.largest > axis.largest:
                continue
            ramp = replace(mapping, **{name: ramped})
            if not shape.pool or _whole_windows(shape.pool, ramp.y, ramp.x):
                yield ramp


def _together(*cycles):
    """Cycles of what goes on at the same time: the longest, and more if others are nearly as long, as they get in its way."""
    return sum(float(each) ** MEETING for each in cycles) ** (1 / MEETING)


@lru_cache(maxsize=1 << 12)
def find_mapping(shape, config, *, room, memory=None, input_resident=False, output_resident=False, vector=0, late=0, few=False, many=False):
    """The cheapest mapping and tiling of a convolution.

    Parameters
    ----------
    room : words of activation memory that the layer may use beside resident tensors.
    vector : cycles of the vector unit's work that could be done at the same time.
    few : as few passes as possible: they stand alone between those of others.
    many : it is one of many alike: their instructions count like those of many passes.
    late : cycles until the input is complete: PEs that work on several images wait for it.

    Returns
    -------
    (Mapping, Tiling, Cost)

    Raises
    ------
    MappingError
        Nothing fits; says which memory is too small.
    """
    memory = memory or Memory()
    resident = {"input_resident": input_resident, "output_resident": output_resident}

    def price(mapping, tiling, follow):
        cost = estimate(shape, mapping, tiling, config, memory, **resident, follow=follow)
        # The feeder and the post-processors also work for the vector unit.
        shared = (cost.feeder + vector, cost.drains + vector) if vector else ()
        cycles = _together(cost.array, CROWDED * cost.memory, *shared) + cost.edges + LOW_PRICE * cost.memory
        # What is complete only at the end of a tile is work for afterwards; a vector unit of several words catches up.
        if vector and config.vector_words == 1:
            # Rows that are cut into tiles are complete with the last one.
            across = ceil_div(len(mapping.x.spans), tiling.columns) if shape.e > 1 else 1
            parts = max(1, num_tiles(shape, mapping, tiling) // across)
            turns = shape.n // mapping.images
            if mapping.images > 1:  # none is complete long before the others
                parts = turns
            elif num_rounds(shape, mapping) == across == 1:
                parts = len(mapping.y.spans) * len(mapping.x.spans) * turns
            cycles += vector // parts
        if mapping.images > 1:
            cycles += late // 4
        return (cycles, cost.words, cost.feeder), mapping, tiling, cost

    def ranked(choices, follow):
        return sorted((price(*choice, follow) for choice in choices), key=lambda entry: entry[0])

    def worth(entry):
        cycles, cost = entry[0][0], entry[3]
        return cycles + (memory.price - LOW_PRICE) * (cost.memory - cost.program * (not many)), entry[0]

    def cheapest(entries):
        """Those that are not too slow, what moves little first."""
        least = entries[0][0][0] if entries else 0
        kept = sorted((entry for entry in entries if entry[0][0] <= least * (1 + memory.slack)), key=worth)
        moved = kept[0][3].words if kept else 0
        if moved > config.act_words + config.filter_buffer_words:  # what moves less than the buffer holds is little anyway
            far = [e for e in entries if e[0][0] <= least * (1 + 2 * memory.slack) and e[3].words * FAR <= moved]
            return sorted(far, key=worth) + kept
        return kept

    def tiled(mappings):
        return [(mapping, tiling) for mapping in mappings for tiling in plan_tilings(shape, mapping, config, room, **resident)]

    mappings = list(candidates(shape, config))
    if few and mappings:
        least = min(num_passes(shape, mapping) for mapping in mappings)
        mappings = [mapping for mapping in mappings if num_passes(shape, mapping) == least]
    fits = bool(mappings)
    every = ranked(tiled(mappings), False)
    chosen = [entry[1:3] for entry in every[:FOLLOWED_BEST] + cheapest(every)[:FOLLOWED_CHEAP]]
    found = ranked(dict.fromkeys(chosen), True)
    ramping = dict.fromkeys(entry[1] for entry in found[:RAMPED] + cheapest(found)[:RAMPED_CHEAP])
    ramps = [ramped for mapping in ramping for ramped in _ramps(shape, mapping)]
    found = sorted(found + ranked(tiled([] if few else ramps), True), key=lambda entry: entry[0])
    best = next(iter(cheapest(found)), None)
    if best is None:
        what = (
            f"the ifmap window and results of one pass do not fit {room} words of activation memory (act_words)"
            if fits
            else "one filter row's ifmap window does not fit half the PE's scratchpads (ifmap_words, filter_words)"
        )
        raise MappingError(f"{shape.r}x{shape.s} convolution over {shape.in_pitch} words a pixel: {what}")
    return best[1:]
