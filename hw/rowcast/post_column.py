"""One post-processor: psums of a column, or lanes of a vector result, to words with addresses."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .isa import PostMode, PostSource
from .memory import Ram
from .params import TABLE_BITS, TABLES, load_layout
from .requantise import Requantise, scale_layout
from .vector import VALUE_BITS, values_layout

__all__ = ["QUEUE_WORDS", "PostColumn", "job_layout", "place_layout", "settings_layout", "word_layout"]

QUEUE_WORDS = 16  # the depth of a distributed RAM; the way from a drain to its word takes up to 60 cycles
ADDRESS_BITS = 22  # 20, and room to see that an address left the memory on either side
CHANNEL_BITS = 16
OPERAND_LATENCY = 8  # cycle in which a sum reaches the requantiser


def settings_layout():
    """How items become bytes; stable while items are under way."""
    return data.StructLayout(
        {
            "source": PostSource,
            "mode": PostMode,
            "zero_point": signed(9),
            "low": signed(8),
            "high": signed(8),
            "table": 1,
        }
    )


def job_layout(config):
    """What belongs to an item (DRAIN) or a word (else), besides what the row's POST_PE adds to it in DRAIN."""
    return data.StructLayout(
        {
            "address": ADDRESS_BITS,
            "channel": CHANNEL_BITS,
            "row": max(1, ceil_log2(config.rows)),
            "last": 1,  # word: the last of its run
        }
    )


def place_layout():
    """What POST_PE says of one PE."""
    return data.StructLayout({"valid": 1, "offset": 20, "slot": 10})


def word_layout(config):
    """A word to write; all 0 if there is none.  `valid` = 0 with `last`: the run ended with a word that is dropped."""
    return data.StructLayout({"valid": 1, "last": 1, "address": 20, "data": config.word_bits})


