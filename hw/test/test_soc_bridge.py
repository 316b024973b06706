"""HostBridge against its twin: requests of all kinds, and bytes that are none, over streams and buses that stall."""

import random

import pytest
from amaranth.sim import Simulator

from rowcast import Config, preset
from rowcast.soc import protocol
from rowcast.soc.bridge import HostBridge
from rowcast.soc.protocol import Command, Info, Status
from rowcast.soc.twin import BridgeTwin, BusError

CONFIGS = {
    "tiny": preset("tiny"),
    "narrow": Config(lanes=4, dram_bytes=4, address_width=20),
    "wide": Config(dram_bytes=32, address_width=40),
}
TIMEOUT = 300
BAD_PAGE = 3  # of 4 KiB; accesses to it fail, on both buses
SLVERR = 2


def info_of(config, payload=64):
    return Info(protocol.PROTOCOL_VERSION, payload, config.dram_bytes, 50, 1 << 16, 12_000_000, 1_000_000)


class Store:
    """Bytes at any address behind a bus of so many bytes a beat; everything that is done is noted."""

    def __init__(self, beat_bytes, *, seed):
        self.beat_bytes, self.seed = beat_bytes, seed
        self.data, self.log = {}, []

    def _check(self, address):
        if address >> 12 == BAD_PAGE or (self.beat_bytes == 4 and address & 0xF0 == 0x50):
            raise BusError

    def read(self, address):
        self.log.append(("read", address))
        self._check(address)
        data = bytes(self.data.get(address + i, (address + i) * self.seed >> 3 & 255) for i in range(self.beat_bytes))
        return data

    def write(self, address, data, strobe):
        data = data.to_bytes(4, "little") if isinstance(data, int) else data
        enabled = {address + i: data[i] for i in range(self.beat_bytes) if strobe >> i & 1}
        self.log.append(("write", address, enabled))
        self._check(address)
        self.data |= enabled


