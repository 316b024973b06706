"""RTLIL as Amaranth writes it, as text to work on: equal modules once, zero memories without their zeros.

RTLIL is one statement a line, and a module ends with an `end` in the first column: lines are all the parsing it takes.
"""

import re
from dataclasses import dataclass

__all__ = ["Module", "join", "merge_equal", "order_ports", "parse", "remove_absent_ports", "rename"]

_NOISE = re.compile(r"\s*attribute \\(?:generator|top|src|amaranth\.[a-z]+) ")
_PORT = re.compile(r"  wire width (\d+) (input|output|inout) (\d+)  ?(?:signed )?\\(\S+)$")
_CELL = re.compile(r"  cell \\(\S+) ")
_CONNECTION = re.compile(r"    connect \\(\S+) ")
_WIRE = re.compile(r"^  wire .*\\(\S+)$")
_PUBLIC = re.compile(r"(?<=\\)[^\s\"]+")


@dataclass
class Module:
    """One module: its name and the lines between `module` and `end`."""

    name: str
    lines: list

    def ports(self):
        """Names of the ports, in order."""
        found = (match for line in self.lines if (match := _PORT.match(line)))
        return [match[4] for match in sorted(found, key=lambda match: int(match[3]))]


def parse(text):
    """The modules of an RTLIL text, without attributes that only say where they come from, and without memory contents
    that are all zero (65,536 lines of Verilog for a large buffer; the emitter puts a loop instead).
    """
    modules, lines, cell = [], None, None
    for line in text.splitlines():
        if line.startswith("module \\"):
            lines = []
            modules.append(Module(line[len("module \\") :], lines))
        elif line == "end":
            lines = None
        elif lines is None or not line or _NOISE.match(line):
            continue
        elif line.startswith("  cell $meminit_v2 "):
            cell = [line]
        elif cell is not None:
            cell.append(line)
            if line == "  end":
                if not any(_is_zero_data(part) for part in cell):
                    lines.extend(cell)
                cell = None
        else:
            lines.append(line)
    return modules


def _is_zero_data(line):
    return line.startswith("    connect \\DATA ") and not line.partition("'")[2].strip("0")


def join(modules):
    """The RTLIL text of the modules."""
    return "".join("\n".join((f"module \\{module.name}", *module.lines, "end\n")) for module in modules)


def rename(modules, names):
    """Give modules, and the cells that stand for them, other names; names that are not in `names` stay."""
    for module in modules:
        module.name = names.get(module.name, module.name)
        for i, line in enumerate(module.lines):
            if (match := _CELL.match(line)) and match[1] in names:
                module.lines[i] = f"  cell \\{names[match[1]]} {line[match.end():]}"


def merge_equal(modules):
    """Keep the first of all modules that are equal but for the names of their wires, from the leaves upwards.

    Amaranth names the ports of inner modules after the signals that happen to be connected, so equal components differ
    in these names.
    """
    while True:
        kept, names, port_names = {}, {}, {}
        for module in modules:
            first = kept.setdefault(_shape(module), module)
            if first is not module:
                names[module.name] = first.name
                port_names[module.name] = dict(zip(module.ports(), first.ports(), strict=True))
        if not names:
            return modules
        modules = list(kept.values())
        for module in modules:
            _rename_cell_ports(module, port_names)
        rename(modules, names)


def _shape(module):
    """The module's text with its wires numbered by appearance: equal for modules that differ in wire names only."""
    numbers, lines = {}, []
    for line in module.lines:
        if match := _WIRE.search(line):
            numbers.setdefault(match[1], f"#{len(numbers)}")

    def number(match):
        return numbers.get(match[0], match[0])

    for line in module.lines:
        port = _CONNECTION.match(line)
        head = port[0] if port else ""
        lines.append(head + _PUBLIC.sub(number, line[len(head) :]) if "\\" in line else line)
    return "\n".join(lines)


def _rename_cell_ports(module, port_names):
    table = None
    for i, line in enumerate(module.lines):
        if match := _CELL.match(line):
            table = port_names.get(match[1])
        elif line == "  end":
            table = None
        elif table is not None and (match := _CONNECTION.match(line)):
            module.lines[i] = f"    connect \\{table[match[1]]} {line[match.end():]}"


def remove_absent_ports(modules):
    """Leave out of every cell the connections to ports that its module turned out not to have (`clk` of gates)."""
    ports = {module.name: set(module.ports()) for module in modules}
    for module in modules:
        kept, known = [], None
        for line in module.lines:
            if match := _CELL.match(line):
                known = ports.get(match[1])
            elif line == "  end":
                known = None
            elif known is not None and (match := _CONNECTION.match(line)) and match[1] not in known:
                continue
            kept.append(line)
        module.lines[:] = kept


def order_ports(module, order):
    """Number the ports of a module in this order of names; others follow in the order they had."""
    rank = {name: i for i, name in enumerate(order)}
    ports = module.ports()
    by_rank = sorted(ports, key=lambda name: rank.get(name, len(rank)))
    numbers = {name: i for i, name in enumerate(by_rank, start=1)}  # Yosys takes 0 for "no port"
    for i, line in enumerate(module.lines):
        if match := _PORT.match(line):
            width, direction, _, name = match.groups()
            module.lines[i] = f"  wire width {width} {direction} {numbers[name]} \\{name}"
