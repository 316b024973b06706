"""SdramController on the model of a chip: data against a twin in bytes, rules at the pins, cycles."""

import random
from collections import deque

import pytest
from amaranth import Cat, Module, ResetInserter, Signal
from amaranth.sim import Simulator
from rowcast.config import Config
from rowcast.soc import sdram_scheduler
from rowcast.soc.sdram import ULX3S, AS4C32M16SB_7, IS42S16160G_7, SdramController, W9825G6KH_6
from sdram_model import PINS, Pins, SdramModel

MHZ = 1_000_000
SEED = 7
BASE = Config()
QUICK = ULX3S.replace(powerup_us=1)  # the start shortened
ASLEEP = Pins(cke=0, cs_n=1, ras_n=1, cas_n=1, we_n=1, ba=0, a=0, dqm=3, dq_o=0, dq_oe=0)
SETTLE = 24  # an answer comes before its last words are in the chip
OKAY, SLVERR = 0, 2


class Bench:
    """A controller, its chip, and whoever asks; subclasses say what for.

    Parameters
    ----------
    config, chip, clock_hz, io_delay, options : of the controller.
    model_chip : what the model takes for the chip's figures.
    stall : how often a channel pauses.
    reset_at : cycle of a reset.
    exact : stop at the first wrong beat.

    Members
    -------
    cycle : since the start.
    asked, beats : cycles in which a read was asked for, in which a beat came.
    began, finished : cycles of the first READ or WRITE at the pins, and after the last one's words.
    errors : wrong beats.
    """

    def __init__(
        self, config=BASE, chip=QUICK, *, clock_hz=100 * MHZ, stall=0.0, model_chip=None, io_delay=0, seed=SEED,
        reset_at=None, exact=True, **options,
    ):  # fmt: skip
        self.config, self.chip, self.io_delay, self.reset_at, self.exact = config, chip, io_delay, reset_at, exact
        self.dut = SdramController(config, chip, clock_hz=clock_hz, io_delay=io_delay, **options)
        self.model = SdramModel(model_chip or chip, clock_hz)
        self.rng, self.stall, self.twin = random.Random(seed), stall, {}
        self.ar, self.aw, self.w = deque(), deque(), deque()  # to be offered
        # owed: (data, id, last, address, beats), (response, address, beats)
        self.reads, self.answers = deque(), deque()
        self.asked, self.beats, self.errors, self.cycle = [], [], 0, 0
        self.began = self.finished = None

    # What a test asks for -----------------------------------------------------------------------------------------

    def read(self, address, beats, *, number=0):
        """A burst, and what it should give."""
        size = self.config.dram_bytes
        self.ar.append({"addr": address, "len": beats - 1, "id": number})
        self.asked.append(self.cycle)
        for i in range(beats):
            place = address + i * size
            content = int.from_bytes(self._expect(place, size), "little") if place < self.chip.size else None
            self.reads.append((content, number, int(i == beats - 1), address, beats))

    def _expect(self, address, length):
        stored = self.model.read(address, length)
        return bytes(self.twin.get(address + i, stored[i]) for i in range(length))

    def write(self, address, beats):
        """A burst of noise under noisy strobes."""
        size, rng = self.config.dram_bytes, self.rng
        full = (1 << size) - 1
        self.aw.append({"addr": address, "len": beats - 1})
        for i in range(beats):
            strobe, content = rng.choice((full, full, rng.randrange(full + 1), 0)), rng.randbytes(size)
            self.w.append({"data": int.from_bytes(content, "little"), "strb": strobe, "last": int(i == beats - 1)})
            if address < self.chip.size:
                self.twin |= {address + i * size + j: content[j] for j in range(size) if strobe >> j & 1}
        self.answers.append((SLVERR if address >= self.chip.size else OKAY, address, beats))

    def more(self):
        """Called every cycle; False: nothing further will be asked for."""
        return False

    # The simulation -----------------------------------------------------------------------------------------------

    def run(self, *, limit=20_000, check=True):
        """Simulate until all is answered; then compare memory and rules."""
        bus, pins = self.dut.bus, self.dut.pins
        parts = {
            **{name: getattr(pins, name) for name in PINS}, "r_data": bus.r.payload.data, "r_id": bus.r.payload.id,
            "r_last": bus.r.payload.last, "r_resp": bus.r.payload.resp, "b_resp": bus.b.payload.resp,
            "ar": bus.ar.ready, "aw": bus.aw.ready, "w": bus.w.ready, "r": bus.r.valid, "b": bus.b.valid,
        }  # fmt: skip
        self.widths = {name: len(signal) for name, signal in parts.items()}
        self.shown, self.reset = Signal(sum(self.widths.values())), Signal()  # one signal is sampled quickly
        m = Module()
        m.submodules.dut = ResetInserter(self.reset)(self.dut)
        m.d.comb += self.shown.eq(Cat(parts.values()))
        self.limit = limit
        sim = Simulator(m)
        sim.add_clock(1e-8)
        sim.add_testbench(self._testbench)
        sim.run()
        if check:
            assert not self.model.violations, "\n".join(map(str, self.model.violations[:10]))
            for address, value in self.twin.items():
                assert self.model.read(address, 1)[0] == value, f"byte {address:#x}"
        return self

    async def _testbench(self, ctx):
        bus, rng, stall = self.dut.bus, self.rng, self.stall
        early = (self.io_delay + 1) // 2  # of the registers at the pins, those of the outputs
        going, coming = deque([ASLEEP] * early), deque([0] * (self.io_delay - early))
        offers = {"ar": (self.ar, bus.ar), "aw": (self.aw, bus.aw), "w": (self.w, bus.w)}
        offered, takes, rest = set(), {"r": 0, "b": 0}, SETTLE
        tick = ctx.tick().sample(self.shown)
        for self.cycle in range(self.limit):
            resetting = self.reset_at is not None and 0 <= self.cycle - self.reset_at < 3
            if self.cycle == self.reset_at:
                self._forget()
                offered.clear()
                for _, stream in offers.values():
                    ctx.set(stream.valid, 0)
            ctx.set(self.reset, int(resetting))
            asking = resetting or self.more()
            for name, (queue, stream) in offers.items():
                if queue and name not in offered and rng.random() >= stall:
                    offered.add(name)
                    ctx.set(stream.payload, queue[0])
                    ctx.set(stream.valid, 1)
            for name, stream in (("r", bus.r), ("b", bus.b)):
                if stall or self.cycle == 0:
                    takes[name] = int(rng.random() >= stall)
                    ctx.set(stream.ready, takes[name])
            _, _, word = await tick
            now = {}
            for name, width in self.widths.items():
                now[name] = word & (1 << width) - 1
                word >>= width
            going.append(Pins(*(now[name] for name in PINS)))
            coming.append(self.model.edge(going.popleft()))
            ctx.set(self.dut.pins.dq_i, coming.popleft())
            if (now["cs_n"], now["ras_n"], now["cas_n"]) == (0, 1, 0):
                self.began = self.cycle if self.began is None else self.began
                self.finished = self.cycle + min(8, self.config.dram_bytes // 2)
            if resetting:
                continue
            for name in sorted(offered):
                if now[name]:
                    offered.discard(name)
                    offers[name][0].popleft()
                    ctx.set(offers[name][1].valid, 0)
            if now["r"] and takes["r"]:
                self._beat(now)
            if now["b"] and takes["b"]:
                assert now["b_resp"] == self.answers.popleft()[0]
            owed = asking or self.ar or self.aw or self.w or self.reads or self.answers
            rest = SETTLE if owed else rest - 1
            if not rest:
                return
        owed = f"{len(self.reads)} beats and {len(self.answers)} answers"
        raise AssertionError(f"after {self.limit} cycles {owed} are owed")

    def _forget(self):
        """A reset: nothing is owed; what unanswered writes have changed is not known."""
        size = self.config.dram_bytes
        for _, address, beats in self.answers:
            for place in range(address, address + beats * size):
                self.twin.pop(place, None)
        for queue in (self.ar, self.aw, self.w, self.reads, self.answers):
            queue.clear()

    def _beat(self, now):
        self.beats.append(self.cycle)
        expected, number, last, address, _ = self.reads.popleft()
        shown = now["r_id"], now["r_last"], now["r_resp"]
        wanted = number, last, SLVERR if expected is None else OKAY
        if shown != wanted or expected not in (None, now["r_data"]):
            self.errors += 1
            assert not self.exact, f"read of {address:#x}: {now['r_data']:#x} {shown}, not {expected:#x} {wanted}"


class Jobs(Bench):
    """A list of ("r" or "w", address, beats).

    Parameters
    ----------
    alone : each waits until what came before is answered; otherwise two of a kind always wait.
    begin, end : first cycle in which something is asked for, last one of the simulation at the soonest.
    """

    def __init__(self, jobs, *args, alone=False, begin=0, end=0, **options):
        super().__init__(*args, **options)
        self.jobs, self.alone, self.begin, self.end = deque(jobs), alone, begin, end

    def more(self):
        while self.cycle >= self.begin and self.jobs and self._may():
            side, address, beats = self.jobs.popleft()
            (self.read if side == "r" else self.write)(address, beats)
        return bool(self.jobs) or self.cycle < self.end

    def _may(self):
        if self.alone:
            return not self.reads and not self.answers
        return len(self.ar if self.jobs[0][0] == "r" else self.aw) < 2

    @property
    def cycles(self):
        """On the data pins, first to last word."""
        return self.finished - self.began


def bursts(pattern, count, *, beats=32, size=8):
    """`count` bursts, sides as in `pattern` in turn, each side through a region of its own."""
    places, jobs = {"r": 3 << 20, "w": (9 << 20) + 2048}, []
    for i in range(count):
        side = pattern[i % len(pattern)]
        jobs.append((side, places[side], beats))
        places[side] += beats * size
    return jobs


class Random(Bench):
    """Bursts of many lengths in some rows of all banks, and beyond the chip; none meets one of the other side."""

    def __init__(self, *args, volume=24_000, **options):
        super().__init__(*args, **options)
        self.volume = volume  # bytes to go
        rng, size = self.rng, self.config.dram_bytes
        self.most = 4096 // size
        self.lengths = [1, 1, 2, 3, 4, 7, self.config.burst_beats, min(256, self.most)]
        top = min(self.chip.size, 1 << self.config.address_width)
        self.bases = [rng.randrange(top >> 12) << 12 for _ in range(4)]
        self.bases += [self.bases[0] ^ 4096, self.bases[0] ^ 1 << 20, top - 4096]
        if self.config.address_width > 25:
            self.bases += [self.chip.size, (1 << self.config.address_width) - 4096]

    def more(self):
        if self.volume > 0 and self.rng.random() < 0.3 and len(self.reads) + len(self.w) < 400:
            rng, size = self.rng, self.config.dram_bytes
            beats = rng.choice((*self.lengths[:6], *self.lengths))
            self.volume -= beats * size
            address = rng.choice(self.bases) + rng.randrange(self.most - beats + 1) * size
            if rng.random() < 0.5:
                if not self._meets(address, beats, {job[1:] for job in self.answers}):
                    self.read(address, beats, number=rng.randrange(2))
            elif not self._meets(address, beats, {job[3:] for job in self.reads}):
                self.write(address, beats)
        return self.volume > 0

    def _meets(self, address, beats, others):
        size = self.config.dram_bytes
        return any(address < place + count * size and place < address + beats * size for place, count in others)


CASES = {
    "base": (BASE, QUICK, {}),
    "base, 125 MHz, registers at the pins": (BASE, QUICK, dict(clock_hz=125 * MHZ, io_delay=2)),
    "4 bytes": (
        Config(lanes=4, dram_bytes=4), AS4C32M16SB_7.replace(powerup_us=1), dict(clock_hz=50 * MHZ, io_delay=1)
    ),
    "16 bytes": (
        Config(dram_bytes=16, address_width=24), IS42S16160G_7.replace(powerup_us=1),
        dict(clock_hz=143 * MHZ, io_delay=3),
    ),
    "64 bytes": (
        Config(dram_bytes=64, burst_beats=64, address_width=40), W9825G6KH_6.replace(powerup_us=1), dict(cas_latency=3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_random(name, stall):
    config, chip, options = CASES[name]
    bench = Random(config, chip, stall=stall, volume=9_000 + 100 * config.dram_bytes * (not stall), **options).run()
    for command in ("ACTIVATE", "READ", "WRITE"):
        assert bench.model.commands[command] >= 8


def test_reset():
    """A reset in the middle of traffic starts the controller anew, and keeps what the chip holds."""
    bench = Random(volume=20_000, reset_at=1500).run()
    assert bench.model.commands["MODE"] == 2 and bench.cycle > 2500
    assert len(bench.twin) > 2000


def test_latency():
    """Cycles from a read's address to its first beat, alone: in a closed row, an open one, instead of another one."""
    bench = Jobs([("r", 0, 1), ("r", 64, 1), ("r", 1 << 13, 4)], alone=True, begin=300).run()
    assert [beat - asked for asked, beat in zip(bench.asked, bench.beats[:3], strict=True)] == [21, 19, 24]


# pattern, bursts, beats of a burst: words, cycles on the data pins from the first word to the last, refreshes included.
FIGURES = {
    "read": (bursts("r", 56), 7168, 7227),
    "write": (bursts("w", 56), 7168, 7228),
    "three reads, a write": (bursts("rrrw", 56), 7168, 7294),
    "short reads": (bursts("r", 100, beats=4), 1600, 1600),
    "single writes": (bursts("w", 200, beats=1), 800, 800),
    "a row a read": ([("r", 4096 * i + 1024 * (i % 4), 8) for i in range(30)], 960, 960),
    "a row of one bank a read": ([("r", 4096 * i, 32) for i in range(8)], 1024, 1066),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures(name):
    jobs, words, cycles = FIGURES[name]
    bench = Jobs(jobs, io_delay=2).run()
    assert sum(4 * beats for _, _, beats in jobs) == words
    assert bench.cycles == cycles
    if len(name) < 6:  # includes a whole round of refreshes
        assert bench.model.commands["REFRESH"] >= bench.chip.startup_refreshes + 7
        assert words >= (0.9 if name == "read" else 0.85) * cycles


def test_refresh():
    """Every row in time, under load and without, on a chip whose rows need it after 31 us."""
    chip = QUICK.replace(refreshes=4, refresh_us=31.25)
    bench = Jobs(bursts("rrrw", 20), chip=chip, end=5000).run()
    assert len(bench.beats) == 15 * 32 and bench.finished < 3000  # quiet from then on
    assert bench.model.commands["REFRESH"] >= chip.startup_refreshes + 5000 // bench.dut.timing.refresh - 2


def hostile():
    """Everything that a chip's rules are about, soon one after the other."""
    rng, jobs = random.Random(SEED), []
    for _ in range(40):
        jobs.append((rng.choice("rw"), 4096 * rng.randrange(4) + 1024 * rng.randrange(2), rng.choice((1, 1, 2))))
    return jobs


class Hasty(sdram_scheduler._Timer):
    """Some waits of the controller are a cycle too short."""

    names = ()

    def __init__(self, m, name, longest):
        super().__init__(m, name, longest)
        self.name = name

    def begin(self, when, cycles):
        super().begin(when, cycles - 1 if self.name in self.names and cycles > self.least else cycles)


# Rule: what the controller believes, what the chip needs.
FAULTS = {
    "tRP": (dict(trp=10), {}),
    "tRCD": (dict(trcd=10), {}),
    "tRAS": ({}, dict(tras=95)),
    "tRC": ({}, dict(trc=150)),
    "tRFC": (dict(trfc=60), {}),
    "tWR": (dict(twr=10, twr_cycles=1), {}),
    "tRRD": ({}, dict(trrd=80)),
    "tMRD": ({}, dict(tmrd=75)),
    "power-up": (dict(powerup_us=0.9), {}),
    "start": (dict(startup_refreshes=7), {}),
    "tREF": ({}, dict(refresh_us=12, refreshes=4)),
    "tREFI": ({}, dict(refresh_us=64, refreshes=64)),
    "CAS": (dict(cas=((2, 200 * MHZ),)), {}),
}


@pytest.mark.parametrize("rule", FAULTS)
def test_fault_is_seen(rule):
    """A controller that keeps a rule too loosely is reported, with the rule's name."""
    believed, needed = FAULTS[rule]
    bench = Jobs(
        hostile(), chip=QUICK.replace(**believed), model_chip=QUICK.replace(**needed),
        clock_hz=(140 if rule == "CAS" else 100) * MHZ, end=1600 if "tREF" in rule else 0, exact=False,
    ).run(check=False)  # fmt: skip
    assert {violation.rule for violation in bench.model.violations} == {rule}
    first = bench.model.violations[0]
    assert str(first).startswith(f"at {first.ns:.1f} ns, {rule}: ")


@pytest.mark.parametrize(
    ("timers", "least", "rule"),
    [(("write_timer",), 4, "DQ"), (("bank0", "bank1"), 4, "tWR"), (("timer",), 6, "tRFC")],
)
def test_hasty_controller_is_seen(monkeypatch, timers, least, rule):
    monkeypatch.setattr(sdram_scheduler, "_Timer", Hasty)
    monkeypatch.setattr(Hasty, "names", timers)
    monkeypatch.setattr(Hasty, "least", least, raising=False)
    bench = Jobs(hostile() + bursts("rw", 6), exact=False).run(check=False)
    assert rule in {violation.rule for violation in bench.model.violations}
