"""The cells of a netlist as Verilog to simulate: the vendors' models that Yosys carries, and two of our own.

Every flip-flop and every memory is undefined at first: the models' `initial` statements are taken out, although the
devices start with zeros, so that a simulation with random initial values (`verilate.compiled` of a netlist)
finds what no reset reaches.  So a netlist whose memories have contents at first is refused.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from ..tools import ToolError

__all__ = ["cell_models"]

# Files below Yosys's share folder; those of cells without behaviour there, whose inside is beside this file.
_SOURCES = {
    "ecp5": ("ecp5/cells_sim.v", "ecp5/cells_bb.v", "lattice/common_sim.vh", "lattice/ccu2c_sim.vh"),
    "ice40": ("ice40/cells_sim.v",),
}
_OWN = {"DP16KD": "dp16kd.vh", "MULT18X18D": "mult18x18d.vh"}
_DEFINES = {
    "ecp5": "",
    "ice40": "`define SB_DFF_INIT\n`define ICE40_DEFAULT_ASSIGNMENT_V(v)\n`define ICE40_DEFAULT_ASSIGNMENT_0\n"
             "`define ICE40_DEFAULT_ASSIGNMENT_1\n",
}  # fmt: skip

_MODULE = re.compile(r"^module (\\?[\w$]+)\b.*?^endmodule\n", re.MULTILINE | re.DOTALL)
_INITIAL = re.compile(r"^(\s*)initial (begin\n.*?^\1end\n|Q = srval;\n)", re.MULTILINE | re.DOTALL)
_SPECIFY = re.compile(r"^\s*specify\n.*?^\s*endspecify\n", re.MULTILINE | re.DOTALL)
_CONTENTS = re.compile(r"\.(INIT_[0-9A-F]|INITVAL(?:_[0-9A-F]+)?)\(\d+'[hb]([0x_]*[1-9a-fA-F][\w]*)\)")


def cell_models(family, netlist):
    """Verilog of all the cells that a netlist is made of.

    Parameters
    ----------
    family : "ecp5" or "ice40".
    netlist : Verilog, as `synthesis.Netlist.verilog` returns it.

    Raises
    ------
    ToolError
        Yosys's models are not where they are expected, one is missing, or a memory has contents at first.
    """
    contents = _CONTENTS.search(netlist)
    if contents:
        raise ToolError(f"a memory of the netlist has contents at first ({contents[1]}), which is not simulated")
    library = _library(family)
    used = set(re.findall(r"^  (\w+) (?:#\($|\\?\S+ +\($|\S+ \($)", netlist, re.MULTILINE)) & set(library)
    queue, texts = sorted(used), {}
    while queue:
        name = queue.pop()
        texts[name] = library[name]
        queue += [other for other in library if other not in texts and re.search(rf"\b{other}\b", library[name])]
    return _DEFINES[family] + "\n".join(texts[name] for name in sorted(texts))


def _library(family):
    """{cell: its module's Verilog}, without initial values and delays."""
    spec = find_spec("pyosys")
    if spec is None:
        raise ToolError("cell models come with Yosys in Python: pip install pyosys")
    share = Path(spec.origin).parent / "share"
    library = {}
    for name in _SOURCES[family]:
        path = share / name
        if not path.exists():
            raise ToolError(f"pyosys has no cell models {name}")
        for match in _MODULE.finditer(path.read_text()):
            text = _SPECIFY.sub("", _INITIAL.sub("", match[0]))
            if match[1] in _OWN:
                body = Path(__file__).with_name(_OWN[match[1]]).read_text()
                text = text.removesuffix("endmodule\n") + body + "endmodule\n"
            library[match[1]] = text
    return library
