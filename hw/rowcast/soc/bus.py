"""The memory bus inside a system on chip: AXI4 as streams, from the manager's side."""

from amaranth.lib.wiring import Signature

from ..axi import ID_WIDTH, read_channels, write_channels

__all__ = ["memory_signature"]


def memory_signature(config):
    """AR, R, AW, W and B of one memory as members, from the manager's side.

    Full beats of `dram_bytes`, addresses of whole beats, incrementing bursts of up to 256 beats that stay inside 4 KiB.
    A subordinate answers bursts in the order in which they were asked for, reads and writes each for themselves, and gives an `ar.id` back in `r.id`.
    """
    return Signature({**read_channels(config, id_width=ID_WIDTH), **write_channels(config)})
