"""The top: host registers, control of runs, instruction fetch, the engine, and the AXI ports."""

from amaranth import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from .axi import ReadArbiter, join_manager, lite_ports, manager_ports
from .compact.core import CompactCore
from .control import ControlUnit
from .counters import Counters
from .engine import ERROR_SOURCES, Engine
from .fetch import Fetch
from .host import ADDRESS_BITS, HostRegisters
from .registers import CAUSES

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """A DNN inference accelerator: an AXI4 manager for memory, AXI4-Lite registers, one interrupt.

    One clock, one synchronous reset.  The host writes the program's place and the windows, then `start`; the program in
    memory does the rest, and the interrupt says that it is done or has failed (`registers.Error`).

    Parameters
    ----------
    config : Config

    Members
    -------
    m_axi_* : AXI4 manager, data of `dram_bytes`; ID 0 fetches instructions, ID 1 loads data, ID 0 writes.
    s_axil_* : AXI4-Lite subordinate, 32 bits (`registers.REGISTERS`).
    irq : interrupt, high while an enabled bit of IRQ_STATUS is set.
    done, error : how the last run ended, for lights; as in STATUS.
    running, cause, layer : trace for simulators: in each cycle of a run, what it was spent on (index in
        `registers.CAUSES`), and how many layers are marked as complete.
    """

    irq: Signal
    done: Signal
    error: Signal
    running: Signal
    cause: Signal
    layer: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **manager_ports(config),
                **lite_ports(ADDRESS_BITS),
                "irq": Out(1),
                "done": Out(1),
                "error": Out(1),
                "running": Out(1),
                "cause": Out(range(len(CAUSES))),
                "layer": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self.config.compact:
            self._compact(m)
        else:
            self._whole(m)
        return m

    def _compact(self, m):
        """Host registers and run control around `CompactCore`."""
        m.submodules.host = host = HostRegisters(self.config)
        core = CompactCore(self.config)
        m.submodules.control = control = ControlUnit(sources=len(core.errors))
        m.submodules.core = ResetInserter(control.clear)(core)
        m.d.comb += join_manager(self.config, self, ar=core.ar, r=core.r, aw=core.aw, w=core.w, b=core.b)
        self._connect_host(m, host, control)
        m.d.comb += [
            host.count_done.eq(1),  # there are no counters: they read as 0
            core.start.eq(control.begin),
            core.stop.eq(control.stop),
            core.program_base.eq(host.program_base),
            core.data_base.eq(host.data_base),
            control.ended.eq(core.ended),
            control.quiet.eq(core.quiet & core.axi_idle),
            control.axi_idle.eq(core.axi_idle),
        ]
        for report, source in zip(control.errors, core.errors, strict=True):
            wiring.connect(m, source, report)
        self._connect_trace(m, host, control, core)

    def _whole(self, m):
        config = self.config
        m.submodules.host = host = HostRegisters(config)
        m.submodules.control = control = ControlUnit(sources=len(ERROR_SOURCES) + 1)
        m.submodules.counters = counters = Counters(config)
        m.submodules.arbiter = arbiter = ReadArbiter(config)
        fetch, engine = Fetch(config), Engine(config)
        m.submodules.fetch = ResetInserter(control.clear)(fetch)
        m.submodules.engine = ResetInserter(control.clear)(engine)

        wiring.connect(m, fetch.o, engine.i)
        wiring.connect(m, fetch.ar, arbiter.fetch_ar)
        wiring.connect(m, arbiter.fetch_r, fetch.r)
        wiring.connect(m, engine.ar, arbiter.load_ar)
        wiring.connect(m, arbiter.load_r, engine.r)
        m.d.comb += join_manager(
            config, self, ar=arbiter.ar, r=arbiter.r, aw=engine.aw, w=engine.w, b=engine.b
        )
        self._connect_host(m, host, control)
        self._connect_run(m, host, control, fetch, engine)
        m.d.comb += [
            counters.clear.eq(control.begin),
            counters.run.eq(control.run),
            counters.cause.eq(engine.cause),
            counters.read_beats.eq(self.m_axi_rvalid & self.m_axi_rready),
            *(getattr(counters, name).eq(getattr(engine, f"count_{name}")) for name in Engine.EVENTS),
            counters.read.eq(host.count_read),
            counters.select.eq(host.count_select),
            host.count_done.eq(counters.done),
            host.count_value.eq(counters.value),
        ]
        self._connect_trace(m, host, control, engine)

    def _connect_trace(self, m, host, control, engine):
        """What the host and simulators see of a run."""
        m.d.comb += [
            host.layer.eq(engine.layer),
            host.queues.eq(engine.queues),
            host.units.eq(engine.units),
            self.irq.eq(host.irq),
            self.done.eq(control.done),
            self.error.eq(control.error),
            self.running.eq(control.run),
            self.cause.eq(engine.cause),
            self.layer.eq(engine.layer),
        ]

    def _connect_host(self, m, host, control):
        """Registers to the bus and to the run control."""
        for name, member in lite_ports(ADDRESS_BITS, prefix="").items():
            mine, theirs = getattr(self, f"s_axil_{name}"), getattr(host, name)
            m.d.comb += mine.eq(theirs) if member.flow == Out else theirs.eq(mine)
        m.d.comb += [
            control.start.eq(host.start),
            control.soft_reset.eq(host.soft_reset),
            *(getattr(host, name).eq(getattr(control, name)) for name in (
                "busy", "done", "error", "done_event", "error_event", "error_code", "error_index",
            )),
        ]  # fmt: skip

    def _connect_run(self, m, host, control, fetch, engine):
        """Start, stop, reset; windows; ends and errors."""
        for unit in (fetch, engine):
            m.d.comb += [unit.start.eq(control.begin), unit.stop.eq(control.stop)]
        m.d.comb += [
            engine.clear.eq(control.clear),
            fetch.program_base.eq(host.program_base),
            fetch.program_length.eq(host.program_length),
            fetch.window_base.eq(host.read_base),
            fetch.window_limit.eq(host.read_limit),
            *(getattr(engine, name).eq(getattr(host, name)) for name in (
                "data_base", "read_base", "read_limit", "write_base", "write_limit",
            )),
            control.ended.eq(engine.ended),
        ]  # fmt: skip
        # Registers: every unit has its part in them, and what is waited for lasts for some cycles.
        fetch_idle = Signal()  # fetch is idle long before the end
        m.d.sync += [
            fetch_idle.eq(fetch.idle),
            control.quiet.eq(engine.quiet & engine.axi_idle & fetch_idle),
            control.axi_idle.eq(engine.axi_idle & fetch_idle),
        ]
        for report, source in zip(control.errors, (fetch.error, *engine.errors), strict=True):
            wiring.connect(m, source, report)
