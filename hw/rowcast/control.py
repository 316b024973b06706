"""The life of a run: start, end, error, soft reset."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .interfaces import INDEX_BITS, unit_error

__all__ = ["ControlUnit", "CLEAR_CYCLES", "QUIET_CYCLES"]

QUIET_CYCLES = 8  # a unit may need some cycles from taking its instruction to `busy`, or from `busy` to its last write
CLEAR_CYCLES = 4


class ControlUnit(wiring.Component):
    """Starts and ends runs.

    - Idle: `start` begins a run (`begin`).
    - Busy: the run is done when `ended` is up, `quiet` is, and both stay so for QUIET_CYCLES; then `done`.  The first
      error ends the run otherwise; of errors in the same cycle the lowest number counts.
    - Stopping: `stop` is up; when `axi_idle` has been up for QUIET_CYCLES the engine halts: `error`.
    - Halted: `stop` stays up and all state is held for inspection.  Only a soft reset leaves this state.
    - Resetting, after `soft_reset` at any time: `stop` is up until `axi_idle` has been up for QUIET_CYCLES, then
      `clear` for CLEAR_CYCLES; then idle, with neither `done` nor `error`.  A memory that never answers keeps the
      engine here.  For an idle engine this is harmless.

    `start` counts only in the idle state (also with `done` up), and not together with `soft_reset`.  So after an error
    a start needs a soft reset first.  Error reports count only during a run.

    Parameters
    ----------
    sources : number of units that report errors.

    Members
    -------
    start, soft_reset : strobes from the host.
    ended : the program's END was met; low from the cycle after `begin` until then.
    quiet : queues are empty, units are not busy, fetch and DMA have nothing under way.
    axi_idle : fetch and DMA have nothing under way.
    errors : reports, the most important first; each stays up until `clear`.
    begin : strobe, the cycle after `start`; counters, tokens and `ended` are cleared, fetch starts.
    run : the cycles that count, from the one after `begin` to the last one before done or halted.
    stop : nothing new is begun on AXI and no instruction is handed on.
    clear : reset of everything but host registers, counters and AXI arbitration.
    busy : run, stopping or resetting.
    done, error : how the last run ended; `done` until the next start or soft reset.
    error_code, error_index : of the error that ended the run; 0 otherwise.
    done_event, error_event : strobes, with the first cycle of `done` and `error`.
    """

    start: Signal
    soft_reset: Signal
    ended: Signal
    quiet: Signal
    axi_idle: Signal
    errors: list
    begin: Signal
    run: Signal
    stop: Signal
    clear: Signal
    busy: Signal
    done: Signal
    error: Signal
    error_code: Signal
    error_index: Signal
    done_event: Signal
    error_event: Signal

    def __init__(self, *, sources):
        if sources < 1:
            raise ValueError(f"sources must be at least 1, not {sources!r}")
        self.sources = sources
        outputs = ("begin", "run", "stop", "clear", "busy", "done", "error", "done_event", "error_event")
        super().__init__(
            {
                **dict.fromkeys(("start", "soft_reset", "ended", "quiet", "axi_idle"), In(1)),
                "errors": In(unit_error()).array(sources),
                **dict.fromkeys(outputs, Out(1)),
                "error_code": Out(4),
                "error_index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        any_error = Signal()
        failed = Signal()
        holds = Signal()
        reached = Signal()
        running = Signal()
        enough = Signal()  # `cycles` is QUIET_CYCLES - 1
        cycles = Signal(range(max(QUIET_CYCLES, CLEAR_CYCLES)))  # for which `holds` has been up before this one
        m.d.comb += [
            any_error.eq(Cat(report.valid for report in self.errors).any()),
            reached.eq(holds & enough),
        ]
        m.d.sync += [
            cycles.eq(Mux(holds & ~reached & ~failed, cycles + 1, 0)),
            enough.eq(holds & ~failed & (cycles == QUIET_CYCLES - 2)),
            failed.eq(running & any_error & ~failed),
            self.begin.eq(0),
            self.done_event.eq(0),
            self.error_event.eq(0),
        ]
        self._latch_error(m, running, failed)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.start & ~self.soft_reset):
                    m.d.sync += [self.done.eq(0), self.begin.eq(1)]
                    m.next = "BEGIN"
                self._unless_reset(m)
            with m.State("BEGIN"):
                m.next = "RUN"
                self._unless_reset(m)
            with m.State("RUN"):
                m.d.comb += holds.eq(self.ended & self.quiet & ~any_error)
                with m.If(failed):
                    m.d.sync += self.stop.eq(1)
                    m.next = "STOP"
                with m.Elif(reached):
                    m.d.sync += [self.done.eq(1), self.done_event.eq(~self.soft_reset)]
                    m.next = "IDLE"
                self._unless_reset(m)
            with m.State("STOP"):
                m.d.comb += holds.eq(self.axi_idle)
                with m.If(reached):
                    m.d.sync += [self.error.eq(1), self.error_event.eq(~self.soft_reset)]
                    m.next = "HALT"
                self._unless_reset(m)
            with m.State("HALT"):
                self._unless_reset(m)
            with m.State("RESET"):
                m.d.comb += holds.eq(self.axi_idle)
                m.d.sync += [self.done.eq(0), self.error.eq(0)]
                with m.If(reached):
                    m.d.sync += self.clear.eq(1)
                    m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.comb += holds.eq(1)
                with m.If(cycles == CLEAR_CYCLES - 1):
                    m.d.sync += [self.stop.eq(0), self.clear.eq(0)]
                    m.next = "IDLE"
        idle, halted = fsm.ongoing("IDLE"), fsm.ongoing("HALT")
        m.d.comb += [
            running.eq(fsm.ongoing("RUN")),
            self.run.eq(running | fsm.ongoing("STOP")),
            self.busy.eq(~(idle | halted)),
        ]
        return m

    def _unless_reset(self, m):
        with m.If(self.soft_reset):
            m.d.sync += self.stop.eq(1)
            m.next = "RESET"

    def _latch_error(self, m, running, failed):
        """Reports stay up, so the first cycle only chooses one, and a later one takes its code and index."""
        chosen = Signal(self.sources)
        valid = Cat(report.valid for report in self.errors)
        with m.If(running & ~failed):
            m.d.sync += chosen.eq(valid & -valid)  # the lowest bit alone
        with m.If(failed):
            for target, field in ((self.error_code, "code"), (self.error_index, "index")):
                # Cheaper than a multiplexer.
                choice = [Mux(chosen[i], getattr(report, field), 0) for i, report in enumerate(self.errors)]
                m.d.sync += target.eq(reduce(or_, choice))
        with m.If(self.clear | self.begin):
            m.d.sync += [self.error_code.eq(0), self.error_index.eq(0)]
