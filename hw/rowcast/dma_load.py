"""LOAD: memory to chip."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from . import isa
from .axi import OKAY, read_channels
from .dma_rows import AddressStage, beat_mask, first_error
from .interfaces import param_layout, unit_ports, write_port
from .registers import Error
from .skid import Skid

__all__ = ["LoadUnit"]


class LoadUnit(wiring.Component):
    """Run LOAD and LOAD_STRIDE: rows of words from memory into the activation, filter or parameter memory.

    The address stage runs ahead through the instructions until `outstanding_reads` bursts are under way; the data stage
    follows with the rows' descriptors, a beat a cycle (PARAM: a word a cycle), across bursts, rows and instructions.
    First address 6 cycles after an instruction.  A row may begin and end in mid-beat: words outside are masked.
    Spaces ACT and FILTER need `buffer` equal to `dram` modulo the words of a beat in every row (no shifting);
    for PARAM the words of the beats go out one by one.

    Every beat taken is written one cycle later at the earliest, so `r.ready` waits for no more than the memories on
    chip.  After an error, or `stop`, no further address is put up (one that already stands stays until it is taken), and
    what arrives is taken and dropped.  Reset it only with `idle` and `stop` (or `error.valid`) both high: no address
    stands then, no beat is owed, and none will be.

    Members
    -------
    i, signal, busy, error : see `unit_ports`.  `signal` pulses the cycle after the instruction's last word was written.
        Errors: FIELD, BUFFER_RANGE, READ_WINDOW, READ_RESPONSE; a bad row sends no address, the rows before it may
        have.
    ar, r : the memory's read channel.
    data_base, window_base, window_limit : see `BurstSplitter`.
    stop : start nothing new until the reset.
    act_write, filter_write, param : see `write_port`, `param_layout`.
    idle : no read is under way.  outstanding : bursts whose last beat has not come.
    """

    i: stream.Interface
    ar: stream.Interface
    r: stream.Interface
    param: stream.Interface
    signal: Signal
    busy: Signal
    stop: Signal
    idle: Signal
    outstanding: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **unit_ports(),
                **read_channels(config),
                "data_base": In(config.address_width),
                "window_base": In(config.address_width),
                "window_limit": In(config.address_width),
                "stop": In(1),
                "act_write": Out(write_port(config, config.dram_words)),
                "filter_write": Out(write_port(config, config.dram_words)),
                "param": Out(stream.Signature(param_layout(config))),
                "idle": Out(1),
                "outstanding": Out(range(config.outstanding_reads + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.addresses = addresses = AddressStage(
            self.config, unit="LOAD", window_error=Error.READ_WINDOW,
            row_fields=("space", "buffer", "steps", "offset", "end", "tag"),
        )  # fmt: skip
        wiring.connect(m, wiring.flipped(self.i), addresses.i)
        for name in ("data_base", "window_base", "window_limit"):
            m.d.comb += getattr(addresses, name).eq(getattr(self, name))
        row = addresses.rows.payload
        take = Signal()
        written = Signal()
        halt = first_error(
            m, self.error, stop=self.stop,
            causes=(
                (take & (self.r.payload.resp != OKAY), Error.READ_RESPONSE, row.tag.index),
                (addresses.fault, addresses.fault_code, addresses.fault_index),
            ),
        )  # fmt: skip
        self._issue(m, addresses.bursts, halt=halt)
        self._write(m, addresses, halt=halt, take=take, written=written)
        m.d.comb += self.busy.eq(addresses.busy | written)
        return m

    def _issue(self, m, bursts, *, halt):
        """Bursts to the address channel, as long as fewer than `outstanding_reads` are under way."""
        issue = Signal()
        ended = Signal()
        full = Signal()
        m.d.comb += [
            # no path from AXI's ready: a burst in two cycles is enough
            bursts.ready.eq(~self.ar.valid & ~full & ~halt),
            issue.eq(bursts.valid & bursts.ready),
            ended.eq(self.r.valid & self.r.ready & self.r.payload.last),
            self.idle.eq(self.outstanding == 0),
        ]
        with m.If(~self.ar.valid):  # what is not valid may be anything
            m.d.sync += [self.ar.payload.addr.eq(bursts.payload.addr), self.ar.payload.len.eq(bursts.payload.len)]
        with m.If(issue):
            m.d.sync += self.ar.valid.eq(1)
        with m.Elif(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)
        with m.If(issue & ~ended):
            m.d.sync += self.outstanding.eq(self.outstanding + 1)
            m.d.sync += full.eq(self.outstanding == self.config.outstanding_reads - 1)
        with m.Elif(~issue & ended):
            m.d.sync += [self.outstanding.eq(self.outstanding - 1), full.eq(0)]

    def _write(self, m, addresses, *, halt, take, written):
        """Beats to the memories, through two registers: `take` fills them, `written` says that there is one in them."""
        config, rows, beat = self.config, addresses.rows, self.r.payload
        row, step, last = rows.payload, addresses.step, addresses.last
        low = exact_log2(config.dram_words)
        is_param = Signal()
        beat_done = Signal()
        gone = Signal()
        room = Signal()
        word = Signal(low)  # PARAM: the word within the beat
        m.d.comb += [
            is_param.eq(row.space == isa.Space.PARAM),
            take.eq(self.r.valid & rows.valid & room & ~halt),
            rows.ready.eq(take),
        ]
        if low:
            m.d.comb += [
                word.eq(Mux(is_param, row.offset + step, 0)),
                beat_done.eq(~is_param | last | word.all()),
            ]
        else:
            m.d.comb += beat_done.eq(1)
        m.d.comb += self.r.ready.eq(halt | (rows.valid & room & beat_done))

        layout = data.StructLayout(
            {
                "act": 1, "filter": 1, "param": 1, "address": 20, "payload": config.dram_bytes * 8, "mask": config.dram_words, "complete": 1,
                "signal": isa.TOKEN_UNITS,
            }
        )  # fmt: skip
        m.submodules.words = words = Skid(layout)
        arriving, leaving = words.i.payload, words.o.payload
        distance = Mux(is_param, step, step << low) if low else step
        m.d.comb += [
            words.i.valid.eq(take),
            words.o.ready.eq(gone),
            room.eq(words.i.ready),
            written.eq(words.o.valid),
            arriving.act.eq(row.space == isa.Space.ACT),
            arriving.filter.eq(row.space == isa.Space.FILTER),
            arriving.param.eq(is_param),
            arriving.address.eq(row.buffer + distance),
            arriving.payload.eq(beat.data),
            arriving.mask.eq(beat_mask(config, row, first=step == 0, last=last)),
            arriving.complete.eq(row.tag.last & last & (beat.resp == OKAY)),
            arriving.signal.eq(row.tag.signal),
        ]
        if low:
            m.d.comb += arriving.payload[: config.word_bits].eq(beat.data.word_select(word, config.word_bits))
        address, payload, mask = leaving.address, leaving.payload, leaving.mask

        for here, port in ((leaving.act, self.act_write), (leaving.filter, self.filter_write)):
            m.d.comb += [
                port.request.eq(written & here),
                port.address.eq(Cat(Const(0, low), address[low:])),
                port.data.eq(payload),
                port.mask.eq(mask),
            ]
        m.d.comb += [
            self.param.valid.eq(written & leaving.param),
            self.param.payload.address.eq(address),
            self.param.payload.data.eq(payload[: config.word_bits]),
            gone.eq(
                (self.act_write.request & self.act_write.grant)
                | (self.filter_write.request & self.filter_write.grant)
                | (self.param.valid & self.param.ready)
            ),
        ]
        m.d.sync += self.signal.eq(Mux(gone & leaving.complete, leaving.signal, 0))
