"""FILTER, IFMAP and COMPUTE, which meet through the halves of the scratchpads."""

from rowcast.isa import Unit

from .machine import Coming, finish, settled

__all__ = ["compute_unit", "filter_unit", "ifmap_unit"]

HALVES = 2
FILLED = 9  # cycles from a chunk's last read to `filled`: buffer and network
ID_ON_WAY = 5  # cycles from a new ID to the end of its way
FREED = 2  # from a chunk's last turn to `freed`
PSUM_FILLED = 4  # from a pass's last turn to `psum_filled`, beside a cycle a lane
WALK = 2  # IFMAP: from a turn to its read
SLOTS = 9  # words under way to the vector unit
VECTOR_WORD = 7  # from a read to the word at the vector unit


def filter_unit(m):
    """FILTER."""
    filled, freed = m.filled[Unit.FILTER], m.freed[Unit.FILTER]
    take = load = done = -1
    chunk = 0
    coming = Coming(m, Unit.FILTER)
    for number, job in enumerate(coming.jobs, start=1):
        passed = yield from coming.next(number - 1, take).wait()
        take = max(passed, load) + 1
        load = max(take, done) + 1
        if job.work is None:
            done = load + 1
            m.end(done + ID_ON_WAY)
            m.signal(Unit.FILTER, job, done + 1)
            continue
        flits, chunks = job.work
        ahead = coming.look(number, take, lambda passed, load=load: max(passed, load) + 1)
        begun = None
        for _ in range(chunks):
            first = max(load, done) + 1
            if chunk >= HALVES:
                while len(freed) <= chunk - HALVES:
                    ahead.step()
                    yield
                first = max(first, freed[chunk - HALVES] + 1)
            if begun is None:
                begun = first
            done = first + flits - 1
            filled.append(done + FILLED)
            chunk += 1
            m.wake |= 1 << Unit.COMPUTE
        m.span(job, begun, done)
        m.signal(Unit.FILTER, job, done + 1)
        m.end(done + FILLED + 1)
    yield from finish(m, Unit.FILTER)


def ifmap_unit(m):
    """IFMAP."""
    filled, freed = m.filled[Unit.IFMAP], m.freed[Unit.IFMAP]
    take = step = issue = before = entered = -1
    chunk = 0
    coming = Coming(m, Unit.IFMAP)
    for number, job in enumerate(coming.jobs, start=1):
        passed = yield from coming.next(number - 1, entered).wait()
        entered = max(passed, before) + 1  # into the two places in front of the unit
        before, seen = take, max(entered, take) + 1
        if job.work is None:
            take = max(seen, issue + 1) + (job.name == "IFMAP_LOOP")
            if job.name == "IFMAP_ID":
                m.end(take + ID_ON_WAY)
            m.signal(Unit.IFMAP, job, take + 1)
            continue
        turns, chunks, vector, share = job.work
        take = max(seen, step + 1)
        ahead = coming.look(number, entered, lambda passed, before=before: max(passed, before) + 1)
        step = max(take, step)
        begun = None
        if vector:
            m.vector_starts.append(take + 1 + WALK)
            run = len(m.vector_starts) - 1
            m.wake |= 1 << Unit.POST
            while len(m.vector_ends) <= run:
                ahead.step()
                yield
            issue = m.vector_ends[run]
            step = issue - WALK
            m.span(job, take + 1 + WALK, issue)
            m.signal(Unit.IFMAP, job, issue + 1)
            continue
        for _ in range(chunks):
            first = step + 1
            if chunk >= HALVES:
                while len(freed) <= chunk - HALVES:
                    ahead.step()
                    yield
                first = max(first, freed[chunk - HALVES] + 1)
            if begun is None:
                begun = first + WALK
            end, last = first + turns - 1, -1
            while end != last:
                yield from settled(m, Unit.IFMAP, end + WALK, ahead)
                last, end = end, first + turns - 1 + m.stalls(first + WALK, end + WALK, share)
            step = end
            issue = step + WALK
            filled.append(issue + FILLED)
            chunk += 1
            m.wake |= 1 << Unit.COMPUTE
        m.span(job, begun, issue)
        m.signal(Unit.IFMAP, job, issue + 1)
        m.end(issue + FILLED + 1)
    yield from finish(m, Unit.IFMAP)


def compute_unit(m):
    """COMPUTE."""
    filters, ifmaps = m.filled[Unit.FILTER], m.filled[Unit.IFMAP]
    freed, lanes = (m.freed[Unit.FILTER], m.freed[Unit.IFMAP]), m.config.lanes
    decoder = 0  # the cycle from which the decoder takes an instruction
    take, end, capture, chunk, passes = -1, -2, -lanes, 0, 0
    changed, owner = True, False
    waits = m.waits
    others = 1 << Unit.FILTER | 1 << Unit.IFMAP | 1 << Unit.POST
    coming = Coming(m, Unit.COMPUTE)
    for number, job in enumerate(coming.jobs, start=1):
        passed = yield from coming.next(number - 1, take).wait()
        take = max(passed + 1, decoder)
        decoder = take + 1
        if job.name != "COMPUTE_RUN":
            changed = True
            continue
        dots, pixels, chunks, first, last = job.work
        valid = take + 1
        begin = max(valid, end)
        decoder = begin + 1
        ahead = coming.look(number, take, lambda passed, decoder=decoder: max(passed + 1, decoder))
        go = begin if valid <= end and not changed else begin + 1
        loaded = begin + 1
        changed, begun = False, None
        for turn in range(chunks):
            while len(filters) <= chunk or len(ifmaps) <= chunk:
                ahead.step()
                yield
            start = max(go, filters[chunk] + 1, ifmaps[chunk] + 1)
            if not owner:
                owner = True
                psum = -1
                if passes >= HALVES:
                    while len(m.psum_freed) <= passes - HALVES:
                        ahead.step()
                        yield
                    psum = m.psum_freed[passes - HALVES] + 1
                    start = max(start, psum)
            else:
                psum = -1
            pace = max(dots, lanes)
            if start > end:
                waits.append((end + 1, loaded, filters[chunk] + 1, ifmaps[chunk] + 1, psum, start + 1))
            start += 1
            capture = max(start + dots - 1, capture + lanes)
            adds = not (first and turn == 0)
            before, capture = capture, capture + (pixels - 1) * pace
            end = capture
            m.chunks.append((start, before, pace, pixels, adds, end))
            for list_ in freed:
                list_.append(end + FREED)
            go = end
            loaded = -1
            chunk += 1
            m.wake |= others
            if begun is None:
                begun = start
        m.span(job, begun, end)
        if last:
            owner = False
            passes += 1
            m.psum_filled.append(end + PSUM_FILLED + lanes)
            m.end(end + PSUM_FILLED + lanes)
    m.computed = True
    m.wake |= 1 << Unit.POST
    yield from finish(m, Unit.COMPUTE)
