"""Runs a program image instruction by instruction in numpy: no cycles, but every address, tag and token.

The units are executed in an order that a seed chooses among those that their tokens and halves allow.  A program whose tokens are
too few gives other results for some seed; one whose tokens cannot be met stops with a `Deadlock` that says where.
"""

import random
from collections import deque

import numpy as np

from rowcast import isa
from rowcast.isa import PostMode, PostSource, Space, Unit
from rowcast_models.golden.requantise import decode_params, postprocess

__all__ = ["Deadlock", "FunctionalMachine"]

HALVES = 2  # of every scratchpad


class Deadlock(RuntimeError):
    """No unit can go on: names the instruction at the head of every queue."""


class FunctionalMachine:
    """The machine as the instruction set sees it; its memories hold anything at first.

    Parameters
    ----------
    config : Config.
    memory : uint8 array, from DATA_BASE; changed by STORE.
    seed : order of units, and what the memories hold at first.
    """

    def __init__(self, config, memory, *, seed=0):
        self.config, self.memory = config, memory
        self.random = random.Random(seed)
        lanes = config.lanes
        self.words = memory.reshape(-1, lanes)
        anything = np.random.default_rng(seed)
        self.act = anything.integers(256, size=(config.act_words + 16, lanes), dtype=np.uint8)
        self.filter = anything.integers(256, size=(config.filter_buffer_words, lanes), dtype=np.uint8)
        self.param = anything.integers(1 << 32, size=4 * config.param_channels + 768, dtype=np.uint32)
        self.tokens = np.zeros((isa.TOKEN_UNITS, isa.TOKEN_UNITS), int)
        self.settings = {}
        shape = (config.rows, config.columns)
        self.filter_id = np.zeros((2, *shape), int)
        self.ifmap_id = np.zeros((2, *shape), int)
        self.target = np.zeros((3, *shape), int)
        self.filter_chunks, self.ifmap_chunks, self.unsent, self.unsent_filters = (deque() for _ in range(4))
        self.filter_spad = anything.integers(-128, 128, size=(*shape, config.filter_words // 2, lanes), dtype=np.int8)
        self.ifmap_spad = anything.integers(-128, 128, size=(*shape, config.ifmap_words // 2 * lanes), dtype=np.int8)
        self.psums = None
        self.psum_queue, self.vector = deque(), deque()
        self.layer = 0
        self.macs = 0

    # Scheduling -----------------------------------------------------------------------------------------------------

    def run(self, program):
        """Execute all instructions (a list, END last)."""
        queues = {unit: deque() for unit in Unit}
        units = [unit for unit in Unit if unit != Unit.CONTROL]
        waiting = deque(i for i in program if i.unit != Unit.CONTROL)
        while waiting or any(queues[unit] for unit in units):
            # In order: an instruction whose queue is full holds up all behind it.
            while waiting and len(queues[waiting[0].unit]) < self.config.queue_depth:
                queues[waiting[0].unit].append(waiting.popleft())
            self.random.shuffle(units)
            self.worked = False  # a part of an instruction was done
            if not any([self._try(unit, queues[unit]) for unit in units]) and not self.worked:
                heads = ", ".join(f"{u.name}: {queues[u][0]}" for u in units if queues[u])
                raise Deadlock(f"no unit can go on; {heads}")

    def _try(self, unit, queue):
        moved = False
        for _ in range(self.random.randint(1, 40)):
            if not queue or not self._step(unit, queue[0]):
                break
            queue.popleft()
            moved = True
        return moved

    def _step(self, unit, instruction):
        if unit < isa.TOKEN_UNITS:
            waits = [p for p in range(isa.TOKEN_UNITS) if instruction.wait >> p & 1]
            if any(self.tokens[p, unit] == 0 for p in waits):
                return False
        if getattr(self, "_" + instruction.name.lower())(instruction) is False:
            return False
        if unit < isa.TOKEN_UNITS:
            for p in waits:
                self.tokens[p, unit] -= 1
            for c in range(isa.TOKEN_UNITS):
                self.tokens[unit, c] += instruction.signal >> c & 1
        return True

    def _set(self, instruction):
        self.settings[instruction.name] = instruction

    def _stride(self, instruction):
        if instruction.signal:
            raise ValueError(f"{instruction} signals, but is never complete")
        self._set(instruction)

    _load_stride = _store_stride = _stride
    _ifmap_set = _compute_loop_k = _compute_loop_p = _post_set = _post_loop = _set

    # Transfers --------------------------------------------------------------------------------------------------------

    def _rows(self, i, stride_name):
        stride = self.settings.get(stride_name)
        for row in range(i["rows"]):
            dram = i["dram"] + row * (stride["dram_stride"] if row else 0)
            buffer = i["buffer"] + row * (stride["buffer_stride"] if row else 0)
            if i["space"] != Space.PARAM and (dram - buffer) % self.config.dram_words:
                raise ValueError(f"{i} is not co-aligned")
            yield dram, buffer

    def _load(self, i):
        for dram, buffer in self._rows(i, "LOAD_STRIDE"):
            data = self.words[dram : dram + i["words"]]
            assert len(data) == i["words"], i
            if i["space"] == Space.PARAM:
                items = np.ascontiguousarray(data).reshape(-1).view("<u4")
                start = buffer * self.config.lanes // 4
                assert start + len(items) <= len(self.param), i
                self.param[start : start + len(items)] = items
            else:
                space, size = (
                    (self.act, self.config.act_words)
                    if i["space"] == Space.ACT
                    else (self.filter, self.config.filter_buffer_words)
                )
                assert buffer + i["words"] <= size, i
                space[buffer : buffer + i["words"]] = data

    def _store(self, i):
        for dram, buffer in self._rows(i, "STORE_STRIDE"):
            assert buffer + i["words"] <= self.config.act_words, i
            self.words[dram : dram + i["words"]] = self.act[buffer : buffer + i["words"]]

    # Feeders ------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _id(table, i):
        table[0, i["row"], :] = i["row_id"]
        table[1, i["row"], i["column"]] = i["column_id"]

    def _filter_id(self, i):
        self._id(self.filter_id, i)

    def _ifmap_id(self, i):
        self._id(self.ifmap_id, i)

    def _filter_run(self, i):
        words = i["flits"] * self.config.noc_words
        step = words * i["groups_row"] * i["groups_column"]
        if not self.unsent_filters:
            assert i["buffer"] % self.config.noc_words == 0 and words <= self.config.filter_words // 2, i
            assert i["buffer"] + step * i["chunks"] <= self.config.filter_buffer_words, i
            self.unsent_filters.extend(i["buffer"] + step * chunk for chunk in range(i["chunks"]))
        while self.unsent_filters and len(self.filter_chunks) < HALVES:
            self.worked = True
            at = self.unsent_filters.popleft()
            spad = self._copy_of(self.filter_chunks, self.filter_spad)
            for row in range(i["groups_row"]):
                for column in range(i["groups_column"]):
                    mine = (self.filter_id[0] == row) & (self.filter_id[1] == column)
                    spad[mine, :words] = self.filter[at : at + words].view(np.int8)
                    at += words
            self.filter_chunks.append(spad)
        return not self.unsent_filters

    @staticmethod
    def _copy_of(queue, spad):
        return (queue[-1] if queue else spad).copy()

    def _ifmap_loop(self, i):
        self.settings["IFMAP_LOOP", i["pair"]] = i

    def _turns(self, i):
        """(word addresses, rows, columns) of all turns, outermost level first in the arrays' axes."""
        loops = [self.settings["IFMAP_LOOP", pair] for pair in range(3)]
        counts = [loop["count" + w] for loop in loops for w in ("_a", "_b")]
        grids = []
        for what, start in (("step", i["buffer"]), ("dy", i["y"]), ("dx", i["x"])):
            deltas = [loop[what + w] for loop in loops for w in ("_a", "_b")]
            value, travelled = np.array(start), 0
            for count, delta in zip(counts, deltas, strict=True):
                distance = delta + travelled
                value = np.add.outer(np.arange(count) * distance, value)
                travelled += (count - 1) * distance
            grids.append(value)
        return grids

    def _ifmap_run(self, i):
        setting = self.settings["IFMAP_SET"]
        taken = self.config.vector_words if i["vector"] else self.config.noc_words
        if self.unsent:
            return self._send_ifmap()
        if self.vector:
            return False
        address, y, x = self._turns(i)
        pad = (y < 0) | (y >= setting["height"]) | (x < 0) | (x >= setting["width"])
        assert ((address >= 0) & (address < self.config.act_words) | pad).all(), i
        words = self.act[np.where(pad, 0, address)[..., None] + np.arange(taken)]
        words[pad] = setting["pad"]
        words = words.view(np.int8)
        if i["vector"]:
            shape = (-1, words.shape[4] * words.shape[5])
            self.vector.append((words.reshape(*shape, taken, self.config.lanes), pad.reshape(shape)))
            return True
        self.unsent.extend(words)
        return self._send_ifmap()

    def _send_ifmap(self):
        """Chunks of the run under way into free halves; True when all are there."""
        while self.unsent and len(self.ifmap_chunks) < HALVES:
            self.worked = True
            chunk = self.unsent.popleft()
            spad = self._copy_of(self.ifmap_chunks, self.ifmap_spad)
            for row in range(chunk.shape[0]):
                for column in range(chunk.shape[1]):
                    mine = (self.ifmap_id[0] == row) & (self.ifmap_id[1] == column)
                    data = chunk[row, column].reshape(-1)
                    assert len(data) <= spad.shape[-1]
                    spad[mine, : len(data)] = data
            self.ifmap_chunks.append(spad)
        return not self.unsent

    # Array --------------------------------------------------------------------------------------------------------------

    def _compute_run(self, i):
        if min(len(self.filter_chunks), len(self.ifmap_chunks)) < 1 or len(self.psum_queue) >= HALVES:
            return False
        if min(len(self.filter_chunks), len(self.ifmap_chunks)) < i["chunks"]:
            # Work off what is there: the run's other chunks come later.
            done = min(len(self.filter_chunks), len(self.ifmap_chunks))
            for number in range(done):
                self._chunk(i, first=i["first"] and number == 0)
            self.worked = True
            i.fields["chunks"] -= done
            i.fields["first"] = 0
            return False
        for number in range(i["chunks"]):
            self._chunk(i, first=i["first"] and number == 0)
        if i["last"]:
            self.psum_queue.append(self.psums)
        return True

    def _chunk(self, i, *, first):
        k, p = self.settings["COMPUTE_LOOP_K"], self.settings["COMPUTE_LOOP_P"]
        levels = [(k[f"count_{n}"], k[f"step_{n}"]) for n in "csr"] + [(p[f"count_{n}"], p[f"step_{n}"]) for n in "xy"]
        value, travelled = np.array(0), 0
        for count, step in levels:
            distance = step + travelled
            value = np.add.outer(np.arange(count) * distance, value)
            travelled += (count - 1) * distance
        pixels = levels[3][0] * levels[4][0]
        at = value.reshape(pixels, -1)
        weights, data = self.filter_chunks.popleft(), self.ifmap_chunks.popleft()
        self.filter_spad, self.ifmap_spad = weights, data
        lanes = self.config.lanes
        w = weights[:, :, : at.shape[1]].astype(np.float64)
        if i["depthwise"]:
            grouped = data.reshape(*data.shape[:2], -1, lanes)[:, :, at // lanes].astype(np.float64)
            dots = np.einsum("ijpkl,ijkl->ijpl", grouped, w)
        else:
            dots = np.matmul(data[:, :, at].astype(np.float64), w)
        dots = dots.astype(np.int64)
        self.macs += dots.size * at.shape[1]
        self.psums = dots if first else self.psums + dots

    # Results ------------------------------------------------------------------------------------------------------------

    def _post_pe(self, i):
        self.target[:, i["row"], i["column"]] = i["valid"], i["offset"], i["slot"]

    def _mark(self, i):
        self.layer = i["layer"]

    def _bytes(self, acc, channels):
        post, base = self.settings["POST_SET"], 4 * self.config.param_channels
        table = self.param[base : base + 256].astype(np.uint8).view(np.int8) if post["table"] else None
        mode = PostMode(post["mode"])
        items = self.param[4 * channels.reshape(-1, 1) + np.arange(4)]
        if mode == PostMode.BYPASS:
            items = np.zeros_like(items)
        bias, multiplier, shift = (v.reshape(channels.shape) for v in decode_params(items, mode))
        return postprocess(acc, bias, multiplier, shift, mode, post["zero_point"], post["low"], post["high"], table)

    def _addresses(self, base):
        loop = self.settings["POST_LOOP"]
        inner, travelled = np.arange(loop["count_x"]) * loop["step_x"], (loop["count_x"] - 1) * loop["step_x"]
        outer = np.arange(loop["count_y"]) * (loop["step_y"] + travelled)
        return base + np.add.outer(outer, inner).reshape(-1)

    def _post_run(self, i):
        lanes = self.config.lanes
        at = self._addresses(i["buffer"])
        if i["source"] == PostSource.DRAIN:
            if not self.psum_queue:
                return False
            psums = self.psum_queue.popleft()
            for row in range(i["rows"]):
                for column in range(self.config.columns):
                    valid, offset, slot = self.target[:, row, column]
                    if valid:
                        channels = (i["slot"] + slot) * lanes + np.arange(lanes)
                        self._write(at + offset, self._bytes(psums[row, column, : len(at)], channels), i)
            return True
        if not self.vector:
            return False
        turns, pad = self.vector.popleft()
        results = i["more_words"] + 1
        assert len(turns) == len(at) and results <= turns.shape[2], (turns.shape, len(at), i)
        words = turns[:, :, :results].swapaxes(1, 2).reshape(-1, turns.shape[1], lanes)
        at = np.add.outer(at, np.arange(results)).reshape(-1)
        self._write(at, self._reduce(i, words.astype(np.int64), np.repeat(pad, results, axis=0)), i)
        return True

    def _write(self, at, data, i):
        assert at.min() >= 0 and at.max() < self.config.act_words, i
        self.act[at] = data.view(np.uint8)

    def _reduce(self, i, words, pad):
        lanes, base = self.config.lanes, 4 * self.config.param_channels
        channel = np.full((len(words), 1), i["slot"] * lanes)
        if i["by_count"]:
            channel = channel + (~pad).sum(1, keepdims=True) - 1
        if i["source"] == PostSource.MAX:
            acc = np.where(pad[..., None], -128, words).max(1)
        elif i["source"] == PostSource.SUM:
            acc = np.where(pad[..., None], 0, words).sum(1)
        else:
            tables = self.param[base + 256 : base + 768].view(np.int32).astype(np.int64).reshape(2, 256)
            a, b = (tables[t][words[:, t] + 128] for t in range(2))
            if i["source"] == PostSource.ADD:
                acc = a + b
            else:
                acc = a.astype(np.int16).astype(np.int64) * b.astype(np.int16)
        return self._bytes(acc, channel)
