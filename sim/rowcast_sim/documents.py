# amaranth: UnusedElaboratable=no  (the document asks an Accelerator for its ports)
"""The C header and the interface document, made from the declarations in `rowcast.registers` and `rowcast.isa`."""

import re

from rowcast import isa
from rowcast.isa import FORMATS, PostMode, PostSource, Space, Unit
from rowcast.registers import CAUSES, COUNTERS, ERROR_TEXTS, ID_VALUE, REGISTERS, VERSION_VALUE, Error

__all__ = ["c_header", "interface_document", "field_bits", "register_bits"]

ENUMS = (("error", Error), ("unit", Unit), ("space", Space), ("post_mode", PostMode), ("post_source", PostSource))


def field_bits(form):
    """(field, lowest bit in the instruction) of a format, in order."""
    position = isa.PAYLOAD_START
    for field in form.fields:
        yield field, position
        position += field.width


def register_bits(register):
    """(NAME, bit) of the single bits that a register's description names: "bit 1: soft reset" is SOFT_RESET, 1."""
    for bit, name in re.findall(r"\bbit (\d+): ([a-z][a-z ]*)", register.doc):
        yield name.strip().upper().replace(" ", "_"), int(bit)


# C ----------------------------------------------------------------------------------------------------------------


def c_header(config):
    """rowcast.h: for C and C++, constants only."""
    parts = [
        "/* Made by Rowcast from its declarations; change those, not this. */",
        "#ifndef ROWCAST_H\n#define ROWCAST_H",
        _defines("Configuration", [
            ("CONFIG_DIGEST", f"0x{config.digest():08x}u", "register CONFIG; a program runs only where it matches"),
            *((f"CONFIG_{name.upper()}", f"{value}u", "") for name, value in config.to_dict().items()),
        ]),
        _defines("Registers: byte offsets, 32 bits each", [
            (f"REG_{register.name}", f"0x{register.offset:03x}u", f"{register.access}: {register.doc}")
            for register in REGISTERS
        ]),
        _defines("Bits and values of registers", [
            ("ID_VALUE", f"0x{ID_VALUE:08x}u", "of ID"),
            ("VERSION_VALUE", f"0x{VERSION_VALUE:08x}u", "of VERSION"),
            *((f"{register.name}_{name}", f"(1u << {bit})", "")
              for register in REGISTERS for name, bit in register_bits(register)),
            ("STATUS_LAYER_SHIFT", "16u", "layer last marked: STATUS >> 16"),
        ]),
        *(_enum(name, [(member.name, member.value) for member in kind]) for name, kind in ENUMS),
        _enum("cause", [(name.upper(), number) for number, name in enumerate(CAUSES)]),
        _enum("op", [(form.name, form.opcode) for form in FORMATS.values()]),
        _defines("An instruction: little-endian; fields are named by lowest bit and width", [
            ("INSTRUCTION_BYTES", f"{isa.BYTES}u", ""),
            ("OPCODE_LSB", "0u", ""),
            ("OPCODE_WIDTH", f"{isa.OPCODE_BITS}u", ""),
            ("WAIT_LSB", f"{isa.OPCODE_BITS}u", "bit p: takes a token that unit p made"),
            ("WAIT_WIDTH", f"{isa.TOKEN_UNITS}u", ""),
            ("SIGNAL_LSB", f"{isa.OPCODE_BITS + isa.TOKEN_UNITS}u", "bit c: makes a token for unit c"),
            ("SIGNAL_WIDTH", f"{isa.TOKEN_UNITS}u", ""),
        ]),
        *(_defines(f"{form.name} ({form.unit.name}): {form.doc}", list(_c_fields(form)))
          for form in FORMATS.values() if form.fields),
        "#endif",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _c_fields(form):
    for field, position in field_bits(form):
        name = f"{form.name}_{field.name.upper()}"
        yield f"{name}_LSB", f"{position}u", field.doc + (" (signed)" if field.signed else "")
        yield f"{name}_WIDTH", f"{field.width}u", ""


def _defines(title, rows):
    lines = [f"/* {title} */"]
    for name, value, comment in rows:
        start = f"#define ROWCAST_{name:<32} {value}"
        lines.append(f"{start:<64} /* {comment} */" if comment else start)
    return "\n".join(lines)


def _enum(name, members):
    lines = [f"    ROWCAST_{name.upper()}_{member} = {value}," for member, value in members]
    lines[-1] = lines[-1].rstrip(",")
    return "\n".join([f"enum rowcast_{name} {{", *lines, "};"])


# Markdown ---------------------------------------------------------------------------------------------------------


PORT_GROUPS = (
    ("m_axi_", "AXI4 manager: program, weights and tensors"),
    ("s_axil_", "AXI4-Lite subordinate: the registers below"),
    ("irq", "interrupt, high while an enabled bit of IRQ_STATUS is set"),
    ("done", "the last run is done, until the next start or soft reset"),
    ("error", "the last run stopped with an error, until a soft reset"),
    ("running", "trace: 1 in every cycle of a run"),
    ("cause", "trace: what this cycle of a run was spent on (the number of the cause)"),
    ("layer", "trace: layers marked as complete"),
)
HOW_TO_RUN = """\
1. Put the program image into memory; check that ID, VERSION and CONFIG are what it was made for.
2. Write PROGRAM_BASE, PROGRAM_LENGTH, DATA_BASE and the read and write windows: the engine touches nothing outside.
3. Write IRQ_ENABLE, then CONTROL with the start bit.
4. At the interrupt read STATUS: done, or error with ERROR_CODE and ERROR_INDEX. Acknowledge in IRQ_STATUS.
5. After an error, CONTROL with the soft reset bit makes the engine ready again, within the rules of the bus.

A start counts only while the engine is idle, after an error only after a soft reset. The same program runs again with
another start; program and weights stay in memory. `rowcast_driver.c` does all of this.
"""
CLOCK_AND_RESET = """\
One clock, `clk`: all ports are synchronous to its rising edge; outputs come from flip-flops or a few gates behind them.
One reset, `rst`: synchronous, active high, one cycle is enough; it may end at any time. A reset while bursts are under
way breaks the rules of AXI, as it does for every manager: reset the interconnect with it, or use the soft reset, which
finishes what it owes. Registers also have initial values, so an FPGA needs no reset after configuration.
"""


def _memory_bus(config):
    return f"""\
AXI4 manager, a subset that every AXI4 interconnect takes:

- Beats of {config.dram_bytes} bytes, {config.address_width} address bits. Bursts are INCR of whole beats, at most
  {config.burst_beats} beats, aligned to a beat, and never cross 4 KiB. No WRAP or FIXED bursts, no exclusive accesses
  (`lock` is 0), `cache` and `prot` are constant.
- Reads: ID 0 fetches instructions (up to 4 bursts under way), ID 1 loads data (up to {config.outstanding_reads}).
  Answers of one ID come in order, as AXI demands; answers of different IDs may come in any order and may take turns beat by beat.
- Writes: ID 0. Data come in the order of the addresses, and may be offered before an address is taken; strobes mark the
  bytes; a STORE is complete when every burst is answered.
- Nothing orders a read after a write but the program: a LOAD that needs what a STORE has written waits for its token.
- An answer SLVERR or DECERR stops the run with READ_RESPONSE or WRITE_RESPONSE.
- `valid` never waits for `ready`, and stays with its payload until then.
"""


REGISTER_BUS = """\
AXI4-Lite subordinate of 32 bits, 12 address bits (the lowest two are ignored). Byte strobes count. One write and one
read at a time; a write is taken when both its address and its data are there. An address without a register is answered with
SLVERR; a write to a read-only register is ignored, a write-only one reads as 0. Registers that are longer than 32 bits
have their upper half in `_HIGH`; write them while no run is under way. A soft reset leaves the registers as they are.
Reading the low half of a counter looks up both halves, so read it first.
"""


def _memory_map(config):
    return f"""\
`rowcast compile` lays an image out from its first byte: program ({isa.BYTES} bytes an instruction), then data:
constants (filters, parameters) and tensors. PROGRAM_BASE is where the image is, DATA_BASE where its data begin; both must be
multiples of a beat ({config.dram_bytes} bytes). Addresses in LOAD and STORE count words of {config.lanes} bytes
from DATA_BASE, so an image can be anywhere. READ_BASE to READ_LIMIT must hold all of it, WRITE_BASE to WRITE_LIMIT what is written.
"""

COMPACT = """
Compact: counters, windows, PROGRAM_LENGTH and ERROR_INDEX read as 0 and do nothing; PROGRAM_BASE is a multiple of 16; the
units run POST_RUN of the source DRAIN in the modes TFLITE, SINGLE and BYPASS; fields are not checked.
"""


def interface_document(config):
    """rowcast.md: ports, register map, errors, counters, instruction formats of one configuration."""
    parts = [
        "# Rowcast: interface",
        "Made from the declarations in `rowcast/registers.py` and `rowcast/isa.py`; change those, not this.",
        "## Configuration",
        _markdown(("field", "value"), [*config.to_dict().items(), ("digest", f"`{config.digest():08x}`")]),
        *([COMPACT.strip()] if config.compact else []),
        "## Ports",
        "Signals of AXI4 and AXI4-Lite have their standard names.",
        _markdown(("port", "direction", "bits", "what"), _ports(config)),
        "## Clock and reset",
        CLOCK_AND_RESET.strip(),
        "## Memory bus",
        _memory_bus(config).strip(),
        "## Register bus",
        REGISTER_BUS.strip(),
        "## Memory map",
        _memory_map(config).strip(),
        "## Registers",
        "32 bits each; `ro` is read-only, `wo` acts when written and reads as 0, `rw1c` clears the bits written as 1.",
        _markdown(
            ("offset", "name", "access", "what"),
            [(f"`0x{r.offset:03x}`", r.name, r.access, r.doc) for r in REGISTERS],
        ),
        "## A run",
        HOW_TO_RUN.strip(),
        "## Error codes",
        _markdown(("code", "name", "what"), [(error.value, error.name, ERROR_TEXTS[error]) for error in Error]),
        "## Counters",
        "Every cycle of a run has exactly one cause, so the causes' counters add up to `cycles`. "
        f"Causes by number: {', '.join(f'{number} {cause}' for number, cause in enumerate(CAUSES))}. "
        f"All counters: {', '.join(f'`{name}`' for name in COUNTERS)}.",
        "## Instructions",
        f"{isa.BYTES} bytes, little-endian. All have these fields; the others follow by kind.",
        _markdown(("bits", "field", "what"), [
            (_bits(0, isa.OPCODE_BITS), "opcode", "kind of instruction"),
            (_bits(isa.OPCODE_BITS, isa.TOKEN_UNITS), "wait", "bit p: first takes a token that unit p made"),
            (_bits(isa.OPCODE_BITS + isa.TOKEN_UNITS, isa.TOKEN_UNITS), "signal", "bit c: when complete, makes a token "
             f"for unit c; not in {' and '.join(isa.SILENT)}"),
        ]),
        "Units: " + ", ".join(f"{unit.value} {unit.name}" for unit in Unit) + ".",
        *(text for form in FORMATS.values() for text in _format(form)),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _format(form):
    yield f"### {form.name}"
    yield f"Opcode {form.opcode}, unit {form.unit.name}: {form.doc}."
    if form.fields:
        rows = [
            (_bits(position, field.width), f"{field.name}{' (signed)' if field.signed else ''}", field.doc)
            for field, position in field_bits(form)
        ]
        yield _markdown(("bits", "field", "what"), rows)


def _bits(position, width):
    return str(position) if width == 1 else f"{position + width - 1}..{position}"


def _ports(config):
    from amaranth.lib.wiring import In

    from rowcast import Accelerator

    accelerator = Accelerator(config)
    rows = [("`clk`", "in", 1, "clock"), ("`rst`", "in", 1, "reset")]
    about = dict(PORT_GROUPS)
    for path, member, value in accelerator.signature.flatten(accelerator):
        name = "__".join(map(str, path))
        group = next((prefix for prefix in about if name.startswith(prefix)), None)
        what = about.pop(group, "")  # said once, at the group's first port
        rows.append((f"`{name}`", "in" if member.flow == In else "out", len(value), what))
    return rows


def _markdown(headings, rows):
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines += [f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)
