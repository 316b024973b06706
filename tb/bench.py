"""What the testbenches share: clock, reset and configuration, a memory behind AXI, pauses, and the host's registers."""

import json
import os
import random
from collections import deque

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiResp, AxiSlaveRead, AxiSlaveWrite
from rowcast import Config
from rowcast.registers import address_of

__all__ = ["CLOCK_NS", "Host", "Memory", "attach_memory", "config", "pause", "pauses", "reset", "start_clock"]

CLOCK_NS = 10


def config():
    """The configuration that the design under test was built from."""
    return Config(**json.loads(os.environ["ROWCAST_TB_CONFIG"]))


async def start_clock(dut):
    """Clock, and some cycles of reset.  Attach masters and memories before."""
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())
    await reset(dut)


async def reset(dut, cycles=4):
    """Some cycles of reset."""
    dut.rst.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


def pauses(seed, percent):
    """A generator for `set_pause_generator`: idle `percent` of the time, in bursts of several lengths."""
    rng = random.Random(seed)
    if percent == 0:
        return
    while True:
        idle = rng.choice((1, 1, 2, 5, 20))
        yield from [True] * idle
        busy = idle * (100 - percent) / percent
        yield from [False] * max(1, round(rng.uniform(0, 2 * busy)))


class Memory:
    """Bytes from address `base` that answer with SLVERR where they are told to, or do not exist.

    Parameters
    ----------
    base : first byte's address.
    data : bytearray.
    clock : waits `latency()` cycles of it before the first beat of each read; None: answers at once.

    Members
    -------
    bad_reads, bad_writes : (first address, address after the last) that give an error.
    """

    def __init__(self, base, data, *, clock=None, latency=lambda: 0):
        self.base, self.data, self.clock, self.latency = base, data, clock, latency
        self.bad_reads, self.bad_writes = [], []
        self._next = None

    def _check(self, address, length, bad):
        inside = self.base <= address and address + length <= self.base + len(self.data)
        if not inside or any(low < address + length and address < high for low, high in bad):
            raise IndexError(f"no memory at {address:#x}")

    async def read(self, address, length):
        """Called by cocotbext-axi for each beat; an exception becomes SLVERR."""
        if address != self._next and self.clock is not None and (cycles := self.latency()):
            await ClockCycles(self.clock, cycles)
        self._next = address + length
        self._check(address, length, self.bad_reads)
        start = address - self.base
        return bytes(self.data[start : start + length])

    async def write(self, address, data):
        """Called for each run of strobed bytes of a beat."""
        self._check(address, len(data), self.bad_writes)
        self.data[address - self.base : address - self.base + len(data)] = data


class InterleavingRead(AxiSlaveRead):
    """Answers bursts of different IDs in any order, beats of them mixed, as AXI4 allows (A5.3)."""

    rng = random.Random(0)

    async def _process_read(self):
        under_way = {}  # ID -> [next address, beats left] of each burst
        while True:
            while not any(under_way.values()) or not self.ar_channel.empty():
                ar = await self.ar_channel.recv()
                under_way.setdefault(int(ar.arid), deque()).append([int(ar.araddr), int(ar.arlen) + 1])
            number = self.rng.choice([number for number, bursts in under_way.items() if bursts])
            burst = under_way[number][0]
            for _ in range(min(burst[1], self.rng.choice((1, 2, 8)))):
                await self.r_channel.send(await self._beat(number, burst))
            if burst[1] == 0:
                under_way[number].popleft()

    async def _beat(self, number, burst):
        beat = self.r_channel._transaction_obj(rid=number, rresp=AxiResp.OKAY)
        try:
            beat.rdata = int.from_bytes(await self._read(burst[0], self.byte_lanes), "little")
        except IndexError:
            beat.rresp = AxiResp.SLVERR
        burst[0] += self.byte_lanes
        burst[1] -= 1
        beat.rlast = burst[1] == 0
        return beat


def attach_memory(dut, memory, *, seed=0, pause_percent=0, interleave=False, addresses_ahead=4):
    """Connect a memory to `m_axi_*`, with random pauses on all five channels."""
    bus = AxiBus.from_prefix(dut, "m_axi")
    read = (InterleavingRead if interleave else AxiSlaveRead)(bus.read, dut.clk, dut.rst, target=memory)
    write = AxiSlaveWrite(bus.write, dut.clk, dut.rst, target=memory)
    read.rng = random.Random(seed)
    for channel in (read.ar_channel, write.aw_channel):
        channel.queue_occupancy_limit = addresses_ahead
    pause(seed, pause_percent, read.ar_channel, read.r_channel, write.aw_channel, write.w_channel, write.b_channel)
    for half in (read, write):
        half.log.setLevel("ERROR")  # a line a burst otherwise


def pause(seed, percent, *channels):
    """Random pauses on these channels."""
    for number, channel in enumerate(channels):
        if percent:
            channel.set_pause_generator(pauses(seed * 16 + number, percent))


class Host:
    """Registers by name, over AXI4-Lite at `s_axil_*`."""

    def __init__(self, dut, *, seed=0, pause_percent=0):
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        read, write = self.master.read_if, self.master.write_if
        pause(seed + 1, pause_percent, write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
              read.r_channel)  # fmt: skip
        for half in (read, write):
            half.log.setLevel("ERROR")

    async def write(self, name, value):
        """Write a register; of one that has a NAME_HIGH both halves if `value` needs them."""
        await self._write(address_of(name), value & 0xFFFFFFFF)
        if value >> 32:
            await self._write(address_of(f"{name}_HIGH"), value >> 32)

    async def _write(self, address, value):
        answer = await self.master.write(address, value.to_bytes(4, "little"))
        assert answer.resp == 0, f"write to {address:#x} was answered with {answer.resp!r}"

    async def read(self, name):
        """Read a register."""
        answer = await self.master.read(address_of(name), 4)
        assert answer.resp == 0, f"read of {name} was answered with {answer.resp!r}"
        return int.from_bytes(answer.data, "little")

    async def counter(self, name):
        """Read both halves of a counter."""
        low = await self.read(f"COUNT_{name.upper()}")
        return low | await self.read(f"COUNT_{name.upper()}_HIGH") << 32
