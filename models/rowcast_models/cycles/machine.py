"""The units of the accelerator as generators that go on as far as they know what they need.

Each unit works off its queue in order and appends what it did, and when, to lists that others read: cycles of tokens, of
filled and freed halves, of instructions that left a queue.  A generator that needs an entry which is not there yet
yields.  When all have stopped, the earliest of the events whose time depends on what others do (the next address on the
memory bus, a written burst, the end of a drain) is settled: nothing that is still unknown can come before it.

Cycle 0 is the one in which the run begins.
"""

from math import inf

from rowcast import isa
from rowcast.isa import Unit

from .bus import Bus

__all__ = ["NEVER", "Machine", "gate"]

NEVER = inf
ALL = (1 << 7) - 1  # the six units, and the fetch and dispatch


class Machine:
    """What the units share.

    Members
    -------
    pushed, passed : cycles in which the instructions of each unit entered their queue, and left it with their tokens.
    tokens : cycles of the signals, by producer and consumer.
    filled, freed : halves of the scratchpads, by Unit.FILTER and Unit.IFMAP.
    psum_filled, psum_freed : halves of the psum scratchpad.
    load_key, fetch_key, store_key, drain_key : the event that would be settled next; `..._limit`: up to where it may.
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
        self.load_key = self.fetch_key = self.store_key = self.drain_key = NEVER
        self.load_limit = self.fetch_limit = self.store_limit = self.drain_limit = -1
        self.bursts = []  # (first cycle, cycle after the last, beats) of the program's bursts
        self.dispatched = []  # cycle of each instruction
        self.chunks = []  # (first cycle, first capture, cycles a pixel, pixels, whether they add, last cycle)
        self.computed = False  # no further chunk will come
        self.waits = []  # of COMPUTE between chunks, see `array.compute_unit`
        self.vector_starts, self.vector_ends = [], []  # first and last words of IFMAP's vector runs
        self.vector_jobs = [job for job in jobs.units[Unit.IFMAP] if job.work is not None and job.work[2]]
        self.marks = []  # (layer, cycle)
        self.spans = []  # (job, first cycle, last cycle)
        self.missing = {}  # by (unit, producer): stretches in which the next instruction lacks a token
        self.busy = {unit: [] for unit in (Unit.LOAD, Unit.STORE, Unit.POST)}
        self.vector_busy = []
        self.ended = 0
        self.wake = ALL

    def signal(self, unit, job, cycle):
        """The job's tokens."""
        tokens = self.tokens[unit]
        for consumer in job.signals:
            tokens[consumer].append(cycle)
        self.wake = ALL

    def span(self, job, first, last):
        """The job was at work."""
        self.spans.append((job, first, last))

    def end(self, cycle):
        """Something ended in this cycle."""
        if cycle > self.ended:
            self.ended = cycle

    def run(self, units):
        """Let all units work to the end of the program; `units` are the generators, in the order of `wake`."""
        while True:
            while self.wake:
                lowest = self.wake & -self.wake
                self.wake ^= lowest
                next(units[lowest.bit_length() - 1])
            keys = (self.fetch_key, self.load_key, self.store_key, self.drain_key)
            first = min(keys)
            if first == NEVER:
                self._check()
                return
            which = keys.index(first)
            limit = min(keys[:which] + keys[which + 1 :])
            if which == 0:
                self.fetch_limit = limit
                self.wake = 1 << 6
            elif which == 1:
                self.load_limit = limit
                self.wake = 1 << Unit.LOAD
            elif which == 2:
                self.store_limit = limit
                self.wake = 1 << Unit.STORE
            else:
                self.drain_limit = limit
                self.wake = 1 << Unit.POST

    def _check(self):
        """All instructions must have been executed."""
        stuck = [
            f"{Unit(unit).name} at instruction {jobs[len(passed)].index}"
            for unit, (jobs, passed) in enumerate(zip(self.jobs.units, self.passed))
            if len(passed) < len(jobs)
        ]
        if stuck or not self.jobs.units[Unit.CONTROL]:
            raise ValueError(f"the program does not come to its end: {', '.join(stuck) or 'it has no END'}")


def gate(m, unit, job, free):
    """The cycle in which a job leaves its queue with its tokens; the instruction before was taken in cycle `free`."""
    pushed, passed = m.pushed[unit], m.passed[unit]
    number = len(passed)
    while len(pushed) <= number:
        yield
    cycle = max(pushed[number] + 1, free)
    if job.waits:
        taken, seen = m.taken[unit], max(pushed[number], free) + 1
        for producer in job.waits:
            tokens, number = m.tokens[producer][unit], taken[producer]
            while len(tokens) <= number:
                yield
            taken[producer] = number + 1
            token = tokens[number] + 1
            if token > seen:
                m.missing.setdefault((unit, producer), []).append((seen, token))
                cycle = max(cycle, token)
    passed.append(cycle)
    m.wake |= 1 << 6
    return cycle
