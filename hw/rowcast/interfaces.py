"""What passes between the blocks: payload layouts and port signatures, each made from the configuration."""

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2

from . import isa

__all__ = [
    "GLB_READ_LATENCY", "flit_layout", "instruction_layout", "param_layout", "payload_layout", "pe_control_layout",
    "read_port", "unit_error", "vector_layout", "write_port",
]  # fmt: skip

INDEX_BITS = 24  # instruction index: names the instruction that went wrong
GLB_READ_LATENCY = 4  # cycles from a granted read to its data: address, bank, bank's flip-flop, client's flip-flop


def instruction_layout():
    """An instruction as a unit gets it: tokens waited for, fields still packed (see `payload_layout`)."""
    return data.StructLayout(
        {
            "opcode": isa.OPCODE_BITS,
            "signal": isa.TOKEN_UNITS,  # units that get a token when it is complete
            "payload": isa.PAYLOAD_BITS,
            "index": INDEX_BITS,
        }
    )


def payload_layout(name):
    """The fields of one instruction as a struct; view it on the low bits of `payload`."""
    from amaranth import signed, unsigned

    fields = {f.name: signed(f.width) if f.signed else unsigned(f.width) for f in isa.FORMATS[name].fields}
    return data.StructLayout(fields)


def unit_error():
    """What a unit reports when it cannot go on: `valid` stays up until the soft reset."""
    return Signature({"valid": Out(1), "code": Out(4), "index": Out(INDEX_BITS)})


def flit_layout(config, spad_words):
    """What a network carries in a cycle.

    `config` = 0: `noc_words` words for every PE whose row's ID is `row_tag` and whose own ID is `column_tag`, to entry
    `entry` (of `noc_words` words, half included) of its scratchpad.
    `config` = 1: `row_tag` and `column_tag` are a PE's *place*; data holds its row's new ID (low `tag_width` bits) and
    its own new ID (next `tag_width` bits).
    """
    return data.StructLayout(
        {
            "config": 1,
            "row_tag": config.tag_width,
            "column_tag": config.tag_width,
            "entry": ceil_log2(spad_words // config.noc_words),
            "data": config.word_bits * config.noc_words,
        }
    )


def pe_control_layout(config):
    """What the sequencer broadcasts to all PEs in a cycle.  See `hw/README.md`, "Control of the array"."""
    return data.StructLayout(
        {
            "mac": 1,  # multiply the addressed operands and accumulate
            "filter_word": ceil_log2(config.filter_words),  # word in the filter scratchpad, half included
            "ifmap_byte": ceil_log2(config.ifmap_words * config.lanes),  # byte in the ifmap scratchpad, half included
            "depthwise": 1,
            "capture": 1,  # with or after the last `mac` of a dot product: take the accumulators
            "discard": 1,  # with `capture`: only remember the accumulators, leave the psums alone
            "first": 1,  # with `capture`: the psums start with this dot product
            "pixel": ceil_log2(config.psum_pixels),  # with `capture`: psum pixel, half included
            "drain": 1,  # read a psum of the PEs of row `drain_row`
            "drain_row": max(1, ceil_log2(config.rows)),
            "drain_psum": ceil_log2(config.psum_pixels * config.lanes),  # pixel (half included) x lanes + lane
        }
    )


def param_layout(config):
    """A word on its way to the parameter memories; `address` counts words of the PARAM space."""
    return data.StructLayout({"address": 20, "data": config.word_bits})


def vector_layout(config):
    """A turn's words on their way to the vector unit: `pad` outside the ifmap, `last` for the last turn of a window."""
    return data.StructLayout({"data": config.word_bits * config.vector_words, "pad": 1, "last": 1})


def read_port(config, words):
    """A client's view of a read port of the global buffer.

    `request` and `address` ask for `words` consecutive words from any word address; `grant` (combinational, same cycle)
    takes the request; `data` is there GLB_READ_LATENCY cycles after the granted cycle and only then, and 0 as long
    after a cycle without `request`.
    """
    return Signature(
        {"request": Out(1), "address": Out(20), "grant": In(1), "data": In(config.word_bits * words)}
    )


def write_port(config, words):
    """A client's view of a write port: word i goes to `address` + i if bit i of `mask` is set; `grant` as above.

    With words > 1 the address is a multiple of `words`.  A read granted in the cycle after a granted write sees it.
    """
    return Signature(
        {
            "request": Out(1),
            "address": Out(20),
            "data": Out(config.word_bits * words),
            "mask": Out(words),
            "grant": In(1),
        }
    )


def unit_ports():
    """Ports that every unit has: its instructions, the tokens it makes, whether it is at work, and what went wrong."""
    return {
        "i": In(stream.Signature(instruction_layout())),
        "signal": Out(isa.TOKEN_UNITS),  # one-cycle pulses
        "busy": Out(1),
        "error": Out(unit_error()),
    }
