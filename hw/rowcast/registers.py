"""The host's registers, declared once as data: hardware, drivers, C header and documents are made from it."""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["CAUSES", "COUNTERS", "ERROR_TEXTS", "Error", "REGISTERS", "Register", "address_of"]

ID_VALUE = 0x43574F52  # "ROWC" in memory order
VERSION_VALUE = 0x00_01_00_00


class Error(IntEnum):
    """Why a run stopped before its end."""

    NONE = 0
    OPCODE = 1  # unknown instruction
    BUFFER_RANGE = 2  # an address outside a memory on chip
    READ_WINDOW = 3  # a memory read outside [READ_BASE, READ_LIMIT)
    WRITE_WINDOW = 4  # a memory write outside [WRITE_BASE, WRITE_LIMIT)
    READ_RESPONSE = 5  # the memory answered a read with an error
    WRITE_RESPONSE = 6  # the memory answered a write with an error
    TOKEN = 7  # more tokens than a counter holds
    PROGRAM = 8  # the program ended without END
    FIELD = 9  # a field value that the configuration cannot serve (row or column outside the array, count of 0, ...)


ERROR_TEXTS = {
    Error.NONE: "no error",
    Error.OPCODE: "unknown instruction",
    Error.BUFFER_RANGE: "an address outside a memory on chip",
    Error.READ_WINDOW: "a memory read outside the read window",
    Error.WRITE_WINDOW: "a memory write outside the write window",
    Error.READ_RESPONSE: "the memory answered a read with an error",
    Error.WRITE_RESPONSE: "the memory answered a write with an error",
    Error.TOKEN: "more tokens than a counter holds",
    Error.PROGRAM: "the program ended without END",
    Error.FIELD: "a field value that the configuration cannot serve",
}

# Every cycle of a run has exactly one cause; the order is also the code on the `cause` trace port.
CAUSES = ("computing", "filters", "ifmap", "drain", "vector", "load", "store", "instruction")

# After `cycles` and the causes: what the energy model reads.
COUNTERS = (
    "cycles",
    *(f"cause_{cause}" for cause in CAUSES),
    "mac_cycles",  # cycles in which every PE multiplies
    "filter_flits",  # words x 1 / noc_words on the filter network
    "ifmap_flits",
    "psums",  # psums drained, of one column
    "act_reads",  # accesses granted to the activation memory, all clients
    "act_writes",
    "filter_reads",
    "filter_writes",
    "read_beats",  # beats on the memory bus, instructions included
    "write_beats",
    "instructions",
)


@dataclass(frozen=True)
class Register:
    """One register: 32 bits at a byte offset; access is ro, rw, wo (write pulses) or rw1c."""

    name: str
    offset: int
    access: str
    doc: str


def _registers():
    fixed = (
        ("ID", "ro", 'the letters "ROWC"'),
        ("VERSION", "ro", "version of the register and instruction set: major, minor, patch, 0 from the top byte"),
        ("CONFIG", "ro", "digest of the configuration; a program runs only on the configuration it was made for"),
        ("CONTROL", "wo", "bit 0: start; bit 1: soft reset"),
        ("STATUS", "ro", "bit 0: busy; bit 1: done; bit 2: error; bits 31..16: layer last marked"),
        ("IRQ_ENABLE", "rw", "bit 0: done; bit 1: error"),
        ("IRQ_STATUS", "rw1c", "bit 0: done; bit 1: error"),
        ("ERROR_CODE", "ro", "why the run stopped"),
        ("ERROR_INDEX", "ro", "index of the instruction that stopped it"),
        ("PROGRAM_LENGTH", "rw", "instructions in the program"),
        ("PROGRAM_BASE", "rw", "byte address of the first instruction, a multiple of the beat"),
        ("PROGRAM_BASE_HIGH", "rw", "its upper 32 bits"),
        ("DATA_BASE", "rw", "byte address from which LOAD and STORE count, a multiple of the beat"),
        ("DATA_BASE_HIGH", "rw", "its upper 32 bits"),
        ("READ_BASE", "rw", "first byte that may be read, instructions included"),
        ("READ_BASE_HIGH", "rw", "its upper 32 bits"),
        ("READ_LIMIT", "rw", "first byte after those that may be read"),
        ("READ_LIMIT_HIGH", "rw", "its upper 32 bits"),
        ("WRITE_BASE", "rw", "first byte that may be written"),
        ("WRITE_BASE_HIGH", "rw", "its upper 32 bits"),
        ("WRITE_LIMIT", "rw", "first byte after those that may be written"),
        ("WRITE_LIMIT_HIGH", "rw", "its upper 32 bits"),
        ("QUEUES", "ro", "4 bits a unit (LOAD lowest): instructions waiting, 15 for 15 or more"),
        ("UNITS", "ro", "bit u: unit u is busy; bit 8 + u: unit u waits for a token"),
    )
    table = [Register(name, 4 * i, access, doc) for i, (name, access, doc) in enumerate(fixed)]
    for i, name in enumerate(COUNTERS):
        table.append(Register(f"COUNT_{name.upper()}", 0x80 + 8 * i, "ro", f"counter {name}, low 32 bits"))
        table.append(Register(f"COUNT_{name.upper()}_HIGH", 0x84 + 8 * i, "ro", f"counter {name}, upper bits"))
    return tuple(table)


REGISTERS = _registers()


def address_of(name):
    """Byte offset of a register."""
    for register in REGISTERS:
        if register.name == name:
            return register.offset
    raise KeyError(f"there is no register {name!r}")
