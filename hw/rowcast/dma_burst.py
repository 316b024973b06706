"""Rows of beats become AXI bursts."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

__all__ = ["BEAT_BITS", "ERROR_BITS", "WORD_BITS", "BurstSplitter", "burst_layout", "span_layout", "split_bursts"]

WORD_BITS = 33  # `dram` of an instruction, and a carry: beyond 2**32 words no window is open
ERROR_BITS = 4  # a code of `Error`
BEAT_BITS = 16  # beats of a row - 1: a row has less than 2**16 words


def span_layout(config, tag):
    """A row on its way to the bus: its first beat, counted from DATA_BASE, its beats - 1, what is already known to be
    wrong."""
    return data.StructLayout(
        {"beat": WORD_BITS - exact_log2(config.dram_words), "more": BEAT_BITS, "bad": ERROR_BITS, "tag": tag}
    )


def burst_layout(config, tag):
    """A burst: byte address, beats - 1, whether it is its row's last, the row's tag."""
    return data.StructLayout({"addr": config.address_width, "len": 8, "last": 1, "tag": tag})


def split_bursts(config, *, address, beats):
    """The (byte address, beats) of the bursts that `BurstSplitter` makes of a row: its twin."""
    bursts = []
    beat, stop = address // config.dram_bytes, address // config.dram_bytes + beats
    while beat < stop:
        end = min(stop, (beat // config.burst_beats + 1) * config.burst_beats)
        bursts.append((beat * config.dram_bytes, end - beat))
        beat = end
    return bursts


class BurstSplitter(wiring.Component):
    """Cut each row at the multiples of `burst_beats` beats: incrementing bursts of full beats.

    `burst_beats` is a power of two and at most 4 KiB long, so a burst that crosses none of its multiples crosses no
    4 KiB border (AXI4, A3.4.1), no remaining length need be kept, and all inner bursts of a row are full and aligned.
    A whole row is compared with the window before its first burst leaves.  Latency 3 cycles; a burst a cycle within a row, a row
    in two cycles.

    Parameters
    ----------
    config : Config
    tag : shape of what accompanies a row to its bursts.
    window_error : Error of a row outside the window.

    Members
    -------
    i : rows; o : bursts.  `o` holds its payload until it is taken and can therefore feed a register, not AXI itself,
        when the taker stops in mid-handshake.
    data_base : byte address from which beats count, a multiple of the beat; stable while the unit is at work.
    window_base, window_limit : the row must lie inside [window_base, window_limit), in bytes.
    fault, fault_code, fault_tag : the row at the output does not, or came with `bad` set; nothing follows until the
        reset.
    """

    i: stream.Interface
    o: stream.Interface
    data_base: Signal
    window_base: Signal
    window_limit: Signal
    fault: Signal

    def __init__(self, config, *, tag, window_error):
        self.config = config
        self.window_error = window_error
        self.tag_shape = tag
        super().__init__(
            {
                "i": In(stream.Signature(span_layout(config, tag))),
                "o": Out(stream.Signature(burst_layout(config, tag))),
                "data_base": In(config.address_width),
                "window_base": In(config.address_width),
                "window_limit": In(config.address_width),
                "fault": Out(1),
                "fault_code": Out(ERROR_BITS),
                "fault_tag": Out(tag),
            }
        )

    def elaborate(self, platform):
        m = Module()
        low = exact_log2(self.config.dram_bytes)
        bits = self.config.address_width - low  # of an address in beats
        zeros = Const(0, low)

        # cycle 1: the first beat; what does not fit the address marks the row
        row = self.i.payload
        start_valid = Signal()
        start = Signal(bits, reset_less=True)
        start_wild = Signal(reset_less=True)
        more = Signal(BEAT_BITS, reset_less=True)
        start_tag = Signal(self.tag_shape, reset_less=True)
        start_bad = Signal(ERROR_BITS, reset_less=True)
        total = Signal(bits + 1)
        m.d.comb += total.eq(self.data_base[low:] + row.beat[:bits])

        # cycle 2: the last beat, and the comparison with the window's lower end
        span_valid = Signal()
        span_first = Signal(bits, reset_less=True)
        span_wild = Signal(reset_less=True)
        span_last = Signal(bits, reset_less=True)
        span_tag = Signal(self.tag_shape, reset_less=True)
        span_bad = Signal(ERROR_BITS, reset_less=True)
        final = Signal(bits + 1 if bits >= BEAT_BITS else BEAT_BITS + 1)
        m.d.comb += final.eq(start + more)

        # cycle 3: the comparison with the upper end; then the bursts
        empty = Signal(init=1)  # the opposite of `valid`: a register of its own, for it has many to serve
        valid = Signal()
        wild = Signal(reset_less=True)
        bad = Signal(ERROR_BITS, reset_less=True)
        beat = Signal(bits, reset_less=True)
        last = Signal(bits, reset_less=True)
        tag = Signal(self.tag_shape, reset_less=True)

        # A stage takes a row only while it is empty, so no path leads through them against the flow.
        take_start = Signal()
        take_span = Signal()
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(~start_valid),
            take_start.eq(self.i.valid & ~start_valid),
            take_span.eq(start_valid & ~span_valid),
            take.eq(span_valid & empty),
        ]
        remains = take | (valid & ~(self.o.valid & self.o.ready & self.o.payload.last))
        m.d.sync += [
            start_valid.eq(take_start | (start_valid & ~take_span)),
            span_valid.eq(take_span | (span_valid & ~take)),
            valid.eq(remains),
            empty.eq(~remains),
        ]
        with m.If(~start_valid):
            m.d.sync += [
                start.eq(total),
                start_wild.eq(total[bits] | row.beat[bits:].any() | row.beat[-1]),
                start_bad.eq(row.bad),
                more.eq(row.more),
                start_tag.eq(row.tag),
            ]
        with m.If(~span_valid):
            m.d.sync += [
                span_first.eq(start),
                span_last.eq(final),
                span_wild.eq(start_wild | final[bits:].any() | (Cat(zeros, start) < self.window_base)),
                span_bad.eq(start_bad),
                span_tag.eq(start_tag),
            ]
        with m.If(empty):
            m.d.sync += [
                last.eq(span_last),
                wild.eq(span_wild | (span_last >= self.window_limit[low:]) | span_bad.any()),
                bad.eq(span_bad),
                tag.eq(span_tag),
            ]
        self._burst(m, beat=beat, last=last, load=empty, first=span_first, final=span_last)
        m.d.comb += [
            self.o.valid.eq(valid & ~wild),
            self.o.payload.addr.eq(Cat(zeros, beat)),
            self.o.payload.tag.eq(tag),
            self.fault.eq(valid & wild),
            self.fault_code.eq(Mux(bad.any(), bad, self.window_error)),
            self.fault_tag.eq(tag),
        ]
        return m

    def _burst(self, m, *, beat, last, load, first, final):
        """The burst from `beat` to the next multiple or to `last`, and the step to the one after it.

        That it is the row's last is known a cycle before; a row has so few bursts that the low bits tell.
        """
        cut = exact_log2(self.config.burst_beats)
        low = slice(cut, BEAT_BITS + 1)
        is_last = Signal(reset_less=True)
        m.d.comb += [
            self.o.payload.last.eq(is_last),
            self.o.payload.len.eq((Mux(is_last, last[:cut], ~Const(0, cut)) - beat[:cut])[:cut]),
        ]
        with m.If(load):
            m.d.sync += [beat.eq(first), is_last.eq(first[low] == final[low])]
        with m.Elif(self.o.ready):
            following = Signal(len(beat[low]))
            m.d.comb += following.eq(beat[low] + 1)
            m.d.sync += [beat.eq(Cat(Const(0, cut), beat[cut:] + 1)), is_last.eq(following == last[low])]
