"""Counters that follow from the program alone, exact and instruction by instruction."""

from rowcast import isa
from rowcast.isa import Space

__all__ = ["COUNTED", "Counts"]

# All but `cycles` and the causes, in the order of `registers.COUNTERS`.
COUNTED = (
    "mac_cycles", "filter_flits", "ifmap_flits", "psums", "act_reads", "act_writes", "filter_reads", "filter_writes",
    "read_beats", "write_beats", "instructions",
)  # fmt: skip


class Counts:
    """What each instruction adds to each counter.

    Members
    -------
    entries : {counter: list of (index of the instruction, events)}, without `instructions` and without the beats that
        read the program.
    program_beats : beats that read the program.
    instructions : in the program.
    """

    def __init__(self, config, instructions):
        self.config = config
        self.instructions = instructions
        self.program_beats = -(-instructions * isa.BYTES // config.dram_bytes)
        self.entries = {name: [] for name in COUNTED}
        self._inside = {}

    def totals(self):
        """Events of the whole program by counter."""
        totals = {name: sum(events for _, events in found) for name, found in self.entries.items()}
        totals["read_beats"] += self.program_beats
        totals["instructions"] += self.instructions
        return totals

    def _add(self, name, index, events):
        self.entries[name].append((index, events))

    def load(self, index, space, beats):
        """Note a LOAD of so many beats."""
        self._add("read_beats", index, beats)
        if space == Space.ACT:
            self._add("act_writes", index, beats)
        elif space == Space.FILTER:
            self._add("filter_writes", index, beats)

    def store(self, index, beats):
        """Note a STORE."""
        self._add("write_beats", index, beats)
        self._add("act_reads", index, beats)

    def filter_run(self, index, flits):
        """Note a FILTER_RUN."""
        self._add("filter_flits", index, flits)
        self._add("filter_reads", index, flits)

    def ifmap_run(self, index, reads, turns, *, vector):
        """Note an IFMAP_RUN of so many turns, of which `reads` are not padding."""
        self._add("act_reads", index, reads)
        if not vector:
            self._add("ifmap_flits", index, turns)

    def compute_run(self, index, cycles):
        """Note a COMPUTE_RUN with so many cycles in which the PEs multiply."""
        self._add("mac_cycles", index, cycles)

    def post_run(self, index, psums, words):
        """Note a POST_RUN with so many psums of a column and words to write."""
        if psums:
            self._add("psums", index, psums)
        self._add("act_writes", index, words)

    def inside(self, levels, y, x, height, width):
        """Turns of an IFMAP loop nest whose coordinates are inside the ifmap.

        Parameters
        ----------
        levels : (turns, dy, dx) of each level, innermost first; an advance returns the inner levels.
        y, x : coordinates of the first turn.
        height, width : of the ifmap.
        """
        distances, gone_y, gone_x = [], 0, 0
        for turns, dy, dx in levels:
            down, right = dy + gone_y, dx + gone_x
            gone_y, gone_x = gone_y + (turns - 1) * down, gone_x + (turns - 1) * right
            if turns > 1:
                distances.append((turns, down, right))
        key = (tuple(distances), y, x, height, width)
        found = self._inside.get(key)
        if found is None:
            found = self._inside[key] = _inside(distances, y, x, height, width)
        return found


def _inside(distances, y, x, height, width):
    """Walk the levels that move in both directions; rows and columns of the others are independent."""
    for at, (turns, down, right) in enumerate(distances):
        if down and right:
            rest = distances[:at] + distances[at + 1 :]
            return sum(_inside(rest, y + i * down, x + i * right, height, width) for i in range(turns))
    still = 1
    for turns, down, right in distances:
        if not down and not right:
            still *= turns
    rows = _along([(turns, down) for turns, down, _ in distances if down], y, height)
    return still * rows * _along([(turns, right) for turns, _, right in distances if right], x, width)


def _along(distances, start, size):
    """Points start + sum(i x distance) inside [0, size)."""
    if not distances:
        return 1 if 0 <= start < size else 0
    *rest, (turns, distance) = sorted(distances)
    if not rest:
        ends = sorted((start, start + (turns - 1) * distance))
        if 0 <= ends[0] and ends[1] < size:
            return turns
        if distance < 0:
            start, distance = start + (turns - 1) * distance, -distance
        low = max(0, -(start // distance))  # the first i with start + i x distance >= 0
        high = min(turns - 1, (size - 1 - start) // distance)
        return max(0, high - low + 1)
    return sum(_along(rest, start + i * distance, size) for i in range(turns))
