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

from .activity import Activity
from .bus import Bus

__all__ = ["FETCH", "NEVER", "Machine", "gate", "settled"]

NEVER = inf
FETCH = 6  # the number of the generator behind the six units
ALL = (1 << FETCH + 1) - 1


class Machine:
    """What the units share.

    Members
    -------
    pushed, passed : cycles in which the instructions of each unit entered their queue, and left it with their tokens.
    tokens : cycles of the signals, by producer and consumer.
    filled, freed : halves of the scratchpads, by Unit.FILTER and Unit.IFMAP.
    psum_filled, psum_freed : halves of the psum scratchpad.
    keys : for each generator (by Unit, and FETCH) the cycle of the event that it would settle next.
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
        self.keys, self.limits = [NEVER] * (FETCH + 1), [-1] * (FETCH + 1)
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
        # Banks of both clients among all: how often a read of STORE is in the way of one of IFMAP.
        self.meet = min(1, (config.noc_words + config.dram_words - 1) / config.act_banks)
        self.store_reads = Activity()
        self.post_writes = Activity()
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

    def stalls(self, first, last, share, demand=1):
        """Cycles that IFMAP, reading from `first` to `last`, loses to STORE, which goes first.

        `share`: of its turns that read, not pad; `demand`: turns a cycle that it wants.
        """
        return int(self.store_reads.loss(first, last + 1, share * self.meet, demand) + 0.5)

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
        stuck = [
            f"{Unit(unit).name} at instruction {jobs[len(passed)].index}"
            for unit, (jobs, passed) in enumerate(zip(self.jobs.units, self.passed))
            if len(passed) < len(jobs)
        ]
        if stuck or not self.jobs.units[Unit.CONTROL]:
            raise ValueError(f"the program does not come to its end: {', '.join(stuck) or 'it has no END'}")


def settled(m, unit, key):
    """Wait until nothing that is still unknown can come before cycle `key`."""
    while key > m.limits[unit]:
        m.keys[unit] = key
        yield
    m.keys[unit], m.limits[unit] = NEVER, -1


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
    m.wake |= 1 << FETCH
    return cycle
