"""The memory in an iCE40's SPRAM behind flat AXI4 pins, with Yosys's models of the cells."""

from pathlib import Path

import pyosys
from amaranth import Module
from amaranth.lib import wiring
from rowcast.axi import manager_ports
from rowcast.soc.bus import join_memory
from rowcast.soc.onchip import SPRAM_BYTES, OnChipMemory

__all__ = ["SpramTop"]


class SpramTop(wiring.Component):
    """A subordinate at `m_axi_*`."""

    MODELS = (Path(pyosys.__file__).parent / "share" / "ice40" / "cells_sim.v",)

    def __init__(self, config):
        self.memory = OnChipMemory(config, size=SPRAM_BYTES, spram=True)
        super().__init__({name: member.flip() for name, member in manager_ports(config).items()})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        m.d.comb += join_memory(self, self.memory.bus)
        return m
