"""What a module of RTLIL computes, made ready for writing: nothing that nobody reads, every width exact.

Amaranth keeps a wire for every signal and for every field of a record.  Here each value has one name, a slice that is a
field has the field's, and an operator whose result is read once stands where it is read.
"""

import re
from dataclasses import dataclass, field

from .rtlil_parse import Bits, Cell, Process, Slice, Switch
from .verilog_expressions import OPERATORS, TRIMMABLE, fit_operands, is_inlinable

__all__ = ["Prepared", "UnknownCell", "is_anonymous", "prepare", "remove_unread_inputs"]

_ANONYMOUS = re.compile(r"\$\d+$")
_OUTPUT = {
    "$memrd_v2": "DATA", "$dff": "Q", "$adff": "Q", "$shift": "Y", "$tribuf": "Y", **dict.fromkeys(OPERATORS, "Y"),
}  # fmt: skip


class UnknownCell(ValueError):
    """A cell that has no place in synthesisable Verilog."""


@dataclass
class Prepared:
    """A module to write.

    `drivers` has for each wire what makes it: a Cell, a Process, a value (tuple) or "instance"; `inlined` the wires
    that stand as expressions where they are read; `clocked` the process that became part of a flip-flop, by the name of the
    flip-flop's wire; `fields` the names of slices; `better` names for wires whose own says nothing.
    """

    design: object
    drivers: dict = field(default_factory=dict)
    live: set = field(default_factory=set)
    inlined: set = field(default_factory=set)
    clocked: dict = field(default_factory=dict)
    fields: dict = field(default_factory=dict)
    better: dict = field(default_factory=dict)
    assigned: list = field(default_factory=list)  # connections to slices and inouts
    instances: list = field(default_factory=list)
    outputs: dict = field(default_factory=dict)  # id of an instance: the set of its ports that are outputs


def is_anonymous(name):
    """Whether a wire has no name in the description."""
    return _ANONYMOUS.match(name) is not None


def prepare(design, directions):
    """The module made ready; `directions` has the directions of the ports of all known modules.

    Raises
    ------
    UnknownCell
        A cell that cannot be written.
    """
    # A value of no bits is nothing, such as a slice that is empty in this configuration.
    design.cells = [cell for cell in design.cells if cell.kind not in _OUTPUT or cell.ports[_OUTPUT[cell.kind]]]
    prepared = Prepared(design)
    _find_drivers(prepared, directions)
    _trim(prepared)
    reads = _mark(prepared)
    _fold_flip_flops(prepared, reads)
    _inline(prepared, reads)
    return prepared


def remove_unread_inputs(prepared):
    """Let a module have no inputs that it does not need."""
    for wire in prepared.design.wires.values():
        if wire.direction == "input" and wire.name not in prepared.live:
            wire.direction = None


def _find_drivers(prepared, directions):
    design, drivers = prepared.design, prepared.drivers
    for cell in design.cells:
        if cell.kind in _OUTPUT:
            (target,) = cell.ports[_OUTPUT[cell.kind]]
            if cell.kind == "$tribuf":
                prepared.assigned.append((target, cell))
            else:
                drivers[target.wire] = cell
        elif cell.kind.startswith("$"):
            if cell.kind not in ("$memwr_v2", "$meminit_v2"):
                raise UnknownCell(f"a cell {cell.kind} in module {design.name} has no place in synthesisable Verilog")
        elif cell.kind in directions:
            known = directions[cell.kind]
            prepared.instances.append(cell)
            cell.ports = {name: value for name, value in cell.ports.items() if name in known}
            prepared.outputs[id(cell)] = {name for name in cell.ports if known.get(name) == "output"}
        else:
            prepared.instances.append(cell)
        if cell.kind in ("$divfloor", "$modfloor") and cell.parameters.get("A_SIGNED"):
            raise UnknownCell(f"a signed division in module {design.name} is not written as Verilog")
    for process in design.processes:
        drivers[process.body[0][0][0].wire] = process
    for target, value in design.connections:
        if not target:  # a signal without bits
            continue
        wire = design.wires[target[0].wire]
        if len(target) > 1 or target[0] != wire.whole or wire.direction == "inout":
            prepared.assigned.append((target, value))
        elif "." in wire.name or "[" in wire.name:
            if len(value) == 1 and isinstance(value[0], Slice):
                prepared.fields.setdefault(value[0], wire.name)
            drivers[wire.name] = value
        else:
            drivers[wire.name] = value
            if len(value) == 1 and isinstance(value[0], Slice) and value[0] == design.wires[value[0].wire].whole:
                if not wire.name.startswith("$") and wire.direction is None:
                    prepared.better.setdefault(value[0].wire, wire.name)
    for cell in prepared.instances:
        prepared.outputs.setdefault(id(cell), cell.wires)
    for cell in prepared.instances:
        for name in prepared.outputs[id(cell)]:
            drivers[cell.ports[name][0].wire] = "instance"
    for cell in design.cells:
        if cell.kind in OPERATORS:
            fit_operands(cell, design.wires[cell.ports["Y"][0].wire].width)


