"""The one PE: scratchpads, multipliers with accumulators, and the serial way into the psum scratchpad."""

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..memory import Ram
from .widths import Widths

__all__ = ["Pe"]


class Pe(wiring.Component):
    """As `pe.PE`, without networks and pipeline: lane i adds weight i x ifmap byte (`depthwise`: x ifmap byte i).

    Operands have their register, product and sum have one together: on an iCE40 all of it is one SB_MAC16 a lane.  A
    capture copies the accumulators into a chain and clears them; in each of the next `lanes` cycles one lane goes from
    the chain into its psum.

    Members
    -------
    filter_write, filter_entry, filter_data, ifmap_write, ifmap_entry, ifmap_data : words into the scratchpads.
    mac, filter_word, ifmap_byte, depthwise, capture, first, pixel, serial : see `compute.Compute`.
    drain, drain_psum, drained, psum : asks for a psum; in a cycle with `drained` it is read, and is there in the next.
    """

    def __init__(self, config):
        self.config = config
        bits = config.word_bits
        super().__init__(
            {
                "filter_write": In(1),
                "filter_entry": In(ceil_log2(config.filter_words)),
                "filter_data": In(bits),
                "ifmap_write": In(1),
                "ifmap_entry": In(ceil_log2(config.ifmap_words)),
                "ifmap_data": In(bits),
                "mac": In(1),
                "filter_word": In(ceil_log2(config.filter_words)),
                "ifmap_byte": In(ceil_log2(config.ifmap_words * config.lanes)),
                "depthwise": In(1),
                "capture": In(1),
                "first": In(1),
                "pixel": In(Widths(config).pixels),
                "serial": Out(1),
                "drain": In(1),
                "drain_psum": In(Widths(config).psum),
                "drained": Out(1),
                "psum": Out(signed(32)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes, lane_bits = config.lanes, ceil_log2(config.lanes)
        rams = {}
        for name, words in (("filter", config.filter_words), ("ifmap", config.ifmap_words)):
            rams[name] = m.submodules[f"{name}_ram"] = Ram(shape=config.word_bits, depth=words, latency=1)
            m.d.comb += [
                rams[name].write_enable.eq(getattr(self, f"{name}_write")),
                rams[name].write_address.eq(getattr(self, f"{name}_entry")),
                rams[name].write_data.eq(getattr(self, f"{name}_data")),
            ]
        m.d.comb += [
            rams["filter"].read_address.eq(self.filter_word),
            rams["ifmap"].read_address.eq(self.ifmap_byte[lane_bits:]),
        ]
        byte = Signal(range(lanes))
        there = Signal()
        m.d.sync += [byte.eq(self.ifmap_byte), there.eq(self.mac)]
        bytes_ = [rams["ifmap"].read_data.word_select(i, 8) for i in range(lanes)]
        broadcast = Signal(8)
        m.d.comb += broadcast.eq(Array(bytes_)[byte])

        # Accumulators hold anything when power comes on, and a part of a dot product when a reset comes amid one.
        starting = Signal(init=1)
        clear = Signal()
        m.d.sync += starting.eq(0)
        m.d.comb += clear.eq(self.capture | starting)
        chain = [Signal(config.acc_width, name=f"chain{lane}", reset_less=True) for lane in range(lanes)]
        for lane in range(lanes):
            weight = Signal(signed(8), name=f"weight{lane}", reset_less=True)
            pixel = Signal(signed(8), name=f"pixel{lane}", reset_less=True)
            # With a reset: a run may have ended in the middle of a dot product.
            accumulator = Signal(signed(config.acc_width), name=f"accumulator{lane}")
            m.d.sync += [
                pixel.eq(Mux(self.depthwise, bytes_[lane], broadcast)),
                weight.eq(rams["filter"].read_data.word_select(lane, 8)),
                accumulator.eq(accumulator + weight * pixel),
            ]
            with m.If(~there):
                m.d.sync += pixel.eq(0)
            with m.If(clear):
                m.d.sync += accumulator.eq(0)
            behind = chain[lane + 1] if lane + 1 < lanes else 0
            m.d.sync += chain[lane].eq(Mux(self.capture, accumulator, behind))

        # Cycle 0 is the capture's: lane i is read in cycle i, added and written in cycle i + 1.
        m.submodules.psum_ram = ram = Ram(shape=signed(32), depth=config.psum_pixels * lanes, latency=1)
        lane = Signal(range(lanes))
        old = Signal(signed(32))
        reads = Signal()
        m.d.comb += [
            old.eq(Mux(self.first, 0, ram.read_data)),
            reads.eq(self.capture | self.serial),
            self.drained.eq(self.drain & ~reads),
            ram.read_address.eq(Mux(self.drained, self.drain_psum, Cat((lane + self.serial)[:lane_bits], self.pixel))),
            ram.write_address.eq(Cat(lane, self.pixel)),
            ram.write_data.eq(old + chain[0].as_signed()),
            ram.write_enable.eq(self.serial),
            self.psum.eq(ram.read_data),
        ]
        with m.If(self.serial):
            m.d.sync += lane.eq(lane + 1)
            with m.If(lane == lanes - 1):
                m.d.sync += self.serial.eq(0)
        with m.If(self.capture):
            m.d.sync += [lane.eq(0), self.serial.eq(1)]
        return m
