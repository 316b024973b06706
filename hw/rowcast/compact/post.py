"""POST: psums to bytes in the activation memory, one after the other."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from .. import isa
from ..interfaces import payload_layout, unit_error
from ..isa import PostMode
from ..memory import Ram
from ..registers import Error
from .requantise import SerialRequantise
from .widths import Widths, fields_of

__all__ = ["Post"]

TABLE_ENTRIES = 256
BIAS, FACTOR, SHIFT = range(3)  # items of a channel


class Post(wiring.Component):
    """Run POST_SET, POST_LOOP, POST_RUN and MARK.  POST_PE does nothing: there is one PE, at offset 0.

    A psum takes about 36 / `requantise_bits` + 9 cycles.

    Members
    -------
    opcode, payload, take, idle, done : instruction; strobe when complete.
    param_write, param_item, param_address : of LOAD: items of the PARAM space, up to the output table.
    psum_filled, psum_freed : halves of the psum scratchpad, strobes.
    drain, drain_psum, drained, psum : see `array.Pe`.
    write, grant, address, lane, byte : byte `lane` of a word of the activation memory is written in a cycle with both.
    start : strobe before a run: `layer` is 0 again.
    layer : of the last MARK.
    error : FIELD: a POST_RUN with a source that needs the vector unit, or a rounding that is not there.
    """

    def __init__(self, config):
        self.config = config
        self.widths = widths = Widths(config)
        super().__init__(
            {
                "opcode": In(isa.OPCODE_BITS),
                "payload": In(isa.PAYLOAD_BITS),
                **dict.fromkeys(("take", "start", "psum_filled", "drained", "grant", "param_write"), In(1)),
                **dict.fromkeys(("idle", "done", "psum_freed", "drain", "write"), Out(1)),
                "param_item": In(32),
                "param_address": In(widths.buffer + exact_log2(config.lanes // 4)),
                "drain_psum": Out(widths.psum),
                "psum": In(signed(32)),
                "address": Out(widths.act),
                "lane": Out(range(config.lanes)),
                "byte": Out(8),
                "layer": Out(16),
                "error": Out(unit_error()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, widths = self.config, self.widths
        pixel_bits = widths.pixels
        m.submodules.requantise = requantise = SerialRequantise(bits=config.requantise_bits)
        run, loop, settings = (fields_of(f"POST_{name}", self.payload) for name in ("RUN", "LOOP", "SET"))
        names = ("POST_RUN", "POST_LOOP", "POST_SET", "MARK")
        opcode = {name: self.opcode == isa.FORMATS[name].opcode for name in names}

        kept = Signal(payload_layout("POST_SET"), reset_less=True)
        count_x = Signal(pixel_bits, reset_less=True)
        count_y = Signal(pixel_bits, reset_less=True)
        step_x = Signal(widths.act, reset_less=True)
        step_y = Signal(widths.act, reset_less=True)
        slot = Signal(widths.slot, reset_less=True)
        running = Signal()
        with m.If(self.take):
            with m.If(opcode["POST_SET"]):
                m.d.sync += kept.eq(settings)
            with m.If(opcode["POST_LOOP"]):
                m.d.sync += [count_x.eq(loop.count_x), count_y.eq(loop.count_y)]
                m.d.sync += [step_x.eq(loop.step_x), step_y.eq(loop.step_y)]
            with m.If(opcode["MARK"]):
                m.d.sync += self.layer.eq(fields_of("MARK", self.payload).layer)
        with m.If(self.start):
            m.d.sync += self.layer.eq(0)

        item = Signal(2)
        params = self._parameters(m, Cat(item, self.lane, slot))
        table = self._table(m, requantise.value)
        shift = Signal(8, reset_less=True)
        m.d.comb += [
            requantise.total.eq(self.psum + Mux(kept.mode == PostMode.BYPASS, 0, params)),
            requantise.factor.eq(params),
            requantise.align.eq(shift[:2]),
            requantise.steps.eq(shift[2:6]),
            requantise.factor_high.eq(shift[6:]),
            *(getattr(requantise, name).eq(getattr(kept, name)) for name in ("mode", "zero_point", "low", "high")),
            self.byte.eq(Mux(kept.table, table, requantise.value)),
        ]

        # The psums of a run.
        index = Signal(widths.psum - 1)
        half = Signal()
        halves = Signal(2)
        x = Signal(pixel_bits)
        y = Signal(pixel_bits)
        lane_ends = Signal()
        last = Signal()
        m.d.comb += [
            self.drain_psum.eq(Cat(index, half)),
            self.lane.eq(index),
            lane_ends.eq(self.lane == config.lanes - 1),
            last.eq(lane_ends & (x == count_x) & (y == count_y)),
        ]
        m.d.sync += [halves.eq(halves + self.psum_filled - self.psum_freed), self.done.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~self.done)
                m.d.sync += [index.eq(0), x.eq(1), y.eq(1)]
                with m.If(self.take):
                    m.d.sync += self.done.eq(~opcode["POST_RUN"])
                    with m.If(opcode["POST_RUN"]):
                        m.d.sync += [self.address.eq(run.buffer), slot.eq(run.slot)]
                        m.next = "HALF"
                        with m.If((run.source != isa.PostSource.DRAIN) | (kept.mode == PostMode.ONNX)):
                            m.d.sync += [self.error.valid.eq(1), self.error.code.eq(Error.FIELD)]
                            m.next = "IDLE"
            with m.State("HALF"):
                with m.If(halves.any()):
                    m.next = "SHIFT"
            with m.State("SHIFT"):
                m.d.comb += item.eq(SHIFT)
                m.next = "ASK"
            with m.State("ASK"):  # the shift is there in its first cycle, the bias when the psum is
                m.d.comb += [self.drain.eq(1), item.eq(BIAS)]
                m.d.sync += running.eq(1)
                with m.If(~running):
                    m.d.sync += shift.eq(params)
                with m.If(self.drained):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += [requantise.start.eq(1), item.eq(FACTOR)]
                m.d.sync += running.eq(0)
                m.next = "SCALE"
            with m.State("SCALE"):
                m.d.comb += item.eq(FACTOR)
                with m.If(requantise.ready):
                    m.next = "WRITE"
            with m.State("WRITE"):  # the table's answer is there
                m.d.comb += self.write.eq(1)
                with m.If(self.grant):
                    m.d.sync += index.eq(index + 1)
                    m.next = "SHIFT"
                    with m.If(lane_ends):
                        m.d.sync += [x.eq(x + 1), self.address.eq(self.address + step_x)]
                        with m.If(x == count_x):
                            m.d.sync += [x.eq(1), y.eq(y + 1), self.address.eq(self.address + step_y)]
                    with m.If(last):
                        m.d.comb += self.psum_freed.eq(1)
                        m.d.sync += [half.eq(~half), self.done.eq(1)]
                        m.next = "IDLE"
        return m

    def _parameters(self, m, address):
        """The item at this address, a cycle later."""
        config = self.config
        m.submodules.params = params = Ram(shape=32, depth=4 * config.param_channels, latency=1)
        inside = self.param_address[exact_log2(4 * config.param_channels) :] == 0
        m.d.comb += [
            params.write_enable.eq(self.param_write & inside),
            params.write_address.eq(self.param_address),
            params.write_data.eq(self.param_item),
            params.read_address.eq(address),
        ]
        return params.read_data

    def _table(self, m, value):
        """The output table's entry for a byte, a cycle later."""
        config = self.config
        m.submodules.table = table = Ram(shape=8, depth=TABLE_ENTRIES, latency=1)
        beyond = self.param_address[exact_log2(4 * config.param_channels) :]
        first = self.param_address[ceil_log2(TABLE_ENTRIES) : exact_log2(4 * config.param_channels)]
        m.d.comb += [
            table.write_enable.eq(self.param_write & (beyond == 1) & (first == 0)),
            table.write_address.eq(self.param_address),
            table.write_data.eq(self.param_item),
            table.read_address.eq(value ^ 0x80),
        ]
        return table.read_data