class PostColumn(wiring.Component):
    """Items to bytes, `lanes` bytes to a word, words to a queue.  One item a cycle, never refused.

    An item's sum is a psum (DRAIN), a lane's value (MAX, SUM), `t1[a] + t2[b]` wrapped to int32 (ADD), or the product
    of both entries' low 16 bits, signed (MUL), for bytes a and b, table index byte + 128.  It goes through `Requantise`
    and, if `settings.table` is set, through the output table.  `LATENCY` cycles after a word's last item the word
    stands in the queue.

    Room in the queue is reserved before a word's items come: by `reserve` (DRAIN, not while `full`) or by `take`.
    The words' place in the array of columns is not known here: equal columns are one module.

    Members
    -------
    clear : forgets all items and words; memories keep their contents.
    load : writes to parameters and tables.
    place_write, place_row, place : writes an entry of the table of POST_PE.
    settings, job : `job` counts in the cycle of `psum_valid`, or in that of `result`.
    psum_valid, psum : DRAIN: int32 items, `lanes` of them make a word.
    take, result : other sources: `result` in the next cycle is a word's items in one piece.
    soon : there may be a `take` in the next cycle if there is none in this one: once every `lanes` cycles.
    reserve : DRAIN: a word's items will come.
    full, empty : no room; nothing reserved, nothing queued, one cycle late.
    waiting : a word stands at the head of the queue; at most every second cycle.
    advance, select : `o` is replaced by the head of the queue if `select` (only with `waiting`), else by 0.
    o : `word_layout`, to be ORed with those of other columns.
    out_of_range : pulse: an address outside the activation memory or a channel outside the parameter memory.
    """

    LATENCY = OPERAND_LATENCY + Requantise.LATENCY + 4

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "clear": In(1),
                "load": In(load_layout(config)),
                "place_write": In(1),
                "place_row": In(max(1, ceil_log2(config.rows))),
                "place": In(place_layout()),
                "settings": In(settings_layout()),
                "job": In(job_layout(config)),
                "psum_valid": In(1),
                "psum": In(signed(32)),
                "take": In(1),
                "result": In(values_layout(config)),
                "soon": Out(1),
                "reserve": In(1),
                "full": Out(1),
                "empty": Out(1, init=1),
                "waiting": Out(1),
                "select": In(1),
                "advance": In(1),
                "o": Out(word_layout(config)),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self.drains = Signal()
        self.taken = Signal()  # a result is here
        m.d.comb += self.drains.eq(self.settings.source == PostSource.DRAIN)
        self.popped = Signal()  # a word left the queue in the cycle before
        valid, value = self._items(m)
        acc = self._operands(m, value)
        word_end, address, channel = self._addresses(m, valid)
        byte, byte_valid = self._bytes(m, acc, channel, valid)
        self._queue(m, word_end, address, byte, byte_valid)
        return m

    def _items(self, m):
        """Cycles 1 to 3: a result's lanes one by one; whether there is an item in cycle 1, from either source."""
        lanes = self.config.lanes
        turns = Signal(lanes + 1)  # a result is here; then a bit for each lane, of the item in cycle 1
        lane = turns[1:]
        held = Signal(self.result.shape(), reset_less=True)
        m.d.comb += self.taken.eq(turns[0])
        m.d.sync += turns.eq(Cat(self.take, turns))
        with m.If(self.taken):
            m.d.sync += held.eq(self.result)
        # Two lanes share a multiplexer, whose register is 0 when it is the turn of others: 5 LUTs a bit, not 7.
        pairs = []
        for i in range(0, lanes, 2):
            pair = Signal(VALUE_BITS, name=f"pair{i}", reset_less=True)
            m.d.sync += pair.eq(Mux(lane[i], held[i], held[i + 1]))
            with m.If(~(lane[i] | lane[i + 1])):
                m.d.sync += pair.eq(0)
            pairs.append(pair)
        value = Signal(signed(VALUE_BITS), reset_less=True)
        m.d.sync += value.eq(reduce(or_, pairs))

        valid = Signal()
        m.d.sync += valid.eq(self.psum_valid | turns[:-1].any())
        rests = Signal()  # the lanes of a result have passed, or will have
        m.d.sync += rests.eq(~(self.take | turns[: lanes - 3].any()))
        m.d.comb += self.soon.eq(rests & (~self.full | self.popped))
        with m.If(self.clear):
            m.d.sync += [turns.eq(0), valid.eq(0)]
        return valid, value

    def _operands(self, m, value):
        """Cycles 3 to 8: the sum.  What the source does not use is held at 0, and the sums are ORed."""
        source = self.settings.source
        tables = []
        for i in range(2):
            m.submodules[f"operand{i + 1}"] = table = Ram(shape=signed(32), depth=1 << TABLE_BITS)
            m.d.comb += [
                table.write_enable.eq(self.load.table_write[TABLES - 2 + i]),
                table.write_address.eq(self.load.entry),
                table.write_data.eq(self.load.value),
                table.read_address.eq(value[8 * i : 8 * i + 8] ^ 0x80),
            ]
            tables.append(_later(m, table.read_data, f"operand{i + 1}_", 6, 6))
        added = _later(m, (tables[0] + tables[1])[:32].as_signed(), "added", 7, 7)
        product = _later(m, tables[0][:16].as_signed() * tables[1][:16].as_signed(), "product", 7, 7)
        psum = _later(m, self.psum, "psum", 1, 7)
        value = _later(m, value, "value", 4, 7)
        sums = []
        kinds = ((self.drains, psum), (source == PostSource.ADD, added), (source == PostSource.MUL, product))
        plain = (source == PostSource.MAX) | (source == PostSource.SUM)
        for i, (used, term) in enumerate((*kinds, (plain, value))):
            kept = Signal(signed(32), name=f"term{i}_8", reset_less=True)
            with m.If(used):
                m.d.sync += kept.eq(term)
            with m.Else():
                m.d.sync += kept.eq(0)
            sums.append(kept)
        acc = Signal(signed(32))
        m.d.comb += acc.eq(sums[0] | sums[1] | sums[2] | sums[3])
        return acc

    def _addresses(self, m, valid):
        """Cycles 1 and 2: where a word goes, and the parameter channel of an item."""
        m.submodules.places = places = Memory(shape=place_layout(), depth=max(2, self.config.rows), init=[])
        read, write = places.read_port(domain="comb"), places.write_port()
        m.d.comb += [
            read.addr.eq(self.job.row),
            write.addr.eq(self.place_row),
            write.data.eq(self.place),
            write.en.eq(self.place_write),
        ]
        job = Signal(job_layout(self.config), reset_less=True)
        place = Signal(place_layout(), reset_less=True)
        with m.If(self.drains | self.taken):  # a vector result's job stays for all its lanes
            m.d.sync += [job.eq(self.job), place.eq(read.data)]
            with m.If(~self.drains):
                m.d.sync += [place.offset.eq(0), place.slot.eq(0), place.valid.eq(1)]

        lanes = self.config.lanes
        lane = Signal(range(lanes))  # items come in whole words
        with m.If(valid):
            m.d.sync += lane.eq(lane + 1)
        with m.If(self.clear):
            m.d.sync += lane.eq(0)
        word_end = Signal()
        address = Signal(data.StructLayout({"address": ADDRESS_BITS, "last": 1, "valid": 1}), reset_less=True)
        channel = Signal(CHANNEL_BITS + 1, reset_less=True)
        item = Signal()
        bits = ceil_log2(lanes)
        m.d.sync += [
            word_end.eq(valid & (lane == lanes - 1) & ~self.clear),
            address.address.eq(job.address + place.offset),
            address.last.eq(job.last),
            address.valid.eq(place.valid),
            channel.eq(Cat(job.channel[:bits], job.channel[bits:] + place.slot)),
            item.eq(valid & ~self.clear),
        ]
        outside_address = address.address[ceil_log2(self.config.act_words) :].any()
        outside_channel = channel[ceil_log2(self.config.param_channels) :].any()
        outside = Signal()
        m.d.comb += outside.eq(address.valid & ((word_end & outside_address) | (item & outside_channel)))
        m.d.sync += self.out_of_range.eq(outside & ~self.clear)
        entry = Signal(data.StructLayout({"valid": 1, "last": 1, "address": 20}))
        m.d.comb += [
            entry.valid.eq(address.valid & ~outside_address),
            entry.last.eq(address.last),
            entry.address.eq(address.address),
        ]
        return word_end, entry, channel[: ceil_log2(self.config.param_channels)]

    def _bytes(self, m, acc, channel, valid):
        """Cycles 3 to 23: parameters, requantiser, output table; the byte and whether there is one."""
        m.submodules.params = params = Ram(shape=scale_layout().size, depth=self.config.param_channels)
        m.submodules.requantise = requantise = Requantise()
        # 32 cells of distributed RAM: a block RAM would be seven eighths empty, and they are what `base` has least of.
        m.submodules.table = table = Ram(shape=signed(8), depth=1 << TABLE_BITS, style="distributed")
        m.d.comb += [
            params.write_enable.eq(self.load.scale_write),
            params.write_address.eq(self.load.channel),
            params.write_data.eq(self.load.scale),
            params.read_address.eq(_later(m, channel, "channel", 3, OPERAND_LATENCY - params.latency)),
            requantise.acc.eq(acc),
            requantise.scale.eq(params.read_data),
            *(getattr(requantise, n).eq(getattr(self.settings, n)) for n in ("mode", "zero_point", "low", "high")),
            table.write_enable.eq(self.load.table_write[0]),
            table.write_address.eq(self.load.entry),
            table.write_data.eq(self.load.value),
            table.read_address.eq(requantise.value ^ 0x80),
        ]
        done = OPERAND_LATENCY + requantise.LATENCY
        plain = _later(m, requantise.value, "plain", done + 1, done + table.latency)
        byte = Signal(8)
        m.d.comb += byte.eq(plain)
        with m.If(self.settings.table):
            m.d.comb += byte.eq(table.read_data)
        stages = Signal(done + table.latency - 1)
        m.d.sync += stages.eq(Cat(valid, stages))
        with m.If(self.clear):
            m.d.sync += stages.eq(0)
        return byte, stages[-1]

    def _queue(self, m, word_end, entry, byte, byte_valid):
        """Bytes to words; words and their addresses to the queue; the queue's head to `o`."""
        config = self.config
        depth = {"depth": QUEUE_WORDS, "latency": 1}
        m.submodules.words = words = Ram(shape=config.word_bits, **depth)
        m.submodules.entries = entries = Ram(shape=entry.shape(), **depth)
        index = ceil_log2(QUEUE_WORDS)
        reserved = Signal(index + 1)
        addressed = Signal(index)
        written = Signal(index + 1)
        read = Signal(index + 1)
        lane = Signal(range(config.lanes))
        pop = Signal()
        word_done = Signal()
        word = Signal(config.word_bits - 8, reset_less=True)
        with m.If(byte_valid):
            m.d.sync += lane.eq(lane + 1)
            for i in range(config.lanes - 1):
                with m.If(lane == i):
                    m.d.sync += word.word_select(i, 8).eq(byte)
        m.d.comb += [
            word_done.eq(byte_valid & (lane == config.lanes - 1)),
            words.write_enable.eq(word_done),
            words.write_address.eq(written),
            words.write_data.eq(Cat(word, byte)),
            entries.write_enable.eq(word_end),
            entries.write_address.eq(addressed),
            entries.write_data.eq(entry),
            words.read_address.eq(read),
            entries.read_address.eq(read),
            pop.eq(self.select & self.advance),
            self.full.eq(reserved[-1]),
        ]
        m.d.sync += [
            addressed.eq(addressed + word_end),
            written.eq(written + word_done),
            read.eq(read + pop),
            self.waiting.eq((written != read) & ~pop),  # the memories' registers hold the head one cycle after `read`
            self.popped.eq(pop),
            reserved.eq(reserved + (self.reserve | self.take) - self.popped),
            self.empty.eq((reserved == 0) & ~self.o.valid),
        ]

        # The zeros are the registers' synchronous reset, so address and data have no other: after a `clear` they are 0
        # one cycle later, long before the next word.
        head = entries.read_data
        out_address = Signal(20, reset_less=True)
        out_data = Signal(config.word_bits, reset_less=True)
        m.d.comb += [self.o.address.eq(out_address), self.o.data.eq(out_data)]
        with m.If(self.advance):
            m.d.sync += [
                self.o.valid.eq(head.valid & self.select),
                self.o.last.eq(head.last & self.select),
                out_address.eq(head.address),
                out_data.eq(words.read_data),
            ]
            with m.If(~self.select):
                m.d.sync += [out_address.eq(0), out_data.eq(0)]
        with m.If(self.clear):
            forgotten = (lane, self.popped, reserved, addressed, written, read, self.waiting, self.o.valid, self.o.last)
            m.d.sync += [state.eq(0) for state in forgotten]


def _later(m, value, name, first, last):
    """The value of cycle `first` - 1 in cycle `last`, through registers without a reset."""
    for cycle in range(first, last + 1):
        register = Signal(value.shape(), name=f"{name}{cycle}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value
