"""SdramController on the model of a chip: data against a twin in bytes, rules at the pins, cycles."""

import random
from collections import deque

import pytest
from amaranth import Cat
from amaranth.sim import Simulator
from rowcast.config import Config
from rowcast.soc.sdram import ULX3S, IS42S16160G_7, SdramController, W9825G6KH_6
from rowcast.soc.sdram_chunks import access_words
from sdram_model import PINS, Pins, SdramModel

MHZ = 1_000_000
BASE = Config()
QUICK = ULX3S.replace(powerup_us=1)  # the start shortened
SEED = 7


class Bench:
    """A controller and its chip in simulation; subclasses say what to ask for.

    Members
    -------
    cycle : since the reset.
    read_beats, write_beats : [cycle] in which each was taken.
    """

    def __init__(self, config=BASE, chip=QUICK, *, clock_hz=100 * MHZ, stall=0.0, model_chip=None, io_delay=0, seed=SEED, **options):
        self.config, self.chip = config, chip
        self.dut = SdramController(config, chip, clock_hz=clock_hz, io_delay=io_delay, **options)
        self.model = SdramModel(model_chip or chip, clock_hz)
        self.rng, self.stall = random.Random(seed), stall
        self.ar, self.aw, self.w = deque(), deque(), deque()  # to be offered
        self.reads, self.answers = deque(), deque()  # owed: [(data, resp, id, last)], (resp, address, end)
        self.pipe = deque([(0,) * len(PINS)] * 0)
        self.io_delay = io_delay
        self.read_beats, self.write_beats, self.cycle = [], [], 0
        self.read_errors = 0
        self.began = self.finished = None  # cycles of the first access and after the last one's words, at the pins

    # what a test asks for

    def read(self, address, beats, *, number=0):
        """Ask for a burst and expect what the model's memory holds now."""
        size = self.config.dram_bytes
        self.ar.append({"addr": address, "len": beats - 1, "id": number})
        for i in range(beats):
            place = address + i * size
            data = None if place >= self.chip.size else int.from_bytes(self.twin_read(place, size), "little")
            self.reads.append((data, number, int(i == beats - 1), address, beats))

    def write(self, address, beats):
        """Write noise under noisy strobes."""
        size, rng = self.config.dram_bytes, self.rng
        full = (1 << size) - 1
        self.aw.append({"addr": address, "len": beats - 1})
        for i in range(beats):
            strobe = rng.choice((full, full, rng.randrange(full + 1), 0))
            content = rng.randbytes(size)
            self.w.append({"data": int.from_bytes(content, "little"), "strb": strobe, "last": int(i == beats - 1)})
            if address < self.chip.size:
                for j in range(size):
                    if strobe >> j & 1:
                        self.twin[address + i * size + j] = content[j]
        self.answers.append((2 if address >= self.chip.size else 0, address, beats))

    def twin_read(self, address, length):
        return bytes(
            self.twin[i] if i in self.twin else self.model.read(i, 1)[0] for i in range(address, address + length)
        )

    def more(self):
        """Called every cycle; False: nothing further will be asked for."""
        return False

    # the simulation

    def run(self, *, limit=20_000, check=True):
        self.twin = {}
        self.limit, self.rest = limit, 24
        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        sim.add_testbench(self._testbench)
        sim.run()
        if check:
            assert not self.model.violations, "\n".join(map(str, self.model.violations[:10]))
            for address in self.twin:
                assert self.model.read(address, 1)[0] == self.twin[address], f"byte {address:#x}"
        return self

    async def _testbench(self, ctx):
        dut, rng, stall, model = self.dut, self.rng, self.stall, self.model
        bus, pins = dut.bus, dut.pins
        outputs = [getattr(pins, name) for name in PINS]
        widths = [len(signal) for signal in outputs]
        r, b = bus.r.payload, bus.b.payload
        flags = Cat(bus.ar.ready, bus.aw.ready, bus.w.ready, bus.r.valid, bus.b.valid, r.id, r.last, r.resp, b.resp)
        offered, delayed, coming = {}, deque(), deque()
        asleep = Pins(*[0, 1, 1, 1, 1, 0, 0, 3, 0, 0])
        early = (self.io_delay + 1) // 2
        delayed.extend([asleep] * early)
        coming.extend([0] * (self.io_delay - early))
        tick = ctx.tick().sample(Cat(outputs), flags, r.data)
        r_ready = b_ready = 0
        for self.cycle in range(self.limit):
            going = self.more()
            for name, queue, stream in (("ar", self.ar, bus.ar), ("aw", self.aw, bus.aw), ("w", self.w, bus.w)):
                if name not in offered and queue and rng.random() >= stall:
                    offered[name] = True
                    ctx.set(stream.payload, queue[0])
                    ctx.set(stream.valid, 1)
            if stall or self.cycle == 0:
                r_ready, b_ready = int(rng.random() >= stall), int(rng.random() >= stall)
                ctx.set(bus.r.ready, r_ready)
                ctx.set(bus.b.ready, b_ready)
            _, _, shown, flag, data = await tick
            values = []
            for width in widths:
                values.append(shown & (1 << width) - 1)
                shown >>= width
            delayed.append(Pins(*values))
            if values[2:5] == [1, 0, 0] or values[2:5] == [1, 0, 1]:
                self.began = self.cycle if self.began is None else self.began
                self.finished = self.cycle + access_words(self.config)
            coming.append(model.edge(delayed.popleft()))
            ctx.set(pins.dq_i, coming.popleft())
            for bit, (name, queue, stream) in enumerate((("ar", self.ar, bus.ar), ("aw", self.aw, bus.aw), ("w", self.w, bus.w))):
                if flag >> bit & 1 and name in offered:
                    del offered[name]
                    queue.popleft()
                    ctx.set(stream.valid, 0)
                    if name == "w":
                        self.write_beats.append(self.cycle)
            if flag >> 3 & 1 and r_ready:
                self._beat(data, flag >> 5 & 1, flag >> 6 & 1, flag >> 7 & 3)
            if flag >> 4 & 1 and b_ready:
                resp, *_ = self.answers.popleft()
                assert flag >> 9 & 3 == resp
            over = not going and not (self.ar or self.aw or self.w or self.reads or self.answers)
            self.rest = self.rest - 1 if over else 24  # an answer comes before its last words
            if not self.rest:
                return
        raise AssertionError(f"not finished after {self.limit} cycles: {len(self.reads)} beats, {len(self.answers)} answers are owed")

    def _beat(self, data, number, last, resp):
        self.read_beats.append(self.cycle)
        expected, owner, end, address, _ = self.reads.popleft()
        assert (number, last, resp) == (owner, end, 2 if expected is None else 0), f"read of {address:#x}"
        if expected is not None and data != expected:
            self.read_errors += 1
            assert self.tolerant, f"read of {address:#x}: {data:#x}, not {expected:#x}"

    tolerant = False


