"""STORE: chip to memory."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .axi import OKAY, write_channels, write_data_layout
from .dma_rows import AddressStage, beat_mask, first_error, tag_layout
from .fifo import Fifo
from .interfaces import GLB_READ_LATENCY, read_port, unit_ports
from .registers import Error
from .skid import Skid

__all__ = ["BURSTS_ANSWERED_LATER", "StoreUnit"]

BEATS_AHEAD = 16  # read from the buffer and not yet on the bus: at least the read latency, and one distributed RAM
BURSTS_ANSWERED_LATER = 16  # addresses put up whose B has not come
BURSTS_OWED = 3  # addresses put up whose last beat has not: more would only hold the interconnect


class StoreUnit(wiring.Component):
    """Run STORE and STORE_STRIDE: rows of words from the activation memory to memory.

    Three stages in parallel: addresses (up to BURSTS_OWED bursts before their data), reads from the buffer (up to
    BEATS_AHEAD beats ahead), beats on the bus, one a cycle across bursts, rows and instructions.  Whole beats are read,
    the words outside the row have no strobe, so `buffer` must equal `dram` modulo the words of a beat in every row.
    The next instruction starts at once; each is complete with the B of its last burst (B come in order: all bursts have
    one ID).

    A beat is put up only after its address was, but does not wait until the address is accepted (AXI4, A3.3.1).  After
    an error, or `stop`, no further address is put up (one that already stands stays); the beats that are owed are sent
    with no strobe, and their B taken.  Reset it only with `idle` and `stop` (or `error.valid`) both high: nothing
    stands on the bus then, nothing is owed, and nothing will be.

    Members
    -------
    i, signal, busy, error : see `unit_ports`.  `signal` pulses two cycles after the instruction's last B.
        Errors: FIELD, BUFFER_RANGE, WRITE_WINDOW, WRITE_RESPONSE; a bad row sends no address, the rows before it may
        have.
    aw, w, b : the memory's write channel.
    data_base, window_base, window_limit : see `BurstSplitter`.
    stop : start nothing new until the reset.
    act_read : see `read_port`; the address is that of a beat.
    idle : no write is under way.
    """

    i: stream.Interface
    aw: stream.Interface
    w: stream.Interface
    b: stream.Interface
    signal: Signal
    busy: Signal
    stop: Signal
    idle: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **unit_ports(),
                **write_channels(config),
                "data_base": In(config.address_width),
                "window_base": In(config.address_width),
                "window_limit": In(config.address_width),
                "stop": In(1),
                "act_read": Out(read_port(config, config.dram_words)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.addresses = addresses = AddressStage(
            self.config, unit="STORE", window_error=Error.WRITE_WINDOW,
            row_fields=("buffer", "steps", "offset", "end", "phase"),
        )  # fmt: skip
        m.submodules.answers = answers = Fifo(tag_layout(), depth=BURSTS_ANSWERED_LATER)
        beat_layout = data.StructLayout(
            {"data": self.config.dram_bytes * 8, "mask": self.config.dram_words, "last": 1}
        )
        m.submodules.beats = beats = Fifo(beat_layout, depth=BEATS_AHEAD)
        beat = beats.o.payload

        wiring.connect(m, wiring.flipped(self.i), addresses.i)
        for name in ("data_base", "window_base", "window_limit"):
            m.d.comb += getattr(addresses, name).eq(getattr(self, name))
        issue = Signal()
        send = Signal()
        reading = Signal()
        owed = Signal(range(BURSTS_OWED + 1))  # bursts with an address whose last beat has not been sent
        tag = answers.o.payload
        answered = Signal()  # a B, one cycle late
        failed = Signal(reset_less=True)  # it is an error
        halt = first_error(
            m, self.error, stop=self.stop,
            causes=(
                (answered & failed, Error.WRITE_RESPONSE, tag.index),
                (addresses.fault, addresses.fault_code, addresses.fault_index),
            ),
        )  # fmt: skip
        self._issue(m, addresses.bursts, answers, halt=halt, issue=issue, room=owed != BURSTS_OWED)
        self._read(m, addresses, beats, halt=halt, reading=reading)
        self._send(m, beats, beat, halt=halt, send=send, owed=owed)
        m.d.comb += [self.b.ready.eq(1), answers.o.ready.eq(answered)]
        m.d.sync += [answered.eq(self.b.valid), failed.eq(self.b.payload.resp != OKAY)]
        m.d.sync += self.signal.eq(Mux(answered & tag.last & ~failed & ~halt, tag.signal, 0))
        ended = send & beat.last
        with m.If(issue & ~ended):
            m.d.sync += owed.eq(owed + 1)
        with m.Elif(~issue & ended):
            m.d.sync += owed.eq(owed - 1)
        m.d.comb += [
            self.idle.eq(~answers.o.valid),
            self.busy.eq(addresses.busy | reading | answers.o.valid),
        ]
        return m

    def _issue(self, m, bursts, answers, *, halt, issue, room):
        """Bursts to the address channel; what their B will mean goes to `answers`, which holds all open bursts."""
        m.d.comb += [
            # no path from AXI's ready: a burst in two cycles is enough
            bursts.ready.eq(~self.aw.valid & room & answers.i.ready & ~halt),
            issue.eq(bursts.valid & bursts.ready),
            answers.i.valid.eq(issue),
            answers.i.payload.eq(bursts.payload.tag),
            answers.i.payload.last.eq(bursts.payload.tag.last & bursts.payload.last),
        ]
        with m.If(~self.aw.valid):  # what is not valid may be anything
            m.d.sync += [self.aw.payload.addr.eq(bursts.payload.addr), self.aw.payload.len.eq(bursts.payload.len)]
        with m.If(issue):
            m.d.sync += self.aw.valid.eq(1)
        with m.Elif(self.aw.ready):
            m.d.sync += self.aw.valid.eq(0)

    def _read(self, m, addresses, beats, *, halt, reading):
        """Beats of the rows from the buffer into `beats`; after a halt without reading, for the bursts still owed."""
        config, rows = self.config, addresses.rows
        row, step, last = rows.payload, addresses.step, addresses.last
        low, cut = exact_log2(config.dram_words), exact_log2(config.burst_beats)
        phase = Signal(cut)
        used = Signal(range(BEATS_AHEAD + 1))  # beats asked for and not sent; a power of two, so the top bit says all
        asking = Signal()
        address = Signal(20 - low, reset_less=True)
        mask = Signal(config.dram_words, reset_less=True)
        end = Signal(reset_less=True)
        ask = Signal()
        granted = Signal()
        sent = Signal()
        m.d.comb += [
            granted.eq(asking & (self.act_read.grant | halt)),
            ask.eq(rows.valid & ~used[-1] & (~asking | granted)),
            phase.eq(row.phase + step),
            rows.ready.eq(ask),
            self.act_read.request.eq(asking),  # after a halt too: what is read then does no harm
            self.act_read.address.eq(Cat(Const(0, low), address)),
            reading.eq(used != 0),
            sent.eq(beats.o.valid & beats.o.ready),
        ]
        with m.If(ask):
            m.d.sync += [
                asking.eq(1),
                address.eq(row.buffer[low:] + step),
                mask.eq(beat_mask(config, row, first=step == 0, last=last)),
                end.eq(last | phase.all()),  # of the burst: see BurstSplitter
            ]
        with m.Elif(granted):
            m.d.sync += asking.eq(0)
        with m.If(ask & ~sent):
            m.d.sync += used.eq(used + 1)
        with m.Elif(~ask & sent):
            m.d.sync += used.eq(used - 1)

        # mask and end travel beside the read; a register in front of the queue, which may stand far from the banks
        valid, about = granted, Cat(mask, end)
        for cycle in range(1, GLB_READ_LATENCY + 2):
            valid_next = Signal(name=f"valid{cycle}")
            about_next = Signal.like(about, name=f"about{cycle}", reset_less=True)
            m.d.sync += [valid_next.eq(valid), about_next.eq(about)]
            valid, about = valid_next, about_next
        read = Signal.like(self.act_read.data, reset_less=True)
        m.d.sync += read.eq(self.act_read.data)
        m.d.comb += [beats.i.valid.eq(valid), beats.i.payload.as_value().eq(Cat(read, about))]

    def _send(self, m, beats, beat, *, halt, send, owed):
        """Beats to the bus through two places, so that a halt changes none that already stands there."""
        config = self.config
        m.submodules.out = out = Skid(write_data_layout(config))
        wiring.connect(m, out.o, wiring.flipped(self.w))
        strobe = Cat(bit.replicate(config.lanes) for bit in beat.mask)
        m.d.comb += [
            out.i.valid.eq(beats.o.valid & (owed != 0)),
            beats.o.ready.eq(out.i.ready & (owed != 0)),
            send.eq(out.i.valid & out.i.ready),
            out.i.payload.data.eq(beat.data),
            out.i.payload.strb.eq(Mux(halt, 0, strobe)),
            out.i.payload.last.eq(beat.last),
        ]
