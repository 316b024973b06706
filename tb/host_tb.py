"""The register table over AXI4-Lite from a foreign manager, with pauses on every channel."""

import random

import cocotb
from bench import Host, config, start_clock
from cocotb.triggers import ClockCycles, RisingEdge
from host_top import INPUTS
from rowcast.registers import CAUSES, COUNTERS, ID_VALUE, REGISTERS, VERSION_VALUE, address_of

SLVERR = 2
_OPTIONS = {"timeout_time": 10, "timeout_unit": "ms"}
PAUSES = [0, 50]


async def attach(dut, pause_percent):
    """A host; all inputs low."""
    host = Host(dut, seed=pause_percent, pause_percent=pause_percent)
    for name in (*INPUTS, "run", "mac_cycles", "clear", "cause"):
        getattr(dut, name).value = 0
    await start_clock(dut)
    return host


def width_of(name):
    """Bits of a rw register that are there."""
    if name == "IRQ_ENABLE":
        return 2
    if name.endswith("_HIGH"):
        return max(0, config().address_width - 32)
    return 32 if name == "PROGRAM_LENGTH" else min(32, config().address_width)


@cocotb.test(**_OPTIONS)
@cocotb.parametrize(pause_percent=PAUSES)
async def writable_registers(dut, pause_percent):
    """Any bytes of any of them, in any order; none changes another; the outputs follow."""
    host, rng = await attach(dut, pause_percent), random.Random(pause_percent)
    values = {register.name: 0 for register in REGISTERS if register.access == "rw"}
    for _ in range(80):
        name = rng.choice(list(values))
        first = rng.randrange(4)
        data = rng.randbytes(rng.randint(1, 4 - first))
        assert (await host.master.write(address_of(name) + first, data)).resp == 0
        merged = bytearray(values[name].to_bytes(4, "little"))
        merged[first : first + len(data)] = data
        values[name] = int.from_bytes(merged, "little") & ((1 << width_of(name)) - 1)
        other = rng.choice(list(values))
        assert await host.read(other) == values[other], other
    for name, value in values.items():
        assert await host.read(name) == value, name
        if name != "IRQ_ENABLE" and not name.endswith("_HIGH"):
            whole = value | values.get(f"{name}_HIGH", 0) << 32
            assert getattr(dut, name.lower()).value.to_unsigned() == whole, name


@cocotb.test(**_OPTIONS)
@cocotb.parametrize(pause_percent=PAUSES)
async def read_only_registers(dut, pause_percent):
    """They show the inputs; a write to them is answered and does nothing."""
    host, rng = await attach(dut, pause_percent), random.Random(pause_percent)
    for _ in range(4):
        inputs = {name: rng.getrandbits(width) for name, width in INPUTS.items() if not name.endswith("_event")}
        for name, value in inputs.items():
            getattr(dut, name).value = value
        want = {
            "ID": ID_VALUE, "VERSION": VERSION_VALUE, "CONFIG": config().digest(), "CONTROL": 0, "IRQ_STATUS": 0,
            "STATUS": inputs["busy"] | inputs["done"] << 1 | inputs["error"] << 2 | inputs["layer"] << 16,
            **{name: inputs[name.lower()] for name in ("ERROR_CODE", "ERROR_INDEX", "QUEUES", "UNITS")},
        }  # fmt: skip
        for name, value in want.items():
            if name != "CONTROL":
                await host.write(name, rng.getrandbits(32))
            assert await host.read(name) == value, name


@cocotb.test(**_OPTIONS)
@cocotb.parametrize(pause_percent=PAUSES)
async def outside_the_table(dut, pause_percent):
    host, rng = await attach(dut, pause_percent), random.Random(pause_percent)
    known = {register.offset for register in REGISTERS}
    unknown = [address for address in range(0, 4096, 4) if address not in known]
    for address in (unknown[0], unknown[-1], *rng.sample(unknown, 20)):
        assert (await host.master.write(address, b"abcd")).resp == SLVERR, hex(address)
        assert (await host.master.read(address, 4)).resp == SLVERR, hex(address)
    assert await host.read("ID") == ID_VALUE


@cocotb.test(**_OPTIONS)
@cocotb.parametrize(pause_percent=PAUSES)
async def strobes_and_interrupt(dut, pause_percent):
    """CONTROL gives one pulse a write; events set bits, ones clear them, the enables decide."""
    host = await attach(dut, pause_percent)
    pulses = {"start": 0, "soft_reset": 0}

    async def count():
        while True:
            await RisingEdge(dut.clk)
            for name in pulses:
                pulses[name] += int(getattr(dut, name).value)

    cocotb.start_soon(count())
    for value in (1, 2, 3, 0, 1):
        await host.write("CONTROL", value)
    await ClockCycles(dut.clk, 3)
    assert pulses == {"start": 3, "soft_reset": 2}

    for bit, event in enumerate((dut.done_event, dut.error_event)):
        await host.write("IRQ_ENABLE", 1 << (1 - bit))
        event.value = 1
        await RisingEdge(dut.clk)
        event.value = 0
        await ClockCycles(dut.clk, 3)
        assert not dut.irq.value
        assert await host.read("IRQ_STATUS") == 1 << bit
        await host.write("IRQ_ENABLE", 1 << bit)
        await ClockCycles(dut.clk, 3)
        assert dut.irq.value
        await host.write("IRQ_STATUS", 1 << (1 - bit))
        assert dut.irq.value
        await host.write("IRQ_STATUS", 1 << bit)
        await ClockCycles(dut.clk, 3)
        assert not dut.irq.value and await host.read("IRQ_STATUS") == 0


@cocotb.test(**_OPTIONS)
@cocotb.parametrize(pause_percent=PAUSES)
async def counters(dut, pause_percent):
    """They count in `run` only; both halves belong together; `clear` clears."""
    host, rng = await attach(dut, pause_percent), random.Random(pause_percent)
    want = dict.fromkeys(COUNTERS, 0)
    for _ in range(300):
        cause, multiplies, run = rng.randrange(len(CAUSES)), rng.random() < 0.5, rng.random() < 0.8
        dut.cause.value, dut.mac_cycles.value, dut.run.value = cause, int(multiplies), int(run)
        await RisingEdge(dut.clk)
        if run:
            want["cycles"] += 1
            want[f"cause_{CAUSES[cause]}"] += 1
            want["mac_cycles"] += multiplies
    dut.run.value = 0
    assert {name: await host.counter(name) for name in COUNTERS} == want
    dut.run.value = 1
    last = 0
    for _ in range(10):
        value = await host.counter("cycles")
        assert value > last
        last = value
    dut.run.value = 0
    dut.clear.value = 1
    await RisingEdge(dut.clk)
    dut.clear.value = 0
    assert {name: await host.counter(name) for name in COUNTERS} == dict.fromkeys(COUNTERS, 0)
