"""The whole accelerator in Amaranth's own simulator: slow, but with nothing between the description and the result.

For tiny configurations and short programs: it needs neither Yosys nor Verilator, and a waveform has the names of the source.
"""

from collections import deque

from amaranth.sim import Simulator
from rowcast import Accelerator
from rowcast.registers import CAUSES, COUNTERS, Error, address_of

from .verilated import SimulationError, SimulationStuck

__all__ = ["AmaranthMachine", "EngineError"]

OKAY, SLVERR = 0, 2


class EngineError(SimulationError):
    """The engine stopped a run: its error code and the instruction's index."""

    def __init__(self, code, index):
        self.code, self.index = Error(code), index
        super().__init__(f"the engine stopped at instruction {index}: {self.code.name}")


class AmaranthMachine:
    """An accelerator, its memory, and a host.

    Parameters
    ----------
    config : Config.
    latency : cycles from a read address to its first beat.
    progress : called with the number of cycles now and then.
    """

    def __init__(self, config, *, latency=30, progress=None):
        self.config, self.latency, self.progress = config, latency, progress

    def run(self, program, memory, *, limit=1_000_000):
        """Run a Program on its image (uint8, changed in place); returns the counters by name.

        Raises
        ------
        EngineError
            The engine stopped with an error.
        SimulationStuck
            The run took more than `limit` cycles.
        """
        self.memory, self.limit, self.program = memory, limit, program
        self.dut, self.counters = Accelerator(self.config), {}
        self.reads = deque()
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)
        simulator.add_testbench(self._host)
        for process in (self._read_addresses, self._read_data, self._write):
            simulator.add_testbench(process, background=True)
        simulator.run()
        return self.counters

    # Host -------------------------------------------------------------------------------------------------------------

    async def _send(self, ctx, channel, **values):
        dut = self.dut
        for name, value in values.items():
            ctx.set(getattr(dut, f"s_axil_{channel}{name}"), value)
        valid, ready = getattr(dut, f"s_axil_{channel}valid"), getattr(dut, f"s_axil_{channel}ready")
        ctx.set(valid, 1)
        await ctx.tick().until(ready)
        ctx.set(valid, 0)

    async def _write_register(self, ctx, name, value, high=0):
        dut, address = self.dut, address_of(name) + 4 * high
        ctx.set(dut.s_axil_awaddr, address)
        ctx.set(dut.s_axil_awvalid, 1)
        ctx.set(dut.s_axil_wstrb, 15)
        ctx.set(dut.s_axil_wdata, value)
        ctx.set(dut.s_axil_wvalid, 1)
        left = {"aw", "w"}
        while left:
            _, _, aw, w = await ctx.tick().sample(dut.s_axil_awready, dut.s_axil_wready)
            for channel, taken in (("aw", aw), ("w", w)):
                if taken and channel in left:
                    left.remove(channel)
                    ctx.set(getattr(dut, f"s_axil_{channel}valid"), 0)
        ctx.set(dut.s_axil_bready, 1)
        await ctx.tick().until(dut.s_axil_bvalid)
        ctx.set(dut.s_axil_bready, 0)

    async def _read_register(self, ctx, name, high=0):
        await self._send(ctx, "ar", addr=address_of(name) + 4 * high)
        ctx.set(self.dut.s_axil_rready, 1)
        (value,) = await ctx.tick().sample(self.dut.s_axil_rdata).until(self.dut.s_axil_rvalid)
        ctx.set(self.dut.s_axil_rready, 0)
        return value

    async def _host(self, ctx):
        program, size = self.program, len(self.memory)
        base = program.data_offset
        for name, value in {
            "PROGRAM_LENGTH": len(program.instructions), "PROGRAM_BASE": 0, "DATA_BASE": base, "READ_BASE": 0,
            "READ_LIMIT": size, "WRITE_BASE": base, "WRITE_LIMIT": size, "IRQ_ENABLE": 3, "CONTROL": 1,
        }.items():  # fmt: skip
            await self._write_register(ctx, name, value)
        cycles = 0
        while not ctx.get(self.dut.irq):
            await ctx.tick()
            cycles += 1
            if cycles >= self.limit:
                queues, units = [await self._read_register(ctx, name) for name in ("QUEUES", "UNITS")]
                raise SimulationStuck(f"no end after {cycles} cycles; QUEUES {queues:06x}, UNITS {units:04x}")
            if self.progress and cycles % 1000 == 0:
                self.progress(cycles)
        if await self._read_register(ctx, "STATUS") & 4:
            code, index = [await self._read_register(ctx, f"ERROR_{name}") for name in ("CODE", "INDEX")]
            raise EngineError(code, index)
        for name in COUNTERS:
            low = await self._read_register(ctx, f"COUNT_{name.upper()}")
            self.counters[name] = low | await self._read_register(ctx, f"COUNT_{name.upper()}_HIGH") << 32
        assert self.counters["cycles"] == sum(self.counters[f"cause_{cause}"] for cause in CAUSES)

    # Memory -----------------------------------------------------------------------------------------------------------

    # Plain ticks in the background: a pending `until` would complain when the simulation ends.

    async def _taken(self, ctx, handshake, *signals):
        """Ticks until `handshake` is up in a cycle; the signals' values in that cycle."""
        while True:
            _, _, done, *values = await ctx.tick().sample(handshake, *signals)
            if done:
                return values

    async def _read_addresses(self, ctx):
        dut, self.cycle = self.dut, 0
        ctx.set(dut.m_axi_arready, 1)
        while True:
            _, _, valid, address, length, number = await ctx.tick().sample(
                dut.m_axi_arvalid, dut.m_axi_araddr, dut.m_axi_arlen, dut.m_axi_arid
            )
            self.cycle += 1
            if valid:
                self.reads.append((self.cycle + self.latency, address, length + 1, number))

    async def _read_data(self, ctx):
        dut, size = self.dut, self.config.dram_bytes
        while True:
            if not self.reads or self.reads[0][0] > self.cycle:
                await ctx.tick()
                continue
            _, address, beats, number = self.reads.popleft()
            ctx.set(dut.m_axi_rvalid, 1)
            ctx.set(dut.m_axi_rid, number)
            for beat in range(beats):
                data = self.memory[address + beat * size : address + (beat + 1) * size]
                ctx.set(dut.m_axi_rdata, int.from_bytes(data.tobytes(), "little"))
                ctx.set(dut.m_axi_rresp, OKAY if len(data) == size else SLVERR)
                ctx.set(dut.m_axi_rlast, beat == beats - 1)
                await self._taken(ctx, dut.m_axi_rready)
            ctx.set(dut.m_axi_rvalid, 0)

    async def _write(self, ctx):
        dut, size = self.dut, self.config.dram_bytes
        while True:
            ctx.set(dut.m_axi_awready, 1)
            address, length = await self._taken(ctx, dut.m_axi_awvalid, dut.m_axi_awaddr, dut.m_axi_awlen)
            ctx.set(dut.m_axi_awready, 0)
            ctx.set(dut.m_axi_wready, 1)
            for beat in range(length + 1):
                data, strobe = await self._taken(ctx, dut.m_axi_wvalid, dut.m_axi_wdata, dut.m_axi_wstrb)
                for i in range(size):
                    if strobe >> i & 1:
                        self.memory[address + beat * size + i] = data >> 8 * i & 0xFF
            ctx.set(dut.m_axi_wready, 0)
            ctx.set(dut.m_axi_bresp, OKAY)
            ctx.set(dut.m_axi_bvalid, 1)
            await self._taken(ctx, dut.m_axi_bready)
            ctx.set(dut.m_axi_bvalid, 0)
