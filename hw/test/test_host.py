"""HostRegisters: the whole table over AXI4-Lite, channels in random order, with back-pressure."""

import random

import pytest
from amaranth.sim import Simulator

from rowcast import Config, preset
from rowcast.host import SLVERR, HostRegisters
from rowcast.registers import COUNTERS, ID_VALUE, REGISTERS, VERSION_VALUE, address_of

WIDE = ("PROGRAM_BASE", "DATA_BASE", "READ_BASE", "READ_LIMIT", "WRITE_BASE", "WRITE_LIMIT")


class Lite:
    """An AXI4-Lite manager; waits for random times before each handshake."""

    def __init__(self, ctx, dut, rng, stall):
        self.ctx, self.dut, self.rng, self.stall = ctx, dut, rng, stall

    async def _until(self, ready):
        """Wait for a handshake; outputs may not depend on inputs, so looking before the edge is enough."""
        await self.ctx.tick().until(getattr(self.dut, ready))

    async def write(self, address, value, strobe=15):
        ctx, dut = self.ctx, self.dut
        todo = {"aw": self._delay(), "w": self._delay()}
        while todo:
            for channel, delay in todo.items():
                if delay <= 0:
                    if channel == "aw":
                        ctx.set(dut.awaddr, address)
                    else:
                        ctx.set(dut.wdata, value)
                        ctx.set(dut.wstrb, strobe)
                    ctx.set(getattr(dut, f"{channel}valid"), 1)
            _, _, awready, wready, bvalid = await ctx.tick().sample(dut.awready, dut.wready, dut.bvalid)
            assert not bvalid
            for channel, ready in (("aw", awready), ("w", wready)):
                if channel in todo and todo[channel] <= 0 and ready:
                    del todo[channel]
                    ctx.set(getattr(dut, f"{channel}valid"), 0)
                    ctx.set(getattr(dut, "awaddr" if channel == "aw" else "wdata"), self.rng.getrandbits(12))
            todo = {channel: delay - 1 for channel, delay in todo.items()}
        return await self._answer("b", dut.bresp)

    async def read(self, address):
        ctx, dut = self.ctx, self.dut
        for _ in range(self._delay()):
            await ctx.tick()
        ctx.set(dut.araddr, address)
        ctx.set(dut.arvalid, 1)
        await self._until("arready")
        ctx.set(dut.arvalid, 0)
        ctx.set(dut.araddr, self.rng.getrandbits(12))
        return await self._answer("r", dut.rresp, dut.rdata)

    async def _answer(self, channel, *payload):
        ctx, valid, ready = self.ctx, getattr(self.dut, f"{channel}valid"), getattr(self.dut, f"{channel}ready")
        held = None
        for _ in range(self._delay()):
            _, _, is_valid, *values = await ctx.tick().sample(valid, *payload)
            assert held is None or (is_valid and values == held)
            held = values if is_valid else None
        ctx.set(ready, 1)
        values = await ctx.tick().sample(*payload).until(valid)
        ctx.set(ready, 0)
        assert held is None or list(values) == held
        return values[0] if len(values) == 1 else tuple(values)

    def _delay(self):
        delay = 0
        while self.rng.random() < self.stall:
            delay += 1
        return delay


def simulate(dut, script, *background, stall=0.5, seed=0):
    async def main(ctx):
        await script(ctx, Lite(ctx, dut, random.Random(seed), stall))

    async def watchdog(ctx):
        for _ in range(20000):
            await ctx.tick()
        raise TimeoutError

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    for testbench in (*background, watchdog):
        sim.add_testbench(testbench, background=True)
    sim.add_testbench(main)
    sim.run()


CONFIGS = [Config(), Config(address_width=20, counter_width=32), Config(address_width=64, counter_width=64),
           Config(address_width=40, counter_width=33)]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.address_width}-{c.counter_width}")
@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_read_write_registers(config, stall):
    rng = random.Random(f"{config.address_width} {stall}")
    dut = HostRegisters(config)
    masks = {"IRQ_ENABLE": 3, "PROGRAM_LENGTH": 0xFFFFFFFF}
    for name in WIDE:
        masks[name] = (1 << min(32, config.address_width)) - 1
        masks[f"{name}_HIGH"] = (1 << max(0, config.address_width - 32)) - 1
    assert set(masks) == {register.name for register in REGISTERS if register.access == "rw"}

    async def script(ctx, lite):
        model = dict.fromkeys(masks, 0)
        for _ in range(80):
            name = rng.choice(list(masks))
            value, strobe = rng.getrandbits(32), rng.choice([15, 15, 1, 2, 4, 8, 6, 0])
            assert await lite.write(address_of(name) + rng.randrange(4), value, strobe) == 0
            enabled = sum(255 << 8 * b for b in range(4) if strobe >> b & 1)
            model[name] = (value & enabled | model[name] & ~enabled) & masks[name]
            other = rng.choice(list(masks))
            assert await lite.read(address_of(other)) == (0, model[other]), other
        for name in WIDE:
            assert ctx.get(getattr(dut, name.lower())) == model[name] | model[f"{name}_HIGH"] << 32
        assert ctx.get(dut.program_length) == model["PROGRAM_LENGTH"]

    simulate(dut, script, stall=stall)


