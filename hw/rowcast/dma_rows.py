"""LOAD and STORE instructions become rows, checked, and the rows' bursts: what both transfer units begin with."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from . import isa
from .dma_burst import BEAT_BITS, ERROR_BITS, WORD_BITS, BurstSplitter, burst_layout
from .fifo import Fifo
from .interfaces import INDEX_BITS, instruction_layout, payload_layout
from .registers import Error

__all__ = ["AddressStage", "RowWalker", "beat_mask", "first_error", "row_layout", "space_words", "tag_layout"]

ROWS_AHEAD = 16  # rows between the two stages: as deep as a distributed RAM is anyway


def space_words(config, space):
    """Words of a memory on chip."""
    return {
        isa.Space.ACT: config.act_words,
        isa.Space.FILTER: config.filter_buffer_words,
        # items of 32 bits: four a channel, three tables of 256
        isa.Space.PARAM: (4 * config.param_channels + 768) * 4 // config.lanes,
    }[space]


def tag_layout():
    """What bursts and rows carry of their instruction; `last`: the row is its last."""
    return data.StructLayout({"last": 1, "signal": isa.TOKEN_UNITS, "index": INDEX_BITS})


def row_layout(config):
    """A row: where it stands in memory and on chip.

    `beat` : its first beat in memory, counted from DATA_BASE; `more`: its beats - 1.
    `offset`, `end` : its first word within the first beat, its last word within the last beat.
    `space`, `buffer` : its place on chip, in words.
    `steps` : words - 1 if space is PARAM, else beats - 1.
    `bad` : FIELD (no words, no rows, no such space, or not at the same place within a beat in memory and on chip),
        BUFFER_RANGE, or 0.
    """
    low = exact_log2(config.dram_words)
    return data.StructLayout(
        {
            "beat": WORD_BITS - low,
            "more": BEAT_BITS,
            "offset": low,
            "end": low,
            "space": 2,
            "buffer": 20,
            "steps": 16,
            "bad": ERROR_BITS,
            "tag": tag_layout(),
        }
    )


class RowWalker(wiring.Component):
    """Walk through the rows of the transfer instructions of one unit, and check their fields and places on chip.

    A row a cycle, and a cycle between instructions; latency 2 cycles.  An instruction is taken before its first row.

    Parameters
    ----------
    config : Config
    unit : "LOAD" or "STORE": the instruction; with _STRIDE appended, the one that sets the row distances.

    Members
    -------
    i : instructions; o : rows.  walking : an instruction was taken whose last row has not left.
        A row with `bad` set ends everything: its taker asks for a reset.
    """

    i: stream.Interface
    o: stream.Interface
    walking: Signal

    def __init__(self, config, *, unit):
        if unit not in ("LOAD", "STORE"):
            raise ValueError(f"unit must be 'LOAD' or 'STORE', not {unit!r}")
        self.config = config
        self.unit = unit
        self.spaces = tuple(isa.Space) if unit == "LOAD" else (isa.Space.ACT,)
        super().__init__(
            {
                "i": In(stream.Signature(instruction_layout())),
                "o": Out(stream.Signature(row_layout(config))),
                "walking": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        instruction = Signal(instruction_layout(), reset_less=True)
        dram = Signal(WORD_BITS, reset_less=True)
        buffer = Signal(21, reset_less=True)
        left = Signal(16, reset_less=True)  # rows after this one
        last = Signal(reset_less=True)  # there is none
        take = Signal()
        free = Signal(init=1)  # the opposite of `walking`: a register of its own, for it has many to serve
        dram_stride = Signal(24)
        buffer_stride = Signal(20)
        m.d.comb += [
            self.i.ready.eq(free),
            take.eq(self.walking & (~self.o.valid | self.o.ready)),
        ]
        with m.If(~self.walking):
            arriving = _fields(self.unit, self.i.payload)
            is_stride = self.i.payload.opcode == isa.FORMATS[f"{self.unit}_STRIDE"].opcode
            m.d.sync += [
                instruction.eq(self.i.payload),
                dram.eq(arriving.dram),
                buffer.eq(arriving.buffer),
                left.eq(arriving.rows - 1),
                last.eq(arriving.rows <= 1),
                self.walking.eq(self.i.valid & ~is_stride),
                free.eq(~self.i.valid | is_stride),
            ]
            with m.If(self.i.valid & is_stride):
                strides = _fields(f"{self.unit}_STRIDE", self.i.payload)
                m.d.sync += [dram_stride.eq(strides.dram_stride), buffer_stride.eq(strides.buffer_stride)]
        with m.Elif(take):
            m.d.sync += [dram.eq(dram + dram_stride), buffer.eq(buffer + buffer_stride)]
            m.d.sync += [left.eq(left - 1), last.eq(left == 1), self.walking.eq(~last), free.eq(last)]
        self._row(m, instruction, dram=dram, buffer=buffer, take=take, last=last)
        return m

    def _row(self, m, instruction, *, dram, buffer, take, last):
        """The register of the output row, and its checks."""
        config, row, fields = self.config, self.o.payload, _fields(self.unit, instruction)
        low = exact_log2(config.dram_words)
        param = Signal()
        bad_field = Signal(reset_less=True)
        final = Signal(22, reset_less=True)  # the row's last word on chip
        span = Signal(17)  # the row's last word, counted from the beginning of its first beat
        less = Signal(16)
        m.d.comb += [
            param.eq(fields.space == isa.Space.PARAM),
            less.eq(fields.words - 1),
            span.eq(less + dram[:low] if low else less),
        ]
        with m.If(take):
            m.d.sync += [
                row.beat.eq(dram[low:]),
                row.more.eq(span[low:]),
                row.space.eq(fields.space),
                row.buffer.eq(buffer),
                row.steps.eq(Mux(param, less, span[low:]) if low else less),
                row.tag.last.eq(last),
                row.tag.signal.eq(instruction.signal),
                row.tag.index.eq(instruction.index),
                final.eq(buffer + less),
                bad_field.eq(
                    (fields.words == 0)
                    | (fields.rows == 0)
                    | ~Cat(fields.space == space for space in self.spaces).any()
                    | (~param & (dram[:low] != buffer[:low]) if low else 0)
                ),
            ]
            if low:
                m.d.sync += [row.offset.eq(dram[:low]), row.end.eq(span[:low])]
        with m.If(take):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        outside = Signal()
        with m.Switch(row.space):
            for space in self.spaces:
                size = space_words(config, space)
                zeros = (size & -size).bit_length() - 1  # the sizes have few ones: a short comparison
                with m.Case(space):
                    m.d.comb += outside.eq(final[zeros:] >= size >> zeros)
        m.d.comb += row.bad.eq(Mux(bad_field, Error.FIELD, Mux(outside, Error.BUFFER_RANGE, Error.NONE)))


class AddressStage(wiring.Component):
    """From instructions to bursts, ahead of the data: each row goes to `rows` before its first burst to `bursts`.

    Latency from an instruction to its first burst 5 cycles; then a burst a cycle, a row in two, as long as rows have room
    (ROWS_AHEAD rows).  `rows` and `bursts` hold their payloads until taken.

    Parameters
    ----------
    config : Config
    unit : "LOAD" or "STORE".
    window_error : Error that a row outside the window gives.
    row_fields : names of the fields of `row_layout` that `rows` has; also `phase`: the first beat's address in beats,
        modulo `burst_beats`.

    Members
    -------
    i : instructions; data_base, window_base, window_limit : see `BurstSplitter`.
    rows : for the data stage, each row as often as it has steps; `step` counts them from 0, `last` is the row's last.
    bursts : for the address channel.
    busy : an instruction or a row is under way here.
    fault, fault_code, fault_index : what is wrong with the first bad row, until the reset.
    """

    i: stream.Interface
    rows: stream.Interface
    bursts: stream.Interface
    data_base: Signal
    window_base: Signal
    window_limit: Signal
    busy: Signal

    def __init__(self, config, *, unit, window_error, row_fields):
        self.config = config
        self.row_fields = tuple(row_fields)
        self.walker = RowWalker(config, unit=unit)
        self.splitter = BurstSplitter(config, tag=tag_layout(), window_error=window_error)
        shapes = {name: field.shape for name, field in row_layout(config)}
        shapes["phase"] = exact_log2(config.burst_beats)
        self.rows_layout = data.StructLayout({name: shapes[name] for name in self.row_fields})
        super().__init__(
            {
                "i": In(stream.Signature(instruction_layout())),
                "data_base": In(config.address_width),
                "window_base": In(config.address_width),
                "window_limit": In(config.address_width),
                "rows": Out(stream.Signature(self.rows_layout)),
                "step": Out(16),
                "last": Out(1),
                "bursts": Out(stream.Signature(burst_layout(config, tag_layout()))),
                "busy": Out(1),
                "fault": Out(1),
                "fault_code": Out(ERROR_BITS),
                "fault_index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.walker = walker = self.walker
        m.submodules.splitter = splitter = self.splitter
        m.submodules.rows = rows = Fifo(self.rows_layout, depth=ROWS_AHEAD)
        wiring.connect(m, wiring.flipped(self.i), walker.i)
        wiring.connect(m, splitter.o, wiring.flipped(self.bursts))
        row, push = walker.o.payload, rows.i.payload
        low = exact_log2(self.config.dram_bytes)
        for name in self.row_fields:
            value = self.data_base[low:] + row.beat if name == "phase" else getattr(row, name)
            m.d.comb += push[name].eq(value)
        for name in ("data_base", "window_base", "window_limit"):
            m.d.comb += getattr(splitter, name).eq(getattr(self, name))
        m.d.comb += [
            splitter.i.payload.beat.eq(row.beat),
            splitter.i.payload.more.eq(row.more),
            splitter.i.payload.bad.eq(row.bad),
            splitter.i.payload.tag.eq(row.tag),
            splitter.i.valid.eq(walker.o.valid & rows.i.ready),
            rows.i.valid.eq(walker.o.valid & splitter.i.ready & (row.bad == Error.NONE)),
            walker.o.ready.eq(rows.i.ready & splitter.i.ready),
            self.busy.eq(self.i.valid | walker.walking | walker.o.valid | rows.o.valid | self.rows.valid),
            self.fault.eq(splitter.fault),
            self.fault_code.eq(splitter.fault_code),
            self.fault_index.eq(splitter.fault_tag.index),
        ]
        self._steps(m, rows)
        return m

    def _steps(self, m, rows):
        """The row in front, in a register, and its steps: that a step is the last is known a cycle before."""
        row = Signal(self.rows_layout, reset_less=True)
        arriving = rows.o.payload
        left = Signal(16)  # steps after this one
        m.d.comb += [
            self.rows.payload.eq(row),
            rows.o.ready.eq(~self.rows.valid | (self.rows.ready & self.last)),
        ]
        with m.If(rows.o.ready):
            m.d.sync += [
                self.rows.valid.eq(rows.o.valid),
                row.eq(arriving),
                left.eq(arriving.steps),
                self.step.eq(0),
                self.last.eq(arriving.steps == 0),
            ]
        with m.Elif(self.rows.ready):
            m.d.sync += [left.eq(left - 1), self.step.eq(self.step + 1), self.last.eq(left == 1)]


def beat_mask(config, row, *, first, last):
    """The words of a beat that belong to the row: `first` and `last` say which beat of the row it is."""
    if config.dram_words == 1:
        return Const(1)
    return Cat((~first | (i >= row.offset)) & (~last | (i <= row.end)) for i in range(config.dram_words))


def first_error(m, error, *, stop, causes):
    """Keep the first of `causes` in `error` until the reset; returns the signal that says to start nothing new.

    Parameters
    ----------
    m : Module
    error : interface of `unit_error`.
    stop : from outside; remembered, and heeded from the next cycle on.
    causes : (condition, code, index), the first one wins.
    """
    halt = Signal()  # a register, from the cycle after `stop` or a cause
    any_cause = Cat(condition for condition, _, _ in causes).any()
    with m.If(~halt):
        m.d.sync += [halt.eq(stop | any_cause), error.valid.eq(any_cause)]
    with m.If(~error.valid):
        for number, (condition, code, index) in enumerate(causes):  # without any, code and index do not matter
            with m.If(condition) if number == 0 else (m.Elif(condition) if number < len(causes) - 1 else m.Else()):
                m.d.sync += [error.code.eq(code), error.index.eq(index)]
    return halt


def _fields(name, instruction):
    layout = payload_layout(name)
    return View(layout, instruction.payload[: layout.size])
