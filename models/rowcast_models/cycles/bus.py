"""The memory bus: reads are served in the order of their addresses, writes take what reads leave.

A memory that is shared by both ways puts up a read beat whenever it can and takes a written one only in the cycles that
this leaves, so reads do not depend on writes.
"""

# Comparisons instead of `max` where it is done for every burst: they take a quarter of the time.
# ruff: noqa: PLR1730, FURB136

from dataclasses import dataclass
from math import ceil

__all__ = ["Bus", "MemoryModel", "memory_model"]


@dataclass(frozen=True)
class MemoryModel:
    """The memory behind the bus.

    Parameters
    ----------
    latency : cycles from an address to its first beat, and from a last written beat to its answer.
    duplex : reads and writes each have the whole bandwidth.
    bytes_per_cycle : bandwidth; None: a beat a cycle.
    outstanding : bursts taken each way before the first is answered.
    """

    latency: int = 30
    duplex: bool = False
    bytes_per_cycle: float | None = None
    outstanding: int = 16


def memory_model(memory):
    """A `MemoryModel` from anything that has some of its attributes; `duplex` may be "full" or "half"."""
    if memory is None:
        return MemoryModel()
    duplex = memory.duplex
    return MemoryModel(
        latency=memory.latency,
        duplex=duplex == "full" if isinstance(duplex, str) else bool(duplex),
        bytes_per_cycle=getattr(memory, "bytes_per_cycle", None),
        outstanding=getattr(memory, "outstanding", 16),
    )


class Bus:
    """When beats pass.

    Members
    -------
    step : cycles of a beat, at least 1.
    read_free : the cycle from which a read beat can pass.
    """

    def __init__(self, config, memory):
        self.latency, self.shared = memory.latency, not memory.duplex
        rate = memory.bytes_per_cycle or config.dram_bytes
        self.step = max(1, config.dram_bytes / rate)
        self.read_free = 0
        self.load_free = 0  # the same for LOAD, behind parameters
        self.split = 0  # the cycle from which the next word of parameters can be split
        self.outstanding = memory.outstanding
        self.ends = [-1] * self.outstanding  # last beats of the read bursts before
        self.begun, self.done, self.shares = [], [], []  # stretches in which reads take a share of the bus
        self.written = 0  # the cycle from which a written beat can pass
        self.at = 0  # the first stretch that is not over then

    def read(self, address, beats, step=1, free=0):
        """Serve a burst whose address came in this cycle; its taker takes a beat every `step` cycles, from `free` on.

        Returns
        -------
        (first, last) : cycles in which its first and its last beat pass.
        """
        ends = self.ends
        oldest = ends[len(ends) - self.outstanding]
        if oldest >= address:
            address = oldest + 1
        first = address + self.latency
        if first < self.read_free:
            first = self.read_free
        if first < free:
            first = free
        if step == 1 == self.step:
            last = first + beats - 1
            self.read_free = over = last + 1
            share = 1
        else:
            pace = max(step, self.step)
            last = ceil(first + (beats - 1) * pace)
            self.read_free = over = first + beats * pace
            share = self.step / pace
        ends.append(last)
        if self.shared:
            self._take(first, over, share)
        return ceil(first), last

    def streams(self, address, free):
        """Whether a burst of this address follows the one before without a gap, which ended before cycle `free`."""
        return self.step == 1 and self.load_free <= self.read_free == free >= address + self.latency

    def stream(self, beats, count):
        """Serve a number of equal bursts that follow each other without a gap; first and last beat as of `read`."""
        first = self.read_free
        last = first + beats * count - 1
        self.read_free = last + 1
        self.ends.extend(last - beats * before for before in range(min(count, self.outstanding) - 1, -1, -1))
        if self.shared:
            self._take(first, last + 1, 1)
        return first, last

    def read_items(self, address, beats, items, lag):
        """Serve a burst of parameters, of whose beats each is split into so many items; `lag`: items of a word.

        Returns
        -------
        (first, last) : as of `read`; (the word after the last one is split `lag` cycles later).
        """
        first, last = self.read(address, beats, free=self.load_free)
        begin = max(first + 2, self.split)
        self.split = max(ceil(begin + beats * items), last + 2 + lag)
        gone = self.split - lag
        self.load_free = gone - 1
        self.read_free = max(self.read_free, gone - lag)
        self.ends[-1] = last = max(last, gone - lag - 1)
        return first, last

    def _take(self, first, over, share):
        """Reads take a share of the bus from `first` until `over`."""
        # A stretch that writes have left behind cannot grow any more.
        if self.at < len(self.done) and share == 1 == self.shares[-1] and self.done[-1] >= first:
            self.done[-1] = over
        else:
            self.begun.append(first)
            self.done.append(over)
            self.shares.append(share)

    def write(self, start, beats):
        """The cycle of the last beat of a burst whose first one may pass in cycle `start`, as far as reads are known.

        Does not change anything: `wrote` does.
        """
        at = start if start > self.written else self.written
        left = beats * self.step
        begun, done, shares = self.begun, self.done, self.shares
        i, stretches = self.at, len(begun)
        while i < stretches and done[i] <= at:
            i += 1
        while i < stretches and begun[i] < at + left:
            if begun[i] > at:
                left -= begun[i] - at
                at = begun[i]
            free = (done[i] - at) * (1 - shares[i])
            if free >= left:
                return ceil(at + left / (1 - shares[i]) - self.step)
            left -= free
            at = done[i]
            i += 1
        return ceil(at + left - self.step)

    def wrote(self, last):
        """A written burst ended in this cycle."""
        self.written = last + self.step
        done, i = self.done, self.at
        while i < len(done) and done[i] <= self.written:
            i += 1
        self.at = i
