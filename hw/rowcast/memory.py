"""The one memory that every scratchpad, bank and table is made of."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["Ram"]


class Ram(wiring.Component):
    """One read port, one write port, and the flip-flop that an FPGA's block RAM wants behind it.

    `read_data` shows the word of `read_address` `latency` cycles later (1: the block RAM's own register; 2: a flip-flop
    after it, for speed).  Reading an address in the cycle in which it is written is undefined in hardware: the users'
    schedules exclude it, and the emulation logic that Yosys would add for it is not made (`no_rw_check` works only on a
    combinational read port followed by our own register: measured with Yosys 0.70).

    Parameters
    ----------
    shape : shape of a word.
    depth : words.
    latency : 1 or 2.
    style : "block" or "distributed" RAM; None leaves the choice to synthesis.

    Members
    -------
    read_address, read_data, write_enable, write_address, write_data.
    """

    read_address: Signal
    read_data: Signal
    write_enable: Signal
    write_address: Signal
    write_data: Signal

    def __init__(self, *, shape, depth, latency=2, style=None):
        if latency not in (1, 2):
            raise ValueError(f"latency must be 1 or 2, not {latency!r}")
        if style not in (None, "block", "distributed"):
            raise ValueError(f"style must be 'block', 'distributed' or None, not {style!r}")
        self.latency = latency
        attrs = {"no_rw_check": 1} | ({"ram_style": style} if style else {})
        self.memory = Memory(shape=shape, depth=depth, init=[], attrs=attrs)
        address_width = max(1, ceil_log2(depth))
        super().__init__(
            {
                "read_address": In(address_width),
                "read_data": Out(shape),
                "write_enable": In(1),
                "write_address": In(address_width),
                "write_data": In(shape),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        read, write = self.memory.read_port(domain="comb"), self.memory.write_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
        ]
        data = read.data
        for stage in range(self.latency):
            register = Signal.like(self.read_data, name=f"stage{stage}", reset_less=True)
            m.d.sync += register.eq(data)
            data = register
        m.d.comb += self.read_data.eq(data)
        return m
