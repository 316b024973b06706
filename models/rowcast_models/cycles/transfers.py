"""LOAD and STORE: instructions to rows, rows to bursts, bursts to the bus."""

# Comparisons instead of `max` where it is done for every burst: they take a quarter of the time.
# ruff: noqa: PLR1730

from rowcast.isa import Space, Unit

from .machine import NEVER, Ahead, finish

__all__ = ["load_unit", "store_unit"]

ROWS_AHEAD = 17  # rows between addresses and data
BURST_GAP = 2  # cycles from one address to the next
ROW_GAP = 2  # and from one row
FIRST_BURST = 4  # from a row's walk to its first address
ANSWER = 2  # from the answer to a written burst to its token
BURSTS_OWED = 3  # written bursts with an address and without their last beat
BURSTS_ANSWERED_LATER = 16
BEATS_AHEAD = 16  # read from the buffer before they are sent
ROW, JOB = 1, 2  # what a burst is the last of
LITTLE = 1e-6  # of a beat: what is left of sums of fractions
SPLITTER = 4  # rows between the walk and their last address


class _Walk:
    """The walk through the rows of one unit: when a row can leave it, as far as the stages behind have room."""

    def __init__(self):
        self.at = -ROW_GAP  # the walk of the row before
        self.issued = [-1] * SPLITTER  # last addresses of rows
        self.moved = [-1] * (ROWS_AHEAD + 1)  # last beats of rows
        self.under_way = 0  # rows with an address whose last beats are not known

    def row(self, earliest):
        """The walk of the next row."""
        at, moved, issued = self.at + ROW_GAP, self.moved[self.under_way - ROWS_AHEAD - 1] + 1, self.issued[-SPLITTER]
        if at < earliest:
            at = earliest
        if at < issued:
            at = issued
        if at < moved:
            at = moved
        self.at = at
        return at

    def done(self, issued, moved):
        """The row's last address and last beat."""
        self.issued.append(issued)
        self.moved.append(moved)


class _Loads:
    """LOAD's bursts as memory serves them.

    Members
    -------
    walk : `_Walk`.
    ended : cycles after the last beats.
    waiting : bursts that have an address and are not served.
    blocked : whether LOAD waits for one.
    """

    def __init__(self, m, walk):
        self.m, self.walk = m, walk
        self.ended = [-1] * m.config.outstanding_reads
        self.waiting, self.blocked = 0, False
        self.begun = None  # the first beat of the instruction
        self.lag = m.config.lanes // 4

    def serve(self, address, beats, job, seen, ends):
        """A burst; `seen`: the cycle in which the job was at the unit; `ends`: of what it is the last one."""
        bus, (_, items, space) = self.m.bus, job.work
        if items:
            first, last = bus.read_items(address, beats, items, self.lag)
        else:
            first, last = bus.read(address, beats, self.m.post_writes if space == Space.ACT else None, bus.load_free)
        self.ended.append(last + 1)
        if self.begun is None:
            self.begun = first
        if ends:
            self.walk.moved.append(last + 1)
        if ends == JOB:
            self.end(job, seen, last)

    def serve_late(self, *burst):
        """One that has waited."""
        self.waiting -= 1
        if burst[-1]:
            self.walk.under_way -= 1
        self.serve(*burst)
        if self.blocked:
            self.m.wake |= 1 << Unit.LOAD

    def block(self, ahead):
        """Let LOAD stand until a burst is served."""
        self.m.keys[Unit.LOAD], self.blocked = NEVER, True
        if ahead:
            ahead.step()
        yield
        self.blocked = False

    def end(self, job, seen, last):
        """The instruction's last beat."""
        m = self.m
        end = m.bus.split - self.lag + 1 if job.work[1] else last + 3
        m.span(job, self.begun, last)
        m.busy[Unit.LOAD].append((seen, end))
        m.signal(Unit.LOAD, job, end)
        m.end(end)
        self.begun = None


