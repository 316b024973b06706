"""UartReceiver and UartTransmitter: every byte, at rates beside the nominal one, glitches, breaks, back-pressure."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rowcast.soc.uart import UartReceiver, UartTransmitter, divisor_for


def levels(data, bit):
    """The line for these bytes at `bit` cycles a bit, a fraction: one value a cycle."""
    bits = [level for byte in data for level in (0, *(byte >> i & 1 for i in range(8)), 1)]
    return [bits[int(cycle / bit)] for cycle in range(int(len(bits) * bit))]


def receive(line, *, divisor, ready=lambda: True):
    """(bytes, broken ones) that the receiver sees on a line, given a level a cycle."""
    dut, got, broken = UartReceiver(divisor=divisor), [], 0

    async def drive(ctx):
        nonlocal broken
        for level in [1] * 20 + line + [1] * (12 * divisor):
            ctx.set(dut.rx, level)
            take = ready()
            ctx.set(dut.o.ready, take)
            _, _, valid, payload, bad = await ctx.tick().sample(dut.o.valid, dut.o.payload, dut.broken)
            broken += bad
            if valid and take:
                got.append(payload)

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(drive)
    sim.run()
    return bytes(got), broken


@pytest.mark.parametrize("divisor, error", [
    (4, 0.0), (5, 0.0), (8, 0.03), (8, -0.03), (16, 0.04), (16, -0.04), (87, 0.02),
])  # fmt: skip
def test_receiver(divisor, error):
    """Bytes without gaps, from a sender that is a little fast or slow."""
    data = random.Random(divisor).randbytes(24 if divisor < 80 else 6)
    assert receive(levels(data, divisor * (1 + error)), divisor=divisor) == (data, 0)


def test_receiver_gaps_and_glitches():
    """Idle time of any length between bytes; low pulses of less than half a bit are nothing."""
    rng = random.Random(1)
    data, line = rng.randbytes(60), []
    for byte in data:
        line += [1] * rng.randrange(20)
        if rng.random() < 0.5:
            line += [0] * rng.randrange(1, 4) + [1] * 10
        line += levels([byte], 8)
    assert receive(line, divisor=8) == (data, 0)


def test_receiver_framing_error():
    """A byte without a stop bit is dropped and reported once, however long the line stays low; the next one is good."""
    for low in (0, 1, 8, 200):
        line = levels(b"\x55", 8)[:-8] + [0] * (8 + low) + [1] * 9 + levels(b"\xa3", 8)
        assert receive(line, divisor=8) == (b"\xa3", 1)


def test_receiver_overrun():
    """A byte that is not taken stays; those that come meanwhile are lost whole."""
    rng, data = random.Random(2), bytes(range(200))
    got, broken = receive(levels(data, 4), divisor=4, ready=lambda: rng.random() < 0.01)
    assert not broken and 10 < len(got) < 150
    assert list(got) == sorted(set(got))


@pytest.mark.parametrize("divisor", [4, 7, 16])
@pytest.mark.parametrize("stall", [0.0, 0.05])
def test_transmitter(divisor, stall):
    """The line is that of the bytes, a byte straight after the other if they are there in time."""
    dut, rng = UartTransmitter(divisor=divisor), random.Random(divisor)
    data, line = rng.randbytes(12), []

    async def send(ctx):
        for byte in data:
            while stall and rng.random() > stall:
                await ctx.tick()
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(12 * divisor)

    async def watch(ctx):
        while True:
            line.append((await ctx.tick().sample(dut.tx))[2])

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(watch, background=True)
    sim.add_testbench(send)
    sim.run()
    if not stall:
        start = line.index(0)
        assert line[start : start + 120 * divisor] == levels(data, divisor)
        assert all(line[:start]) and all(line[start + 120 * divisor :])
    assert receive(line, divisor=divisor) == (data, 0)


class Loop(wiring.Component):
    """A transmitter into a receiver."""

    def __init__(self, divisor):
        self.sender, self.receiver = UartTransmitter(divisor=divisor), UartReceiver(divisor=divisor)
        super().__init__({"i": self.sender.signature.members["i"], "o": self.receiver.signature.members["o"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.sender, m.submodules.receiver = self.sender, self.receiver
        wiring.connect(m, wiring.flipped(self.i), self.sender.i)
        wiring.connect(m, self.receiver.o, wiring.flipped(self.o))
        m.d.comb += self.receiver.rx.eq(self.sender.tx)
        return m


def test_every_byte():
    dut, got = Loop(4), []

    async def send(ctx):
        for byte in range(256):
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(60)

    async def take(ctx):
        ctx.set(dut.o.ready, 1)
        while True:
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                got.append(payload)

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(take, background=True)
    sim.add_testbench(send)
    sim.run()
    assert got == list(range(256))


def test_divisor():
    assert divisor_for(clock_hz=12_000_000, baud=1_000_000) == 12
    assert divisor_for(clock_hz=25_000_000, baud=115_200) == 217
    with pytest.raises(ValueError, match="baud must be at most 3000000, a bit in 4 cycles, not 4000000"):
        divisor_for(clock_hz=12_000_000, baud=4_000_000)
    with pytest.raises(ValueError, match="within 2% of a fraction of the clock, 12000000 Hz: 1800000 would be 1714286"):
        divisor_for(clock_hz=12_000_000, baud=1_800_000)
