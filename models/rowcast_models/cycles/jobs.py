"""A program dealt out to its units: what each instruction costs there, and which counters it alone decides."""

from rowcast import isa
from rowcast.isa import Unit

from .banks import banks_of
from .counts import Counts
from .writers import drain_time

__all__ = ["WAITS", "Job", "Jobs"]

# Units of a mask of wait or signal bits.
WAITS = tuple(tuple(u for u in range(isa.TOKEN_UNITS) if mask >> u & 1) for mask in range(1 << isa.TOKEN_UNITS))


class Job:
    """One instruction as its unit sees it.

    Members
    -------
    index : place in the program.
    name : of its format.
    waits, signals : units.
    work : tuple that depends on the format, see `Jobs`.
    """

    __slots__ = ("index", "name", "signals", "waits", "work")

    def __init__(self, index, name, waits, signals, work):
        self.index, self.name, self.waits, self.signals, self.work = index, name, waits, signals, work


class Jobs:
    """All jobs of a program.

    `work` by format:

    - LOAD, STORE: (rows as tuples of bursts in beats, items of parameters in a beat, space).
    - FILTER_RUN: (flits of a chunk, chunks).
    - IFMAP_RUN: (turns of a chunk, chunks, False, reading) or, to the vector unit, (turns of a window, windows, True,
      reading), where reading is (share of turns that are no padding, `Banks.walk`).
    - COMPUTE_RUN: (MACs of a dot product, pixels, chunks, first, last).
    - POST_RUN: (0, psums of a column, words to write, `drain_time` if there are several writers, cycles that LOAD
      loses for each word), or (source, windows, words from one result to the next, None, words of a result, groups of
      columns that take turns).
    - MARK: (layer,).

    Parameters
    ----------
    instructions : list of `isa.Instruction`.
    config : Config.

    Members
    -------
    units : for each unit the list of its jobs.
    order : the unit of each instruction.
    counts : `Counts`.
    """

    def __init__(self, instructions, config):
        self.config = config
        self.units = [[] for _ in Unit]
        self.order = []
        self.counts = Counts(config, len(instructions))
        self._rows = {}
        self._stride = {"LOAD": (0, 0), "STORE": (0, 0)}
        self._dots = self._pixels = 1
        self._levels, self._steps = [(1, 0, 0)] * 6, [0] * 6
        self.banks = banks_of(config)
        self._bounds, self._walk = (0, 0), None
        self._post_words = 1
        self._post_step = 0
        self._places = [[None] * config.columns for _ in range(config.rows)]
        self._drains = {}
        prepare = {name: getattr(self, f"_{name.lower()}", None) for name in isa.FORMATS}
        place = {name: int(form.unit) for name, form in isa.FORMATS.items()}
        units, order = self.units, self.order
        for index, instruction in enumerate(instructions):
            name = instruction.name
            make = prepare[name]
            work = make(instruction.fields, index) if make is not None else None
            unit = place[name]
            order.append(unit)
            units[unit].append(Job(index, name, WAITS[instruction.wait], WAITS[instruction.signal], work))

    # Transfers --------------------------------------------------------------------------------------------------

    def _load_stride(self, fields, index):
        self._stride["LOAD"] = fields["dram_stride"], fields["buffer_stride"]

    def _store_stride(self, fields, index):
        self._stride["STORE"] = fields["dram_stride"], fields["buffer_stride"]

    def _load(self, fields, index):
        bursts = self._bursts(fields, self._stride["LOAD"][0])
        words, space = fields["words"] * fields["rows"], fields["space"]
        beats = sum(map(sum, bursts))
        # A word of parameters is split into items of 32 bits, one a cycle; other beats are taken as they come.
        items = words * self.config.lanes // 4 / beats if space == isa.Space.PARAM else 0
        self.counts.load(index, space, beats)
        return bursts, items, space

    def _store(self, fields, index):
        bursts = self._bursts(fields, self._stride["STORE"][0])
        self.counts.store(index, sum(map(sum, bursts)))
        return bursts, 0, fields["space"]

    def _bursts(self, fields, stride):
        """Beats of the bursts of each row."""
        beat, burst = self.config.dram_words, self.config.burst_beats
        period = beat * burst
        words, rows, start = fields["words"], fields["rows"], fields["dram"] % period
        stride %= period
        key = (words, rows, start, stride if rows > 1 else 0)
        found = self._rows.get(key)
        if found is None:
            found = tuple(_cut((start + row * stride) % period, words, beat, burst) for row in range(rows))
            self._rows[key] = found
        return found

    # Feeders ----------------------------------------------------------------------------------------------------

    def _filter_run(self, fields, index):
        flits = fields["flits"] * fields["groups_column"] * fields["groups_row"]
        self.counts.filter_run(index, flits * fields["chunks"])
        return flits, fields["chunks"]

    def _ifmap_loop(self, fields, index):
        pair = fields["pair"]
        for at, which in enumerate(("_a", "_b")):
            self._levels[2 * pair + at] = fields["count" + which], fields["dy" + which], fields["dx" + which]
            self._steps[2 * pair + at] = fields["step" + which]
        self._walk = None

    def _ifmap_set(self, fields, index):
        self._bounds = fields["height"], fields["width"]

    def _ifmap_run(self, fields, index):
        levels = self._levels
        window = levels[0][0] * levels[1][0]
        inner = window * levels[2][0] * levels[3][0] * levels[4][0]
        chunks = levels[5][0]
        reads = self.counts.inside(tuple(levels), fields["y"], fields["x"], *self._bounds)
        self.counts.ifmap_run(index, reads, inner * chunks, vector=fields["vector"])
        if self._walk is None:
            self._walk = self.banks.walk(tuple((level[0], step) for level, step in zip(levels, self._steps)))
        reading = reads / (inner * chunks), self._walk
        if fields["vector"]:
            return window, inner // window * chunks, True, reading
        return inner, chunks, False, reading

    # Array ------------------------------------------------------------------------------------------------------

    def _compute_loop_k(self, fields, index):
        self._dots = fields["count_c"] * fields["count_s"] * fields["count_r"]

    def _compute_loop_p(self, fields, index):
        self._pixels = fields["count_x"] * fields["count_y"]

    def _compute_run(self, fields, index):
        chunks = fields["chunks"]
        self.counts.compute_run(index, self._dots * self._pixels * chunks)
        return self._dots, self._pixels, chunks, fields["first"], fields["last"]

    # Results ----------------------------------------------------------------------------------------------------

    def _post_pe(self, fields, index):
        self._places[fields["row"]][fields["column"]] = fields["offset"] if fields["valid"] else None

    def _post_loop(self, fields, index):
        self._post_words = fields["count_x"] * fields["count_y"]
        self._post_step = fields["step_x"]

    def _post_run(self, fields, index):
        words = self._post_words
        if fields["source"] != isa.PostSource.DRAIN:
            made = fields["more_words"] + 1
            self.counts.post_run(index, 0, words * made)
            most, group = self.config.vector_words, 1 << fields["more_words"].bit_length()
            return fields["source"], words, self._post_step, None, made, self.config.columns // most * most // group
        rows = self._places[: fields["rows"]]
        psums = words * len(rows) * self.config.lanes
        made = words * sum(len(row) - row.count(None) for row in rows)
        self.counts.post_run(index, psums, made)
        if self.config.drain_writers == 1:
            return 0, psums, made, None, self._meeting(rows)
        return 0, psums, made, *self._writing(rows, words)

    def _meeting(self, rows):
        """Cycles that LOAD loses for each word of a drain."""
        lanes = self.config.lanes
        words = [(column % lanes, place) for column, place in enumerate(rows[0]) if place is not None]
        return self.banks.post_and_load(lanes, words, self._post_step)[0] if words else 0

    def _writing(self, rows, words):
        """`drain_time` of a run if there are several writers, and cycles that LOAD loses for each word."""
        banks = self.config.act_banks
        rows = tuple(tuple(None if place is None else place % banks for place in row) for row in reversed(rows))
        key = (rows, words, self._post_step % banks)
        found = self._drains.get(key)
        if found is None:
            table = [
                [None if place is None else (place + pixel * self._post_step) % banks for place in row]
                for row in rows for pixel in range(words)
            ]  # fmt: skip
            last_psum, last_word, wanted = drain_time(table, len(table), lanes=self.config.lanes)
            found = self._drains[key] = (last_psum, last_word), self.banks.writers_and_load(wanted)
        return found

    def _mark(self, fields, index):
        return (fields["layer"],)


def _cut(start, words, beat, burst):
    """Beats of the bursts of a row that starts at this word."""
    first, last = start // beat, (start + words - 1) // beat
    cuts = []
    while first <= last:
        end = min(last, first | (burst - 1))
        cuts.append(end - first + 1)
        first = end + 1
    return tuple(cuts)
