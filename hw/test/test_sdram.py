"""SdramController on the model of a chip: data against a twin in bytes, rules at the pins, cycles."""

import random

import pytest
from rowcast.config import Config
from rowcast.soc import sdram_scheduler
from rowcast.soc.sdram import AS4C32M16SB_7, IS42S16160G_7, W9825G6KH_6
from sdram_bench import BASE, MHZ, QUICK, SEED, Bench, Jobs, bursts


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
    assert [beat - asked for asked, beat in zip(bench.asked, bench.beats[:3], strict=True)] == [25, 23, 28]


# pattern, bursts, beats of a burst: words, cycles on the data pins from the first word to the last, refreshes included.
FIGURES = {
    "read": (bursts("r", 56), 7168, 7227),
    "write": (bursts("w", 56), 7168, 7228),
    "three reads, a write": (bursts("rrrw", 56), 7168, 7287),
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


@pytest.mark.parametrize(("refreshes", "us", "end"), [(4, 31.25, 5000), (64, 160, 0)])
def test_refresh(refreshes, us, end):
    """Every row in time, under load and then without, on chips of few rows; never more than eight refreshes late."""
    chip = QUICK.replace(refreshes=refreshes, refresh_us=us)
    bench = Jobs(bursts("rrrw", 24), chip=chip, end=end).run()
    assert len(bench.beats) == 18 * 32 and bench.finished < 3700
    assert bench.model.commands["REFRESH"] >= chip.startup_refreshes + bench.cycle // bench.dut.timing.refresh - 8


def test_reader_stops():
    """Reads that nobody takes fill their places, and hold up no writes."""
    bench = Jobs(bursts("rw", 24), ahead=24, opens={"r": 2500}).run()
    assert bench.answered[-1] < 2400 and len(bench.answered) == 12 and len(bench.beats) == 12 * 32
    assert bench.beats[0] >= 2500 and bench.beats[-1] < 2500 + 12 * 128 + 50


def test_answers_wait():
    """No more writes are taken than there are places for answers."""
    jobs = [("w", 64 * i, 1) for i in range(20)] + [("w", 1 << 26, 1)]
    bench = Jobs(jobs, ahead=21, opens={"b": 1200}).run()
    assert len(bench.answered) == 21 and bench.answered[0] == 1200


def test_last_beat_is_late():
    """A write whose last beat comes late holds up no reads, and what it writes is right."""
    bench = Jobs([("w", 4096, 32), *bursts("r", 4)], opens={"w": 1500}).run()
    assert bench.beats[-1] < 1000 < bench.answered[0]


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
    [(("write_timer",), 4, "DQ"), (("bank0", "bank1"), 3, "tWR"), (("timer",), 6, "tRFC")],
)
def test_hasty_controller_is_seen(monkeypatch, timers, least, rule):
    monkeypatch.setattr(sdram_scheduler, "_Timer", Hasty)
    monkeypatch.setattr(Hasty, "names", timers)
    monkeypatch.setattr(Hasty, "least", least, raising=False)
    bench = Jobs(hostile() + bursts("rw", 6), exact=False).run(check=False)
    assert rule in {violation.rule for violation in bench.model.violations}
