"""ECP5 netlists: the flip-flops around block RAMs and multipliers move into them.

Yosys has no pattern for the output register of DP16KD, so a block RAM answers 5.8 ns after the clock and a flip-flop
stands behind it (`memory.Ram`); and none for the registers of MULT18X18D, so a multiplier takes 3.9 ns between two wires to
flip-flops (`multiplier.Multiplier`).  As the cell's own register the same flip-flop costs nothing and has no such wire.
"""

from collections import Counter

__all__ = ["VERSION", "fold_multiplier_registers", "fold_output_registers", "fold_registers"]

VERSION = 2  # of what is folded, for whoever keeps netlists
_MODES = ("REGMODE_A", "REGMODE_B")
_OPERANDS, _PRODUCT = {"INPUTA": 18, "INPUTB": 18}, 36  # bits


def fold_registers(netlist):
    """`fold_output_registers` and `fold_multiplier_registers`.

    Returns
    -------
    rams, multipliers, flip_flops : how many cells have taken over how many flip-flops.
    """
    rams, first = fold_output_registers(netlist)
    multipliers, second = fold_multiplier_registers(netlist)
    return rams, multipliers, first + second


def fold_output_registers(netlist):
    """Change Yosys's JSON netlist for ECP5 in place: each DP16KD takes over the plain flip-flops behind its outputs.

    A flip-flop is taken if nothing else reads the block RAM's output, and if it has the block RAM's clock, rising, no
    enable and no reset.  A block RAM of which one output is used in another way stays as it is.

    Parameters
    ----------
    netlist : dict, as `json.load` reads what `write_json` of Yosys wrote after `synth_ecp5`, flattened.

    Returns
    -------
    rams, flip_flops : how many block RAMs have taken over how many flip-flops.
    """
    rams = flip_flops = 0
    for module in netlist["modules"].values():
        cells = module.get("cells", {})
        memories = [cell for cell in cells.values() if cell["type"] == "DP16KD"]
        if not memories:
            continue
        ends = Counter(_nets(module))
        flops = _plain_flip_flops(cells)
        for memory in memories:
            taken = _takes(memory, ends, flops)
            for pin, name in taken:
                memory["connections"][pin] = cells.pop(name)["connections"]["Q"]
            if taken:
                memory["parameters"].update(dict.fromkeys(_MODES, "OUTREG"))
                memory["connections"].update(OCEA=["1"], OCEB=["1"])
                rams, flip_flops = rams + 1, flip_flops + len(taken)
    return rams, flip_flops


def fold_multiplier_registers(netlist):
    """Change Yosys's JSON netlist for ECP5 in place: each MULT18X18D takes over the plain flip-flops on both sides.

    All or none: every bit of both operands must come from such a flip-flop (or be constant 0), and every bit of the product that is read
    must go into one and nowhere else, all with one clock.  A flip-flop in front that others read too stays for them.

    Parameters
    ----------
    netlist : as of `fold_output_registers`.

    Returns
    -------
    multipliers, flip_flops : how many multipliers have taken over how many flip-flops.
    """
    multipliers = before = after = 0
    for module in netlist["modules"].values():
        cells = module.get("cells", {})
        found = [cell for cell in cells.values() if cell["type"] == "MULT18X18D"]
        if not found:
            continue
        before += len(cells)
        ends = Counter(_nets(module))
        flops = _plain_flip_flops(cells)
        sources = {cells[name]["connections"]["Q"][0]: (name, clock) for name, clock in flops.values()}
        for multiplier in found:
            clocks = _surrounded(multiplier, ends, flops, sources)
            if len(clocks) != 1:
                continue
            pins = multiplier["connections"]
            for pin in _pins("P", _PRODUCT):
                if pin in pins and pins[pin] and ends[pins[pin][0]] == 2:
                    pins[pin] = cells.pop(flops[pins[pin][0]][0])["connections"]["Q"]
            for operand, bits in _OPERANDS.items():
                for pin in _pins(operand[-1], bits):
                    if pins[pin] != ["0"]:
                        pins[pin] = list(cells[sources[pins[pin][0]][0]]["connections"][_data(cells[sources[pins[pin][0]][0]])])
            for register in (*_OPERANDS, "OUTPUT"):
                multiplier["parameters"].update(
                    {f"REG_{register}_CLK": "CLK0", f"REG_{register}_CE": "CE0", f"REG_{register}_RST": "RST0"}
                )
            for pin, value in (("CLK0", clocks.pop()), ("CE0", "1"), ("RST0", "0")):
                pins[pin] = [value]
                multiplier["port_directions"][pin] = "input"
            multipliers += 1
        ends = Counter(_nets(module))
        for net, (name, _) in sources.items():
            if name in cells and ends[net] == 1:  # nobody reads it any more
                del cells[name]
        after += len(cells)
    return multipliers, before - after


def _pins(stem, bits):
    return [f"{stem}{i}" for i in range(bits)]


def _surrounded(multiplier, ends, flops, sources):
    """Clocks of the flip-flops around a multiplier; none where something else is there."""
    pins, clocks = multiplier["connections"], set()
    if any(multiplier["parameters"].get(f"REG_{name}_CLK", "NONE") != "NONE" for name in (*_OPERANDS, "PIPELINE", "OUTPUT")):
        return clocks
    for operand, bits in _OPERANDS.items():
        for pin in _pins(operand[-1], bits):
            if pins[pin] == ["0"]:
                continue
            if pins[pin][0] not in sources:
                return set()
            clocks.add(sources[pins[pin][0]][1])
    for pin in _pins("P", _PRODUCT):
        if pin not in pins or not pins[pin] or ends[pins[pin][0]] < 2:  # nobody reads it
            continue
        if ends[pins[pin][0]] > 2 or pins[pin][0] not in flops:
            return set()
        clocks.add(flops[pins[pin][0]][1])
    return clocks


def _nets(module):
    """The net of every pin of every cell and of the module itself; constants are strings."""
    pins = [bits for cell in module["cells"].values() for bits in cell["connections"].values()]
    for bits in (*pins, *(port["bits"] for port in module["ports"].values())):
        yield from (bit for bit in bits if not isinstance(bit, str))


def _data(flop):
    """The pin that a flip-flop's value comes from: nextpnr reads DI, or M where there is no DI."""
    return "DI" if "DI" in flop["connections"] else "M"


def _plain_flip_flops(cells):
    """Input net -> (name, clock net) of flip-flops on a rising edge, without enable and reset, that start with 0."""
    found = {}
    for name, cell in cells.items():
        if cell["type"] != "TRELLIS_FF":
            continue
        parameters, pins = cell["parameters"], cell["connections"]
        if (
            parameters.get("CEMUX", "1").strip() == "1"
            and parameters.get("CLKMUX", "CLK") == "CLK"
            and parameters.get("REGSET", "RESET") == "RESET"
            and pins.get("LSR", ["0"]) == ["0"]
        ):
            found[pins[_data(cell)][0]] = name, pins["CLK"][0]
    return found


def _takes(memory, ends, flops):
    """[(output pin, flip-flop)]; empty where an output is used in another way."""
    pins = memory["connections"]
    if any(memory["parameters"].get(mode) != "NOREG" for mode in _MODES) or pins["CLKA"] != pins["CLKB"]:
        return []
    taken = []
    for pin, bits in pins.items():
        if not pin.startswith(("DOA", "DOB")) or not bits or ends[bits[0]] < 2:  # nobody reads it
            continue
        name, clock = flops.get(bits[0], (None, None))
        if ends[bits[0]] > 2 or name is None or clock != pins["CLKB"][0]:
            return []
        taken.append((pin, name))
    return taken
