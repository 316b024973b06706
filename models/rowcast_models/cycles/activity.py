"""What a client does at a memory, as rates over stretches of time."""

from math import inf

__all__ = ["Activity"]


class Activity:
    """Accesses in stretches that follow each other; queries go forward in time, too, give or take `KEPT` stretches."""

    KEPT = 32

    def __init__(self):
        self.begins, self.ends, self.rates = [], [], []
        self.at = 0

    def add(self, begin, end, accesses):
        """So many accesses in [begin, end)."""
        self.begins.append(begin)
        self.ends.append(end)
        self.rates.append(accesses / max(end - begin, 1))

    def open(self, begin, rate):
        """Accesses at this rate from here on, until `close`."""
        self.add(begin, inf, 0)
        self.rates[-1] = rate

    def close(self, end, accesses):
        """So many accesses there were, until this cycle."""
        self.ends[-1] = end
        self.rates[-1] = accesses / max(end - self.begins[-1], 1)

    def rate(self, cycle):
        """Accesses a cycle."""
        begins, ends, i = self.begins, self.ends, self.at
        while i < len(ends) and ends[i] <= cycle:
            i += 1
        self.at = i
        return self.rates[i] if i < len(ends) and begins[i] <= cycle else 0

    def loss(self, begin, end, share, demand=1):
        """Cycles that another client loses in [begin, end).

        Parameters
        ----------
        share : of these accesses, how many are in the way of the other client if it wants one.
        demand : accesses a cycle that the other client wants at most.
        """
        begins, ends, rates = self.begins, self.ends, self.rates
        i = self.at
        while i < len(ends) - self.KEPT and ends[i] <= begin:
            i += 1
        self.at = i
        total = 0
        while i < len(ends):
            if begins[i] >= end:
                break
            if ends[i] > begin:
                lost = 1 - (1 - rates[i] * share) / demand
                if lost > 0:
                    total += lost * (min(end, ends[i]) - max(begin, begins[i]))
            i += 1
        return total
