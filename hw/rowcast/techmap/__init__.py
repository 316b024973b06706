"""Maps for Yosys: modules that it would make worse than a device can."""

import re
from pathlib import Path

__all__ = ["techmap"]


def techmap(family, path=None):
    """Commands of Yosys, between reading the emitted Verilog and synthesis for a family; none if it has no map.

    Also the text of the map, since results depend on it: (commands, text).  `path` is where the commands find the map if
    not in this folder: the caller puts it there.
    """
    own = Path(__file__).with_name(f"{family}.v")
    if not own.exists():
        return [], ""
    text = own.read_text()
    # Under another top than `rowcast` the modules have its name in front.
    names = re.findall(r'techmap_celltype = "(\w+)"', text)
    return [*(f"chtype -set {name} t:*_{name}" for name in names), f"techmap -map {path or own}"], text
