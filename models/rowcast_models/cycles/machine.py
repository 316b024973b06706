"""The units of the accelerator as generators that go on as far as they know what they need.

Each unit works off its queue in order and appends what it did, and when, to lists that others read: cycles of tokens,
of filled and freed halves, of instructions that left a queue.  A generator that needs an entry which is not there yet
yields.  When all have stopped, the earliest of the events whose time depends on what others do (the next address on the
memory bus, the beats of a read, a written burst, the end of a drain) is settled: nothing that is still unknown can come
before it.

Cycle 0 is the one in which the run begins.
"""

from collections import deque
from math import inf

from rowcast import isa
from rowcast.isa import Unit

from .activity import Activity
from .bus import Bus

__all__ = ["FETCH", "NEVER", "READS", "Ahead", "Coming", "Machine", "finish", "gate", "settled"]

NEVER = inf
FETCH = 6  # the number of the generator behind the six units
AHEAD = 8  # words before the vector unit when it is slower than IFMAP
READS = 7  # of the one that serves reads
ALL = (1 << READS + 1) - 1


class Machine:
    """What the units share.

    Members
    -------
    pushed, passed : cycles in which the instructions of each unit entered their queue, and left it with their tokens.
    tokens : cycles of the signals, by producer and consumer.
    filled, freed : halves of the scratchpads, by Unit.FILTER and Unit.IFMAP.
    psum_filled, psum_freed : halves of the psum scratchpad.
    reads : bursts that have an address and wait for what decides their beats, in order: (what serves it, address,
        beats, about), where `about` is what else that is told, (job, ...) of LOAD, () of the program.
    keys : for each generator (by Unit, FETCH and READS) the cycle of the event that it would settle next.
    limits : up to which cycle it may.
    """

    def __init__(self, jobs, config, memory):
        self.jobs, self.config = jobs, config
        self.bus = Bus(config, memory)
        units = len(Unit) - 1
        self.pushed = [[] for _ in range(units)]
        self.passed = [[] for _ in range(units)]
        self.tokens = [[[] for _ in range(isa.TOKEN_UNITS)] for _ in range(isa.TOKEN_UNITS)]
        self.taken = [[0] * isa.TOKEN_UNITS for _ in range(isa.TOKEN_UNITS)]
        self.filled = {Unit.FILTER: [], Unit.IFMAP: []}
        self.freed = {Unit.FILTER: [], Unit.IFMAP: []}
        self.psum_filled, self.psum_freed = [], []
        self.keys, self.limits = [NEVER] * (READS + 1), [-1] * (READS + 1)
        self.bursts = []  # (first cycle, cycle after the last, beats) of the program's bursts
        self.dispatched = []  # cycle of each instruction
        self.chunks = []  # (first cycle, first capture, cycles a pixel, pixels, whether they add, last cycle)
        self.computed = False  # no further chunk will come
        self.waits = []  # of COMPUTE between chunks, see `array.compute_unit`
        self.vector_starts, self.vector_ends = [], []  # first and last words of IFMAP's vector runs
        self.vector_taken = []  # (last cycle in which POST takes one, how many) of their words
        self.vector_jobs = [job for job in jobs.units[Unit.IFMAP] if job.work is not None and job.work[2]]
        self.marks = []  # (layer, cycle)
        self.spans = []  # (job, first cycle, last cycle)
        self.missing = {}  # by (unit, producer): stretches in which the next instruction lacks a token
        self.busy = {unit: [] for unit in (Unit.LOAD, Unit.STORE, Unit.POST)}
        self.vector_busy = []
        self.finished = set()  # units
        self.ended = 0
        self.store_reads = Activity()
        self.post_writes = Activity()
        self.reads = deque()
        self.wake = ALL

    def signal(self, unit, job, cycle):
        """The job's tokens."""
        tokens = self.tokens[unit]
        for consumer in job.signals:
            tokens[consumer].append(cycle)
            self.wake |= 1 << consumer

    def put(self, serve, address, beats, *about):
        """Let a burst of LOAD wait behind all others."""
        self.reads.append((serve, address, beats, about))
        if len(self.reads) == 1:
            self.wake |= 1 << READS

    def put_fetch(self, serve, address, beats):
        """Let a burst of the program wait: it goes before those of LOAD that have no earlier address."""
        reads = self.reads
        place = len(reads)
        while place and reads[place - 1][1] >= address:
            place -= 1
        reads.insert(place, (serve, address, beats, ()))
        self.wake |= 1 << READS

    def span(self, job, first, last):
        """The job was at work."""
        self.spans.append((job, first, last))

    def end(self, cycle):
        """Something ended in this cycle."""
        self.ended = max(self.ended, cycle)

    def stalls(self, first, last, reading, demand=1):
        """Cycles that IFMAP, reading from `first` to `last`, loses to STORE, which goes first.

        `reading`: of its job; `demand`: turns a cycle that it wants.  With less than one it works some words ahead.
        """
        share, walk = reading
        room = AHEAD if demand < 1 else 0
        ahead, total, at = 0, 0, first
        for begin, end, rate in self.store_reads.within(first, last + 1):
            ahead = min(room, ahead + (begin - at) * (1 - demand))
            less = demand - 1 + rate * share * self.jobs.banks.store_and_ifmap(rate, walk)
            short = less * (end - begin) - ahead
            total += max(short, 0) / demand
            ahead, at = min(room, max(-short, 0)), end
        return int(total + 0.5)

    def run(self, units):
        """Let all units work to the end of the program; `units` are the generators, in the order of `wake`."""
        while True:
            while self.wake:
                lowest = self.wake & -self.wake
                self.wake ^= lowest
                next(units[lowest.bit_length() - 1])
            keys = self.keys
            first = min(keys)
            if first == NEVER:
                self._check()
                return
            which = keys.index(first)
            keys[which] = NEVER
            self.limits[which] = min(keys)
            keys[which] = first
            self.wake = 1 << which

    def _check(self):
        """All instructions must have been executed."""
        stuck = []
        for unit, (jobs, passed) in enumerate(zip(self.jobs.units, self.passed)):
            if unit not in self.finished:
                where = f"before instruction {jobs[len(passed)].index}" if len(passed) < len(jobs) else ""
                stuck.append(f"{Unit(unit).name} {where or f'in instruction {jobs[-1].index}'}")
        if stuck or not self.jobs.units[Unit.CONTROL]:
            raise ValueError(f"the program does not come to its end: {', '.join(stuck) or 'it has no END'}")


