"""POST: drains, which give way to the captures of COMPUTE, and vector runs, which meet the words of IFMAP."""

from rowcast.isa import Unit

from .array import SLOTS, VECTOR_WORD
from .machine import NEVER, Ahead, finish, settled
from .writers import LATENCY, QUEUE_WORDS

__all__ = ["post_unit"]

FIRST_DRAIN = 2  # cycles from an accepted run to its first drain
PSUM_FREED = 4  # from the last drain to `psum_freed`
ARRIVE = 14  # from a drain to its psum, beside a cycle a row
PLACE = 1  # from a result that is taken to its columns
WORD = 28  # from a word's last psum to its write
COMPLETE = 1  # from the end of a run's last write to `complete`, which gives its tokens
MAX_RUNS = 2


class _Drain:
    """The drain commands of one run, in the cycles in which the psum memory's read port is free."""

    def __init__(self, m):
        self.m = m
        self.at = 0  # the first chunk that may still matter

    def start(self, cycle, psums):
        """A run of so many psums may send its first drain in this cycle."""
        self.cycle, self.left = cycle, psums

    def end(self):
        """The cycle of the last drain as far as COMPUTE's chunks are known, and whether they are known until then."""
        chunks, lanes = self.m.chunks, self.m.config.lanes
        while self.at < len(chunks):
            _, first, pace, pixels, adds, last = chunks[self.at]
            # Captures are seen a cycle later and take the port for `lanes` cycles.
            over = last + lanes + 1
            if not adds or over <= self.cycle:
                if last + 1 > self.cycle and last + 1 - self.cycle >= self.left:
                    return self.cycle + self.left - 1, True
                if last >= self.cycle:
                    self.left -= last + 1 - self.cycle
                    self.cycle = last + 1
                self.at += 1
                continue
            cycle = self._within(first + 1, pace, pixels, lanes)
            if cycle is not None:
                return cycle, True
            self.at += 1
        return self.cycle + self.left - 1, self.m.computed

    def _within(self, first, pace, pixels, lanes):
        """Drain between the captures of a chunk; the last drain's cycle, or None if some are left after it."""
        if self.cycle < first:
            if first - self.cycle >= self.left:
                return self.cycle + self.left - 1
            self.left -= first - self.cycle
            self.cycle = first
        passed, inside = divmod(self.cycle - first, pace)
        free = pace - lanes
        if passed < pixels:
            # The rest of this turn, then whole turns.
            rest = pace - max(inside, lanes)
            if rest >= self.left:
                return self.cycle + max(0, lanes - inside) + self.left - 1
            whole = pixels - passed - 1
            if free and (self.left - rest - 1) // free < whole:
                turns, more = divmod(self.left - rest - 1, free)
                return first + (passed + 1 + turns) * pace + lanes + more
            self.left -= rest + whole * free
            self.cycle = first + pixels * pace
        # The last capture's turn counts until the port is free; what follows is the next chunk's.
        return None


