"""An SDRAM controller in Amaranth's simulator, with the model of a chip at its pins and whoever asks at its bus."""

import random
from collections import deque

from amaranth import Cat, Module, ResetInserter, Signal
from amaranth.sim import Simulator
from rowcast.config import Config
from rowcast.soc.sdram import ULX3S, SdramController
from sdram_model import PINS, Pins, SdramModel

__all__ = ["BASE", "MHZ", "QUICK", "SEED", "Bench", "Jobs", "bursts"]

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
    opens : channel ("r", "b", "w") -> cycle before which nothing passes; of "w", its last beats wait.
    exact : stop at the first wrong beat.

    Members
    -------
    cycle : since the start.
    asked, beats, answered : cycles in which a read was asked for, a beat came, a write was answered.
    began, finished : cycles of the first READ or WRITE at the pins, and after the last one's words.
    errors : wrong beats.
    """

    def __init__(
        self, config=BASE, chip=QUICK, *, clock_hz=100 * MHZ, stall=0.0, model_chip=None, io_delay=0, seed=SEED,
        reset_at=None, opens=(), exact=True, **options,
    ):  # fmt: skip
        self.config, self.chip, self.io_delay, self.reset_at, self.exact = config, chip, io_delay, reset_at, exact
        self.opens = dict(opens)
        self.dut = SdramController(config, chip, clock_hz=clock_hz, io_delay=io_delay, **options)
        self.model = SdramModel(model_chip or chip, clock_hz)
        self.rng, self.stall, self.twin = random.Random(seed), stall, {}
        self.ar, self.aw, self.w = deque(), deque(), deque()  # to be offered
        # owed: (data, id, last, address, beats), (response, address, beats)
        self.reads, self.answers = deque(), deque()
        self.asked, self.beats, self.answered, self.errors, self.cycle = [], [], [], 0, 0
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
                late = name == "w" and len(queue) == 1 and self.cycle < self.opens.get("w", 0)
                if queue and name not in offered and not late and rng.random() >= stall:
                    offered.add(name)
                    ctx.set(stream.payload, queue[0])
                    ctx.set(stream.valid, 1)
            for name, stream in (("r", bus.r), ("b", bus.b)):
                opens = self.opens.get(name, 0)
                if stall or self.cycle in (0, opens):
                    takes[name] = int(rng.random() >= stall and self.cycle >= opens)
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
                self.answered.append(self.cycle)
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
            assert not self.exact, f"read of {address:#x}: {now['r_data']} {shown}, not {expected} {wanted}"


class Jobs(Bench):
    """A list of ("r" or "w", address, beats).

    Parameters
    ----------
    alone, ahead : each waits until what came before is answered; otherwise `ahead` of a kind always do.
    begin, end : first cycle in which something is asked for, last one of the simulation at the soonest.
    """

    def __init__(self, jobs, *args, alone=False, ahead=2, begin=0, end=0, **options):
        super().__init__(*args, **options)
        self.jobs, self.alone, self.ahead, self.begin, self.end = deque(jobs), alone, ahead, begin, end

    def more(self):
        while self.cycle >= self.begin and self.jobs and self._may():
            side, address, beats = self.jobs.popleft()
            (self.read if side == "r" else self.write)(address, beats)
        return bool(self.jobs) or self.cycle < self.end

    def _may(self):
        if self.alone:
            return not self.reads and not self.answers
        return len(self.ar if self.jobs[0][0] == "r" else self.aw) < self.ahead

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
