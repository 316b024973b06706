"""A foreign AXI manager writes and reads an SDRAM through the controller, and the chip watches its pins."""

import random

import cocotb
from bench import config, pause, start_clock
from cocotb.triggers import ClockCycles, Combine, RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiResp
from sdram_model import PINS, Pins, SdramModel
from sdram_top import CHIP, CLOCK_HZ

_TIMEOUT = {"timeout_time": 5, "timeout_unit": "ms"}


class Bench:
    """The controller, its manager, its chip, and bytes that should be in it."""

    def __init__(self, dut, seed, *, pause_percent=0):
        self.dut, self.config, self.rng = dut, config(), random.Random(seed)
        self.chip = SdramModel(CHIP, CLOCK_HZ, seed=seed)
        self.master = AxiMaster(
            AxiBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst, max_burst_len=self.config.burst_beats
        )
        read, write = self.master.read_if, self.master.write_if
        pause(seed, pause_percent, write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
        for half in (read, write):
            half.log.setLevel("ERROR")
        dut.sdram_dq_i.value = 0
        self.cycle = 0
        self.reads = []  # cycle of each READ

    async def begin(self):
        """Clock, reset; the chip from then on."""
        await start_clock(self.dut)
        cocotb.start_soon(self._watch())

    async def _watch(self):
        edge, dq = RisingEdge(self.dut.clk), self.dut.sdram_dq_i
        pins = [getattr(self.dut, f"sdram_{name}") for name in PINS]
        while True:
            await edge
            self.cycle += 1
            now = Pins(*(int(pin.value) for pin in pins))
            if (now.cs_n, now.ras_n, now.cas_n, now.we_n) == (0, 1, 0, 1):
                self.reads.append(self.cycle)
            dq.value = self.chip.edge(now)
            if self.chip.violations:
                raise AssertionError(str(self.chip.violations[0]))


@cocotb.test(**_TIMEOUT)
async def traffic(dut):
    """Four tasks write and read back regions of their own, all lengths and alignments, with pauses on all channels."""
    bench = Bench(dut, 1, pause_percent=40)
    await bench.begin()
    size = min(CHIP.size, 1 << bench.config.address_width)

    async def work(number):
        rng = random.Random(number)
        base = (number * size // 4) + 0x1000 * rng.randrange(16)
        twin = bytearray(bench.chip.read(base, 8192))
        for step in range(12):
            length, start = rng.choice((1, 3, 64, 500, 3000)), rng.randrange(4000)
            if step % 2:
                answer = await bench.master.read(base + start, length)
                assert answer.resp == AxiResp.OKAY
                assert answer.data == twin[start : start + length], f"task {number}, {base + start:#x}, {length} bytes"
            else:
                content = rng.randbytes(length)
                answer = await bench.master.write(base + start, content)
                assert answer.resp == AxiResp.OKAY
                twin[start : start + length] = content
        await ClockCycles(dut.clk, 20)  # an answer comes before its last words
        assert bench.chip.read(base, 8192) == twin

    await Combine(*(cocotb.start_soon(work(number)) for number in range(4)))
    assert bench.chip.commands["REFRESH"] > CHIP.startup_refreshes


@cocotb.test(**_TIMEOUT)
async def beyond(dut):
    """What is not on the chip is answered with SLVERR, in between of what is; a write there changes nothing."""
    bench = Bench(dut, 3, pause_percent=30)
    await bench.begin()
    before = bench.chip.read(0, 4096)
    bad = [cocotb.start_soon(bench.master.read(CHIP.size + 4096 * i, 500)) for i in range(3)]
    good = cocotb.start_soon(bench.master.read(256, 1000))
    places = ((CHIP.size + 8, bytes(range(256))), (4096, b"here"))
    writes = [cocotb.start_soon(bench.master.write(*place)) for place in places]
    for task in bad:
        answer = await task
        assert answer.resp == AxiResp.SLVERR and len(answer.data) == 500
    answer = await good
    assert answer.resp == AxiResp.OKAY and answer.data == before[256:1256]
    assert [(await task).resp for task in writes] == [AxiResp.SLVERR, AxiResp.OKAY]
    await ClockCycles(dut.clk, 20)
    assert bench.chip.read(0, 4100) == before + b"here"


@cocotb.test(**_TIMEOUT)
async def throughput(dut):
    """A long read by the foreign manager takes nine cycles of ten on the data pins, refreshes included."""
    bench = Bench(dut, 4)
    await bench.begin()
    await bench.master.read(0, 8)
    bench.reads.clear()
    answer = await bench.master.read(0x8000, 1 << 15)
    assert answer.data == bench.chip.read(0x8000, 1 << 15)
    cycles = bench.reads[-1] - bench.reads[0]
    dut._log.info("%d words in %d cycles", (1 << 15) // 2, cycles)
    assert (1 << 15) / 2 >= 0.9 * cycles
