"""The PE array: two networks, rows x columns of PEs, one control for all, a drain chain a column."""

from amaranth import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from . import schedule
from .hierarchy import place
from .interfaces import flit_layout, pe_control_layout
from .network import ColumnTap, MulticastNetwork
from .pe import PE
from .schedule import Schedule, strobes_layout

__all__ = ["PEArray"]


class PEArray(wiring.Component):
    """Flits and control records in, one a cycle each; psums out, one a column and cycle.  See `hw/README.md`.

    All PEs work in lockstep.  Latencies count from the cycle in which the record or flit stands at the array's input:
    `drain_latency(row)`, `psum_latency` and `capture_to_drain`, and

    FLIT_TO_MAC : a `mac` this many cycles after a flit, or later, multiplies with what the flit brought.
    MAC_TO_FLIT : a flit this many cycles after a `mac`, or later, may overwrite what the `mac` multiplies with.

    Parameters
    ----------
    config : Config

    Members
    -------
    filter_valid, filter_flit, ifmap_valid, ifmap_flit : the networks' inputs (`flit_layout`), always taken.
    control : the record (`pe_control_layout`); all 0 is no work.
    o_valid : psums are there, one a column.  A drain of a row must follow one of a lower row by more cycles than it is
        rows higher, else two psums meet in the chain or pass each other.  o_soon : so it is in the next cycle.
    o_psum : int32, a list: one a column.
    """

    FLIT_TO_MAC = MulticastNetwork.LATENCY + ColumnTap.LATENCY + 1 - schedule.REGISTERS
    # Filters are read at stage 1; a write must come a cycle after.
    MAC_TO_FLIT = schedule.REGISTERS + 1 + 1 - MulticastNetwork.LATENCY - ColumnTap.LATENCY

    filter_valid: Signal
    filter_flit: data.View
    ifmap_valid: Signal
    ifmap_flit: data.View
    control: data.View
    o_soon: Signal
    o_valid: Signal
    o_psum: list

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "filter_valid": In(1),
                "filter_flit": In(flit_layout(config, config.filter_words)),
                "ifmap_valid": In(1),
                "ifmap_flit": In(flit_layout(config, config.ifmap_words)),
                "control": In(pe_control_layout(config)),
                "o_soon": Out(1),
                "o_valid": Out(1),
                "o_psum": Out(signed(32)).array(config.columns),
            }
        )

    @property
    def psum_latency(self):
        """See `schedule.psum_latency`."""
        return schedule.psum_latency(self.config)

    @property
    def capture_to_drain(self):
        """See `schedule.capture_to_drain`."""
        return schedule.capture_to_drain(self.config)

    def drain_latency(self, row):
        """See `schedule.drain_latency`."""
        return schedule.drain_latency(self.config, row)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.filter_network = filters = MulticastNetwork(config, config.filter_words)
        m.submodules.ifmap_network = ifmaps = MulticastNetwork(config, config.ifmap_words)
        m.submodules.schedule = timing = Schedule(config)
        m.d.comb += [
            filters.i_valid.eq(self.filter_valid),
            filters.i_flit.eq(self.filter_flit),
            ifmaps.i_valid.eq(self.ifmap_valid),
            ifmaps.i_flit.eq(self.ifmap_flit),
            timing.control.eq(self.control),
        ]
        above = [0] * config.columns  # the chains' ends so far
        drained = 0  # whether a psum stands there
        for row in range(config.rows):
            strobes = Signal(strobes_layout(config), name=f"strobes{row}", reset_less=True)
            drain = Signal(name=f"drain{row}")  # has a reset: see `Schedule`
            m.d.sync += [strobes.eq(timing.strobes), drain.eq(timing.drain[row])]
            for column in range(config.columns):
                in_luts = row * config.columns + column >= config.num_pes - config.lut_pes
                pe = PE(config, lut_multipliers=in_luts)
                m.submodules[f"pe{row}_{column}"] = place(pe, "rowcast_pe_lut" if in_luts else "rowcast_pe", platform)
                m.d.comb += [
                    pe.column.eq(column),
                    pe.filter_valid.eq(filters.o_valid[row]),
                    pe.filter_flit.eq(filters.o_flit[row]),
                    pe.ifmap_valid.eq(ifmaps.o_valid[row]),
                    pe.ifmap_flit.eq(ifmaps.o_flit[row]),
                    pe.strobes.eq(strobes),
                    pe.strobes.drain.eq(drain),
                    pe.psum_in.eq(above[column]),
                ]
                above[column] = pe.psum_out
            drained, soon = self._valid(m, row, drain, drained)
        m.d.comb += [self.o_valid.eq(drained), self.o_soon.eq(soon)]
        m.d.comb += [o.eq(psum) for o, psum in zip(self.o_psum, above, strict=True)]
        return m

    def _valid(self, m, row, drain, above):
        """One bit beside the chains: PE's own strobe register, chain register; and it a cycle earlier."""
        stages = Signal(schedule.DRAIN_OUT - schedule.MASKS + 1, name=f"drained{row}")
        m.d.sync += [
            stages[0].eq(drain),
            stages[1].eq(stages[0] | above),
        ]
        return stages[1], stages[0] | above
