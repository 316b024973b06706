"""Rowcast inside an Amaranth design of your own: a memory, a small state machine that runs a program, and a light.

`Demo` is what a user writes: `from rowcast import Accelerator, Config`, the accelerator as a submodule, its register
bus driven by a state machine, its memory bus served by `Sram`.  `make` of a platform, Amaranth's simulator and
`rowcast.emit.verilog` all take it as it is.
"""

from amaranth import Array, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from rowcast import Accelerator
from rowcast.registers import address_of

__all__ = ["Demo"]


class Demo(wiring.Component):
    """Runs one program after the reset.

    Parameters
    ----------
    config : Config of the accelerator; a beat of its memory bus is a word of the memory here.
    image : words (ints) of the memory: program, weights, inputs, as the compiler lays them out.
    registers : {name: value} to write before the start: PROGRAM_LENGTH, DATA_BASE, the windows, IRQ_ENABLE.

    Members
    -------
    done : the program has ended.
    failed : it ended with an error.
    """

    done: Signal
    failed: Signal

    def __init__(self, config, *, image, registers):
        self.config = config
        self.memory = Memory(shape=8 * config.dram_bytes, depth=len(image), init=image)
        # What is written, one after the other; the last write starts the run.
        self.writes = [(address_of(name), value) for name, value in registers.items()] + [(address_of("CONTROL"), 1)]
        super().__init__({"done": Out(1), "failed": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = Accelerator(self.config)
        m.submodules.memory = self.memory
        self._serve_reads(m, accelerator)
        self._serve_writes(m, accelerator)
        self._control(m, accelerator)
        return m

    def _serve_reads(self, m, bus):
        """One burst at a time, a beat every second cycle: the memory has a register behind it."""
        shift = (self.config.dram_bytes - 1).bit_length()
        port = self.memory.read_port()
        left = Signal(9)
        m.d.comb += [bus.m_axi_rdata.eq(port.data), bus.m_axi_rlast.eq(left == 1), port.en.eq(~bus.m_axi_rvalid)]
        with m.FSM(name="reads"):
            with m.State("ADDRESS"):
                m.d.comb += bus.m_axi_arready.eq(1)
                with m.If(bus.m_axi_arvalid):
                    m.d.sync += [
                        port.addr.eq(bus.m_axi_araddr >> shift),
                        bus.m_axi_rid.eq(bus.m_axi_arid),
                        left.eq(bus.m_axi_arlen + 1),
                    ]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "BEAT"
            with m.State("BEAT"):
                m.d.comb += bus.m_axi_rvalid.eq(1)
                with m.If(bus.m_axi_rready):
                    m.d.sync += [port.addr.eq(port.addr + 1), left.eq(left - 1)]
                    m.next = "FETCH"
                    with m.If(bus.m_axi_rlast):
                        m.next = "ADDRESS"

    def _serve_writes(self, m, bus):
        """One burst at a time: an address, its beats, an answer."""
        shift = (self.config.dram_bytes - 1).bit_length()
        port = self.memory.write_port(granularity=8)
        address = Signal.like(port.addr)
        m.d.comb += [port.addr.eq(address), port.data.eq(bus.m_axi_wdata)]
        with m.FSM(name="writes"):
            with m.State("ADDRESS"):
                m.d.comb += bus.m_axi_awready.eq(1)
                m.d.sync += address.eq(bus.m_axi_awaddr >> shift)
                with m.If(bus.m_axi_awvalid):
                    m.next = "BEATS"
            with m.State("BEATS"):
                m.d.comb += bus.m_axi_wready.eq(1)
                with m.If(bus.m_axi_wvalid):
                    m.d.comb += port.en.eq(bus.m_axi_wstrb)
                    m.d.sync += address.eq(address + 1)
                    with m.If(bus.m_axi_wlast):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += bus.m_axi_bvalid.eq(1)
                with m.If(bus.m_axi_bready):
                    m.next = "ADDRESS"

    def _control(self, m, bus):
        """Write the registers, wait for the interrupt, read how it ended."""
        step = Signal(range(len(self.writes) + 1))
        offsets = Array(Const(offset, 12) for offset, _value in self.writes)
        values = Array(Const(value, 32) for _offset, value in self.writes)
        m.d.comb += [
            bus.s_axil_awaddr.eq(offsets[step]), bus.s_axil_wdata.eq(values[step]), bus.s_axil_wstrb.eq(15),
            bus.s_axil_bready.eq(1), bus.s_axil_araddr.eq(address_of("ERROR_CODE")), bus.s_axil_rready.eq(1),
        ]  # fmt: skip
        with m.FSM(name="control"):
            with m.State("WRITE"):  # the accelerator takes address and data together
                m.d.comb += [bus.s_axil_awvalid.eq(1), bus.s_axil_wvalid.eq(1)]
                with m.If(bus.s_axil_awready & bus.s_axil_wready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                with m.If(bus.s_axil_bvalid):
                    m.d.sync += step.eq(step + 1)
                    m.next = "WRITE"
                    with m.If(step == len(self.writes) - 1):
                        m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(bus.irq):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += bus.s_axil_arvalid.eq(1)
                with m.If(bus.s_axil_arready):
                    m.next = "VALUE"
            with m.State("VALUE"):
                with m.If(bus.s_axil_rvalid):
                    m.d.sync += [self.done.eq(1), self.failed.eq(bus.s_axil_rdata != 0)]
                    m.next = "END"
            with m.State("END"):
                pass
