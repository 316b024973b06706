"""Collects the operations of a program: settings are emitted when they change, constants and memory are allocated here."""

from contextlib import contextmanager

import numpy as np

from rowcast import isa
from rowcast.isa import Space

from .ring import Ring
from .tokens import Op

__all__ = ["Builder"]

_SPACE_NAME = {Space.ACT: "act", Space.FILTER: "filter", Space.PARAM: "param"}
_MOST = (1 << 16) - 1  # words in a row, rows in a transfer
PARAM_SLOT_WORDS = 16  # a slot is `lanes` channels of 16 bytes


class Builder:
    """The program under construction.

    Members
    -------
    ops : the operations so far, in program order.
    constants : bytes of filters, parameters and tables, from word 0 of the data region.
    node : name of the node that is at work, see `working_for`.
    """

    def __init__(self, config):
        self.config = config
        self.ops = []
        self.layer = 0
        self.node = ""
        self.constants = bytearray()
        self.filter_ring = Ring(config.filter_buffer_words, max(config.noc_words, config.dram_words))
        self.param_ring = Ring(config.param_channels // config.lanes, 1)
        self.mapped = None  # the Mapping whose IDs the PEs have
        self.filler = None
        self.keep = None  # (first, number) of the parameter slots of the pass that is being emitted
        self._post = self._store = self._slots = None  # of the last pass: its drain and slots; of the one before: its STOREs
        self._drain_cycles = 0
        self._settings = {}
        self._constant_at = {}
        self._tables = {}

    def emit(self, name, *, reads=(), writes=(), **fields):
        """Append one operation."""
        self.ops.append(Op(isa.make(name, **fields), tuple(reads), tuple(writes), self.layer, self.node))

    @contextmanager
    def working_for(self, node):
        """What is emitted inside is the work of this node (its name)."""
        outer, self.node = self.node, node
        try:
            yield
        finally:
            self.node = outer

    def _mine(self, emit):
        """`emit`, and what it returns to be emitted still later, as work of the node that is at work now."""
        node = self.node

        def later():
            with self.working_for(node):
                more = emit()
                return self._mine(more) if more else None

        return later

    def setting(self, key, name, **fields):
        """Append a setting unless it already holds."""
        value = tuple(sorted(fields.items()))
        if self._settings.get((name, key)) != value:
            self._settings[name, key] = value
            self.emit(name, **fields)

    def constant(self, data, *, align_words=1):
        """Word address (from DATA_BASE) of these bytes in memory; equal bytes are kept once."""
        data = bytes(data)
        key = (data, align_words)
        if key not in self._constant_at:
            lanes = self.config.lanes
            step = lanes * max(align_words, self.config.dram_words)
            self.constants.extend(bytes(-len(self.constants) % step))
            self._constant_at[key] = len(self.constants) // lanes
            self.constants.extend(data)
            self.constants.extend(bytes(-len(self.constants) % step))
        return self._constant_at[key]

    # Passes and other work ---------------------------------------------------------------------------------------

    def after_pass(self, post, cycles):
        """Put off the drain of a pass: `post` emits it and returns what emits its STOREs, or None.

        The parameters in `keep` are in use until then; `cycles` is what the drain takes.
        """
        self._post, self._slots, self._drain_cycles = self._mine(post), self.keep, cycles
        self.keep = None

    def drain(self):
        """Emit the drain of the last pass, and the STOREs of the one before; returns the drain's cycles, 0 if there is none.

        Instructions are dealt out in order, and a pass may have more STOREs than a queue holds: what the array needs
        next must not stand behind them.  The drain cannot be later: the next pass but one computes into its psum half.
        """
        if self._post is None:
            return 0
        post, self._post = self._post, None
        store = post()
        self._store_late()
        self._store = store
        return self._drain_cycles

    def flush(self):
        """Emit all that was put off."""
        self.drain()
        self._store_late()

    def _store_late(self):
        if self._store:
            store, self._store = self._store, None
            store()

    def shared(self):
        """Whether steps of other nodes wait for a place in the pass that is being emitted."""
        return self.filler is not None and self.filler.waiting()

    def fill(self, cycles):
        """A place for work of the vector unit that takes about so many cycles."""
        self.filler.fill(cycles)

    # Transfers ---------------------------------------------------------------------------------------------------

    def transfer(self, name, space, dram, buffer, words, rows=1, dram_stride=0, buffer_stride=0):
        """LOAD or STORE of rows; contiguous rows become one, long ones are cut."""
        if rows > 1 and dram_stride == words and buffer_stride == words and words * rows <= _MOST:
            words, rows = words * rows, 1
        if words > _MOST or rows > _MOST:
            for row in range(rows):
                for start in range(0, words, _MOST - 15):  # stays a multiple of any beat's words
                    self.transfer(
                        name, space, dram + row * dram_stride + start, buffer + row * buffer_stride + start,
                        min(_MOST - 15, words - start),
                    )  # fmt: skip
            return
        if rows > 1:
            self.setting("stride", f"{name}_STRIDE", dram_stride=dram_stride, buffer_stride=buffer_stride)
        chip = (_SPACE_NAME[space], buffer, buffer + (rows - 1) * buffer_stride + words)
        memory = ("dram", dram, dram + (rows - 1) * dram_stride + words)
        reads, writes = (memory, chip) if name == "LOAD" else (chip, memory)
        self.emit(
            name, reads=(reads,), writes=(writes,), space=space, dram=dram, buffer=buffer, words=words, rows=rows
        )

    def load(self, space, dram, buffer, words, rows=1, dram_stride=0, buffer_stride=0):
        """Memory to chip."""
        self.transfer("LOAD", space, dram, buffer, words, rows, dram_stride, buffer_stride)

    def store(self, dram, buffer, words, rows=1, dram_stride=0, buffer_stride=0):
        """Activation memory to memory."""
        self.transfer("STORE", Space.ACT, dram, buffer, words, rows, dram_stride, buffer_stride)

    # Parameters and tables ------------------------------------------------------------------------------------------

    def _hits(self, kept, slots):
        """Whether so many new slots would overwrite these."""
        if kept is None:
            return False
        low, high = self.param_ring.place(slots)
        return low < sum(kept) and kept[0] < high

    def has_room(self, items):
        """Whether `parameters` of these items leaves those of the pass that is being emitted."""
        if items is None or self.keep is None or self.param_ring.find(_item_bytes(items)) is not None:
            return True
        slots = len(items) // self.config.lanes
        first, number = self.keep
        return first + number + slots <= self.param_ring.size or slots <= first

    def parameters(self, items):
        """Parameter slot of these channels' items (uint32 [channels, 4], whole slots); loads them if they are not there."""
        data = _item_bytes(items)
        slot = self.param_ring.find(data)
        if slot is None:
            slots = len(items) // self.config.lanes
            if self._hits(self.keep, slots):
                self.param_ring.next = sum(self.keep)
            if self._post is not None and self._hits(self._slots, slots):
                self.drain()  # the parameters of the pass before are still to be used
            slot = self.param_ring.take(data, slots)
            words = slots * PARAM_SLOT_WORDS
            self.load(Space.PARAM, self.constant(data), slot * PARAM_SLOT_WORDS, words)
        return slot

    def parameter_interval(self, slot, slots):
        """What a POST_RUN with these slots reads."""
        return ("param", slot * PARAM_SLOT_WORDS, (slot + slots) * PARAM_SLOT_WORDS)

    def table(self, which, values):
        """Load a table (0: output, 1 and 2: operands) of 256 int32; returns the interval that its users read."""
        words = 1024 // self.config.lanes
        base = 4 * self.config.param_channels * 4 // self.config.lanes + which * words
        data = np.asarray(values, dtype="<i4").tobytes()
        if self._tables.get(which) != data:
            self._tables[which] = data
            self.load(Space.PARAM, self.constant(data), base, words)
        return ("param", base, base + words)

    def post_set(self, post):
        """Settings of a Requantisation; returns the intervals that its users read."""
        self.setting(
            "post", "POST_SET", mode=post.mode, zero_point=post.zero_point, low=post.low, high=post.high,
            table=post.table is not None,
        )  # fmt: skip
        return () if post.table is None else (self.table(0, post.table),)

    def mark(self):
        """End of a layer, for progress and per-layer counts."""
        self.layer += 1
        self.emit("MARK", layer=self.layer)


def _item_bytes(items):
    return np.ascontiguousarray(items, dtype="<u4").tobytes()
