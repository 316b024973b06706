"""AXI bursts become chunks: pieces that stay in one row of an SDRAM, and that enter when their data have a place."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..axi import ID_WIDTH, address_layout
from .sdram_chip import WORD_BYTES

__all__ = ["Admission", "CHUNK_BYTES", "ChunkSplitter", "access_words", "chunk_beats", "chunk_layout", "split_chunks"]

CHUNK_BYTES = 256  # 128 words: much more than a change of row or direction costs, and no long wait for the other side
_PAGE_BITS = 12  # of what an AXI burst stays in


def access_words(config):
    """Words that one READ or WRITE moves: the burst length in the chip's mode register."""
    return min(8, config.dram_bytes // WORD_BYTES)


def chunk_beats(config):
    """Beats of the longest chunk."""
    return CHUNK_BYTES // config.dram_bytes


def chunk_layout(config, chip):
    """Where a chunk begins (`access`: column / `access_words`), its accesses - 1, the burst's ID, whether it ends the
    burst, whether it lies beyond the chip."""
    words = access_words(config)
    return data.StructLayout(
        {
            "bank": exact_log2(chip.banks),
            "row": exact_log2(chip.rows),
            "access": exact_log2(chip.columns // words),
            "more": exact_log2(CHUNK_BYTES // WORD_BYTES // words),
            "id": ID_WIDTH,
            "last": 1,
            "dead": 1,
        }
    )


def split_chunks(config, *, address, beats):
    """The (byte address, beats) of the chunks that `ChunkSplitter` makes of a burst: its twin."""
    chunks, stop = [], address + beats * config.dram_bytes
    while address < stop:
        end = min(stop, (address // CHUNK_BYTES + 1) * CHUNK_BYTES)
        chunks.append((address, (end - address) // config.dram_bytes))
        address = end
    return chunks


class ChunkSplitter(wiring.Component):
    """Cut each burst at the multiples of `CHUNK_BYTES`, and each address into bank, row and column.

    From the lowest bit of an address: word, column, bank, row.  So consecutive rows' worth of bytes are in different
    banks, and the next bank's row can be opened while this one's data move.  Latency 2 cycles, a chunk a cycle.

    Members
    -------
    i : bursts with `id`.  o : chunks.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, config, chip):
        self.config, self.chip = config, chip
        super().__init__(
            {
                "i": In(stream.Signature(address_layout(config, id_width=ID_WIDTH))),
                "o": Out(stream.Signature(chunk_layout(config, chip))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        low, cut = exact_log2(self.config.dram_bytes), exact_log2(chunk_beats(self.config))
        page = _PAGE_BITS - low
        size = exact_log2(self.chip.size)

        # cycle 1: the first beat, and the last one's place in its page
        valid = Signal()
        beat = Signal(size - low, reset_less=True)
        end = Signal(page, reset_less=True)
        dead = Signal(reset_less=True)
        number = Signal(ID_WIDTH, reset_less=True)
        last = Signal()
        step = Signal()
        m.d.comb += [
            last.eq(beat[cut:page] == end[cut:]),
            step.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~valid | (step & last)),
        ]
        address = self.i.payload.addr
        with m.If(self.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid),
                beat.eq(address[low:size]),
                end.eq(address[low:_PAGE_BITS] + self.i.payload.len),
                dead.eq(address[size:].any()),
                number.eq(self.i.payload.id),
            ]
        with m.Elif(step):
            m.d.sync += beat[:page].eq(Cat(Const(0, cut), beat[cut:page] + 1))

        # cycle 2: the chunk
        words = access_words(self.config)
        part = exact_log2(self.config.dram_bytes // WORD_BYTES // words)  # bits that count the accesses of a beat
        more = Signal(cut)
        place = Cat(Const(0, part), beat)
        o, columns, banks = self.o.payload, exact_log2(self.chip.columns // words), exact_log2(self.chip.banks)
        m.d.comb += more.eq(Mux(last, end[:cut], ~Const(0, cut)) - beat[:cut])
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(valid),
                o.access.eq(place[:columns]),
                o.bank.eq(place[columns : columns + banks]),
                o.row.eq(place[columns + banks :]),
                o.more.eq(Cat(~Const(0, part), more)),
                o.id.eq(number),
                o.last.eq(last),
                o.dead.eq(dead),
            ]
        return m


class Admission(wiring.Component):
    """Lets a chunk pass when as many beats as it has are free; they are then taken.  At most a chunk in two cycles.

    A read's beats are places for its data, a write's are data that wait: an access of the chip cannot be held.

    Parameters
    ----------
    beats : highest number of free beats.
    free : at first.

    Members
    -------
    i, o : chunks.
    give : one beat becomes free.
    """

    i: stream.Interface
    o: stream.Interface
    give: Signal

    def __init__(self, config, chip, *, beats, free):
        self.beats, self.free = beats, free
        layout = chunk_layout(config, chip)
        self.part = layout["more"].width - exact_log2(chunk_beats(config))
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout)), "give": In(1)})

    def elaborate(self, platform):
        m = Module()
        free = Signal(range(self.beats + 1), init=self.free)
        enough = Signal()
        take = Signal()
        more = self.i.payload.more[self.part :]
        m.d.comb += [
            take.eq(self.o.valid & self.o.ready),
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(enough),
            self.i.ready.eq(take),
        ]
        m.d.sync += [
            enough.eq(self.i.valid & ~take & (free > more)),
            free.eq(free + self.give - Mux(take, more + 1, 0)),
        ]
        return m
