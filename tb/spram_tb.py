"""SPRAM against bytes in Python, from a foreign AXI manager that reads and writes at the same time."""

import random

import cocotb
from bench import config, pause, start_clock
from cocotbext.axi import AxiBus, AxiMaster
from rowcast.soc.onchip import SPRAM_BYTES


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pause_percent=[0, 40])
async def random_accesses(dut, pause_percent):
    """Any bytes of any burst, in all four RAMs; reads of one place beside writes to another."""
    master = AxiMaster(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst)
    for half in (master.read_if, master.write_if):
        half.log.setLevel("ERROR")
    write, read = master.write_if, master.read_if
    pause(1, pause_percent, write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
    await start_clock(dut)
    rng, want = random.Random(pause_percent), {}
    places = [rng.randrange(SPRAM_BYTES // 4096) * 4096 for _ in range(6)] + [0, SPRAM_BYTES - 4096]

    async def put(base):
        start = base + rng.randrange(2048)
        data = rng.randbytes(rng.choice((1, 2, 3, 8, 100, 1000)))
        assert (await master.write(start, data, awid=0)).resp == 0
        want.update({start + i: byte for i, byte in enumerate(data)})

    async def get(base):
        known = [at for at in want if base <= at < base + 4096]
        if known:
            start = rng.choice(known)
            size = rng.randrange(1, 200)
            got = await master.read(start, size)
            assert got.resp == 0
            for i, byte in enumerate(got.data):
                assert want.get(start + i, byte) == byte, f"{start + i:#x}"

    for _ in range(60):
        here, there = rng.sample(sorted(set(places)), 2)
        for task in [cocotb.start_soon(put(here)), cocotb.start_soon(get(there))]:
            await task
    assert (await master.read(SPRAM_BYTES, config().dram_bytes)).resp == 2
