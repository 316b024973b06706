"""Contents of a memory on chip."""

from .geometry import ceil_div

__all__ = ["Ring"]


class Ring:
    """Allocates blocks one after another in a memory on chip, and knows which contents are still there.

    Members
    -------
    next : where the next block goes, unless `oldest` finds a better place.
    blocks : {key: (first word, word after the last)}, what was used last at the end.
    used : {key: when it was used last} of blocks that were since `rest`.
    """

    def __init__(self, size, align):
        self.size, self.align = size, align
        self.next = self.uses = 0
        self.blocks, self.used = {}, {}

    def find(self, key):
        """Address of the block with this content, or None."""
        if key not in self.blocks:
            return None
        self.blocks[key] = self.blocks.pop(key)
        self._use(key)
        return self.blocks[key][0]

    def _use(self, key):
        self.uses += 1
        self.used[key] = self.uses

    def rest(self):
        """From now on all that is there counts as equally old."""
        self.used = {}

    def oldest(self, size, kept=()):
        """Let the next block go where what it overwrites was used longest ago; `kept` are keys of what stays."""
        size = ceil_div(size, self.align) * self.align
        stay = {key for key in kept if key in self.blocks}

        def newest(start):
            """When the last used of what a block here would overwrite was used; None if it cannot be here."""
            met = [key for key, (low, high) in self.blocks.items() if low < start + size and start < high]
            if start + size > self.size or not stay.isdisjoint(met):
                return None
            return max((self.used.get(key, 0) for key in met), default=0)

        found = newest(self.next)
        for key, (start, _) in self.blocks.items() if found != 0 else ():
            age = newest(start)
            if age is not None and (found is None or age < found):
                self.next, found = start, age
            if found is not None and found <= self.used.get(key, 0):
                break  # the others are newer

    def reserve(self, size):
        """Start over if so many words would not fit before the end."""
        if self.next + size > self.size:
            self.next = 0

    def place(self, size, kept=()):
        """First word and word after the last of the block that `take` would give now."""
        size = ceil_div(size, self.align) * self.align
        if size > self.size:
            raise ValueError(f"a block of {size} words does not fit a memory of {self.size}")
        low = self.next if self.next + size <= self.size else 0
        stay = sorted(self.blocks[key] for key in kept if key in self.blocks)
        for start in (low, 0):
            at = start
            for first, end in stay:
                if first < at + size and at < end:
                    at = end
            if at + size <= self.size:
                return at, at + size
        return low, low + size

    def take(self, key, size, kept=()):
        """Address of a new block, outside those of the keys `kept` if that can be; older blocks in its place are gone."""
        low, high = self.place(size, kept)
        for gone in [k for k, (a, b) in self.blocks.items() if a < high and low < b]:
            del self.blocks[gone]
            self.used.pop(gone, None)
        self.blocks[key] = (low, high)
        self._use(key)
        self.next = high
        return low
