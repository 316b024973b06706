"""The host's registers with the counters behind them, as the accelerator has them."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from rowcast.axi import lite_ports
from rowcast.counters import Counters
from rowcast.host import ADDRESS_BITS, HostRegisters
from rowcast.interfaces import INDEX_BITS

__all__ = ["HostTop", "INPUTS", "OUTPUTS"]

# What the accelerator drives, and what it gets: name -> bits (0: of an address).
INPUTS = {
    "busy": 1, "done": 1, "error": 1, "done_event": 1, "error_event": 1, "layer": 16, "error_code": 4,
    "error_index": INDEX_BITS, "queues": 24, "units": 16,
}  # fmt: skip
OUTPUTS = {
    "start": 1, "soft_reset": 1, "irq": 1, "program_length": 32, "program_base": 0, "data_base": 0, "read_base": 0,
    "read_limit": 0, "write_base": 0, "write_limit": 0,
}  # fmt: skip


class HostTop(wiring.Component):
    """HostRegisters and Counters.

    Members
    -------
    s_axil_* : AXI4-Lite subordinate.
    names in INPUTS and OUTPUTS : of `HostRegisters`.
    run, cause, mac_cycles, clear : of `Counters`.
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **lite_ports(ADDRESS_BITS),
                **{name: In(width) for name, width in INPUTS.items()},
                **{name: Out(width or config.address_width) for name, width in OUTPUTS.items()},
                **dict.fromkeys(("run", "mac_cycles", "clear"), In(1)),
                "cause": In(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.host = host = HostRegisters(self.config)
        m.submodules.counters = counters = Counters(self.config)
        for name, member in lite_ports(ADDRESS_BITS, prefix="").items():
            mine, theirs = getattr(self, f"s_axil_{name}"), getattr(host, name)
            m.d.comb += mine.eq(theirs) if member.flow == Out else theirs.eq(mine)
        m.d.comb += [
            *(getattr(host, name).eq(getattr(self, name)) for name in INPUTS),
            *(getattr(self, name).eq(getattr(host, name)) for name in OUTPUTS),
            *(getattr(counters, name).eq(getattr(self, name)) for name in ("run", "mac_cycles", "clear", "cause")),
            counters.read.eq(host.count_read),
            counters.select.eq(host.count_select),
            host.count_done.eq(counters.done),
            host.count_value.eq(counters.value),
        ]
        return m