class Bench:
    """The bridge between a host and two stores."""

    def __init__(self, config, *, stall, seed=0, payload=64):
        self.config, self.stall, self.rng = config, stall, random.Random(seed)
        self.dut = HostBridge(config, info=info_of(config, payload), timeout=TIMEOUT)
        self.stores = {"lite": Store(4, seed=5), "memory": Store(config.dram_bytes, seed=7)}
        twins = Store(4, seed=5), Store(config.dram_bytes, seed=7)
        self.twin = BridgeTwin(info_of(config, payload), *twins, address_width=config.address_width)
        self.received = bytearray()

    def idle(self):
        return self.rng.random() < self.stall

    async def sink(self, ctx):
        while True:
            byte = await self.accept(ctx, self.dut.o)
            self.received.append(byte)

    def reader(self, name):
        async def serve(ctx):
            bus, store = getattr(self.dut, name), self.stores[name]
            while True:
                address = (await self.accept(ctx, bus.ar)).addr
                try:
                    data, resp = int.from_bytes(store.read(address), "little"), 0
                except BusError:
                    data, resp = 0, SLVERR
                payload = {"data": data, "resp": resp} | ({"last": 1} if name == "memory" else {})
                await self.offer(ctx, bus.r, payload)

        return serve

    def writer(self, name):
        async def serve(ctx):
            bus, store = getattr(self.dut, name), self.stores[name]
            while True:
                if self.idle():
                    address = (await self.accept(ctx, bus.aw)).addr
                    data = await self.accept(ctx, bus.w)
                else:
                    data = await self.accept(ctx, bus.w)
                    address = (await self.accept(ctx, bus.aw)).addr
                try:
                    store.write(address, data.data.to_bytes(store.beat_bytes, "little"), data.strb)
                    resp = 0
                except BusError:
                    resp = SLVERR
                await self.offer(ctx, bus.b, {"resp": resp})

        return serve

    async def accept(self, ctx, channel):
        """A transfer; the payload must not change while it waits."""
        stand = None
        if not ctx.get(channel.valid):
            await ctx.posedge(channel.valid)
        while True:
            ready = not self.idle()
            ctx.set(channel.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(channel.valid, channel.payload)
            assert stand is None or (valid and payload == stand)
            stand = payload if valid else None
            if valid and ready:
                ctx.set(channel.ready, 0)
                return payload

    async def offer(self, ctx, channel, payload):
        while self.idle():
            await ctx.tick()
        ctx.set(channel.payload, payload)
        ctx.set(channel.valid, 1)
        await ctx.tick().until(channel.ready)
        ctx.set(channel.valid, 0)

    async def send(self, ctx, data):
        for byte in data:
            await self.offer(ctx, self.dut.i, byte)

    async def answered(self, ctx, count, limit=20_000):
        """Wait until so many bytes have come, and then see that no more do."""
        for _ in range(limit):
            if len(self.received) >= count:
                break
            await ctx.tick()
        for _ in range(60):
            await ctx.tick()
        received, self.received = bytes(self.received), bytearray()
        return received

    async def exchange(self, ctx, data):
        """Send bytes to both; the answers must be equal.  Returns them."""
        want = self.twin.feed(data)
        await self.send(ctx, data)
        got = await self.answered(ctx, len(want))
        assert got == want, f"after {data.hex(' ')}: {got.hex(' ')}, not {want.hex(' ')}"
        return got

    async def quiet(self, ctx):
        await ctx.tick().repeat(2 * TIMEOUT + 20)
        self.twin.silence()

    def check_stores(self):
        for name, twin in (("lite", self.twin.registers), ("memory", self.twin.memory)):
            got = self.stores[name].log
            for number, (mine, theirs) in enumerate(zip(got, twin.log)):
                assert mine == theirs, f"{name} access {number}"
            assert len(got) == len(twin.log), name

    def run(self, script):
        async def main(ctx):
            ctx.set(self.dut.irq, 0)
            await script(ctx)
            self.check_stores()

        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        for name in ("lite", "memory"):
            sim.add_testbench(self.reader(name), background=True)
            sim.add_testbench(self.writer(name), background=True)
        sim.add_testbench(self.sink, background=True)
        sim.add_testbench(main)
        sim.run()


def random_request(rng, config, sequence, payload=64):
    """A frame of any kind, most of them sensible."""
    command = rng.choice([*Command, *Command, 1, 6, 0x84])
    length = rng.choice((0, 1, 2, 3, 4, 7, 8, 9, 31, 32, 33, payload - 1, payload))
    offset = rng.randint(0, payload - length)
    if rng.random() < 0.06:
        offset, length = rng.choice(((0, payload + 1), (1, payload), (payload - 1, 2), (0, 0xFF00 + 4), (3, 1 << 10)))
    top = 1 << (12 if command & 2 else min(config.address_width, 32))
    address = rng.choice((0, rng.randrange(top), BAD_PAGE << 12)) % top // payload * payload + offset
    if rng.random() < 0.05:
        address |= 1 << 31
    data = rng.randbytes(min(length, payload)) if command & 1 else b""
    return protocol.request(command, sequence=sequence, address=address, length=length, payload=data)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("name", CONFIGS)
def test_requests(name, stall):
    """Every answer, and every access on both buses, as the twin's."""
    bench = Bench(CONFIGS[name], stall=stall, seed=1)
    rng, codes = random.Random(f"{name} {stall}"), set()

    async def script(ctx):
        sequence = 0
        for _ in range(40):
            sequence += rng.choice((0, 1, 1, 1, 255))
            request = random_request(rng, bench.config, sequence % 256)
            got = await bench.exchange(ctx, request)
            codes.add(got[-5] & 7)
            if got[-5] & 7 == Status.RANGE:
                await bench.quiet(ctx)

    bench.run(script)
    assert codes >= {Status.OK, Status.RANGE, Status.COMMAND, Status.ACCESS}


def test_damaged_frames():
    """Flipped bits, missing and additional bytes, noise: the twin's answers; after a pause a good request passes."""
    bench = Bench(CONFIGS["tiny"], stall=0.0, seed=2)
    rng, codes = random.Random(3), set()

    async def script(ctx):
        for number in range(40):
            request = bytearray(random_request(rng, bench.config, number))
            kind = rng.choice(("flip", "cut", "insert", "noise"))
            place = rng.randrange(len(request))
            if kind == "flip":
                request[place] ^= 1 << rng.randrange(8)
            elif kind == "cut":
                del request[place : place + rng.choice((1, 2, 1000))]
            elif kind == "insert":
                request[place:place] = rng.randbytes(rng.choice((1, 5)))
            else:
                request = rng.choice((rng.randbytes(50), bytes([protocol.START_REQUEST] * 30), bytes(40)))
            got = await bench.exchange(ctx, bytes(request))
            codes.update({got[-5] & 7} if got else {})
            await bench.quiet(ctx)
            ping = protocol.request(Command.INFO_READ, sequence=number, address=0, length=16)
            assert (await bench.exchange(ctx, ping))[-5] == Status.OK

    bench.run(script)
    assert codes >= {Status.CHECKSUM, Status.RANGE}


def test_byte_beside_the_tick():
    """A frame that begins around the end of a silence is not forgotten with it."""
    bench = Bench(CONFIGS["tiny"], stall=0.0, seed=3)

    async def script(ctx):
        for early in range(12):
            await bench.quiet(ctx)
            await ctx.tick().until(bench.dut.tick)
            await ctx.tick().repeat(TIMEOUT - early)
            await bench.exchange(ctx, protocol.request(Command.INFO_READ, sequence=early, address=0, length=16))

    bench.run(script)


def test_cut_line():
    """An unfinished frame is forgotten after two time-outs, not before one, wherever it ends."""
    bench = Bench(CONFIGS["tiny"], stall=0.0)
    data = protocol.request(Command.MEMORY_WRITE, sequence=9, address=64, payload=bytes(range(20)))
    ping = protocol.request(Command.INFO_READ, sequence=1, address=0, length=0)

    async def script(ctx):
        for length in (1, 5, 9, 12, 29, 30, 32):
            await bench.send(ctx, data[:length])
            await bench.quiet(ctx)
            await bench.exchange(ctx, ping)
            await bench.send(ctx, data[:length])
            await ctx.tick().repeat(TIMEOUT - 5)
            bench.twin.silence()
            await bench.send(ctx, data[length:])
            want = bench.twin.feed(data)
            assert await bench.answered(ctx, len(want)) == want
            await bench.exchange(ctx, ping)

    bench.run(script)
    assert len([entry for entry in bench.stores["memory"].log if entry[0] == "write"]) == 7 * 3


def test_broken_byte():
    """A byte without a stop bit ends the frame at once."""
    bench = Bench(CONFIGS["tiny"], stall=0.0)
    ping = protocol.request(Command.INFO_READ, sequence=1, address=0, length=16)

    async def script(ctx):
        for length in (1, 2, 8, 9, 12):
            await bench.send(ctx, ping[:length])
            await ctx.tick().repeat(20)
            ctx.set(bench.dut.broken, 1)
            await ctx.tick()
            ctx.set(bench.dut.broken, 0)
            bench.twin.silence()
            await bench.exchange(ctx, ping)

    bench.run(script)


def test_repeated_write():
    """Done once, and answered as the first time, though a damaged frame comes between; a read is done again."""
    bench = Bench(CONFIGS["tiny"], stall=0.3)
    failing = protocol.request(Command.MEMORY_WRITE, sequence=7, address=BAD_PAGE << 12, payload=b"12345678")
    damaged = failing[:-1] + bytes([failing[-1] ^ 1])
    start = protocol.request(Command.REGISTER_WRITE, sequence=8, address=12, payload=b"\1\0\0\0")
    read = protocol.request(Command.REGISTER_READ, sequence=8, address=12, length=4)

    async def script(ctx):
        frames = failing, damaged, failing, start, start, read, read, start
        codes = [(await bench.exchange(ctx, frame))[-5] for frame in frames]
        assert codes == [Status.ACCESS, Status.CHECKSUM, Status.ACCESS, *[Status.OK] * 5]

    bench.run(script)
    assert [entry[0] for entry in bench.stores["memory"].log] == ["write"]
    assert [entry[0] for entry in bench.stores["lite"].log] == ["write", "read", "read"]


def test_status_bits():
    """Interrupt and run are shown as they are when the status is sent."""
    bench = Bench(CONFIGS["tiny"], stall=0.0)
    ping = protocol.request(Command.INFO_READ, sequence=1, address=0, length=0)

    async def script(ctx):
        for irq, running in ((0, 0), (1, 0), (0, 1), (1, 1)):
            ctx.set(bench.dut.irq, irq)
            ctx.set(bench.dut.running, running)
            bench.twin.interrupt, bench.twin.running = bool(irq), bool(running)
            await bench.exchange(ctx, ping)

    bench.run(script)


def test_whole_payload():
    """The largest block goes and comes; requests may be sent ahead, they wait at `i`."""
    payload = 512
    bench = Bench(CONFIGS["tiny"], stall=0.0, payload=payload)
    data = random.Random(4).randbytes(payload)
    write = protocol.request(Command.MEMORY_WRITE, sequence=1, address=2 * payload, payload=data)
    read = protocol.request(Command.MEMORY_READ, sequence=2, address=2 * payload, length=payload)

    async def script(ctx):
        got = await bench.exchange(ctx, write + read + read)
        assert data in got

    bench.run(script)


@pytest.mark.parametrize("change, message", [
    ({"payload": 32}, "payload must be a power of two from 64"), ({"payload": 100}, "payload must be a power of two"),
    ({"beat": 4}, r"beat_bytes must be dram_bytes \(8\), not 4"), ({"timeout": 1}, "timeout must be at least 2"),
])  # fmt: skip
def test_bad_parameters(change, message):
    config = preset("tiny")
    info = Info(1, change.get("payload", 64), change.get("beat", 8), 50, 0, 0, 0)
    with pytest.raises(ValueError, match=message):
        HostBridge(config, info=info, timeout=change.get("timeout", 10))
