"""The host's driver in a simulation: its bytes go through a foreign UART model to the pins."""

import random

from cocotb.task import bridge, resume
from cocotb.triggers import Timer
from cocotb.utils import get_sim_time
from cocotbext.uart import UartSink, UartSource
from rowcast_sim.host.device import Device
from rowcast_sim.host.link import Patience
from system_top import BAUD, QUIET

__all__ = ["BadLine", "UartLine", "in_thread", "open_device"]

PATIENCE = Patience(answer=100e-6, quiet=2 * QUIET, poll=50e-6, attempts=12)

GAP_NS = 25 * 10**9 // BAUD  # two and a half bytes

in_thread = bridge  # decorates what uses a device: it blocks, so it gets a thread


class UartLine:
    """A transport (`rowcast_sim.host.link.Link`) over `rx` and `tx` of the design."""

    def __init__(self, dut):
        self.name, self.baud = "simulation", BAUD
        self.source, self.sink = UartSource(dut.rx, baud=BAUD), UartSink(dut.tx, baud=BAUD)
        for model in (self.source, self.sink):
            model.log.setLevel("ERROR")  # a line a byte otherwise

    async def send(self, data):
        """Send; returns when the last stop bit is over."""
        self.source.write_nowait(data)
        await self.source.wait()

    async def receive(self, seconds):
        """What has come, or comes within the time: all of it until there is a gap, since each return changes the thread."""
        await self.sink.wait(max(1, round(seconds * 1e9)), "ns")  # 0 would be for ever
        data = self.sink.read_nowait()
        while data:
            await self.sink.wait(GAP_NS, "ns")
            if self.sink.empty():
                break
            data += self.sink.read_nowait()
        return bytes(data)

    def write(self, data):
        resume(self.send)(data)

    def read(self, seconds):
        return resume(self.receive)(seconds)

    def now(self):
        return get_sim_time("ns") / 1e9

    def sleep(self, seconds):
        if seconds > 0:
            resume(_pause)(seconds)

    def close(self):
        pass


async def _pause(seconds):
    await Timer(round(seconds * 1e9), "ns")


class BadLine:
    """A line that damages a share of what is sent and received, in all ways.

    Members
    -------
    damaged : pieces so far.
    """

    def __init__(self, line, *, share, seed):
        self.line, self.share, self.rng = line, share, random.Random(seed)
        self.damaged = 0

    def __getattr__(self, name):
        return getattr(self.line, name)

    def write(self, data):
        self.line.write(self._damage(bytearray(data), self.share))

    def read(self, seconds):
        return self._damage(bytearray(self.line.read(seconds)), self.share / 2)

    def _damage(self, data, share):
        if not data or self.rng.random() >= share:
            return bytes(data)
        self.damaged += 1
        place = self.rng.randrange(len(data))
        kind = self.rng.choice(("flip", "cut", "lose", "insert"))
        if kind == "flip":
            data[place] ^= 1 << self.rng.randrange(8)
        elif kind == "cut":
            del data[place:]
        elif kind == "lose":
            del data[place]
        else:
            data[place:place] = self.rng.randbytes(3)
        return bytes(data)


@bridge
def open_device(line):
    """The device behind a line."""
    return Device(line, patience=PATIENCE)
