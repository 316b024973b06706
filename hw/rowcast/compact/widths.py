"""Bits of the fields that a compact configuration keeps."""

from amaranth.lib.data import View

from ..interfaces import payload_layout

__all__ = ["Widths", "fields_of"]


class Widths:
    """`Config.compact_widths` as attributes.  Wider fields of an instruction are cut: the compiler checks them."""

    def __init__(self, config):
        self.__dict__ |= config.compact_widths()


def fields_of(name, payload):
    """An instruction's fields as a view of the payload."""
    layout = payload_layout(name)
    return View(layout, payload[: layout.size])
