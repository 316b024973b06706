"""What a client does at a memory, as rates over stretches of time."""

__all__ = ["Activity"]

LEAST = 1 / 16  # of its time that a slower client always gets


class Activity:
    """Accesses in stretches that follow each other; queries go forward in time, too, give or take `KEPT` stretches."""

    KEPT = 32

    def __init__(self):
        self.begins, self.ends, self.rates = [], [], []
        self.at = 0

    def add(self, begin, end, accesses):
        """So many accesses (or what else is counted) in [begin, end)."""
        self.begins.append(begin)
        self.ends.append(end)
        self.rates.append(accesses / max(end - begin, 1))

    def more(self, begin, end, accesses):
        """The same, where it goes on as before in the same stretch; for `within`."""
        rate = accesses / (end - begin)
        if self.ends and self.ends[-1] == begin and self.rates[-1] == rate:
            self.ends[-1] = end
        else:
            self.begins.append(begin)
            self.ends.append(end)
            self.rates.append(rate)

    def open(self, begin, end, rate):
        """Accesses at this rate in [begin, end), until `close` says how many there were."""
        self.add(begin, end, 0)
        self.rates[-1] = rate

    def close(self, end, accesses):
        """So many accesses there were in the last stretch, until this cycle."""
        self.ends[-1] = end
        self.rates[-1] = accesses / max(end - self.begins[-1], 1)

    def over(self, cycle):
        """Whether there is none from this cycle on."""
        return not self.ends or self.ends[-1] <= cycle

    def paces(self, cycle, beats, step):
        """(begin, end, cycles a beat) of so many beats from this cycle on, at most one in `step` cycles.

        Each access, or part of one, costs a cycle.
        """
        begins, ends, i, found = self.begins, self.ends, self.at, []
        while i < len(ends) and ends[i] <= cycle:
            i += 1
        self.at = i
        while i < len(ends):
            if begins[i] > cycle:
                if begins[i] - cycle >= beats * step:
                    break
                found.append((cycle, begins[i], step))
                beats -= (begins[i] - cycle) / step
                cycle = begins[i]
            pace = max(step, 1 / max(1 - self.rates[i], LEAST))
            if ends[i] - cycle >= beats * pace:
                found.append((cycle, cycle + beats * pace, pace))
                return found
            found.append((cycle, ends[i], pace))
            beats -= (ends[i] - cycle) / pace
            cycle = ends[i]
            i += 1
        found.append((cycle, cycle + beats * step, step))
        return found

    def within(self, begin, end):
        """(begin, end, accesses a cycle) of the stretches in [begin, end)."""
        begins, ends, i = self.begins, self.ends, self.at
        while i < len(ends) - self.KEPT and ends[i] <= begin:
            i += 1
        self.at = i
        while i < len(ends) and begins[i] < end:
            if ends[i] > begin:
                yield max(begin, begins[i]), min(end, ends[i]), self.rates[i]
            i += 1
