"""The memory bus: reads are served in the order of their addresses, writes take what reads leave.

A memory that is shared by both ways puts up a read beat whenever it can and takes a written one only in the cycles that
this leaves, so reads do not depend on writes.
"""

# Comparisons instead of `max` where it is done for every burst: they take a quarter of the time.
# ruff: noqa: PLR1730, FURB136

from dataclasses import dataclass
from math import ceil

__all__ = ["Bus", "MemoryModel", "memory_model"]

RESULT = 28  # cycles from a psum or a window to its result's write


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
    lead : so many cycles before a beat it is known what can still delay it: no read whose address is later can come before it, and
        no result that is not yet under way can be in its way.
    read_free : the cycle from which a read beat can pass.
    """

    def __init__(self, config, memory):
        self.latency, self.shared = memory.latency, not memory.duplex
        self.lead = min(memory.latency, RESULT)
        rate = memory.bytes_per_cycle or config.dram_bytes
        self.step = max(1, config.dram_bytes / rate)
        self.read_free = 0
        self.load_free = 0  # the same for LOAD, behind parameters
        self.split = 0  # the cycle from which the next word of parameters can be split
        self.outstanding = memory.outstanding
        self.ends = [-1] * self.outstanding  # last beats of the read bursts before
        self.begun, self.done, self.shares = [], [], []  # stretches in which reads take a share of the bus
        self.written = 0  # the cycle from which a written beat can pass
        self.pieces = []  # (first cycle, cycle after, beats) of the burst that `write` looked at last
        self.at = 0  # the first stretch that is not over then

    def first(self, address, free):
        """The cycle of the first beat of a burst with this address if it is served next; `free`: its taker is, from then on."""
        ends = self.ends
        oldest = ends[len(ends) - self.outstanding]
        if oldest >= address:
            address = oldest + 1
        first = address + self.latency
        if first < self.read_free:
            first = self.read_free
        if first < free:
            first = free
        return first

    def read(self, address, beats, taker=None, free=0):
        """Serve a burst whose address came in this cycle; `taker`: the Activity that its taker, free from `free` on, gives way to.

        Returns
        -------
        (first, last) : cycles in which its first and its last beat pass.
        """
        first = self.first(address, free)
        step = self.step
        if taker is None or taker.over(first):
            self.read_free = over = first + beats * step
            last = ceil(over - step)
            if self.shared:
                self._take(first, over, 1)
        else:
            paces = taker.paces(first, beats, step)
            _, over, pace = paces[-1]
            self.read_free = over
            last = ceil(over - pace)
            if self.shared:
                for begin, end, pace in paces:
                    self._take(begin, end, step / pace)
        self.ends.append(last)
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
        if self.at < len(self.done) and share == self.shares[-1] and self.done[-1] >= first:
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
        step, pieces = self.step, []
        self.pieces = pieces
        left = beats * step
        begun, done, shares = self.begun, self.done, self.shares
        i, stretches = self.at, len(begun)
        # A memory has a beat in hand after a cycle in which nobody took one: it passes beside reads.
        saved, edge = False, self.written
        while i < stretches and done[i] <= at:
            saved = saved or begun[i] > edge or shares[i] < 1
            edge = done[i]
            i += 1
        if at > edge and (i == stretches or begun[i] > edge or shares[i] < 1):
            saved = True
        if saved and i < stretches and begun[i] <= at:
            pieces.append((at, at + 1, 1))
            left -= step
            if not left:
                return at
            at += 1
        while i < stretches and begun[i] < at + left:
            if begun[i] > at:
                pieces.append((at, begun[i], (begun[i] - at) / step))
                left -= begun[i] - at
                at = begun[i]
            rate = 1 - shares[i]
            if rate:
                free = (done[i] - at) * rate
                if free >= left:
                    pieces.append((at, at + left / rate, left / step))
                    return ceil(at + left / rate - step)
                pieces.append((at, done[i], free / step))
                left -= free
            at = done[i]
            i += 1
        pieces.append((at, at + left, left / step))
        return ceil(at + left - step)

    def wrote(self, last):
        """A written burst ended in this cycle."""
        self.written = last + self.step
        done, i = self.done, self.at
        while i < len(done) and done[i] <= self.written:
            i += 1
        self.at = i
