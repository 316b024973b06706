"""The instruction set, declared once as data: hardware, compiler, simulators and documents are made from it.

An instruction has 128 bits.  The low bits are common: opcode, the units it waits for, the units it signals.
The rest is the payload, whose fields follow in the order below, lowest bit first.

Five units exchange dependency tokens.  An instruction with `wait` bit p takes one token that unit p made for its own
unit, and does not start before it has it; an instruction with `signal` bit c makes one token for unit c when it is
complete.  LOAD_STRIDE and STORE_STRIDE signal nothing: transfers before them may still be under way when they are done.
COMPUTE needs no tokens: it meets FILTER, IFMAP and POST through the halves of the PEs' scratchpads.
"""

from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "BYTES", "SILENT", "Field", "Format", "FORMATS", "Instruction", "IsaError", "PAYLOAD_BITS", "PostMode", "PostSource", "Space",
    "TOKEN_UNITS", "Unit", "decode", "encode", "make",
]  # fmt: skip

BITS = 128
BYTES = BITS // 8
OPCODE_BITS = 5
TOKEN_UNITS = 5
PAYLOAD_START = OPCODE_BITS + 2 * TOKEN_UNITS
PAYLOAD_BITS = BITS - PAYLOAD_START


class IsaError(ValueError):
    """A field that does not exist, or a value that does not fit its field."""


class Unit(IntEnum):
    """Where an instruction runs.  The first five exchange tokens; their numbers are the bits of `wait` and `signal`."""

    LOAD = 0
    STORE = 1
    FILTER = 2
    IFMAP = 3
    POST = 4
    COMPUTE = 5
    CONTROL = 6


class Space(IntEnum):
    """Where LOAD writes."""

    ACT = 0
    FILTER = 1
    PARAM = 2


class PostMode(IntEnum):
    """How a sum becomes a byte."""

    TFLITE = 0  # saturating rounding doubling high multiply, then rounding right shift, ties away from zero
    ONNX = 1  # product rounded to 24 significant bits, then to an integer, both half to even
    SINGLE = 2  # one rounding, ties away from zero
    BYPASS = 3  # neither bias nor multiplier


class PostSource(IntEnum):
    """What POST_RUN processes: the psums of the array, or a reduction of the turns that the IFMAP feeder sends it."""

    DRAIN = 0
    MAX = 1
    SUM = 2
    ADD = 3
    MUL = 4


@dataclass(frozen=True)
class Field:
    """One field of a payload."""

    name: str
    width: int
    signed: bool = False
    doc: str = ""


@dataclass(frozen=True)
class Format:
    """One kind of instruction."""

    name: str
    opcode: int
    unit: Unit
    fields: tuple
    doc: str = ""


def _f(name, width, doc="", *, signed=False):
    return Field(name, width, signed, doc)


_TRANSFER = (
    _f("space", 2, "memory on chip: 0 activations, 1 filters, 2 parameters (STORE: 0 only)"),
    _f("dram", 32, "memory address in words of `lanes` bytes, counted from DATA_BASE"),
    _f("buffer", 20, "first word on chip; equal to `dram` modulo the words of a beat (spaces 0 and 1)"),
    _f("words", 16, "words in a row"),
    _f("rows", 16, "rows"),
)
_STRIDE = (
    _f("dram_stride", 24, "words from one row to the next in memory"),
    _f("buffer_stride", 20, "words from one row to the next on chip"),
)
_PE_ID = (
    _f("row", 8, "row of the PE in the array"),
    _f("column", 8, "column of the PE in the array"),
    _f("row_id", 8, "ID of the whole row's X bus"),
    _f("column_id", 8, "ID of the PE"),
)


def _ifmap_level(which):
    return (
        _f(f"count{which}", 12, "turns of this loop, at least 1"),
        _f(f"step{which}", 20, "added to the word address when this loop advances and all inner ones return", signed=True),
        _f(f"dy{which}", 10, "added to the row coordinate then", signed=True),
        _f(f"dx{which}", 10, "added to the column coordinate then", signed=True),
    )


def _compute_level(which):
    return (
        _f(f"count{which}", 12, "turns of this loop, at least 1"),
        _f(f"step{which}", 16, "added to the ifmap scratchpad byte address when this loop advances", signed=True),
    )


