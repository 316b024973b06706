"""How fast the words of a drain reach the activation memory when several writers meet in its banks."""

__all__ = ["drain_time"]

QUEUE_WORDS = 16  # of a column
LATENCY = 43  # cycles from the first drain of a word to the word in its queue, beside a cycle a lane
FOLLOWED = 320  # groups that are followed; the rest takes as long as the later half of these


def drain_time(banks, groups, *, lanes):
    """What a drain takes for its writers alone: cycles to its last psum and to its last word, and banks in each cycle.

    A writer serves the first of its `lanes` columns that has a word, each at most every second cycle, and waits for
    writers before it that want the same bank.  A group of words, one a column, is drained only if every column has room
    for its word.

    Parameters
    ----------
    banks : for each group the bank of each column's word, None if it is dropped; used again from the start if there are
        more groups.
    groups : in the drain.
    """
    followed = min(groups, FOLLOWED)
    starts, last, wanted = _follow(banks, followed, lanes)
    rest = 0
    if groups > followed:
        half = followed // 2
        rest = (groups - followed) * (starts[-1] - starts[half]) // (followed - 1 - half)
    return starts[-1] + lanes + rest, last + rest, wanted


def _follow(banks, groups, lanes):
    """Cycle by cycle: the first cycle of each group's drain, that of the last word's write, and the sets of banks."""
    columns, period = len(banks[0]), len(banks)
    writers = [range(first, min(first + lanes, columns)) for first in range(0, columns, lanes)]
    popped, rest = [0] * columns, [0] * columns
    held = [None] * len(writers)  # bank of the word that each writer wants to write, None if it is dropped
    starts, done, cycle, ready, sets = [], 0, 0, 0, []
    known = before = 0  # `done` two cycles ago, which is what the drain knows, and one
    while done < groups:
        done = min(popped)
        if cycle >= ready and len(starts) < groups and len(starts) - known < QUEUE_WORDS:
            starts.append(cycle)
            ready = cycle + lanes
        known, before = before, done
        there = done
        while there < len(starts) and starts[there] + LATENCY + lanes <= cycle:
            there += 1
        taken = set()
        for number, group in enumerate(writers):
            wanted = held[number]
            if wanted in taken:
                continue
            if wanted is not None:
                taken.add(wanted)
            held[number] = None
            for column in group:
                if popped[column] < there and rest[column] <= cycle:
                    held[number] = banks[popped[column] % period][column]
                    popped[column] += 1
                    rest[column] = cycle + 2
                    break
        sets.append(taken)
        cycle += 1
    return starts, cycle, sets
