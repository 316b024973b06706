"""Bits of the fields that a compact configuration keeps."""

from amaranth.lib.data import View
from amaranth.utils import ceil_log2

from ..interfaces import payload_layout

__all__ = ["Widths", "fields_of"]


class Widths:
    """Widths made from the configuration rather than from the instruction set's largest values.

    Instructions are not checked against them: a program of the compiler keeps to its configuration.

    Members
    -------
    act, filter : word addresses of the two memories of the global buffer.
    dram : addresses of beats.
    words : words of a row in a transfer, less one.
    rows : rows of a transfer.
    half : counts of words in half a scratchpad; offset: byte addresses in half the ifmap scratchpad.
    pixels : counts of pixels in half the psum scratchpad.
    chunks : chunks of an instruction.
    place : coordinates in an ifmap, signed, with as much room for padding as the ifmap has itself.
    slot : parameter slots.
    """

    def __init__(self, config):
        self.act = ceil_log2(config.act_words)
        self.filter = ceil_log2(config.filter_buffer_words)
        self.dram = config.address_width - ceil_log2(config.dram_bytes)
        self.buffer = max(self.act, self.filter, ceil_log2((4 * config.param_channels + 256) * 4 // config.lanes))
        self.words = self.buffer
        self.rows = self.act + 1
        self.half = ceil_log2(max(config.filter_words, config.ifmap_words))
        self.offset = ceil_log2(config.ifmap_words * config.lanes) - 1
        self.pixels = ceil_log2(config.psum_pixels)
        self.psum = ceil_log2(config.psum_pixels * config.lanes)
        self.chunks = 12
        self.coordinate = config.coordinate_width
        self.place = config.coordinate_width + 2
        self.slot = ceil_log2(config.param_channels // config.lanes)


def fields_of(name, payload):
    """An instruction's fields as a view of the payload."""
    layout = payload_layout(name)
    return View(layout, payload[: layout.size])