_ALL = (
    Format("END", 1, Unit.CONTROL, (), "last instruction: the run is done when every unit is idle"),
    Format("LOAD", 2, Unit.LOAD, _TRANSFER, "memory to chip: `rows` rows of `words` words"),
    Format("LOAD_STRIDE", 3, Unit.LOAD, _STRIDE, "row distances of the LOADs that follow"),
    Format("STORE", 4, Unit.STORE, _TRANSFER, "chip to memory; complete when memory has acknowledged every burst"),
    Format("STORE_STRIDE", 5, Unit.STORE, _STRIDE, "row distances of the STOREs that follow"),
    Format("FILTER_ID", 6, Unit.FILTER, _PE_ID, "IDs of one PE and its row on the filter network"),
    Format(
        "FILTER_RUN", 7, Unit.FILTER,
        (
            _f("buffer", 20, "first word in the filter memory, a multiple of noc_words; read upwards without a gap"),
            _f("flits", 12, "network cycles for one group and chunk: ceil(words / noc_words)"),
            _f("groups_column", 8, "filter groups that differ in the column tag"),
            _f("groups_row", 8, "filter groups that differ in the row tag"),
            _f("chunks", 12, "chunks"),
        ),
        "send filters: for each chunk, row group, column group, flit",
    ),
    Format("IFMAP_ID", 8, Unit.IFMAP, _PE_ID, "IDs of one PE and its row on the ifmap network"),
    Format(
        "IFMAP_LOOP", 9, Unit.IFMAP, (_f("pair", 2, "0: levels 0, 1; 1: levels 2, 3; 2: levels 4, 5"),
                                      *_ifmap_level("_a"), *_ifmap_level("_b")),
        "two levels of the IFMAP loop nest, level 0 innermost",
    ),
    Format(
        "IFMAP_SET", 10, Unit.IFMAP,
        (
            _f("height", 14, "rows of the ifmap: coordinates outside are padding"),
            _f("width", 14, "columns of the ifmap"),
            _f("pad", 8, "byte that stands in every channel of a padding word"),
        ),
        "the ifmap that the following IFMAP_RUNs read",
    ),
    Format(
        "IFMAP_RUN", 11, Unit.IFMAP,
        (
            _f("buffer", 20, "word address of the first word", signed=True),
            _f("y", 14, "row coordinate of the first word", signed=True),
            _f("x", 14, "column coordinate of the first word", signed=True),
            _f("vector", 1, "0: to the ifmap network; 1: to the vector unit"),
        ),
        "run the loop nest once",
    ),
    Format(
        "COMPUTE_LOOP_K", 12, Unit.COMPUTE, (*_compute_level("_c"), *_compute_level("_s"), *_compute_level("_r")),
        "the loops of one dot product, c innermost; the filter scratchpad is read upwards from 0",
    ),
    Format(
        "COMPUTE_LOOP_P", 13, Unit.COMPUTE, (*_compute_level("_x"), *_compute_level("_y")),
        "the loops over the patch's pixels, x innermost; psum pixels count upwards from 0",
    ),
    Format(
        "COMPUTE_RUN", 14, Unit.COMPUTE,
        (
            _f("chunks", 12, "chunks to work off, each from the next halves of both scratchpads"),
            _f("first", 1, "the first of these chunks starts the psums, it does not add to them"),
            _f("last", 1, "after the last of these chunks the psum half goes to POST"),
            _f("depthwise", 1, "lane i takes byte i of the ifmap word instead of the addressed byte"),
        ),
        "compute chunks of one pass",
    ),
    Format(
        "POST_PE", 15, Unit.POST,
        (
            _f("row", 8, "row of the PE in the array"),
            _f("column", 8, "column of the PE in the array"),
            _f("valid", 1, "0: the psums of this PE are dropped"),
            _f("offset", 20, "added to the word address of POST_RUN"),
            _f("slot", 10, "added to the parameter slot of POST_RUN"),
        ),
        "where the results of one PE go",
    ),
    Format(
        "POST_SET", 16, Unit.POST,
        (
            _f("mode", 2, "PostMode"),
            _f("zero_point", 9, "added after scaling", signed=True),
            _f("low", 8, "clamp", signed=True),
            _f("high", 8, "clamp", signed=True),
            _f("table", 1, "1: the clamped byte goes through the 256-entry table, index byte + 128"),
        ),
        "how the following POST_RUNs make bytes",
    ),
    Format(
        "POST_LOOP", 17, Unit.POST,
        (
            _f("count_x", 16, "turns of the inner loop"),
            _f("step_x", 20, "added to the word address when the inner loop advances", signed=True),
            _f("count_y", 16, "turns of the outer loop"),
            _f("step_y", 20, "added when the outer loop advances and the inner one returns", signed=True),
        ),
        "the output words of one PE (DRAIN: one a pixel), or the first output words of all windows (vector sources)",
    ),
    Format(
        "POST_RUN", 18, Unit.POST,
        (
            _f("source", 3, "PostSource"),
            _f("buffer", 20, "word address in the activation memory"),
            _f("slot", 10, "parameter slot: `lanes` channels each"),
            _f("rows", 8, "rows of the array to drain, from row 0 (DRAIN)"),
            _f("by_count", 1, "1: the parameter channel is slot x lanes + number of valid words in the window - 1"),
            _f("more_words", 2, "words of a window's turns besides the first that are results (vector sources)"),
        ),
        "drain one pass, or run one vector operation",
    ),
    Format("MARK", 19, Unit.POST, (_f("layer", 16, "layer whose results are now in the buffer"),), "progress mark"),
)  # fmt: skip

