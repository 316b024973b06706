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

TOKEN_LIMIT = 63  # a token counter has 6 bits


class TokenOverflow(RuntimeError):
    """A schedule in which a producer could run further ahead of its consumer than a token counter can count.

    Members: units, (producer, consumer).
    """

    def __init__(self, producer, consumer):
        super().__init__(
            f"{Unit(producer).name} could be more than {TOKEN_LIMIT} tokens ahead of {Unit(consumer).name}"
        )
        self.units = (producer, consumer)


@dataclass
class Op:
    """An instruction and the intervals (memory, first word, word after the last) it reads and writes."""

    instruction: isa.Instruction
    reads: tuple = ()
    writes: tuple = ()
    layer: int = 0


@dataclass
class _Access:
    low: int
    high: int
    unit: Unit
    index: int


class _Memory:
    """The accesses of one memory that a later operation may still depend on."""

    def __init__(self):
        self.reads, self.writes = [], []

    def hazards(self, low, high, *, write):
        found = [a for a in self.writes if a.low < high and low < a.high]
        if write:
            found += [a for a in self.reads if a.low < high and low < a.high]
        return found

    def add(self, access, *, write):
        def covered(a):
            return access.low <= a.low and a.high <= access.high

        # What a write covers is settled for good: whoever comes later waits for the write.  A read
        # stands for the earlier reads of its own unit, since a unit works in order.
        if write:
            self.writes = [a for a in self.writes if not covered(a)]
            self.reads = [a for a in self.reads if not covered(a)]
            self.writes.append(access)
        else:
            self.reads = [a for a in self.reads if not (a.unit == access.unit and covered(a))]
            self.reads.append(access)


def synchronise(ops, *, queue_depth):
    """Set `wait` and `signal` of the operations' instructions, in place.

    Where more tokens of a kind could be under way than are counted, consumers wait for the end of a few operations of
    the producer instead of each: for as few as is enough.

    Raises
    ------
    TokenOverflow
        More than 63 tokens of one kind could be under way, however few operations get one.
    """
    needs = _needs(ops)
    steps = {}
    while True:
        for op in ops:
            op.instruction.wait = op.instruction.signal = 0
        _connect(ops, needs, steps)
        try:
            _check_counts(ops, queue_depth)
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
        for intervals, write in ((op.reads, False), (op.writes, True)):
            for space, low, high in intervals:
                for access in memories.setdefault(space, _Memory()).hazards(low, high, write=write):
                    if access.unit != unit:
                        need[access.unit] = max(need.get(access.unit, -1), access.index)
        for intervals, write in ((op.reads, False), (op.writes, True)):
            for space, low, high in intervals:
                memories[space].add(_Access(low, high, unit, index), write=write)
    return needs


def _check_counts(ops, queue_depth):
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
                if made[key] - taken.get(key, 0) > TOKEN_LIMIT:
                    raise TokenOverflow(unit, Unit(consumer))
