"""Fetch and dispatch: the program comes in bursts and is dealt out in order."""

from rowcast import isa
from rowcast.isa import Unit

from .machine import FETCH, NEVER

__all__ = ["dispatch"]

BUFFER_BYTES, LEAST_BEATS = 256, 16  # of fetch's buffer
FIRST_PLAN = 1
PLAN = 3  # cycles from the plan of a burst to its offer
FIRST = 0.5  # the address goes out a cycle later, and before one of LOAD in the same cycle


class _Bursts:
    """The bursts of the program: asks for the next one as soon as there is room for the largest."""

    def __init__(self, m, beats):
        self.m, self.left = m, beats
        self.buffer = max(LEAST_BEATS, BUFFER_BYTES // m.config.dram_bytes)
        self.most = min(self.buffer // 2, m.config.burst_beats)
        self.asked = 0
        self.plan = FIRST_PLAN
        self.pops = []  # cycles in which beats left the buffer
        self.times = []  # cycles in which the beats that came are in the buffer

    def popped(self, cycle):
        """A beat has left the buffer in this cycle; maybe there is room for another burst."""
        self.pops.append(cycle)
        if self.m.keys[FETCH] == NEVER:
            self.ask()

    def ask(self):
        """Plan the next burst, if there are beats left and it is known when there is room for it."""
        needed = self.asked - self.buffer + self.most  # beats that must have left the buffer
        if self.left and needed <= len(self.pops):
            if needed > 0:
                self.plan = max(self.plan, self.pops[needed - 1] + 1)
            self.m.keys[FETCH] = self.plan + PLAN + FIRST

    def serve(self):
        """Put up the address that was asked for."""
        m = self.m
        address = int(m.keys[FETCH] + 1)
        beats = min(self.left, self.most)
        if m.reads:
            m.put_fetch(self.read, address, beats)
        else:
            self.read(address, beats)
        self.asked += beats
        self.left -= beats
        self.plan = address
        m.keys[FETCH], m.limits[FETCH] = NEVER, -1
        self.ask()

    def read(self, address, beats):
        """Memory serves a burst."""
        m = self.m
        first, last = m.bus.read(address, beats)
        self.times.extend(int(first + i * m.bus.step) + 1 for i in range(beats))
        m.bursts.append((first, last + 1, beats))
        m.wake |= 1 << FETCH


def dispatch(m):
    """Deal instructions out to the queues; as a generator."""
    beat_bytes, depth = m.config.dram_bytes, m.config.queue_depth
    order, pushed, passed = m.jobs.order, m.pushed, m.passed
    parts = max(1, isa.BYTES // beat_bytes)  # beats of an instruction
    share = max(1, beat_bytes // isa.BYTES)  # instructions of a beat
    dispatched = m.dispatched
    bursts = _Bursts(m, m.jobs.counts.program_beats)
    bursts.ask()
    times = bursts.times
    taken, load, beat, dealt = 0, -1, 0, -1  # cycles in which the last instruction left fetch, and went to its queue
    for number, unit in enumerate(order):
        last = beat + parts if share == 1 else number // share + 1
        while len(times) < last:
            if m.limits[FETCH] >= m.keys[FETCH]:
                bursts.serve()
            else:
                yield
        load = max(taken, load + 1, times[beat] + 1)
        while beat < last - 1:
            beat += 1
            bursts.popped(load)
            load = max(load + 1, times[beat] + 1)
        if share == 1 or number % share == share - 1:
            beat += 1
            bursts.popped(load)
        taken = max(load, dealt) + 1
        dealt = taken + 1
        dispatched.append(dealt)
        if unit == Unit.CONTROL:
            break
        queue = pushed[unit]
        before = len(queue) - depth - 1  # one more stands behind the queue, where it waits for its tokens
        if before >= 0:
            left = passed[unit]
            while len(left) <= before:
                if m.limits[FETCH] >= m.keys[FETCH]:
                    bursts.serve()
                else:
                    yield
            if left[before] + 1 >= dealt:
                dealt = dispatched[-1] = left[before] + 2
        queue.append(dealt)
        m.wake |= 1 << unit
    m.end(dealt + 1)
    while True:
        if m.limits[FETCH] >= m.keys[FETCH]:  # what stands behind END is read, too
            bursts.serve()
        yield
