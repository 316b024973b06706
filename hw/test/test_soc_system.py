"""The system on chip: its parts for each kind of memory, what it says of itself, and what it refuses."""

import re

import pytest

from rowcast import Config, preset
from rowcast.emit import verilog
from rowcast.soc.protocol import Info
from rowcast.soc.sdram import ULX3S
from rowcast.soc.system import OnChip, Sdram, Spram, System

TINY = preset("tiny")
RATES = {"clock_hz": 25_000_000, "baud": 1_000_000}


def ports(system):
    return {"__".join(map(str, path)) for path, _, _ in system.signature.flatten(system)}


PINS = {"rx", "tx", "led_alive", "led_busy", "led_done", "led_error"}


@pytest.mark.parametrize("memory, size", [(OnChip(65536), 65536), (Spram(), 131072), (Sdram(ULX3S), 32 << 20)])
def test_info(memory, size):
    system = System(TINY, memory, **RATES)
    assert system.info == Info(1, 512, 8, 80, size, 25_000_000, 1_000_000)
    assert Info.decode(system.info.encode()) == system.info
    extra = ports(system) - PINS
    assert ports(system) >= PINS
    assert extra == ({f"memory__{pin}" for pin in (
        "cke", "cs_n", "ras_n", "cas_n", "we_n", "dq_oe", "ba", "a", "dqm", "dq_o", "dq_i",
    )} if isinstance(memory, Sdram) else set())  # fmt: skip


@pytest.mark.parametrize("memory", [Spram(), Sdram(ULX3S)])
def test_verilog(memory):
    """Every module once, whatever stands in it several times; the pins; the device's own memories as instances."""
    config = TINY.replace(rows=2)
    text = verilog(System(config, memory, **RATES), config, name="rowcast")
    modules = re.findall(r"^module (\w+)\(", text, re.MULTILINE)
    assert len(modules) == len(set(modules))
    assert {"rowcast", "rowcast_pe", "rowcast_bridge", "rowcast_accelerator"} <= set(modules)
    assert len(re.findall(r"^  rowcast_pe \w+\(", text, re.MULTILINE)) == 2
    assert text.count("SB_SPRAM256KA") == (4 if isinstance(memory, Spram) else 0)
    header = re.search(r"^module rowcast\((.*?)\);", text, re.MULTILINE | re.DOTALL)[1]
    names = {port.split()[-1] for port in header.split(",")}
    assert names == ports(System(config, memory, **RATES)) | {"clk", "rst"}


@pytest.mark.parametrize("memory, options, message", [
    (OnChip(65536), {"baud": 10_000_000}, "baud must be at most 6250000"),
    (OnChip(65536), {"timeout_ms": 0}, "timeout_ms must be above 0 and at most 127, not 0"),
    (OnChip(65536), {"timeout_ms": 200}, "timeout_ms must be above 0 and at most 127, not 200"),
    (OnChip(65536), {"payload": 1000}, "payload must be a power of two from 64 to 4096, not 1000"),
    (OnChip(1000), {}, "size must be a multiple of 4096 bytes, not 1000"),
    (Spram(65536), {}, "size must be 131072 bytes with spram, not 65536"),
])  # fmt: skip
def test_refused(memory, options, message):
    with pytest.raises(ValueError, match=message):
        System(TINY, memory, **(RATES | options))


def test_spram_needs_narrow_beats():
    with pytest.raises(ValueError, match="beat_bytes must be 2, 4 or 8"):
        System(Config(dram_bytes=16), Spram(), **RATES)
