"""A module of RTLIL as objects: wires, cells, processes and memories, with every signal as a tuple of slices.

Only what Amaranth writes is understood; `rtlil_text` works on the text before.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Bits", "Cell", "Design", "Memory", "Process", "Slice", "Switch", "Wire", "parse_module", "width_of"]


class Slice(NamedTuple):
    """Bits `high` to `low` of a wire."""

    wire: str
    high: int
    low: int

    @property
    def width(self):
        return self.high - self.low + 1


class Bits(NamedTuple):
    """A constant: binary digits, highest first."""

    digits: str

    @property
    def width(self):
        return len(self.digits)


@dataclass
class Wire:
    """One wire; `direction` is input, output, inout or None; `init` the digits of a register's initial value."""

    name: str
    width: int
    direction: str | None = None
    position: int = 0
    attributes: dict = field(default_factory=dict)
    signed: bool = False

    @property
    def whole(self):
        return Slice(self.name, self.width - 1, 0)


@dataclass
class Cell:
    """One cell: `kind` begins with `$` for operators, and is a module's name otherwise.  Values are tuples of slices.

    `wires` are the ports at whole wires: Amaranth writes what a foreign module drives so, and what it reads as slices.
    """

    kind: str
    name: str
    parameters: dict = field(default_factory=dict)
    ports: dict = field(default_factory=dict)
    attributes: dict = field(default_factory=dict)
    wires: set = field(default_factory=set)


@dataclass
class Switch:
    """`cases` are (patterns, body); no patterns: default.  The first that matches counts."""

    value: tuple
    cases: list = field(default_factory=list)


@dataclass
class Process:
    """Statements, (target, value) or `Switch`, of which the last assignment to a bit counts."""

    body: list = field(default_factory=list)


@dataclass
class Memory:
    """An array of words."""

    name: str
    width: int
    depth: int
    attributes: dict = field(default_factory=dict)


@dataclass
class Design:
    """One module."""

    name: str
    wires: dict = field(default_factory=dict)
    cells: list = field(default_factory=list)
    processes: list = field(default_factory=list)
    memories: dict = field(default_factory=dict)
    connections: list = field(default_factory=list)


def width_of(value):
    """Bits of a tuple of slices."""
    return sum(part.width for part in value)


_ATTRIBUTE = re.compile(r"attribute \\(\S+) (.*)")
_WIRE = re.compile(r"wire width (\d+)(?: (input|output|inout) (\d+))? +(signed )?(\S+)$")
_MEMORY = re.compile(r"memory width (\d+) size (\d+) (\S+)$")
_PART = re.compile(r"(\d+)'([01x-]*)|([\\$][^\s{}]+)(?: \[(\d+)(?::(\d+))?\])?")


def parse_module(name, lines):
    """The module whose lines (between `module` and `end`, without empty ones) these are."""
    design, attributes = Design(name), {}
    lines = iter(lines)
    for line in lines:
        line = line.strip()
        kind, _, rest = line.partition(" ")
        if kind == "attribute":
            key, value = _ATTRIBUTE.match(line).groups()
            attributes[key] = _constant(value)
            continue
        if kind == "wire":
            width, direction, position, signed, wire = _WIRE.match(line).groups()
            wire = _plain(wire)
            direction = direction if int(width) else None  # Verilog has no ports without bits
            design.wires[wire] = Wire(wire, int(width), direction, int(position or 0), attributes, bool(signed))
        elif kind == "memory":
            width, depth, memory = _MEMORY.match(line).groups()
            design.memories[_plain(memory)] = Memory(_plain(memory), int(width), int(depth), attributes)
        elif kind == "cell":
            design.cells.append(_cell(rest, attributes, lines, design))
        elif kind == "process":
            process = Process()
            _body(process.body, lines, design)
            if process.body and not isinstance(process.body[0], Switch):  # else it makes a signal without bits
                design.processes.append(process)
        elif kind == "connect":
            parts = _values(rest, design)
            design.connections.append((parts[0], parts[1]))
        attributes = {}
    return design


def _plain(name):
    return name[1:] if name[0] == "\\" else name


def _cell(rest, attributes, lines, design):
    kind, name = rest.split(" ")
    cell = Cell(_plain(kind), _plain(name), attributes=attributes)
    for line in lines:
        line = line.strip()
        if line == "end":
            return cell
        what, _, rest = line.partition(" ")
        kind = "unsigned"
        if rest.startswith(("signed ", "real ")):
            kind, _, rest = rest.partition(" ")
        key, value = rest.split(" ", 1)
        if what == "connect":
            cell.ports[_plain(key)] = _values(value, design)[0]
            if value[0] in "\\$" and " " not in value:
                cell.wires.add(_plain(key))
            if not cell.ports[_plain(key)] and not cell.kind.startswith("$"):
                del cell.ports[_plain(key)]  # a port without bits
        elif kind == "real":
            cell.parameters[_plain(key)] = float(value.strip('"'))
        else:
            cell.parameters[_plain(key)] = _constant(value, signed=kind == "signed")
    raise ValueError("a cell has no end")


def _body(body, lines, design):
    """Statements up to the `end` or the `case` that closes them; returns that line."""
    for line in lines:
        line = line.strip()
        if line.startswith("assign "):
            parts = _values(line[len("assign ") :], design)
            if parts[0]:
                body.append((parts[0], parts[1]))
        elif line.startswith("switch "):
            switch = Switch(_values(line[len("switch ") :], design)[0])
            body.append(switch)
            closing = next(lines).strip()
            while closing != "end":
                patterns = tuple(digits for _width, digits in re.findall(r"(\d+)'([01-]+)", closing))
                inner = []
                closing = _body(inner, lines, design)
                switch.cases.append((patterns, inner))
        elif line == "end" or line == "case" or line.startswith("case "):
            return line
    return "end"


def _values(text, design):
    """The signals in a text, one after the other, each a tuple of slices with the highest bits first."""
    values, position = [], 0
    while position < len(text):
        if text[position] == " ":
            position += 1
        elif text[position] == "{":
            parts, end = [], text.index("}", position)
            for match in _PART.finditer(text, position, end):
                parts.append(_part(match, design))
            values.append(tuple(part for part in parts if part.width))
            position = end + 1
        else:
            match = _PART.match(text, position)
            part = _part(match, design)
            values.append((part,) if part.width else ())
            position = match.end()
    return values


def _part(match, design):
    _width, digits, name, high, low = match.groups()
    if digits is not None:
        return Bits(digits)
    name = _plain(name)
    if high is None:
        wire = design.wires[name]
        return Slice(name, wire.width - 1, 0)
    return Slice(name, int(high), int(low if low is not None else high))


def _constant(text, *, signed=False):
    """A parameter: a string, an int, or (digits, signed)."""
    if text.startswith('"'):
        return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text[1:-1])
    if "'" in text:
        return (text.partition("'")[2], signed)
    return int(text)
