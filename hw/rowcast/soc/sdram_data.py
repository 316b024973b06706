"""The data pins of an SDRAM: beats to words and back, and the memories that hold beats."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ..axi import ID_WIDTH, read_data_layout, write_data_layout
from ..memory import Ram
from .sdram_chip import WORD_BYTES
from .sdram_chunks import access_words
from .sdram_scheduler import access_layout

__all__ = ["BeatQueue", "ReadData", "WriteData", "lead"]

_SLVERR = 2
_SKID = 4  # as many as the cycles from a read of the memory to the place that it frees


class BeatQueue(wiring.Component):
    """A queue in RAM.  An item a cycle, latency 4.

    Parameters
    ----------
    shape : of an item.
    depth : items, a power of two.
    style : of the RAM, see `memory.Ram`.

    Members
    -------
    i, o : streams.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape, *, depth, style="block"):
        self.shape, self.depth, self.style = shape, depth, style
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = Ram(shape=self.shape, depth=self.depth, style=self.style)
        m.submodules.skid = skid = SyncFIFO(width=ram.read_data.as_value().shape().width, depth=_SKID)
        level = Signal(range(self.depth + 1))
        free = Signal(range(_SKID + 1), init=_SKID)
        put = Signal()
        fetch = Signal()
        take = Signal()
        coming = Signal(ram.latency)
        m.d.comb += [
            self.i.ready.eq(~level[-1]),
            put.eq(self.i.valid & self.i.ready),
            fetch.eq(level.any() & free.any()),
            take.eq(self.o.valid & self.o.ready),
            ram.write_enable.eq(put),
            ram.write_data.eq(self.i.payload),
            skid.w_en.eq(coming[-1]),
            skid.w_data.eq(ram.read_data),
            self.o.valid.eq(skid.r_rdy),
            self.o.payload.eq(skid.r_data),
            skid.r_en.eq(take),
        ]
        m.d.sync += [
            level.eq(level + put - fetch),
            free.eq(free + take - fetch),
            ram.write_address.eq(ram.write_address + put),
            ram.read_address.eq(ram.read_address + fetch),
            coming.eq(Cat(fetch, coming)),
        ]
        return m


def lead(config):
    """Cycles from an access to its beat's arrival from the memory: 0 if beats follow slowly enough to wait at its
    output."""
    return 0 if config.dram_bytes >= 4 * WORD_BYTES else 2


class WriteData(wiring.Component):
    """Beats wait, then go out word by word: the first word 1 + `lead` cycles after the access that begins.

    Members
    -------
    i : beats.  arrived : one is taken.
    access : what begins, from the scheduler.
    started : bytes are masked until then.
    dq, dqm, oe : data pins; `oe` only while words go out.
    """

    i: stream.Interface
    arrived: Signal
    started: Signal
    dq: Signal
    dqm: Signal
    oe: Signal

    def __init__(self, config, *, depth, style="block"):
        self.config, self.depth, self.style = config, depth, style
        super().__init__(
            {
                "i": In(stream.Signature(write_data_layout(config))),
                "arrived": Out(1),
                "access": In(access_layout()),
                "started": In(1),
                "dq": Out(8 * WORD_BYTES),
                "dqm": Out(WORD_BYTES, init=(1 << WORD_BYTES) - 1),
                "oe": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count, bits, words = self.config.dram_bytes // WORD_BYTES, 9 * WORD_BYTES, access_words(self.config)
        m.submodules.ram = ram = Ram(shape=bits * count, depth=self.depth, style=self.style)
        level = Signal(range(self.depth + 1))
        pop = Signal()
        begin = Signal()
        beat, access = self.i.payload, self.access
        m.d.comb += [
            self.i.ready.eq(~level[-1]),
            self.arrived.eq(self.i.valid & self.i.ready),
            pop.eq(access.write & access.head),
            begin.eq(access.write & ~access.dead),
            ram.write_enable.eq(self.arrived),
            ram.write_data.eq(
                Cat(Cat(beat.data.word_select(i, 16), ~beat.strb.word_select(i, 2)) for i in range(count))
            ),
        ]
        m.d.sync += [
            level.eq(level + self.arrived - pop),
            ram.write_address.eq(ram.write_address + self.arrived),
            ram.read_address.eq(ram.read_address + pop),
        ]
        load, drive = pop, begin
        for stage in range(lead(self.config)):
            later = Signal(2, name=f"later{stage}")
            m.d.sync += later.eq(Cat(load, drive))
            load, drive = later
        line = Signal(bits * count, reset_less=True)
        rest = Signal(bits * count)
        driving = Signal(words)
        next_driving = Signal(words)
        m.d.comb += [
            rest.eq(Mux(load, ram.read_data, line >> bits)),
            next_driving.eq((driving >> 1) | drive.replicate(words)),
            self.dq.eq(line[: 8 * WORD_BYTES]),
            self.oe.eq(driving[0]),
        ]
        m.d.sync += [
            line.eq(rest),
            driving.eq(next_driving),
            self.dqm.eq(Mux(next_driving[0], rest[8 * WORD_BYTES : bits], (~self.started).replicate(WORD_BYTES))),
        ]
        return m


class ReadData(wiring.Component):
    """Words come in, beats go out; those of beyond the chip with SLVERR.

    Parameters
    ----------
    config : Config
    depth : beats that may be under way or wait: whoever issues reads counts them.
    delay : cycles from an access to the cycle at whose end the chip's first word is sampled.

    Members
    -------
    access : what begins, from the scheduler.
    dq : data pins.
    o : beats.  taken : one leaves.
    """

    o: stream.Interface
    dq: Signal
    taken: Signal

    def __init__(self, config, *, depth, delay, style="block"):
        self.config, self.depth, self.delay, self.style = config, depth, delay, style
        super().__init__(
            {
                "access": In(access_layout()),
                "dq": In(8 * WORD_BYTES),
                "o": Out(stream.Signature(read_data_layout(config, id_width=ID_WIDTH))),
                "taken": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        layout = read_data_layout(self.config, id_width=ID_WIDTH)
        m.submodules.queue = queue = BeatQueue(layout, depth=self.depth, style=self.style)
        # the words, each in one register before anything else
        captured = Signal(8 * WORD_BYTES, reset_less=True)
        line = Signal((self.config.dram_bytes - WORD_BYTES) * 8, reset_less=True)
        m.d.sync += [captured.eq(self.dq), line.eq(Cat(line, captured)[8 * WORD_BYTES :])]
        # a beat's end meets its last word
        access = self.access
        whole = Signal()
        m.d.comb += whole.eq(access.read & access.tail)
        tag = Cat(access.id, access.last, access.dead)
        for stage in range(self.delay + access_words(self.config)):
            later, later_tag = Signal(name=f"whole{stage}"), Signal(len(tag), name=f"tag{stage}", reset_less=True)
            m.d.sync += [later.eq(whole), later_tag.eq(tag)]
            whole, tag = later, later_tag
        beat = queue.i.payload
        m.d.comb += [
            queue.i.valid.eq(whole),
            beat.data.eq(Cat(line, captured)),
            Cat(beat.id, beat.last).eq(tag),
            beat.resp.eq(Mux(tag[-1], _SLVERR, 0)),
            self.taken.eq(self.o.valid & self.o.ready),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m
