"""LOAD and STORE, in turn, on one set of counters."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .. import isa
from ..axi import address_layout, read_data_layout, response_layout, write_data_layout
from ..interfaces import unit_error
from ..registers import Error
from .widths import Widths, fields_of

__all__ = ["Dma"]


class Dma(wiring.Component):
    """Runs LOAD, LOAD_STRIDE, STORE, STORE_STRIDE, one after the other, a burst at a time.

    A burst ends with its row or at a multiple of `burst_beats` beats.  Of PARAM, the items of a beat are written one by
    one.  A stored word takes two cycles at least, and keeps the activation memory's read port as long.

    Members
    -------
    opcode, payload : instruction; `load`, `store`: taken in this cycle.  `idle`; `load_done`, `store_done`: strobes.
    data_base : beat from which `dram` counts.
    allowed : the read channel is free; `reading`: it is, or may in the next cycle be, in use.
    stop : begins no further burst; `quiet`: no burst is under way.
    ar, r, aw, w, b : memory.
    act_read : wants the read port of the activation memory, address `buffer`; `act_data` a cycle later.
    buffer : word on chip.  data : a beat for it.  act_write, filter_write : write it.
    param_write, param_item, param_address : write item `param_item` at `param_address` (in items).
    error : READ_RESPONSE, WRITE_RESPONSE.
    """

    def __init__(self, config):
        self.config = config
        self.widths = widths = Widths(config)
        self.items = config.lanes // 4
        super().__init__(
            {
                "opcode": In(isa.OPCODE_BITS),
                "payload": In(isa.PAYLOAD_BITS),
                **{name: In(1) for name in ("load", "store", "allowed", "stop")},
                **{name: Out(1) for name in ("idle", "load_done", "store_done", "reading", "quiet")},
                "data_base": In(widths.dram),
                "ar": Out(stream.Signature(address_layout(config))),
                "r": In(stream.Signature(read_data_layout(config))),
                "aw": Out(stream.Signature(address_layout(config))),
                "w": Out(stream.Signature(write_data_layout(config))),
                "b": In(stream.Signature(response_layout())),
                "act_read": Out(1),
                "act_data": In(config.word_bits),
                "buffer": Out(widths.buffer),
                "data": Out(config.word_bits),
                "act_write": Out(1),
                "filter_write": Out(1),
                "param_write": Out(1),
                "param_item": Out(32),
                "param_address": Out(widths.buffer + exact_log2(self.items)),
                "error": Out(unit_error()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, widths = self.config, self.widths
        cut, low = exact_log2(config.burst_beats), exact_log2(config.dram_bytes)
        dram = Signal(widths.dram, reset_less=True)
        row_dram = Signal(widths.dram, reset_less=True)
        buffer = Signal(widths.buffer, reset_less=True)
        row_buffer = Signal(widths.buffer, reset_less=True)
        more = Signal(widths.words, reset_less=True)
        row_more = Signal(widths.words, reset_less=True)
        rows = Signal(widths.rows, reset_less=True)  # this one and those after it
        storing = Signal(reset_less=True)
        space = Signal(2, reset_less=True)
        strides = [
            [Signal(widths.dram, name=f"{name}_stride"), Signal(widths.buffer, name=f"{name}_buffer_stride")]
            for name in ("load", "store")
        ]
        fields, stride = fields_of("LOAD", self.payload), fields_of("LOAD_STRIDE", self.payload)
        half = Signal(range(max(self.items, 2)))
        last = Signal()
        step = Signal()
        new_row = Signal()
        length = Signal(cut)
        to_border = ~dram[:cut]
        m.d.comb += [
            last.eq((more == 0) | (to_border == 0)),  # beat of its burst
            length.eq(Mux(more < to_border, more, to_border)),
            *(channel.payload.addr.eq(Cat(Const(0, low), dram)) for channel in (self.ar, self.aw)),
            *(channel.payload.len.eq(length) for channel in (self.ar, self.aw)),
            self.buffer.eq(buffer),
            self.data.eq(self.r.payload.data),
            self.param_item.eq(self.r.payload.data.word_select(half, 32) if self.items > 1 else self.r.payload.data),
            self.param_address.eq(Cat(half[: exact_log2(self.items)], buffer)),
            self.w.payload.data.eq(self.act_data),
            self.w.payload.strb.eq(~0),
            self.w.payload.last.eq(last),
        ]
        with m.If(step):
            m.d.sync += [dram.eq(dram + 1), buffer.eq(buffer + 1), more.eq(more - 1)]
        with m.If(new_row):
            m.d.sync += [dram.eq(row_dram), buffer.eq(row_buffer), more.eq(row_more)]
        m.d.sync += [self.load_done.eq(0), self.store_done.eq(0)]

        def fail(bad, code):
            with m.If(bad):
                m.d.sync += [self.error.valid.eq(1), self.error.code.eq(code)]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += [
                    storing.eq(self.store),
                    space.eq(fields.space),
                    row_dram.eq(self.data_base + fields.dram),
                    row_buffer.eq(fields.buffer),
                    row_more.eq(fields.words - 1),
                    rows.eq(fields.rows),
                ]
                with m.If(self.load | self.store):
                    m.next = "ROW"
                for name, taken, done, kept in (
                    ("LOAD", self.load, self.load_done, strides[0]),
                    ("STORE", self.store, self.store_done, strides[1]),
                ):
                    with m.If(taken & (self.opcode == isa.FORMATS[f"{name}_STRIDE"].opcode)):
                        m.d.sync += [kept[0].eq(stride.dram_stride), kept[1].eq(stride.buffer_stride), done.eq(1)]
                        m.next = "IDLE"
            with m.State("ROW"):
                m.d.comb += new_row.eq(1)
                m.d.sync += [
                    rows.eq(rows - 1),
                    row_dram.eq(row_dram + Mux(storing, strides[1][0], strides[0][0])),
                    row_buffer.eq(row_buffer + Mux(storing, strides[1][1], strides[0][1])),
                ]
                m.next = "PLAN"
                with m.If(rows == 0):
                    m.d.sync += [self.load_done.eq(~storing), self.store_done.eq(storing)]
                    m.next = "IDLE"
            with m.State("PLAN"):
                with m.If(~self.stop & ~self.error.valid):
                    with m.If(storing):
                        m.next = "WRITE"
                    with m.Elif(self.allowed):
                        m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.ar.valid.eq(1)
                m.d.sync += half.eq(0)
                with m.If(self.ar.ready):
                    m.next = "BEATS"
            with m.State("BEATS"):
                is_param = space == isa.Space.PARAM
                m.d.comb += [
                    self.act_write.eq(self.r.valid & (space == isa.Space.ACT)),
                    self.filter_write.eq(self.r.valid & (space == isa.Space.FILTER)),
                    self.param_write.eq(self.r.valid & is_param),
                    self.r.ready.eq(~is_param | (half == self.items - 1)),
                    step.eq(self.r.valid & self.r.ready),
                ]
                with m.If(self.param_write):
                    m.d.sync += half.eq(half + 1)
                with m.If(step):
                    fail(self.r.payload.resp[1], Error.READ_RESPONSE)
                    with m.If(last):
                        m.next = "NEXT"
            with m.State("NEXT"):  # `more` has gone below 0 at the end of the row
                m.next = "PLAN"
                with m.If(more.all()):
                    m.next = "ROW"
            with m.State("WRITE"):
                m.d.comb += self.aw.valid.eq(1)
                with m.If(self.aw.ready):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.act_read.eq(1)
                m.next = "SEND"
            with m.State("SEND"):  # the memory's output stays, since the address does
                m.d.comb += [self.act_read.eq(1), self.w.valid.eq(1)]
                with m.If(self.w.ready):
                    m.d.comb += step.eq(1)
                    m.next = "FETCH"
                    with m.If(last):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.b.ready.eq(1)
                with m.If(self.b.valid):
                    fail(self.b.payload.resp[1], Error.WRITE_RESPONSE)
                    m.next = "NEXT"
        m.d.comb += [
            self.reading.eq(fsm.ongoing("PLAN") | fsm.ongoing("READ") | fsm.ongoing("BEATS")),
            self.quiet.eq(fsm.ongoing("IDLE") | fsm.ongoing("PLAN")),
        ]
        return m