def load_unit(m):
    """LOAD, as a generator; its events are the addresses that it puts up, but for those that `reads_unit` waits for."""
    unit = Unit.LOAD
    walk, bus, reads, keys, limits = _Walk(), m.bus, m.reads, m.keys, m.limits
    loads = _Loads(m, walk)
    limit, ended = m.config.outstanding_reads, loads.ended
    issue = -BURST_GAP
    take, idle = 0, 0
    ahead, jobs = None, m.jobs.units[unit]
    for number, job in enumerate(jobs, start=1):
        time = yield from (ahead or Ahead(m, unit, job, take)).wait()
        ahead = None
        seen = time + 1
        take = max(seen, idle)
        if job.work is None:
            idle = take + 1
            m.signal(unit, job, take + 1)
            continue
        rows, _, space = job.work
        earliest = take + 1
        ahead = Ahead(m, unit, jobs[number], take) if number < len(jobs) else None
        for row_number, row in enumerate(rows, start=1):
            while walk.under_way > ROWS_AHEAD:
                yield from loads.block(ahead)
            at = walk.row(earliest)
            ready, left = at + FIRST_BURST, len(row)
            while left:
                beats, count = row[-left], 1
                while loads.waiting >= limit:
                    yield from loads.block(ahead)
                oldest = ended[loads.waiting - limit]
                issue += BURST_GAP
                if issue < ready:
                    issue = ready
                if issue <= oldest:
                    issue = oldest + 1
                address = issue + 2
                ends = 0 if left > 1 else ROW if row_number < len(rows) else JOB
                if reads or space == Space.ACT:
                    loads.waiting += 1
                    walk.under_way += ends > 0
                    m.put(loads.serve_late, address, beats, job, seen, ends)
                    left -= 1
                    continue
                while address > limits[unit]:
                    keys[unit] = address
                    if ahead:
                        ahead.step()
                    yield
                busy = issue == oldest + 1 and ended[-1] - oldest == (limit - 1) * beats
                if busy and left > 2 and space == Space.FILTER:
                    count = min(left - 1, (limits[unit] - address) // beats + 1)
                if count > 1 and bus.streams(address, ended[-1]):
                    count = int(count)
                    first, last = bus.stream(beats, count)
                    ended.extend(last + 1 - beats * before for before in range(min(count, limit) - 1, -1, -1))
                    issue += beats * (count - 1)
                    if loads.begun is None:
                        loads.begun = first
                    left -= count
                    continue
                loads.serve(address, beats, job, seen, ends)
                left -= 1
            walk.issued.append(issue)
        idle = walk.at + 1
        keys[unit], limits[unit] = NEVER, -1
    yield from finish(m, Unit.LOAD)


def _reads(reads, places, cycle, beats):
    """Note when a burst's beats are read from the buffer, from `cycle` on, each into a place that is free.

    `places`: (first cycle, cycle after, number) of those that became free; what is taken goes.  Returns the cycle after.
    """
    while beats > LITTLE:
        begin, end, number = places.pop(0)
        if number > beats:
            cut = begin + (end - begin) * beats / number
            places.insert(0, (cut, end, number - beats))
            end, number = cut, beats
        if number > LITTLE:
            begin = max(begin, cycle)
            cycle = max(end, begin + number)
            reads.more(begin, cycle, number)
        beats -= number
    return cycle


def store_unit(m):
    """STORE; its events are the last addresses of reads that could still delay the burst that it sends."""
    unit = Unit.STORE
    walk, bus, keys, limits = _Walk(), m.bus, m.keys, m.limits
    outstanding, lead = bus.outstanding, bus.lead
    sent, answered = [-1] * BURSTS_OWED, [-1] * max(BURSTS_ANSWERED_LATER, outstanding)
    issue = -BURST_GAP
    take = idle = read = 0
    places = [(-1, 0, BEATS_AHEAD)]
    ahead, jobs = None, m.jobs.units[unit]
    for number, job in enumerate(jobs, start=1):
        time = yield from (ahead or Ahead(m, unit, job, take)).wait()
        ahead = None
        seen = time + 1
        take = max(seen, idle)
        if job.work is None:
            idle = take + 1
            m.signal(unit, job, take + 1)
            continue
        rows = job.work[0]
        earliest, begun = take + 1, None
        ahead = Ahead(m, unit, jobs[number], take) if number < len(jobs) else None
        for row in rows:
            at = walk.row(earliest)
            ready, data = at + FIRST_BURST, at + 11
            for beats in row:
                issue += BURST_GAP
                if issue < ready:
                    issue = ready
                if issue <= sent[-BURSTS_OWED]:
                    issue = sent[-BURSTS_OWED] + 1
                issue = max(issue, answered[-BURSTS_ANSWERED_LATER] + ANSWER)
                # Its address is taken a cycle later, or when memory has room for it; then its beats.
                start = max(issue, answered[-outstanding]) + 2
                if start < data:
                    start = data
                while True:
                    last = bus.write(start, beats)
                    if last - lead <= limits[unit]:
                        break
                    keys[unit] = last - lead
                    if ahead:
                        ahead.step()
                    yield
                bus.wrote(last)
                places += bus.pieces
                read = _reads(m.store_reads, places, max(read, at + 4), beats)
                sent.append(last)
                answer = last + bus.latency
                answered.append(answer)
                if begun is None:
                    begun = max(start, last - beats + 1)
            walk.done(issue, last)
        idle = walk.at + 1
        m.span(job, begun, last)
        m.busy[unit].append((seen, answer + ANSWER))
        keys[unit], limits[unit] = NEVER, -1
        m.signal(unit, job, answer + ANSWER)
        m.end(answer + ANSWER)
    yield from finish(m, Unit.STORE)
