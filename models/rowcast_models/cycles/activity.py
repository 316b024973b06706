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

    def open(self, begin, end, rate):
        """Accesses at this rate in [begin, end), until `close` says how many there were."""
        self.add(begin, end, 0)
        self.rates[-1] = rate

    def close(self, end, accesses):
        """So many accesses there were in the last stretch, until this cycle."""
        self.ends[-1] = end
        self.rates[-1] = accesses / max(end - self.begins[-1], 1)

    def passed(self, cycle, beats):
        """The cycle after so many beats from this cycle on, one a cycle, if each access (or part of one) costs one."""
        begins, ends, i = self.begins, self.ends, self.at
        while i < len(ends) and ends[i] <= cycle:
            i += 1
        self.at = i
        while i < len(ends):
            if begins[i] > cycle:
                if begins[i] - cycle >= beats:
                    break
                beats -= begins[i] - cycle
                cycle = begins[i]
            share = max(1 - self.rates[i], LEAST)
            if (ends[i] - cycle) * share >= beats:
                return cycle + beats / share
            beats -= (ends[i] - cycle) * share
            cycle = ends[i]
            i += 1
        return cycle + beats

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
