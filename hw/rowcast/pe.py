"""The processing element: `lanes` multipliers, their operands and their psums."""

from functools import reduce
from operator import or_

from amaranth import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .hierarchy import place
from .masked_sum import MaskedSum
from .memory import Ram
from .multiplier import LutMultiplier, Multiplier
from .network import ColumnTap, row_flit_layout
from .schedule import strobes_layout

__all__ = ["PE"]


class PE(wiring.Component):
    """A vector MAC: lane i adds weight i x ifmap byte (`depthwise`: x ifmap byte i) into its own accumulator.

    Accumulators are never cleared; a dot product is what one has gained since the previous capture, modulo
    2**`acc_width`.  Captured accumulators pass one lane a cycle, by way of this difference, into the psum scratchpad.
    The PE decides nothing: `schedule` says which strobe comes when.  Nothing but the two IDs has a reset, since the
    sequencer's first capture is a `discard`.

    Selection is by masks and an OR: a flip-flop's synchronous reset costs no LUT, a multiplexer does (an 8-to-1
    multiplexer is 7 LUT4, an OR of 8 is 3); where a block RAM's register has to be plain it is an AND in the OR's LUTs.
    A byte mask of 0 is also what makes a cycle without `mac` add 0.

    Parameters
    ----------
    config : Config
    lut_multipliers : make the multipliers of LUTs; nothing else differs.

    Members
    -------
    column : the PE's place in its row, constant; an input, so that all PEs are one module.
    filter_valid, filter_flit, ifmap_valid, ifmap_flit : the row's X buses (`row_flit_layout`).  A flit is in the
        scratchpad, for a read address, 2 cycles later.
    strobes : from the row's register (`strobes_layout`).
    psum_in, psum_out : int32, the drain chain; 1 cycle, `psum_in` of 0 unless another PE of the column drains.
    """

    column: Signal
    filter_valid: Signal
    filter_flit: data.View
    ifmap_valid: Signal
    ifmap_flit: data.View
    strobes: data.View
    psum_in: Signal
    psum_out: Signal

    def __init__(self, config, *, lut_multipliers=False):
        self.config, self.lut_multipliers = config, lut_multipliers
        super().__init__(
            {
                "column": In(config.tag_width),
                "filter_valid": In(1),
                "filter_flit": In(row_flit_layout(config, config.filter_words)),
                "ifmap_valid": In(1),
                "ifmap_flit": In(row_flit_layout(config, config.ifmap_words)),
                "strobes": In(strobes_layout(config)),
                "psum_in": In(signed(32)),
                "psum_out": Out(signed(32)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        strobes = Signal(strobes_layout(self.config), reset_less=True)
        m.d.sync += strobes.eq(self.strobes)
        weights = self._weights(m, strobes)
        pixels = self._pixels(m, strobes)
        captures = [
            self._lane(m, lane, weight, pixel, strobes, platform)
            for lane, (weight, pixel) in enumerate(zip(weights, pixels, strict=True))
        ]
        self._psums(m, strobes, self._dot_product(m, captures, strobes), platform)
        return m

    def _scratchpad(self, m, name, words, read_address):
        """The entry at an address, 1 cycle later; filled from the network."""
        depth = words // self.config.noc_words
        tap = ColumnTap(self.config, words)
        ram = Ram(shape=self.config.word_bits * self.config.noc_words, depth=depth, latency=1)
        m.submodules[f"{name}_tap"], m.submodules[f"{name}_ram"] = tap, ram
        m.d.comb += [
            tap.column.eq(self.column),
            tap.i_valid.eq(getattr(self, f"{name}_valid")),
            tap.i_flit.eq(getattr(self, f"{name}_flit")),
            ram.read_address.eq(read_address),
            ram.write_enable.eq(tap.o_valid),
            ram.write_address.eq(tap.o_entry),
            ram.write_data.eq(tap.o_data),
        ]
        return ram.read_data

    def _weights(self, m, strobes):
        """A weight for each lane, at stage 3."""
        config = self.config
        entry = self._scratchpad(m, "filter", config.filter_words, strobes.filter_entry)
        words = []
        for i in range(config.noc_words):
            word = Signal(config.word_bits, name=f"filter_word{i}", reset_less=True)
            m.d.sync += word.eq(entry.word_select(i, config.word_bits))
            if config.noc_words > 1:
                with m.If(~strobes.filter_mask[i]):
                    m.d.sync += word.eq(0)
            words.append(word)
        weights = Signal(config.word_bits)
        m.d.comb += weights.eq(reduce(or_, words))
        return [weights.word_select(lane, 8) for lane in range(config.lanes)]

    def _pixels(self, m, strobes):
        """An ifmap byte for each lane, at stage 3: the one byte that the masks leave, or each lane's own."""
        config = self.config
        # A plain flip-flop stands behind the block RAM, so that it can be the RAM's own; the masks come after it.
        entry = Signal(config.word_bits * config.noc_words, name="ifmap_entry", reset_less=True)
        m.d.sync += entry.eq(self._scratchpad(m, "ifmap", config.ifmap_words, strobes.ifmap_entry))
        masked = [entry.word_select(i, 8) & strobes.byte_mask[i].replicate(8) for i in range(config.noc_words * config.lanes)]
        broadcast = Signal(8, reset_less=True)
        m.d.sync += broadcast.eq(reduce(or_, masked))
        with m.If(strobes.depthwise):
            m.d.sync += broadcast.eq(0)
        pixels = []
        for lane in range(config.lanes):
            own = Signal(8, name=f"ifmap_own{lane}", reset_less=True)
            m.d.sync += own.eq(reduce(or_, masked[lane :: config.lanes]))
            # Without `depthwise` the lane's own byte is 0 or the broadcast one.
            pixels.append(own | broadcast)
        return pixels

    def _lane(self, m, lane, weight, pixel, strobes, platform):
        """Multiplier and accumulator; its copy at the last capture, at stage 8."""
        multiplier = LutMultiplier() if self.lut_multipliers else Multiplier()
        name = "rowcast_lut_multiplier" if self.lut_multipliers else "rowcast_multiplier"
        m.submodules[f"multiplier{lane}"] = place(multiplier, name, platform)
        product = Signal(signed(16), name=f"product{lane}", reset_less=True)
        accumulator = Signal(signed(self.config.acc_width), name=f"accumulator{lane}", reset_less=True)
        captured = Signal(self.config.acc_width, name=f"captured{lane}", reset_less=True)
        m.d.comb += [multiplier.a.eq(weight), multiplier.b.eq(pixel)]
        # The flip-flop after the multiplier is for the wire from a device's multiplier column, or for the last adder.
        m.d.sync += [product.eq(multiplier.p), accumulator.eq(accumulator + product)]
        with m.If(strobes.capture):
            m.d.sync += captured.eq(accumulator)
        return captured

    def _dot_product(self, m, captures, strobes):
        """What the accumulator of one lane after the other has gained between two captures; lane i at stage 11 + i."""
        width = self.config.acc_width
        masked = [Signal(width, name=f"masked{lane}", reset_less=True) for lane in range(self.config.lanes)]
        for lane, (register, captured) in enumerate(zip(masked, captures, strict=True)):
            m.d.sync += register.eq(captured)
            with m.If(~strobes.lane_mask[lane]):
                m.d.sync += register.eq(0)
        m.submodules.previous = previous = Ram(shape=width, depth=self.config.lanes, latency=1)
        current = Signal(width, reset_less=True)
        lane = Signal.like(strobes.lane, reset_less=True)
        lane_valid = Signal(reset_less=True)
        difference = Signal(signed(width), reset_less=True)
        m.d.sync += [
            current.eq(reduce(or_, masked)),
            lane.eq(strobes.lane),
            lane_valid.eq(strobes.lane_valid),
            difference.eq(current - previous.read_data),
        ]
        m.d.comb += [
            previous.read_address.eq(strobes.lane),
            previous.write_address.eq(lane),
            previous.write_data.eq(current),
            previous.write_enable.eq(lane_valid),
        ]
        return difference

    def _psums(self, m, strobes, difference, platform):
        """Read, modify, write; and the drain, which shares the read port."""
        config = self.config
        m.submodules.psum_ram = ram = Ram(shape=signed(32), depth=config.psum_pixels * config.lanes, latency=1)
        # A plain flip-flop stands behind the block RAM, so that it can be the RAM's own; the masks come after it.
        psum, total, chain = (Signal(signed(32), name=name, reset_less=True) for name in ("psum", "total", "chain"))
        adder = MaskedSum(32)
        m.submodules.adder = place(adder, "rowcast_masked_sum", platform)
        m.d.sync += [
            psum.eq(ram.read_data),
            total.eq(adder.sum),
            chain.eq(self.psum_in | (psum & strobes.drain.replicate(32).as_signed())),
        ]
        m.d.comb += [
            adder.a.eq(psum),
            adder.a_enable.eq(strobes.psum_keep),
            adder.b.eq(difference),
            ram.read_address.eq(strobes.psum_read),
            ram.write_address.eq(strobes.psum_write),
            ram.write_data.eq(total),
            ram.write_enable.eq(strobes.psum_write_enable),
            self.psum_out.eq(chain),
        ]
