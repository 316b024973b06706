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
SPLITTER = 4  # rows between the walk and their last address


class _Walk:
    """The walk through the rows of one unit: when a row can leave it, as far as the stages behind have room."""

    def __init__(self):
        self.at = -ROW_GAP  # the walk of the row before
        self.issued = [-1] * SPLITTER  # last addresses of rows
        self.moved = [-1] * (ROWS_AHEAD + 1)  # last beats of rows

    def row(self, earliest):
        """The walk of the next row."""
        at, moved, issued = self.at + ROW_GAP, self.moved[-ROWS_AHEAD - 1] + 1, self.issued[-SPLITTER]
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


def load_unit(m):
    """LOAD, as a generator; its events are the addresses that it puts up."""
    unit = Unit.LOAD
    walk, bus, keys, limits = _Walk(), m.bus, m.keys, m.limits
    limit = m.config.outstanding_reads
    ended = [-1] * limit
    issue = -BURST_GAP
    take, idle, lag = 0, 0, m.config.lanes // 4
    lost = m.post_writes
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
        rows, items, space = job.work
        earliest, begun = take + 1, None
        ahead = Ahead(m, unit, jobs[number], take) if number < len(jobs) else None
        for row in rows:
            at = walk.row(earliest)
            ready, left = at + FIRST_BURST, len(row)
            while left:
                beats, count = row[-left], 1
                issue += BURST_GAP
                if issue < ready:
                    issue = ready
                if issue <= ended[-limit]:
                    issue = ended[-limit] + 1
                address = issue + 2
                while address > limits[unit]:
                    keys[unit] = address
                    if ahead:
                        ahead.step()
                    yield
                if items:
                    first, last = bus.read_items(address, beats, items, lag)
                elif space == Space.ACT:
                    begin = max(address + bus.latency, bus.read_free, bus.load_free)
                    first, last = bus.read(address, beats, (lost.passed(begin, beats) - begin) / beats, bus.load_free)
                else:
                    if left > 2 and issue == ended[-limit] + 1 and ended[-1] - ended[-limit] == (limit - 1) * beats:
                        count = min(left - 1, (limits[unit] - address) // beats + 1)
                    if count > 1 and bus.streams(address, ended[-1]):
                        count = int(count)
                        first, last = bus.stream(beats, count)
                        ended.extend(last + 1 - beats * before for before in range(min(count, limit) - 1, 0, -1))
                        issue += beats * (count - 1)
                    else:
                        first, last = bus.read(address, beats, free=bus.load_free)
                        count = 1
                ended.append(last + 1)
                left -= count
                if begun is None:
                    begun = first
            walk.done(issue, last + 1)
        idle = walk.at + 1
        end = bus.split - lag + 1 if items else last + 3
        m.span(job, begun, last)
        m.busy[unit].append((seen, end))
        keys[unit], limits[unit] = NEVER, -1
        m.signal(unit, job, end)
        m.end(end)
    yield from finish(m, Unit.LOAD)


def store_unit(m):
    """STORE; its events are the last addresses of reads that could still delay the burst that it sends."""
    unit = Unit.STORE
    walk, bus, keys, limits = _Walk(), m.bus, m.keys, m.limits
    outstanding = bus.outstanding
    sent, answered = [-1] * BURSTS_OWED, [-1] * max(BURSTS_ANSWERED_LATER, outstanding)
    issue = -BURST_GAP
    take = idle = read = 0
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
                    if last - bus.latency <= limits[unit]:
                        break
                    keys[unit] = last - bus.latency
                    if ahead:
                        ahead.step()
                    yield
                bus.wrote(last)
                begin = max(read, at + 4)
                read = max(begin + beats, last - BEATS_AHEAD)
                m.store_reads.add(begin, read, beats)
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