def post_unit(m):
    """POST; `m.drain_key` is the end of a drain that a chunk of COMPUTE could still delay."""
    rows, lanes, columns = m.config.rows, m.config.lanes, m.config.columns
    group = min(columns, lanes)
    drain = _Drain(m)
    accept = take = ends = arrived = complete = complete_before = -1
    was_drain = True
    passes = vectors = written_last = 0
    ahead, jobs = None, m.jobs.units[Unit.POST]
    for number, job in enumerate(jobs, start=1):
        passed = yield from (ahead or Ahead(m, Unit.POST, job, accept)).wait()
        ahead = None
        accept = max(passed + 1, take + 1)
        seen = accept + 1
        if job.name != "POST_RUN":
            quiet = job.name in ("POST_PE", "POST_LOOP") and not job.signals
            take = max(seen, (arrived if quiet else complete) + 1)
            if job.name == "MARK":
                m.marks.append((job.work[0], take))
            m.busy[Unit.POST].append((passed + 1, take + 1))
            m.signal(Unit.POST, job, take + 1)
            m.end(take + 1)
            continue
        source, count, words, writing = job.work[:4]
        if source:
            take = max(seen, complete + 1)
            while len(m.vector_starts) <= vectors:
                yield
            stalls, before = 0, -1
            ahead = Ahead(m, Unit.POST, jobs[number], accept) if number < len(jobs) else None
            made, groups = job.work[4:]
            window, _, _, reading = m.vector_jobs[vectors].work
            demand, pace = min(1, window * groups / lanes), max(window, lanes / groups)
            turn = _written(pace, groups, made, words, lanes, columns)
            lost, early = m.jobs.banks.post_and_load(pace * groups, turn, words * groups)
            lost, early = lost * made, early / made  # of a result
            begun = max(take + FIRST_DRAIN, m.vector_starts[vectors] + VECTOR_WORD)
            written = begun + window + lanes + PLACE + WORD + int(early * pace)
            m.post_writes.open(written, written + (count - early) * pace, lost / pace)
            # IFMAP fills its slots and stands until POST takes a word: what STORE reads meanwhile costs nothing.
            start = m.vector_starts[vectors]
            going = start if begun == start + VECTOR_WORD else begun + 1
            while stalls != before:
                issue, last = _vector(m, vectors, take, count, groups, stalls)
                yield from settled(m, Unit.POST, last, ahead)
                before, stalls = stalls, m.stalls(going, issue, reading, demand)
            end = last + lanes + PLACE + WORD + made - 1
            m.post_writes.close(end, (end - stalls - written) * lost / pace)
            m.vector_ends.append(issue)
            m.wake |= 1 << Unit.IFMAP
            complete_before, complete = complete, end + COMPLETE
            ends, arrived = last, last + PLACE
            vectors += 1
            was_drain = False
            m.span(job, take, complete)
            m.vector_busy.append((take + 1, complete + 1))
        else:
            while len(m.psum_filled) <= passes:
                yield
            take = max(seen, m.psum_filled[passes] + 1)
            if was_drain:
                take = max(take, ends + 1, ends + rows - 1, complete_before + 1)
            else:
                take = max(take, complete + 1)
            begun = take + FIRST_DRAIN
            if writing:
                # Words of the run before may still stand in the queues; its last ones go beside the first of this one.
                work = writing[1] - LATENCY - 2 * lanes
                written_last = max(begun + writing[1], written_last + work)
                slowest = written_last - (QUEUE_WORDS - 1) * max(work * lanes / count, lanes) + lanes
            written, lasts = begun + ARRIVE + WORD, max(count, writing[0] if writing else 0)
            m.post_writes.open(written, written + lasts, words * job.work[4] / lasts)
            drain.start(begun, count)
            ahead = Ahead(m, Unit.POST, jobs[number], accept) if number < len(jobs) else None
            while True:
                end, known = drain.end()
                if writing:
                    end = max(end, begun + writing[0] - 1, int(slowest))
                if known or end <= m.limits[Unit.POST]:
                    break
                m.keys[Unit.POST] = end
                if ahead:
                    ahead.step()
                yield
            m.keys[Unit.POST], m.limits[Unit.POST] = NEVER, -1
            ends = end
            m.psum_freed.append(ends + PSUM_FREED)
            m.wake |= 1 << Unit.COMPUTE
            arrived = ends + ARRIVE + rows
            end = arrived + WORD + group - 1
            if writing:
                end = max(end, int(written_last) + 1)
            complete_before, complete = complete, end + COMPLETE
            m.post_writes.close(end, words * job.work[4])
            passes += 1
            was_drain = True
            m.span(job, begun, ends)
        m.busy[Unit.POST].append((passed + 1, complete + 1))
        m.signal(Unit.POST, job, complete)
        m.end(complete + 1)
    yield from finish(m, Unit.POST)


def _written(pace, groups, made, step, lanes, columns):
    """(cycle, bank) of the words of as many results as there are groups of columns.

    The words of a result are written one after the other, and so are the results of a writer's columns.
    """
    words, free = [], {}
    for group in range(groups):
        writer = group * (columns // groups) // lanes
        first = max(round(group * pace), free.get(writer, 0))
        free[writer] = first + made
        words += [(first + i, group * step + i) for i in range(made)]
    return words


def _vector(m, number, accepted, windows, groups, stalls):
    """Last read of IFMAP, which is held up for `stalls` cycles, and the cycle in which the last result is taken."""
    lanes = m.config.lanes
    window = m.vector_jobs[number].work[0]
    start = m.vector_starts[number]
    word = max(start + VECTOR_WORD, accepted + FIRST_DRAIN)
    taken = word + window * windows - 1 + stalls
    if groups * window < lanes:
        # Groups of columns take turns, and each needs `lanes` cycles for a result.
        turns, more = divmod(windows - 1, groups)
        taken = max(taken, word + turns * lanes + (more + 1) * window - 1 + stalls)
    words = window * windows
    m.vector_taken[number:] = [(taken, words)]
    if words < SLOTS:  # the places that it does not need may have words of runs before it
        free, left = -1, SLOTS - words
        for last, many in m.vector_taken[max(0, number - SLOTS) : number][::-1]:
            if left < many:
                free = last - left
                break
            left -= many
        return max(start + words - 1, free + 1), taken + 1
    waits = taken - start - words - stalls + 1 > VECTOR_WORD
    issue = max(taken - SLOTS + 1 if waits else taken - VECTOR_WORD, start + SLOTS - 1)
    return issue, taken + 1
