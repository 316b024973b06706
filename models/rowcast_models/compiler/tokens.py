"""Dependency tokens from what instructions read and write.

Every operation names the intervals it reads and writes, in words of a memory (`act`, `filter`, `param`, `dram`).  Program order
is the meaning; units run apart.  An operation that touches what an earlier one of another unit wrote (or writes what it
read) waits for that one.  Units complete in order, so it is enough to wait for the latest such operation of each unit,
and not at all if a later one has been waited for already: the n-th wait of a consumer then always meets the n-th
signal of its producer.
"""

from bisect import bisect_left
from dataclasses import dataclass

from rowcast import isa
from rowcast.isa import Unit

from .geometry import ceil_div

__all__ = ["Op", "TokenOverflow", "synchronise"]

TOKEN_LIMIT = 63  # a token counter has 6 bits, unless the configuration says otherwise


class TokenOverflow(RuntimeError):
    """A schedule in which a producer could run further ahead of its consumer than a token counter can count.

    Members: units, (producer, consumer).
    """

    def __init__(self, producer, consumer, limit=TOKEN_LIMIT):
        super().__init__(
            f"{Unit(producer).name} could be more than {limit} tokens ahead of {Unit(consumer).name}"
        )
        self.units = (producer, consumer)


@dataclass
class Op:
    """An instruction, the intervals (memory, first word, word after the last) it reads and writes, and for which node it works."""

    instruction: isa.Instruction
    reads: tuple = ()
    writes: tuple = ()
    layer: int = 0
    node: str = ""


class _Memory:
    """What was last done to every word of a memory: cut where intervals begin and end, so that a look-up is a bisection.

    A write settles what was before it: whoever comes later waits for the write, which waited itself.  An access of a unit
    stands for the earlier ones of the same unit, since a unit works in order.

    Members
    -------
    starts : first words of the pieces, in order; the first is 0 and the last piece has no end.
    writes : (unit, index) of the last write of each piece, or None.
    reads : {unit: index} of the last reads since; never changed in place, since pieces share them.
    """

    def __init__(self):
        self.starts, self.writes, self.reads = [0], [None], [{}]

    def cut(self, word):
        """Number of the piece that begins with this word, cut off if need be."""
        at = bisect_left(self.starts, word)
        if at == len(self.starts) or self.starts[at] != word:
            self.starts.insert(at, word)
            self.writes.insert(at, self.writes[at - 1])
            self.reads.insert(at, self.reads[at - 1])
        return at

    def read(self, low, high, unit, index):
        """Note a read; yields the (unit, index) that it follows."""
        first, last = self.cut(low), self.cut(high)
        yield from set(self.writes[first:last]) - {None}
        for at in range(first, last):
            self.reads[at] = {**self.reads[at], unit: index}

    def write(self, low, high, unit, index):
        """Note a write; yields the (unit, index) that it follows."""
        first, last = self.cut(low), self.cut(high)
        yield from set(self.writes[first:last]) - {None}
        for reads in self.reads[first:last]:
            yield from reads.items()
        self.starts[first:last], self.writes[first:last], self.reads[first:last] = [low], [(unit, index)], [{}]


def synchronise(ops, *, queue_depth, limit=TOKEN_LIMIT):
    """Set `wait` and `signal` of the operations' instructions, in place.

    Where more tokens of a kind could be under way than are counted, consumers wait for the end of a few operations of
    the producer instead of each: for as few as is enough.

    Raises
    ------
    TokenOverflow
        More than `limit` tokens of one kind could be under way, however few operations get one.
    """
    needs = _needs(ops)
    steps = {}
    while True:
        for op in ops:
            op.instruction.wait = op.instruction.signal = 0
        _connect(ops, needs, steps)
        try:
            _check_counts(ops, queue_depth, limit)
            return
        except TokenOverflow as overflow:
            steps[overflow.units] = 2 * steps.get(overflow.units, 1)
            if steps[overflow.units] > 2 * len(ops):
                raise


def _connect(ops, needs, steps):
    """Tokens for what each operation needs: of every `steps`-th operation of a producer, or of its last so far."""
    reached, made = {}, {}  # made: indices of a unit's operations so far
    for index, op in enumerate(ops):
        unit = op.instruction.unit
        if unit >= isa.TOKEN_UNITS:
            continue
        for producer, at in needs[index].items():
            if at <= reached.get((producer, unit), -1):
                continue
            step = steps.get((producer, unit), 1)
            if step > 1:
                done = made[producer]
                at = done[min(ceil_div(bisect_left(done, at) + 1, step) * step, len(done)) - 1]
            reached[producer, unit] = at
            ops[at].instruction.signal |= 1 << unit
            op.instruction.wait |= 1 << producer
        if op.instruction.name not in isa.SILENT:
            made.setdefault(unit, []).append(index)


def _needs(ops):
    """For each operation the latest one of every other unit that must be complete: {unit: index}."""
    memories, needs = {}, []
    for index, op in enumerate(ops):
        unit = op.instruction.unit
        need = {}
        needs.append(need)
        if unit >= isa.TOKEN_UNITS:
            continue
        notes = [(_Memory.read, *interval) for interval in op.reads] + [(_Memory.write, *interval) for interval in op.writes]
        for note, space, low, high in notes:
            if low < high:
                for other, at in note(memories.setdefault(space, _Memory()), low, high, unit, index):
                    if other != unit:
                        need[other] = max(need.get(other, -1), at)
    return needs


def _check_counts(ops, queue_depth, limit):
    """Bound the tokens under way: a consumer can be at most its queue behind the dispatcher."""
    made, taken, recent = {}, {}, {}
    for op in ops:
        unit = op.instruction.unit
        if unit >= isa.TOKEN_UNITS:
            continue
        waiting = recent.setdefault(unit, [])
        waiting.append(op.instruction.wait)
        if len(waiting) > queue_depth + 2:
            done = waiting.pop(0)
            for producer in range(isa.TOKEN_UNITS):
                taken[producer, unit] = taken.get((producer, unit), 0) + (done >> producer & 1)
        for consumer in range(isa.TOKEN_UNITS):
            if op.instruction.signal >> consumer & 1:
                key = (int(unit), consumer)
                made[key] = made.get(key, 0) + 1
                if made[key] - taken.get(key, 0) > limit:
                    raise TokenOverflow(unit, Unit(consumer), limit)
