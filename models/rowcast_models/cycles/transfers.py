"""LOAD and STORE: instructions to rows, rows to bursts, bursts to the bus."""

from rowcast.isa import Space, Unit

from .machine import NEVER, gate

__all__ = ["load_unit", "store_unit"]

ROWS_AHEAD = 16  # rows between addresses and data
BURST_GAP = 2  # cycles from one address to the next
FIRST_BURST = 4  # from a row's walk to its first address
BURSTS_OWED = 3  # written bursts with an address and without their last beat
BURSTS_ANSWERED_LATER = 16
BEATS_AHEAD = 16  # read from the buffer before they are sent
SPLITTER = 4  # rows between the walk and their last address


class _Walk:
    """The walk through the rows of one unit: when a row can leave it, as far as the stages behind have room."""

    def __init__(self):
        self.at = -1  # the walk of the row before
        self.issued = [-1] * SPLITTER  # last addresses of rows
        self.moved = [-1] * (ROWS_AHEAD + 1)  # last beats of rows

    def row(self, earliest):
        """The walk of the next row."""
        at = max(self.at + 1, earliest, self.issued[-SPLITTER], self.moved[-ROWS_AHEAD - 1] + 1)
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
    take, lag = 0, m.config.lanes // 4
    writes, meet = m.post_writes, m.config.dram_words / m.config.act_banks
    for job in m.jobs.units[unit]:
        time = yield from gate(m, unit, job, take)
        seen = time + 1
        if job.work is None:
            take = seen
            m.signal(unit, job, take + 1)
            continue
        rows, items, space = job.work
        earliest, begun = max(seen + 1, take + 2), None
        for row in rows:
            at = walk.row(earliest)
            ready = at + FIRST_BURST
            for beats in row:
                issue = max(issue + BURST_GAP, ready, ended[-limit] + 1)
                address = issue + 2
                while address > limits[unit]:
                    keys[unit] = address
                    yield
                if items:
                    first, last = bus.read_items(address, beats, items, lag)
                elif space == Space.ACT:
                    first, last = bus.read(address, beats, 1 / (1 - meet * writes.rate(max(address, bus.read_free))))
                else:
                    first, last = bus.read(address, beats)
                ended.append(last + 1)
                if begun is None:
                    begun = first
            walk.done(issue, last + 1)
        take = walk.at
        end = bus.split - lag + 1 if items else last + 3
        m.span(job, begun, last)
        m.busy[unit].append((seen, end))
        keys[unit], limits[unit] = NEVER, -1
        m.signal(unit, job, end)
        m.end(end)
    while True:
        yield


def store_unit(m):
    """STORE; its events are the last addresses of reads that could still delay the burst that it sends."""
    unit = Unit.STORE
    walk, bus, keys, limits = _Walk(), m.bus, m.keys, m.limits
    sent, answered = [-1] * BURSTS_OWED, [-1] * BURSTS_ANSWERED_LATER
    taken = [-1] * bus.outstanding
    issue = -BURST_GAP
    take = read = 0
    for job in m.jobs.units[unit]:
        time = yield from gate(m, unit, job, take)
        seen = time + 1
        if job.work is None:
            take = seen
            m.signal(unit, job, take + 1)
            continue
        rows = job.work[0]
        earliest, begun = max(seen + 1, take + 2), None
        for row in rows:
            at = walk.row(earliest)
            ready, data = at + FIRST_BURST, at + 9
            for beats in row:
                issue = max(issue + BURST_GAP, ready, sent[-BURSTS_OWED] + 1, answered[-BURSTS_ANSWERED_LATER] + 1)
                accepted = max(issue + 1, taken[-bus.outstanding] + 1)
                start = max(accepted + 1, data)
                while True:
                    last = bus.write(start, beats)
                    if last - bus.latency <= limits[unit]:
                        break
                    keys[unit] = last - bus.latency
                    yield
                bus.wrote(last)
                begin = max(read, at + 3)
                read = max(begin + beats, last - BEATS_AHEAD)
                m.store_reads.add(begin, read, beats)
                sent.append(last)
                answer = last + bus.latency
                answered.append(answer)
                taken.append(answer)
                if begun is None:
                    begun = max(start, last - beats + 1)
            walk.done(issue, last)
        take = walk.at
        m.span(job, begun, last)
        m.busy[unit].append((seen, answer + 1))
        keys[unit], limits[unit] = NEVER, -1
        m.signal(unit, job, answer + 1)
        m.end(answer + 1)
    while True:
        yield
