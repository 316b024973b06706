"""Watches the AXI4 manager's pins and checks, cycle by cycle, what the protocol asks of it (ARM IHI 0022H)."""

from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

__all__ = ["AxiMonitor"]

_PAYLOAD = {
    "ar": ("id", "addr", "len", "size", "burst"),
    "aw": ("id", "addr", "len", "size", "burst"),
    "w": ("data", "strb", "last"),
}
_INCR = 1
_PAGE = 4096


class AxiMonitor:
    """Fails the test at the first broken rule.

    - A3.2.1: a valid that is up stays up, and its payload stays, until ready; no valid during reset.
    - A3.4.1: incrementing bursts of full, aligned beats, none across a 4 KiB border, none outside the windows.
    - A3.2.2, A3.4.1: as many beats as the address said, `wlast` with the last and no other; no beat before its address.
    - No more reads under way than LOAD (`outstanding_reads`) and fetch (its buffer, in bursts) ask for together.

    Parameters
    ----------
    dut : handle with `m_axi_*`, `clk`, `rst`.
    config : Config

    Members
    -------
    read_window, write_window : (first byte, byte after the last) that may be touched; None: all.
    reads, writes : bursts whose last beat, or answer, is not there yet.
    read_beats, write_beats, strobed : beats since the last `clear`; `strobed`: bytes written.
    bursts : (channel, address, beats) of all bursts since the last `clear`.
    """

    def __init__(self, dut, config):
        self.dut, self.beat_bytes = dut, config.dram_bytes
        fetch_beats = max(16, 256 // config.dram_bytes)
        self.most_reads = config.outstanding_reads + fetch_beats // min(fetch_beats // 2, config.burst_beats)
        self.read_window = self.write_window = None
        self._pins = {
            channel: [getattr(dut, f"m_axi_{channel}{name}") for name in names] for channel, names in _PAYLOAD.items()
        }
        self._hands = {
            name: (getattr(dut, f"m_axi_{name}valid"), getattr(dut, f"m_axi_{name}ready"))
            for name in ("ar", "r", "aw", "w", "b")
        }
        self.clear()
        self._forget()
        cocotb.start_soon(self._watch())

    def clear(self):
        """Begin to count anew."""
        self.read_beats = self.write_beats = self.strobed = 0
        self.bursts = []

    def _forget(self):
        self.reads = self.writes = 0
        self._stalled = dict.fromkeys(_PAYLOAD)  # payload that must stay
        self._beats = deque()  # beats that each write address promised, from its first `valid` on
        self._sent = 0  # beats of the front one
        self._answers = 0  # bursts that are complete but for their B

    async def _watch(self):
        edge, reset = RisingEdge(self.dut.clk), self.dut.rst
        while True:
            await edge
            if reset.value:
                self._forget()
                continue
            for name, (valid, ready) in self._hands.items():
                if valid.value:
                    getattr(self, f"_see_{name}")(bool(ready.value))
                elif self._stalled.get(name) is not None:
                    raise AssertionError(f"{name}valid fell before {name}ready")

    def _stable(self, name, taken):
        """The payload; whether this is its first cycle."""
        payload = [int(pin.value) for pin in self._pins[name]]
        before, self._stalled[name] = self._stalled[name], None if taken else payload
        assert before is None or before == payload, f"{name} changed before {name}ready: {before} to {payload}"
        return payload, before is None

    def _address(self, name, payload, window):
        _, address, length, size, burst = payload
        beats = length + 1
        assert 1 << size == self.beat_bytes and burst == _INCR, f"{name}: size {size}, burst {burst}"
        assert address % self.beat_bytes == 0, f"{name}: {address:#x} is not aligned"
        end = address + beats * self.beat_bytes
        assert address // _PAGE == (end - 1) // _PAGE, f"{name}: {address:#x} to {end:#x} crosses a 4 KiB border"
        if window is not None:
            assert window[0] <= address and end <= window[1], f"{name}: {address:#x} to {end:#x} is outside the window"
        self.bursts.append((name, address, beats))
        return beats

    def _see_ar(self, taken):
        payload, new = self._stable("ar", taken)
        if new:
            self._address("ar", payload, self.read_window)
            self.reads += 1
            assert self.reads <= self.most_reads, f"{self.reads} reads under way"

    def _see_aw(self, taken):
        payload, new = self._stable("aw", taken)
        if new:
            self._beats.append(self._address("aw", payload, self.write_window))
            self.writes += 1

    def _see_w(self, taken):
        (_, strobe, last), new = self._stable("w", taken)
        assert self._beats, "w: a beat without an address"
        if new:
            self._sent += 1
            assert last == (self._sent == self._beats[0]), f"wlast is {last} in beat {self._sent} of {self._beats[0]}"
        if taken:
            self.write_beats += 1
            self.strobed += strobe.bit_count()
            if last:
                self._beats.popleft()
                self._sent = 0
                self._answers += 1

    def _see_r(self, taken):
        if taken:
            self.read_beats += 1
            self.reads -= int(self.dut.m_axi_rlast.value)
            assert self.reads >= 0, "r: a burst that nobody asked for"

    def _see_b(self, taken):
        if taken:
            self.writes -= 1
            self._answers -= 1
            assert self._answers >= 0, "b: an answer before the last beat"

    def quiet(self):
        """Nothing stands on the bus, nothing is owed."""
        valid = any(self._hands[name][0].value for name in _PAYLOAD)
        return not (valid or self.reads or self.writes or self._beats)
