"""MemoryArbiter and OnChipMemory: random bursts of one and of two managers, with stalls, against bytes in Python."""

import random
from collections import deque

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from rowcast import Config, preset
from rowcast.soc.arbiter import MemoryArbiter
from rowcast.soc.bus import memory_signature
from rowcast.soc.bus_registers import BusRegisters
from rowcast.soc.onchip import SPRAM_BYTES, OnChipMemory

TINY = preset("tiny")
SIZE = 16384
OKAY, SLVERR = 0, 2


class Manager:
    """Sends reads and writes, keeps the rules of the channels, and notes the answers.

    Parameters
    ----------
    bus : of `memory_signature`, as a component's input.
    reads : (address, beats, id); writes : (address, [(data, strobe)]).
    ahead : addresses under way, each way.
    held : number of the first read that waits for the answers of all writes.
    """

    def __init__(self, bus, *, beat_bytes, reads, writes, stall, seed, ahead=100, held=None):
        self.bus, self.beat_bytes, self.stall, self.ahead, self.held = bus, beat_bytes, stall, ahead, held
        self.rng = random.Random(seed)
        self.reads, self.writes = reads, writes
        self.beats, self.answers, self.cycles = [], [], {}
        self.bursts_read = 0

    def idle(self):
        return self.rng.random() < self.stall

    async def _offer(self, ctx, channel, payloads, may=lambda number: True):
        for number, payload in enumerate(payloads):
            while self.idle() or not may(number):
                await ctx.tick()
            ctx.set(channel.payload, payload)
            ctx.set(channel.valid, 1)
            while not (await ctx.tick().sample(channel.ready))[2]:
                pass
            ctx.set(channel.valid, 0)

    async def _take(self, ctx, channel, count, note):
        stand, cycle = None, 0
        while count:
            ready = not self.idle()
            ctx.set(channel.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(channel.valid, channel.payload)
            cycle += 1
            assert stand is None or (valid and payload == stand)
            stand = payload if valid and not ready else None
            if valid and ready:
                count -= note(payload, cycle)
        ctx.set(channel.ready, 0)

    def _may_read(self, number):
        after_writes = self.held is not None and number >= self.held
        return number - self.bursts_read < self.ahead and not (after_writes and len(self.answers) < len(self.writes))

    def testbenches(self):
        """All of them end."""
        bus = self.bus

        async def read_addresses(ctx):
            payloads = [{"addr": address, "len": beats - 1, "id": number} for address, beats, number in self.reads]
            await self._offer(ctx, bus.ar, payloads, self._may_read)

        async def write_addresses(ctx):
            payloads = [{"addr": address, "len": len(beats) - 1} for address, beats in self.writes]
            await self._offer(ctx, bus.aw, payloads, lambda number: number - len(self.answers) < self.ahead)

        async def write_data(ctx):
            flat = []
            for _, beats in self.writes:
                flat += [{"data": d, "strb": s, "last": i == len(beats) - 1} for i, (d, s) in enumerate(beats)]
            await self._offer(ctx, bus.w, flat)

        def note_beat(payload, cycle):
            self.beats.append((payload.data, payload.resp, payload.id, payload.last))
            self.cycles[len(self.beats) - 1] = cycle
            self.bursts_read += payload.last
            return 1

        def note_answer(payload, cycle):
            self.answers.append(payload.resp)
            return 1

        async def read_beats(ctx):
            await self._take(ctx, bus.r, sum(beats for _, beats, _ in self.reads), note_beat)

        async def write_answers(ctx):
            await self._take(ctx, bus.b, len(self.writes), note_answer)

        return [read_addresses, write_addresses, write_data, read_beats, write_answers]

    def check_reads(self, memory):
        """Every beat is that of `memory` (bytes), with the burst's id, and an error outside."""
        want, size = [], self.beat_bytes
        for address, beats, number in self.reads:
            for i in range(beats):
                at = address + i * size
                inside = at < len(memory)
                data = int.from_bytes(memory[at : at + size], "little") if inside else None
                want.append((data, OKAY if inside else SLVERR, number, int(i == beats - 1)))
        got = [(d if r == OKAY else None, r, n, last) for d, r, n, last in self.beats]
        for i, (mine, theirs) in enumerate(zip(got, want)):
            assert mine == theirs, f"beat {i}"
        assert len(got) == len(want)


def bursts(rng, count, *, beat_bytes, low, high, longest=16):
    """(address, beats) that stay inside 4 KiB and between two addresses."""
    found = []
    while len(found) < count:
        address = rng.randrange(low, high) // beat_bytes * beat_bytes
        beats = rng.choice((1, 1, 2, 3, longest))
        end = address + beats * beat_bytes
        if end <= high and address // 4096 == (end - 1) // 4096:
            found.append((address, beats))
    return found


def random_writes(rng, places, beat_bytes):
    full = (1 << beat_bytes) - 1
    return [(address, [(rng.getrandbits(8 * beat_bytes), rng.choice((full, full, rng.getrandbits(beat_bytes))))
                       for _ in range(beats)]) for address, beats in places]  # fmt: skip


def apply_writes(memory, writes, beat_bytes):
    """What is in memory afterwards."""
    for address, beats in writes:
        for i, (data, strobe) in enumerate(beats):
            for byte in range(beat_bytes):
                at = address + i * beat_bytes + byte
                if strobe >> byte & 1 and at < len(memory):
                    memory[at] = data >> 8 * byte & 255


def simulate(dut, managers, *, fill=None, background=(), limit=40_000):
    """Run until all managers are through; returns the cycles."""
    passed = 0

    async def watchdog(ctx):
        nonlocal passed
        if fill is not None:
            fill(ctx)
        for passed in range(limit):
            await ctx.tick()
        raise AssertionError("it never ends")

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(watchdog, background=True)
    for testbench in background:
        sim.add_testbench(testbench, background=True)
    for manager in managers:
        for testbench in manager.testbenches():
            sim.add_testbench(testbench)
    sim.run()
    return passed


def filler(dut, data):
    store = dut.store
    memory = store.twin if store.SHARED else store.memory
    beat = dut.config.dram_bytes

    def fill(ctx):
        for i in range(len(data) // beat):
            ctx.set(memory.data[i], int.from_bytes(data[i * beat : (i + 1) * beat], "little"))

    return fill


MEMORIES = {
    "block": (TINY, {"size": SIZE}),
    "uneven": (Config(lanes=4, dram_bytes=4), {"size": 3 * 4096}),
    "wide": (Config(dram_bytes=32), {"size": SIZE}),
    "spram": (TINY, {"size": SPRAM_BYTES, "spram": True}),
}


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("name", MEMORIES)
def test_on_chip(name, stall):
    """Reads of one half beside writes to the other, bursts outside, and then all that was written."""
    config, options = MEMORIES[name]
    dut, rng = OnChipMemory(config, **options), random.Random(f"{name} {stall}")
    beat, size = config.dram_bytes, min(options["size"], SIZE)
    data = bytearray(rng.randbytes(size))
    outside = [] if name == "spram" else [(options["size"], 3), (1 << 19, 1)]
    places = bursts(rng, 30, beat_bytes=beat, low=size // 2, high=size) + outside
    writes = random_writes(rng, rng.sample(places, len(places)), beat)
    reads = bursts(rng, 30, beat_bytes=beat, low=0, high=size // 2) + outside
    reads = [(*place, rng.randrange(2)) for place in rng.sample(reads, len(reads))]
    later = [(at, 16, 0) for at in range(size // 2, size, 16 * beat)]
    manager = Manager(
        dut.bus, beat_bytes=beat, reads=reads + later, writes=writes, stall=stall, seed=1, held=len(reads)
    )
    simulate(dut, [manager], fill=filler(dut, data))
    assert manager.answers == [OKAY if address < options["size"] else SLVERR for address, _ in writes]
    apply_writes(data, writes, beat)
    manager.check_reads(data + bytes(options["size"] - size))


def test_on_chip_speed():
    """The first beat after 3 cycles, then one a cycle across bursts."""
    dut = OnChipMemory(TINY, size=SIZE)
    reads = [(128 * i, 16, 0) for i in range(4)] + [(0, 1, 1), (8, 1, 0), (16, 2, 1)]
    manager = Manager(dut.bus, beat_bytes=8, reads=reads, writes=[], stall=0.0, seed=1)
    simulate(dut, [manager])
    manager.check_reads(bytes(SIZE))
    cycles = list(manager.cycles.values())
    assert cycles == list(range(4, 4 + len(cycles)))  # the address is taken in cycle 1


def test_shared_store_takes_turns():
    """Neither direction keeps the other from a single-port memory."""
    dut = OnChipMemory(TINY, size=SPRAM_BYTES, spram=True)
    reads = [(128 * i, 16, 0) for i in range(12)]
    writes = [(8192 + 128 * i, [(i, 255)] * 16) for i in range(12)]
    manager = Manager(dut.bus, beat_bytes=8, reads=reads, writes=writes, stall=0.0, seed=1)
    cycles = simulate(dut, [manager])
    assert cycles < 2 * 12 * 16 + 60


class Arbitrated(wiring.Component):
    """The arbiter in front of a memory, with registers between them if they are asked for."""

    def __init__(self, config, size, *, registers=False):
        self.arbiter, self.memory = MemoryArbiter(config), OnChipMemory(config, size=size)
        self.registers = BusRegisters(memory_signature(config)) if registers else None
        super().__init__({"main": In(memory_signature(config)), "side": In(memory_signature(config))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter, m.submodules.memory = self.arbiter, self.memory
        for name in ("main", "side"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(self.arbiter, name))
        near = self.arbiter.bus
        if self.registers is not None:
            m.submodules.registers = self.registers
            wiring.connect(m, near, self.registers.i)
            near = self.registers.o
        wiring.connect(m, near, self.memory.bus)
        return m


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("memory", ["on chip", "registers", "slow"])
def test_two_managers(stall, memory):
    """Each gets its own beats and answers in order, and all that both write arrives."""
    rng = random.Random(f"{memory} {stall}")
    data = bytearray(rng.randbytes(SIZE))
    half, quarter = SIZE // 2, SIZE // 4
    jobs = {}
    for name, low, count, longest in (("main", half, 60, 16), ("side", half + quarter, 40, 1)):
        places = bursts(rng, count, beat_bytes=8, low=0, high=half, longest=longest)
        reads = [(*place, rng.randrange(2)) for place in places]
        writes = random_writes(rng, bursts(rng, count, beat_bytes=8, low=low, high=low + quarter, longest=longest), 8)
        jobs[name] = reads, writes
    slow = Slow(data, rng.random() if stall else 0.3) if memory == "slow" else None
    dut = Arbitrated(TINY, SIZE, registers=memory == "registers") if slow is None else MemoryArbiter(TINY)
    managers = [
        Manager(getattr(dut, name), beat_bytes=8, reads=reads, writes=writes, stall=stall if name == "main" else 0.0,
                seed=1, ahead=100 if name == "main" else 1)
        for name, (reads, writes) in jobs.items()
    ]  # fmt: skip
    before = bytes(data)
    if slow is None:
        simulate(dut, managers, fill=filler(dut.memory, data))
    else:
        simulate(dut, managers, background=slow.testbenches(dut.bus))
    for manager, (_, writes) in zip(managers, jobs.values()):
        manager.check_reads(before)
        assert manager.answers == [OKAY] * len(writes)
    if slow is not None:
        want = bytearray(before)
        for _, writes in jobs.values():
            apply_writes(want, writes, 8)
        assert slow.data == want


class Slow:
    """A memory that keeps bursts waiting, several at a time, and takes data only after their addresses."""

    def __init__(self, data, stall):
        self.data, self.stall, self.rng = data, stall, random.Random(7)
        self.reads, self.writes, self.answers = deque(), deque(), deque()

    def testbenches(self, bus):
        async def addresses(ctx, channel, queue):
            while True:
                ready = len(queue) < 6 and self.rng.random() > self.stall
                ctx.set(channel.ready, ready)
                _, _, valid, payload = await ctx.tick().sample(channel.valid, channel.payload)
                if valid and ready:
                    queue.append((payload, self.rng.randrange(1, 25)))

        async def give(ctx, channel, payload):
            while self.rng.random() < self.stall:
                await ctx.tick()
            ctx.set(channel.payload, payload)
            ctx.set(channel.valid, 1)
            while not (await ctx.tick().sample(channel.ready))[2]:
                pass
            ctx.set(channel.valid, 0)

        async def read(ctx):
            while True:
                while not self.reads:
                    await ctx.tick()
                address, delay = self.reads.popleft()
                await ctx.tick().repeat(delay)
                for i in range(address.len + 1):
                    at = address.addr + 8 * i
                    value = int.from_bytes(self.data[at : at + 8], "little")
                    await give(ctx, bus.r, {"data": value, "resp": OKAY, "id": address.id, "last": i == address.len})

        async def write(ctx):
            while True:
                while not self.writes:
                    await ctx.tick()
                address, delay = self.writes.popleft()
                for i in range(address.len + 1):
                    while True:
                        ready = self.rng.random() > self.stall
                        ctx.set(bus.w.ready, ready)
                        _, _, valid, beat = await ctx.tick().sample(bus.w.valid, bus.w.payload)
                        if valid and ready:
                            break
                    ctx.set(bus.w.ready, 0)
                    assert beat.last == (i == address.len)
                    apply_writes(self.data, [(address.addr + 8 * i, [(beat.data, beat.strb)])], 8)
                self.answers.append(delay)

        async def answer(ctx):
            while True:
                while not self.answers:
                    await ctx.tick()
                await ctx.tick().repeat(self.answers.popleft())
                await give(ctx, bus.b, {"resp": OKAY})

        async def read_addresses(ctx):
            await addresses(ctx, bus.ar, self.reads)

        async def write_addresses(ctx):
            await addresses(ctx, bus.aw, self.writes)

        return [read_addresses, write_addresses, read, write, answer]


def test_registers_of_some_channels():
    """The others pass as they are, in the same cycle; a channel that there is not is named."""
    with pytest.raises(ValueError, match="no channel q; there are ar, r, aw, w, b"):
        BusRegisters(memory_signature(TINY), ("q", "r"))

    async def look(ctx):
        seen = []
        for _ in range(2):
            ctx.set(dut.i.aw.valid, 1)
            ctx.set(dut.i.ar.valid, 1)
            seen.append((ctx.get(dut.o.aw.valid), ctx.get(dut.o.ar.valid)))
            await ctx.tick()
        assert seen == [(1, 0), (1, 1)]

    dut = BusRegisters(memory_signature(TINY), ("ar", "r"))
    simulation = Simulator(dut)
    simulation.add_clock(1e-6)
    simulation.add_testbench(look)
    simulation.run()


def test_nobody_starves():
    """A side that never stops costs main a fraction of its time, and the other way round."""
    reads = [(128 * i % 8192, 16, 1) for i in range(40)]
    writes = [(8192 + 128 * i % 8192, [(i, 255)] * 16) for i in range(40)]
    single_reads, single_writes = [(8 * i, 1, 0) for i in range(50)], [(8 * i, [(i, 255)]) for i in range(50)]

    def run(side):
        dut = Arbitrated(TINY, SIZE)
        main = Manager(dut.main, beat_bytes=8, reads=reads, writes=writes, stall=0.0, seed=1, ahead=3)
        managers = [main]
        if side:
            managers.append(
                Manager(dut.side, beat_bytes=8, reads=single_reads, writes=single_writes, stall=0.0, seed=2, ahead=1)
            )
        return simulate(dut, managers)

    alone, together = run(False), run(True)
    # 50 reads and 50 writes of a beat, beside 40 bursts each way of 16: all of them within half the time more
    assert alone < together < 1.5 * alone


@pytest.mark.parametrize("options, message", [
    ({"size": 5000}, "size must be a multiple of 4096 bytes, not 5000"), ({"size": 0}, "size must be a multiple"),
    ({"size": 4096, "spram": True}, "size must be 131072 bytes with spram"),
    ({"size": 1 << 33}, r"at most 2\*\*address_width"),
])  # fmt: skip
def test_bad_sizes(options, message):
    with pytest.raises(ValueError, match=message):
        OnChipMemory(TINY, **options)


def test_bad_spram_width():
    with pytest.raises(ValueError, match="beat_bytes must be 2, 4 or 8"):
        OnChipMemory(Config(dram_bytes=16), size=SPRAM_BYTES, spram=True)