class Stream(Bench):
    """Bursts of the accelerator's length, always one more than the controller takes: `pattern` of them, "r" and "w", in turn.

    Reads go through one region, writes through another.
    """

    def __init__(self, pattern, count, *args, **options):
        super().__init__(*args, **options)
        self.places = {"r": 3 << 20, "w": (9 << 20) + 2048}
        self.todo = deque((pattern * count)[:count])

    def more(self):
        beats = self.config.burst_beats
        while self.todo and len(self.ar if self.todo[0] == "r" else self.aw) < 2:
            side = self.todo.popleft()
            place, self.places[side] = self.places[side], self.places[side] + beats * self.config.dram_bytes
            (self.read if side == "r" else self.write)(place, beats)
        return bool(self.todo)

    def cycles(self):
        """From the first beat of either side to the last access."""
        return self.finished - self.began


class Random(Bench):
    """Bursts of all lengths in a few rows of all banks, some beyond the chip; none that meets one under way of the other side."""

    def __init__(self, *args, bursts=120, **options):
        super().__init__(*args, **options)
        self.left = bursts
        size = self.config.dram_bytes
        self.most = min(256, 4096 // size)
        self.bases = [self.rng.randrange(self.chip.size >> 12) << 12 for _ in range(4)]
        self.bases += [self.bases[0] + 4096, self.chip.size - 4096]
        if self.config.address_width > 25:
            self.bases.append(self.chip.size + (5 << 12))

    def more(self):
        if self.left and len(self.reads) + len(self.w) < 400 and self.rng.random() < 0.3:
            self.left -= 1
            size, rng = self.config.dram_bytes, self.rng
            beats = rng.choice((1, 1, 2, 3, 4, 7, self.config.burst_beats, rng.randint(1, self.most)))
            beats = min(beats, self.most)
            offset = rng.randrange(0, self.most - beats + 1)
            address = rng.choice(self.bases) % (1 << self.config.address_width) + offset * size
            if rng.random() < 0.5:
                if not self._meets(address, beats, [(a, n) for _, a, n in self.answers]):
                    self.read(address, beats, number=rng.randrange(2))
            elif not self._meets(address, beats, {(a, n) for *_, a, n in self.reads}):
                self.write(address, beats)
        return self.left > 0

    def _meets(self, address, beats, others):
        size = self.config.dram_bytes
        return any(address < a + n * size and a < address + beats * size for a, n in others)


CONFIGS = {
    "base": BASE,
    "4 bytes": Config(lanes=4, dram_bytes=4),
    "16 bytes": Config(dram_bytes=16, address_width=24),
    "32 bytes": Config(dram_bytes=32, burst_beats=16),
    "64 bytes": Config(dram_bytes=64, burst_beats=64, address_width=40),
}


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("name", CONFIGS)
def test_random(name, stall):
    bench = Random(CONFIGS[name], stall=stall).run()
    assert bench.model.commands["WRITE"] > 50 and bench.model.commands["PRECHARGE"] > 5