FORMATS = {format.name: format for format in _ALL}
BY_OPCODE = {format.opcode: format for format in _ALL}
SILENT = ("LOAD_STRIDE", "STORE_STRIDE")  # instructions without signal bits


@dataclass
class Instruction:
    """One instruction: its format's name, its fields, and the masks of units it waits for and signals."""

    name: str
    fields: dict
    wait: int = 0
    signal: int = 0

    @property
    def unit(self):
        """The unit that runs it."""
        return FORMATS[self.name].unit

    def __getitem__(self, field):
        return self.fields[field]


def make(name, **fields):
    """An instruction with checked fields; fields that are left out are 0.

    Raises
    ------
    IsaError
        Unknown instruction or field, or a value that does not fit.
    """
    if name not in FORMATS:
        raise IsaError(f"there is no instruction {name!r}")
    known = {field.name: field for field in FORMATS[name].fields}
    values = dict.fromkeys(known, 0)
    for key, value in fields.items():
        if key not in known:
            raise IsaError(f"{name} has no field {key!r}; it has: {', '.join(known) or 'none'}")
        field, value = known[key], int(value)
        low = -(1 << field.width - 1) if field.signed else 0
        high = (1 << field.width - field.signed) - 1
        if not low <= value <= high:
            raise IsaError(f"{name}.{key} must be from {low} to {high}, not {value}")
        values[key] = value
    return Instruction(name, values)


def encode(instruction):
    """The instruction as 16 bytes, little-endian."""
    form = FORMATS[instruction.name]
    value = form.opcode | instruction.wait << OPCODE_BITS | instruction.signal << (OPCODE_BITS + TOKEN_UNITS)
    position = PAYLOAD_START
    for field in form.fields:
        value |= (instruction.fields[field.name] & ((1 << field.width) - 1)) << position
        position += field.width
    if position > BITS:
        raise IsaError(f"{form.name} has {position} bits, more than {BITS}")
    return value.to_bytes(BYTES, "little")


def decode(data):
    """The instruction in these 16 bytes.

    Raises
    ------
    IsaError
        There is no instruction with this opcode.
    """
    value = int.from_bytes(data, "little")
    opcode = value & ((1 << OPCODE_BITS) - 1)
    if opcode not in BY_OPCODE:
        raise IsaError(f"there is no instruction with opcode {opcode}")
    form, fields, position = BY_OPCODE[opcode], {}, PAYLOAD_START
    for field in form.fields:
        raw = value >> position & ((1 << field.width) - 1)
        fields[field.name] = raw - (1 << field.width) if field.signed and raw >> (field.width - 1) else raw
        position += field.width
    mask = (1 << TOKEN_UNITS) - 1
    return Instruction(form.name, fields, value >> OPCODE_BITS & mask, value >> (OPCODE_BITS + TOKEN_UNITS) & mask)