def finish(m, unit):
    """Stay at the end of the unit's instructions."""
    m.finished.add(unit)
    while True:
        yield


class Ahead:
    """The next job of a unit, which leaves its queue while the one before is at work; see `gate`."""

    def __init__(self, m, unit, job, free):
        self.gate, self.passed = gate(m, unit, job, free), None

    def step(self):
        """Go on as far as is known now."""
        if self.passed is None:
            try:
                next(self.gate)
            except StopIteration as stop:
                self.passed = stop.value

    def wait(self):
        """The cycle in which it leaves the queue."""
        while True:
            self.step()
            if self.passed is not None:
                return self.passed
            yield


class Coming:
    """The two jobs behind the one that a unit works at: the first stands in front of it, so that the second can leave its queue."""

    def __init__(self, m, unit):
        self.m, self.unit, self.jobs = m, unit, m.jobs.units[unit]
        self.ahead = []
        self.number, self.free, self.taken = 0, 0, None

    def next(self, number, free):
        """The Ahead of a job; the one before was taken in cycle `free`."""
        return self.ahead.pop(0) if self.ahead else Ahead(self.m, self.unit, self.jobs[number], free)

    def look(self, number, free, taken):
        """Look at job `number` and the one behind it from now on; `taken`: the cycle of the first one, from that in which it left."""
        self.number, self.free, self.taken = number, free, taken
        return self

    def step(self):
        """Go on as far as is known now."""
        ahead = self.ahead
        if not ahead and self.number < len(self.jobs):
            ahead.append(Ahead(self.m, self.unit, self.jobs[self.number], self.free))
        for each in ahead:
            each.step()
        if len(ahead) == 1 and ahead[0].passed is not None and self.number + 1 < len(self.jobs):
            ahead.append(Ahead(self.m, self.unit, self.jobs[self.number + 1], self.taken(ahead[0].passed)))
            ahead[1].step()


def settled(m, unit, key, ahead=None):
    """Wait until nothing that is still unknown can come before cycle `key`."""
    while key > m.limits[unit]:
        m.keys[unit] = key
        if ahead:
            ahead.step()
        yield
    m.keys[unit], m.limits[unit] = NEVER, -1


def gate(m, unit, job, free):
    """The cycle in which a job leaves its queue with its tokens; the instruction before was taken in cycle `free`."""
    pushed, passed = m.pushed[unit], m.passed[unit]
    number = len(passed)
    while len(pushed) <= number:
        yield
    cycle = max(pushed[number] + 2, free, passed[-1] + 2 if passed else 0)
    if job.waits:
        taken, seen = m.taken[unit], max(pushed[number] + 1, free) + 1
        for producer in job.waits:
            tokens, number = m.tokens[producer][unit], taken[producer]
            while len(tokens) <= number:
                yield
            taken[producer] = number + 1
            token = tokens[number] + 1
            if token > seen:
                m.missing.setdefault((unit, producer), []).append((seen, token))
                cycle = max(cycle, token + 1)
    passed.append(cycle)
    m.wake |= 1 << FETCH
    return cycle