def _sources(prepared, name):
    """The values that the driver of a wire reads."""
    driver = prepared.drivers.get(name)
    if isinstance(driver, Cell):
        output = _OUTPUT[driver.kind]
        if driver.kind == "$memrd_v2":
            unused = ("CLK", "EN") if not driver.parameters["CLK_ENABLE"] else ()
            for port, value in driver.ports.items():
                if port not in (output, "ARST", "SRST", *unused):
                    yield value
            yield from _writes(prepared, driver.parameters["MEMID"])
        else:
            yield from (value for port, value in driver.ports.items() if port != output)
    elif isinstance(driver, Process):
        yield from process_values(driver.body)
    elif isinstance(driver, tuple):
        yield driver


def _writes(prepared, memory):
    for cell in prepared.design.cells:
        if cell.kind == "$memwr_v2" and cell.parameters["MEMID"] == memory:
            yield from (cell.ports[port] for port in ("ADDR", "DATA", "EN", "CLK"))


def process_values(body):
    """The values that statements read."""
    for item in body:
        if isinstance(item, Switch):
            yield item.value
            for _patterns, inner in item.cases:
                yield from process_values(inner)
        else:
            yield item[1]


def _roots(prepared):
    """What must be there: values that instances and pins read, and output ports."""
    for wire in prepared.design.wires.values():
        if wire.direction in ("output", "inout") or "keep" in wire.attributes:
            yield (wire.whole,)
    for cell in prepared.instances:
        yield from (value for name, value in cell.ports.items() if name not in prepared.outputs[id(cell)])
    for target, value in prepared.assigned:
        if isinstance(value, Cell):
            yield from (value.ports["A"], value.ports["EN"])
        else:
            yield value


def _mark(prepared):
    """Fill `live`; returns the slices that are read of each live wire, once for each place; output ports are read."""
    reads, pending, memories = {}, list(_roots(prepared)), set()
    live = prepared.live
    live.clear()
    while pending:
        for part in pending.pop():
            if isinstance(part, Bits):
                continue
            reads.setdefault(part.wire, []).append(part)
            if part.wire not in live:
                live.add(part.wire)
                driver = prepared.drivers.get(part.wire)
                if isinstance(driver, Cell) and driver.kind == "$memrd_v2":
                    if driver.parameters["MEMID"] in memories:
                        pending.extend(value for port, value in driver.ports.items() if _reads_port(driver, port))
                        continue
                    memories.add(driver.parameters["MEMID"])
                pending.extend(_sources(prepared, part.wire))
    return reads


def _reads_port(cell, port):
    unused = () if cell.parameters["CLK_ENABLE"] else ("CLK", "EN")
    return port not in ("DATA", "ARST", "SRST", *unused)


def _trim(prepared):
    """Results without a name get only the bits that are read, as far as low bits can be computed alone."""
    design = prepared.design
    while True:
        reads, changed = _mark(prepared), False
        for name, parts in reads.items():
            driver, wire = prepared.drivers.get(name), design.wires[name]
            if not (isinstance(driver, Cell) and driver.kind in TRIMMABLE and is_anonymous(name)):
                continue
            used = max(part.high for part in parts) + 1
            if used < wire.width:
                wire.width = used
                driver.ports["Y"] = (wire.whole,)
                fit_operands(driver, used)
                changed = True
        if not changed:
            return


def _fold_flip_flops(prepared, reads):
    """A process whose result only one flip-flop takes (not with asynchronous reset) becomes its statements."""
    for name in prepared.live:
        driver = prepared.drivers.get(name)
        if isinstance(driver, Cell) and driver.kind == "$dff" and len(driver.ports["D"]) == 1:
            data = driver.ports["D"][0]
            if isinstance(data, Bits) or not is_anonymous(data.wire) or len(reads[data.wire]) > 1:
                continue
            process = prepared.drivers.get(data.wire)
            if isinstance(process, Process) and data == prepared.design.wires[data.wire].whole:
                prepared.clocked[name] = process
                prepared.inlined.add(data.wire)  # gone: it is never written


def _inline(prepared, reads):
    for name, parts in reads.items():
        driver, wire = prepared.drivers.get(name), prepared.design.wires[name]
        if not is_anonymous(name) or len(parts) > 1 or parts[0] != wire.whole:
            continue
        asynchronous = isinstance(driver, Cell) and driver.kind == "$memrd_v2" and not driver.parameters["CLK_ENABLE"]
        if asynchronous or isinstance(driver, tuple) or (isinstance(driver, Cell) and is_inlinable(driver)):
            prepared.inlined.add(name)
