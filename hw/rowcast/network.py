"""The multicast network: one word, or a few, to any group of PEs in a cycle."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .interfaces import flit_layout

__all__ = ["ColumnTap", "MulticastNetwork", "row_flit_layout"]


def row_flit_layout(config, spad_words):
    """What a row's X bus carries: a flit (`interfaces.flit_layout`) without the row tag, which has done its work."""
    return data.StructLayout(
        {
            "config": 1,
            "column_tag": config.tag_width,
            "entry": ceil_log2(spad_words // config.noc_words),
            "data": config.word_bits * config.noc_words,
        }
    )


class MulticastNetwork(wiring.Component):
    """Y bus and X buses of one kind of data.  A flit a cycle, always taken; latency 2 to the X buses.

    A flit stands in the Y bus register one cycle after the input.  Every row whose ID equals the flit's row tag
    copies it into its X register a cycle later; the others keep theirs, so their bus does not toggle.  A flit with
    `config` goes to the row at the *place* `row_tag`, and gives that row the ID in the low `tag_width` bits of its
    data: the next flit sees it.  IDs are 0 after reset, so that tag 0 reaches everyone.

    Parameters
    ----------
    config : Config
    spad_words : words of the scratchpads at the other end.

    Members
    -------
    i_valid, i_flit : a flit (`flit_layout`).
    o_valid, o_flit : one of each a row (`row_flit_layout`), for a `ColumnTap` in each PE.
    """

    LATENCY = 2

    i_valid: Signal
    i_flit: data.View
    o_valid: list
    o_flit: list

    def __init__(self, config, spad_words):
        self.config = config
        self.spad_words = spad_words
        super().__init__(
            {
                "i_valid": In(1),
                "i_flit": In(flit_layout(config, spad_words)),
                "o_valid": Out(1).array(config.rows),
                "o_flit": Out(row_flit_layout(config, spad_words)).array(config.rows),
            }
        )

    def elaborate(self, platform):
        m = Module()
        tag_width = self.config.tag_width
        y_valid = Signal()
        y_bus = Signal(flit_layout(self.config, self.spad_words), reset_less=True)
        m.d.sync += y_valid.eq(self.i_valid)
        with m.If(self.i_valid):
            m.d.sync += y_bus.eq(self.i_flit)

        for row, (o_valid, o_flit) in enumerate(zip(self.o_valid, self.o_flit, strict=True)):
            row_id = Signal(tag_width, name=f"row_id{row}")
            place_match, match = Signal(name=f"place_match{row}"), Signal(name=f"match{row}")
            x_valid = Signal(name=f"x_valid{row}")
            x_bus = Signal(row_flit_layout(self.config, self.spad_words), name=f"x_bus{row}", reset_less=True)
            m.d.comb += [
                place_match.eq(y_valid & y_bus.config & (y_bus.row_tag == row)),
                match.eq(place_match | (y_valid & ~y_bus.config & (y_bus.row_tag == row_id))),
                o_valid.eq(x_valid),
                o_flit.eq(x_bus),
            ]
            m.d.sync += x_valid.eq(match)
            with m.If(place_match):
                m.d.sync += row_id.eq(y_bus.data[:tag_width])
            with m.If(match):
                m.d.sync += [getattr(x_bus, field).eq(getattr(y_bus, field)) for field in x_bus.shape().members]
        return m


class ColumnTap(wiring.Component):
    """A PE's end of an X bus.  A flit a cycle, latency 1.

    Takes the flits whose column tag equals the PE's ID.  A flit with `config` and the *place* `column` gives the PE
    the ID in bits `tag_width` to 2 x `tag_width` - 1 of its data and goes no further.  The ID is 0 after reset.

    Members
    -------
    column : the PE's place, constant.
    i_valid, i_flit : the X bus (`row_flit_layout`).
    o_valid, o_entry, o_data : a write into the scratchpad; entry and data keep their values between flits.
    """

    LATENCY = 1

    column: Signal
    i_valid: Signal
    i_flit: data.View
    o_valid: Signal
    o_entry: Signal
    o_data: Signal

    def __init__(self, config, spad_words):
        self.tag_width = config.tag_width
        layout = row_flit_layout(config, spad_words)
        super().__init__(
            {
                "column": In(config.tag_width),
                "i_valid": In(1),
                "i_flit": In(layout),
                "o_valid": Out(1),
                "o_entry": Out(layout["entry"].shape),
                "o_data": Out(layout["data"].shape),
            }
        )

    def elaborate(self, platform):
        m = Module()
        flit = self.i_flit
        own_id = Signal(self.tag_width)
        valid = Signal()
        entry = Signal.like(self.o_entry, reset_less=True)
        word = Signal.like(self.o_data, reset_less=True)
        match = Signal()
        m.d.comb += [
            match.eq(self.i_valid & ~flit.config & (flit.column_tag == own_id)),
            self.o_valid.eq(valid),
            self.o_entry.eq(entry),
            self.o_data.eq(word),
        ]
        m.d.sync += valid.eq(match)
        with m.If(match):
            m.d.sync += [entry.eq(flit.entry), word.eq(flit.data)]
        with m.If(self.i_valid & flit.config & (flit.column_tag == self.column)):
            m.d.sync += own_id.eq(flit.data[self.tag_width : 2 * self.tag_width])
        return m
