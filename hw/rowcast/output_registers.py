"""ECP5 netlists: the flip-flops behind block RAMs move into the block RAMs.

Yosys has no pattern for the output register of DP16KD, so a block RAM answers 5.8 ns after the clock and a flip-flop
stands behind it (`memory.Ram`).  As the block RAM's own register the same flip-flop costs nothing and has no such wire.
"""

from collections import Counter

__all__ = ["fold_output_registers"]

_MODES = ("REGMODE_A", "REGMODE_B")


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