def test_read_only_registers():
    config = preset("small")
    dut = HostRegisters(config)

    async def script(ctx, lite):
        for name, value in {"busy": 1, "error": 1, "layer": 0xABCD, "error_code": 9, "error_index": 0xFEDCBA,
                            "queues": 0x123456, "units": 0x3F2A}.items():  # fmt: skip
            ctx.set(getattr(dut, name), value)
        expected = {"ID": ID_VALUE, "VERSION": VERSION_VALUE, "CONFIG": config.digest(), "CONTROL": 0,
                    "STATUS": 0xABCD0005, "ERROR_CODE": 9, "ERROR_INDEX": 0xFEDCBA, "QUEUES": 0x123456,
                    "UNITS": 0x3F2A}  # fmt: skip
        for name, value in expected.items():
            if name != "CONTROL":
                assert await lite.write(address_of(name), 0xFFFFFFFF) == 0
            assert await lite.read(address_of(name)) == (0, value), name

    simulate(dut, script)


def test_unmapped():
    """Every address outside the table is refused, and changes nothing."""
    dut = HostRegisters(Config())
    mapped = {register.offset for register in REGISTERS}

    async def script(ctx, lite):
        for address in range(0, 4096, 4):
            if address in mapped and address < 0x400:
                continue
            if address > 0x200 and address % 0x44 and address not in (0x800, 0xFFC):
                continue
            assert await lite.write(address, 0xFFFFFFFF) == SLVERR, hex(address)
            assert await lite.read(address) == (SLVERR, 0), hex(address)
        for name in (*WIDE, "IRQ_ENABLE", "PROGRAM_LENGTH"):
            assert await lite.read(address_of(name)) == (0, 0)

    simulate(dut, script, stall=0.0)


def test_control_strobes():
    dut = HostRegisters(Config())
    seen = []

    async def monitor(ctx):
        while True:
            _, _, start, reset = await ctx.tick().sample(dut.start, dut.soft_reset)
            if start or reset:
                seen.append((start, reset))

    async def script(ctx, lite):
        for value, strobe in ((1, 15), (2, 1), (3, 15), (3, 14), (0, 15), (0xFFFFFFFC, 15)):
            assert await lite.write(address_of("CONTROL"), value, strobe) == 0
        await lite.write(0x400 | address_of("CONTROL"), 3)

    simulate(dut, script, monitor)
    assert seen == [(1, 0), (0, 1), (1, 1)]


def test_interrupt():
    dut = HostRegisters(Config())

    async def pulse(ctx, *names):
        for name in names:
            ctx.set(getattr(dut, name), 1)
        await ctx.tick()
        for name in names:
            ctx.set(getattr(dut, name), 0)
        await ctx.tick()

    async def script(ctx, lite):
        status, enable = address_of("IRQ_STATUS"), address_of("IRQ_ENABLE")
        await pulse(ctx, "done_event")
        assert await lite.read(status) == (0, 1) and not ctx.get(dut.irq)
        await lite.write(enable, 2)
        await ctx.tick()
        assert not ctx.get(dut.irq)
        await pulse(ctx, "error_event")
        assert await lite.read(status) == (0, 3) and ctx.get(dut.irq)
        await lite.write(status, 2, 14)  # not this byte
        assert await lite.read(status) == (0, 3) and ctx.get(dut.irq)
        await lite.write(status, 2)
        assert await lite.read(status) == (0, 1) and not ctx.get(dut.irq)
        await lite.write(enable, 1)
        await ctx.tick()
        assert ctx.get(dut.irq)
        ctx.set(dut.done_event, 1)  # comes again in the cycle of the clear
        await lite.write(status, 1)
        ctx.set(dut.done_event, 0)
        assert await lite.read(status) == (0, 1)
        await lite.write(status, 1)
        await ctx.tick()
        assert await lite.read(status) == (0, 0) and not ctx.get(dut.irq)

    simulate(dut, script)


@pytest.mark.parametrize("width", [32, 40, 64])
def test_counters(width):
    """The high half belongs to the low half that was read before, though the counter runs on."""
    dut, rng = HostRegisters(Config(counter_width=width)), random.Random(width)
    values = [rng.getrandbits(width) for _ in COUNTERS]

    async def counters(ctx):
        while True:
            _, _, request, select = await ctx.tick().sample(dut.count_read, dut.count_select)
            if not request:
                continue
            for _ in range(rng.randrange(20)):
                await ctx.tick()
            assert ctx.get(dut.count_select) == select
            ctx.set(dut.count_value, values[select])
            ctx.set(dut.count_done, 1)
            await ctx.tick()
            ctx.set(dut.count_done, 0)

    async def script(ctx, lite):
        for i in rng.sample(range(len(COUNTERS)), len(COUNTERS)):
            name, value = f"COUNT_{COUNTERS[i].upper()}", values[i]
            assert await lite.read(address_of(name)) == (0, value & 0xFFFFFFFF), name
            values[i] = rng.getrandbits(width)
            assert await lite.read(address_of(f"{name}_HIGH")) == (0, value >> 32), name
            assert await lite.write(address_of(name), 1) == 0

    simulate(dut, script, counters)


def test_write_and_read_at_once():
    """The two directions do not wait for each other."""
    dut = HostRegisters(Config())

    async def script(ctx, lite):
        for signal in (dut.awvalid, dut.wvalid, dut.arvalid):
            ctx.set(signal, 1)
        ctx.set(dut.wstrb, 15)
        ctx.set(dut.awaddr, address_of("PROGRAM_LENGTH"))
        ctx.set(dut.wdata, 77)
        ctx.set(dut.araddr, address_of("ID"))
        for cycle in range(8):
            _, _, bvalid, rvalid, awready, arready = await ctx.tick().sample(
                dut.bvalid, dut.rvalid, dut.awready, dut.arready
            )
            if awready:
                ctx.set(dut.awvalid, 0)
                ctx.set(dut.wvalid, 0)
            if arready:
                ctx.set(dut.arvalid, 0)
        assert bvalid and rvalid
        assert ctx.get(dut.rdata) == ID_VALUE and ctx.get(dut.program_length) == 77

    simulate(dut, script)
