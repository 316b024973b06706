"""Maps for Yosys: modules that it would make worse than a device can."""

import re
from pathlib import Path

__all__ = ["techmap"]


def techmap(family):
    """Commands of Yosys, between reading the emitted Verilog and synthesis for a family; none if it has no map.

    Also the text of the map, since results depend on it: (commands, text).
    """
    path = Path(__file__).with_name(f"{family}.v")
    if not path.exists():
        return [], ""
    text = path.read_text()
    # Under another top than `rowcast` the modules have its name in front.
    names = re.findall(r'techmap_celltype = "(\w+)"', text)
    return [*(f"chtype -set {name} t:*_{name}" for name in names), f"techmap -map {path}"], text
