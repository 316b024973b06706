"""Netlists of Yosys for ECP5: what they are made of, and whether a block RAM and a multiplier share a cycle."""

from collections import Counter, deque
from functools import cache

__all__ = ["Path", "count_cells", "cells_by_module", "luts", "paths"]

# Every output follows every input without a clock.  For CCU2C that says too much, which can only make false alarms.
_COMBINATIONAL = frozenset({"LUT4", "PFUMX", "L6MUX21", "CCU2C"})
# No way through: outputs follow a clock, or the cell has no outputs.
_CLOCKED = frozenset({"TRELLIS_FF", "$scopeinfo", "GSR", "$print", "$check"})
_RAM, _MULTIPLIER, _DISTRIBUTED = "DP16KD", "MULT18X18D", "TRELLIS_DPR16X4"


def luts(cells):
    """LUT4 of a count of cells: a carry cell takes 2, a cell of distributed memory 4."""
    return cells["LUT4"] + 2 * cells["CCU2C"] + 4 * cells[_DISTRIBUTED]


def count_cells(module):
    """How many cells of each type a flat module has."""
    return Counter(cell["type"] for cell in module["cells"].values())


def cells_by_module(modules):
    """For a netlist with hierarchy: counts of each module's own and inner cells, by module name."""

    @cache
    def total(name):
        cells = Counter()
        for kind, number in count_cells(modules[name]).items():
            if inside(kind):
                cells.update({inner: number * each for inner, each in total(kind).items()})
            else:
                cells[kind] += number
        return cells

    def inside(kind):
        return kind in modules and not modules[kind].get("attributes", {}).get("blackbox")

    return {name: total(name) for name in modules if inside(name)}


class Path(tuple):
    """Cells on a combinational path, first to last; prints with arrows."""

    def __str__(self):
        return " -> ".join(self)


def paths(module, start, end):
    """Combinational paths from the outputs of `start` cells to the inputs of `end` cells, one for each `end` reached.

    Parameters
    ----------
    module : a flat module of a JSON netlist.
    start, end : "DP16KD" or "MULT18X18D".  The output register of a block RAM, and any register of a multiplier, cuts
        the path.

    Raises
    ------
    ValueError
        A cell of which it is not known whether a path leads through it.
    """
    readers, came_from, queue = {}, {}, deque()
    cells = module["cells"]
    for name, cell in cells.items():
        for port in _path_inputs(cell):
            for bit in cell["connections"].get(port, ()):
                readers.setdefault(bit, []).append(name)
        if cell["type"] == start:
            for bit in _unregistered_outputs(cell):
                came_from.setdefault(bit, (name, None))
                queue.append(bit)
    found = {}
    while queue:
        bit = queue.popleft()
        for name in readers.get(bit, ()):
            cell = cells[name]
            if cell["type"] == end and name not in found:
                found[name] = _trace(came_from, bit, name)
            if cell["type"] in (_RAM, *((_MULTIPLIER,) if _registered(cell) else ())):
                continue  # what comes in waits for the clock
            for port, direction in cell["port_directions"].items():
                if direction == "output":
                    for out in cell["connections"].get(port, ()):
                        if out not in came_from and isinstance(out, int):
                            came_from[out] = (name, bit)
                            queue.append(out)
    return list(found.values())


def _path_inputs(cell):
    """Ports at which a path can come into a cell; block RAMs are where it ends."""
    kind = cell["type"]
    if kind in _COMBINATIONAL or kind in (_RAM, _MULTIPLIER):
        return [port for port, direction in cell["port_directions"].items() if direction == "input"]
    if kind == _DISTRIBUTED:
        return ["RAD"]
    if kind in _CLOCKED:
        return []
    raise ValueError(f"it is not known whether a path leads through a cell of type {kind!r}")


def _unregistered_outputs(cell):
    """Bits that follow the block RAM's read, or the multiplication, without another flip-flop."""
    if cell["type"] == _MULTIPLIER and _registered(cell):
        return
    for port, direction in cell["port_directions"].items():
        if direction == "output":
            side = port[2:3]  # DOA0, DOB17
            if cell["type"] == _RAM and cell["parameters"].get(f"REGMODE_{side}") == "OUTREG":
                continue
            yield from (bit for bit in cell["connections"].get(port, ()) if isinstance(bit, int))


def _registered(multiplier):
    names = ("REG_INPUTA_CLK", "REG_INPUTB_CLK", "REG_PIPELINE_CLK", "REG_OUTPUT_CLK")
    clocks = [multiplier["parameters"].get(name, "NONE") for name in names]
    # One input register leaves the other operand's way open.
    return "NONE" not in clocks[:2] or clocks[2] != "NONE" or clocks[3] != "NONE"


def _trace(came_from, bit, last):
    names = [last]
    while bit is not None:
        name, bit = came_from[bit]
        names.append(name)
    return Path(reversed(names))
