"""How often two clients of the activation memory meet in a bank.

A client that goes second loses a cycle whenever the first one wants one of its banks.  Both mostly walk through the
banks in a regular way, so they may never meet, or the second may stay right behind the first: a mean over all banks
would be wrong by far.  So both walks are followed for a while, from some places of one relative to the other.
"""

from functools import lru_cache

__all__ = ["Banks", "banks_of"]

CYCLES = 384  # that are followed; the second half counts
PHASES = 4  # places to start from
TURNS = 256  # of a feeder's loop nest that are looked at
RATES = 16  # parts into which a rate is rounded
REGULAR = 0.01  # parts by which a rate of whole parts may seem to be off


class Banks:
    """What is lost at the banks of a configuration's activation memory; remembers what it was asked."""

    def __init__(self, config):
        self.config = config
        self.banks = config.act_banks
        self.walks = []
        self._found, self._lost_to_store = {}, {}

    def mask(self, bank, words):
        """The banks of so many words."""
        bits = ((1 << words) - 1) << bank % self.banks
        return (bits | bits >> self.banks) & ((1 << self.banks) - 1)

    def walk(self, levels):
        """The number of a list in `walks`: the banks of each turn of an IFMAP loop nest, relative to the first.

        Parameters
        ----------
        levels : (turns, step) of each level, innermost first; an advance returns the inner levels.
        """
        key = ("walk", levels)
        if key not in self._found:
            distances, gone = [], 0
            for turns, step in levels:
                distances.append((turns, step + gone))
                gone += (turns - 1) * (step + gone)
            places = [0]
            for turns, distance in distances:
                if len(places) < TURNS and turns > 1:
                    places = [place + turn * distance for turn in range(min(turns, TURNS)) for place in places][:TURNS]
            self._found[key] = len(self.walks)
            self.walks.append([self.mask(place, self.config.noc_words) for place in places])
        return self._found[key]

    def store_and_ifmap(self, rate, walk):
        """Cycles that IFMAP loses for each beat that STORE reads at this rate; `walk`: its number.

        A rate of whole parts is what reads leave that are as regular: both walks may keep out of each other's way for
        ever.  Any other is the mean of something less regular, and so are the rates around it that are looked at.
        """
        parts = rate * RATES
        rate = int(parts + 0.5) or 1
        regular = abs(parts - rate) < REGULAR
        key = (rate, walk, regular)
        if key not in self._lost_to_store:
            rates = (rate,) if regular else (max(1, rate - 1), rate, rate + 1)
            words = self.config.dram_words
            lost = [self._lost(self._beats(each), self.walks[walk], words)[0] for each in rates]
            self._lost_to_store[key] = sum(lost) / len(lost)
        return self._lost_to_store[key]

    def _beats(self, rate):
        """The banks of STORE's beats at an even rate, a mask a cycle."""
        words, masks, beats = self.config.dram_words, [], 0
        for cycle in range(CYCLES):
            due = (cycle + 1) * rate // RATES > beats
            masks.append(self.mask(beats * words, words) if due else 0)
            beats += due
        return masks

    def post_and_load(self, period, words, step):
        """Cycles that LOAD loses for each word of POST, and for how many words it does not at first.

        Parameters
        ----------
        period : cycles after which the same comes again, `step` banks further.
        words : (cycle in the period, bank) of each word.
        """
        period, step = max(1, round(period)), step % self.banks
        words = tuple((cycle, bank % self.banks) for cycle, bank in words)
        key = (period, words, step)
        if key not in self._found:
            first = [0] * CYCLES
            for turn in range(CYCLES // period + 1):
                for cycle, bank in words:
                    at = turn * period + cycle
                    if at < CYCLES:
                        first[at] |= self.mask(bank + turn * step, 1)
            beat = self.config.dram_words
            beats = [self.mask(i * beat, beat) for i in range(self.banks // beat)]
            self._found[key] = self._lost(first, beats)
        return self._found[key]

    def writers_and_load(self, wanted):
        """Cycles that LOAD loses for each word of several writers that want these sets of banks, cycle by cycle."""
        masks = [sum(1 << bank for bank in banks) for banks in wanted]
        beat = self.config.dram_words
        beats = [self.mask(i * beat, beat) for i in range(self.banks // beat)]
        words = sum(map(len, wanted))
        return sum(map(sum, self._meetings(masks, beats))) / PHASES / max(words, 1)

    def _lost(self, first, second, words=1):
        """What the walk `second` loses to the accesses of `first`, of so many words, which has a mask a cycle.

        Returns
        -------
        (cycles for each access in the long run, accesses at the start that cost nothing, in the mean; if the start
        costs more, less than 0)
        """
        half = len(first) // 2
        early, lost = map(sum, zip(*((sum(met[:half]), sum(met[half:])) for met in self._meetings(first, second))))
        counts = [sum(mask.bit_count() for mask in part) * PHASES // words for part in (first[:half], first[half:])]
        each = lost / max(counts[1], 1)
        return each, (each * counts[0] - early) / each / PHASES if each else 0

    def _meetings(self, first, second):
        """For each place to start from: whether `second` is held up, cycle by cycle."""
        turns, all_banks = len(second), (1 << self.banks) - 1
        for phase in range(PHASES):
            at, shift = 0, phase * self.banks // PHASES
            back = self.banks - shift
            met = []
            for mask in first:
                held = bool(mask and (mask << shift | mask >> back) & all_banks & second[at])
                met.append(held)
                if not held:
                    at = at + 1 if at + 1 < turns else 0
            yield met


@lru_cache(maxsize=16)
def banks_of(config):
    """The `Banks` of a configuration, the same for all programs."""
    return Banks(config)
