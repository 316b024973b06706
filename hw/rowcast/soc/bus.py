"""The buses inside a system on chip: AXI4 and AXI4-Lite as streams, and an accelerator's flat pins on them."""

from amaranth.lib.wiring import Signature

from ..axi import ID_WIDTH, read_channels, write_channels

__all__ = ["join_memory", "join_registers", "memory_signature"]


def memory_signature(config):
    """AR, R, AW, W and B of one memory as members, from the manager's side.

    Full beats of `dram_bytes`, addresses of whole beats, incrementing bursts of up to 256 beats that stay inside 4 KiB.
    A subordinate answers bursts in the order in which they were asked for, reads and writes each for themselves, and gives an `ar.id` back in `r.id`.
    """
    return Signature({**read_channels(config, id_width=ID_WIDTH), **write_channels(config)})


def join_memory(pins, bus):
    """Statements (for `comb`) that lead `m_axi_*` of an accelerator to the streams of a memory bus."""
    statements = []
    for channel, fields in (("ar", ("id", "addr", "len")), ("aw", ("addr", "len")), ("w", ("data", "strb", "last"))):
        statements += _forward(pins, f"m_axi_{channel}", getattr(bus, channel), fields)
    for channel, fields in (("r", ("id", "data", "resp", "last")), ("b", ("resp",))):
        statements += _back(pins, f"m_axi_{channel}", getattr(bus, channel), fields)
    return statements


def join_registers(pins, bus):
    """Statements (for `comb`) that lead the streams of an AXI4-Lite bus to `s_axil_*` of an accelerator."""
    statements = []
    for channel, fields in (("ar", ("addr", "prot")), ("aw", ("addr", "prot")), ("w", ("data", "strb"))):
        statements += _back(pins, f"s_axil_{channel}", getattr(bus, channel), fields)
    for channel, fields in (("r", ("data", "resp")), ("b", ("resp",))):
        statements += _forward(pins, f"s_axil_{channel}", getattr(bus, channel), fields)
    return statements


def _forward(pins, prefix, channel, fields):
    """From flat pins into a stream."""
    return [
        channel.valid.eq(getattr(pins, f"{prefix}valid")),
        getattr(pins, f"{prefix}ready").eq(channel.ready),
        *(getattr(channel.payload, field).eq(getattr(pins, f"{prefix}{field}")) for field in fields),
    ]


def _back(pins, prefix, channel, fields):
    """From a stream to flat pins."""
    return [
        getattr(pins, f"{prefix}valid").eq(channel.valid),
        channel.ready.eq(getattr(pins, f"{prefix}ready")),
        *(getattr(pins, f"{prefix}{field}").eq(getattr(channel.payload, field)) for field in fields),
    ]
