"""Synthesis by Yosys, in a process of its own, found again by its contents."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rowcast.cell_registers import VERSION, fold_registers
from rowcast.techmap import techmap

from .tools import ToolError, cache_dir

__all__ = ["FAMILIES", "Netlist", "RUN_YOSYS", "synthesise"]

# Commands of Yosys before synthesis, and synthesis itself.
FAMILIES = {
    "ecp5": ((), "synth_ecp5"),
    # No iCE40 has distributed RAM: whoever asks for it gets a block RAM there.
    "ice40": (("setattr -unset ram_style */m:*",), "synth_ice40 -dsp"),
}
RUN_YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


@dataclass(frozen=True)
class Netlist:
    """What synthesis made of a design; its files are compressed.

    Members: folder, with `netlist.json.gz` (for nextpnr) and `netlist.v.gz`.
    """

    folder: Path

    @property
    def modules(self):
        """The JSON netlist's modules by name, as `write_json` of Yosys describes them."""
        return json.loads(self.json())["modules"]

    def json(self):
        """The JSON netlist as text."""
        return self._text("netlist.json.gz")

    def verilog(self):
        """The netlist as Verilog of the family's cells."""
        return self._text("netlist.v.gz")

    def _text(self, name):
        with gzip.open(self.folder / name, "rt") as file:
            return file.read()


def synthesise(text, *, family="ecp5", top="rowcast", flat=True, output_registers=False, options="", progress=None):
    """The `Netlist` of a Verilog text.

    Parameters
    ----------
    family : of `FAMILIES`.
    flat : one module, optimised across all blocks; else each module for itself.
    output_registers : ECP5: flip-flops around block RAMs and multipliers become their registers, as in a bitstream.
    options : more for the family's `synth_` command.
    progress : called with the name of each step of Yosys.

    Raises
    ------
    ToolError
        Yosys is missing, or did not accept the text; the message has the end of its output.
    """
    try:
        version = metadata.version("pyosys")
    except metadata.PackageNotFoundError:
        raise ToolError("synthesis needs Yosys in Python: pip install pyosys") from None
    if family not in FAMILIES:
        raise ValueError(f"there is no synthesis for {family!r}; families are: {', '.join(FAMILIES)}")
    if output_registers and family != "ecp5":
        raise ValueError(f"output registers are moved into the block RAMs of ecp5, not of {family}")
    before, command = FAMILIES[family]
    command = " ".join(filter(None, (command, f"-top {top}", "" if flat else "-noflatten", options)))
    maps, map_text = techmap(family)
    digest = hashlib.sha256(repr((text, before, command, version, map_text, output_registers and VERSION)).encode()).hexdigest()[:24]
    folder = cache_dir() / "synthesis" / digest
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{digest}.") as name:
            work, stage = Path(name), Path(name, "done")
            (work / "in.v").write_text(text)
            made = work / "netlist.json", work / "netlist.v"
            read, write = f"read_verilog -DSYNTHESIS {work / 'in.v'}", f"write_verilog -noattr {made[1]}"
            _run([read, *before, *maps, f"{command} -json {made[0]}", write], progress)
            if output_registers:
                modules = json.loads(made[0].read_text())
                fold_registers(modules)
                made[0].write_text(json.dumps(modules))
                _run([f"read_json {made[0]}", "delete t:$scopeinfo", write], progress)
            stage.mkdir()
            for path in made:
                with open(path, "rb") as plain, gzip.open(stage / f"{path.name}.gz", "wb", compresslevel=3) as file:
                    shutil.copyfileobj(plain, file)
            try:
                stage.rename(folder)
            except OSError:  # another process was first
                if not folder.exists():
                    raise
    return Netlist(folder)


def _run(commands, progress):
    """Yosys in a process of its own: an error in it ends the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_YOSYS, *commands], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    said = []
    try:
        for line in process.stdout:
            said = [*said[-20:], line.rstrip()]
            step = re.match(r"\d+\.(\d+)\. Executing (\w+) pass", line)
            if step and progress:
                progress(f"step {step[1]}, {step[2].lower()}")
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status != 0:
        raise ToolError("Yosys did not accept the design:\n" + "\n".join(said))
