"""Words of the PARAM space on their way into the post-processors' memories."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .interfaces import param_layout
from .requantise import scale_layout

__all__ = ["TABLES", "TABLE_BITS", "ParamLoader", "load_layout"]

ITEM_BITS = 32
ITEMS = 4  # of a channel; the last is unused
TABLES = 3  # output table, operand table 1, operand table 2
TABLE_BITS = 8


def load_layout(config):
    """Writes that all post-processors take: a channel's parameters, or an entry of a table (a strobe for each)."""
    return data.StructLayout(
        {
            "scale_write": 1,
            "channel": ceil_log2(config.param_channels),
            "scale": scale_layout(),
            "table_write": TABLES,
            "entry": TABLE_BITS,
            "value": ITEM_BITS,
        }
    )


class ParamLoader(wiring.Component):
    """Words of the PARAM space to writes.  One item of 32 bits a cycle, `lanes` / 4 items a word, latency 2.

    A channel is written when its item 2 (shift) arrives, with the bias and the multiplier that came before it, so a
    load starts at a channel's item 0 or in the tables.  Items behind the tables are dropped.

    Members
    -------
    i : words, taken when the one before is split up.
    o : writes, see `load_layout`.
    """

    i: stream.Interface
    o: data.View

    def __init__(self, config):
        self.config = config
        super().__init__({"i": In(stream.Signature(param_layout(config))), "o": Out(load_layout(config))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        items = config.lanes * 8 // ITEM_BITS

        # Cycle 1: one item of the word.
        word = Signal(config.word_bits, reset_less=True)
        address = Signal.like(self.i.payload.address, reset_less=True)
        left = Signal(range(items + 1))
        m.d.comb += self.i.ready.eq(left <= 1)
        with m.If(left > 1):
            m.d.sync += word.eq(word >> ITEM_BITS)
        with m.Else():  # whether there is one or not: `valid` may come late
            m.d.sync += [word.eq(self.i.payload.data), address.eq(self.i.payload.address)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += left.eq(items)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        index = Signal(20 + ceil_log2(items))  # first item of a word, and the item in it (items are a power of two)
        m.d.comb += index.eq(Cat((items - left)[: ceil_log2(items)], address))

        # Cycle 2: what the item is.
        tables = ITEMS * config.param_channels
        entry = Signal(len(index) + 1)
        m.d.comb += entry.eq(index - tables)  # negative: of a channel
        item, of_channel = word[:ITEM_BITS], entry[-1]
        m.d.sync += [
            self.o.scale_write.eq((left != 0) & of_channel & (index[:2] == 2)),
            self.o.channel.eq(index[2:]),
            self.o.entry.eq(entry),
            self.o.value.eq(item),
        ]
        for table in range(TABLES):
            here = (left != 0) & ~of_channel & (entry[TABLE_BITS:-1] == table)
            m.d.sync += self.o.table_write[table].eq(here)
        scale = self.o.scale
        with m.Switch(Mux(left != 0, index[:2], ITEMS - 1)):
            with m.Case(0):
                m.d.sync += scale.bias.eq(item)
            with m.Case(1):
                m.d.sync += scale.multiplier_low.eq(item)
            with m.Case(2):
                m.d.sync += Cat(scale.align, scale.steps, scale.multiplier_high).eq(item)
        return m
