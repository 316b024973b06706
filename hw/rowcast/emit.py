"""From the Amaranth description to Verilog in which every distinct module stands once."""

import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from amaranth.back import rtlil

from . import rtlil_text
from .hierarchy import Emission

__all__ = ["EmissionError", "emit_files", "verilog", "write_atomic"]


class EmissionError(RuntimeError):
    """The description cannot be emitted, or the tool that writes Verilog is missing or refuses."""


def verilog(component, config=None, *, name="rowcast"):
    """The component as Verilog: modules named after `name`, one text for each distinct module.

    The same component gives the same text in every run.  Memories stay arrays; those that start with zeros get them in
    simulation only, so that block RAM without initial contents can be used.

    Parameters
    ----------
    component : wiring.Component, elaborated here for the first time; it must not be used again.
    config : Config, named in the header if given.
    name : module name of the component, and prefix of all others.

    Raises
    ------
    EmissionError
        Yosys is missing, or did not accept the design.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be a Verilog identifier, not {name!r}")
    modules = _convert(component, name)
    rtlil_text.remove_absent_ports(modules)
    modules = rtlil_text.merge_equal(modules)
    rtlil_text.rename(modules, _module_names(modules, name))
    rtlil_text.tidy_names(modules)
    return _header(config) + _tidy_verilog(_run_yosys(rtlil_text.join(modules)))


def emit_files(config, out_dir):
    """Write what an integrator of the accelerator needs into a folder; returns the paths."""
    from .accelerator import Accelerator  # a stand-alone component is emitted without the whole machine

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "rowcast.v"
    write_atomic(path, verilog(Accelerator(config), config))
    return [path]


def write_atomic(path, text):
    """Write a file so that nobody, at no time, finds half of it."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _convert(component, name):
    """RTLIL modules of the component and of everything placed in it, each piece converted once."""
    emission = Emission()
    pieces, modules = {name: component}, []
    while pieces:
        piece_name, piece = pieces.popitem()
        text = rtlil.convert(piece, name=piece_name, platform=emission, emit_src=False)
        converted = rtlil_text.parse(text)
        rtlil_text.order_ports(converted[0], ["clk", "rst", *_port_names(piece)])
        modules.extend(converted)
        done = {module.name for module in modules}
        pieces = {placed: other for placed, other in emission.modules.items() if placed not in done}
        if name in emission.modules:
            raise EmissionError(f"a placed component must not have the name of the top module, {name!r}")
    return modules


def _port_names(component):
    return ["__".join(map(str, path)) for path, _member, _value in component.signature.flatten(component)]


def _module_names(modules, top):
    """A Verilog identifier for each module: its path with underscores, numbered where two paths then fall together."""
    names = {}
    for module in modules:
        path = module.name if re.match(rf"{top}([._]|$)", module.name) else f"{top}.{module.name}"
        base = candidate = re.sub(r"\W", "_", path)
        number = 1
        while candidate in names.values():
            number += 1
            candidate = f"{base}_{number}"
        names[module.name] = candidate
    return names


# `-nomux` keeps `case` and `if` as they were written; no `opt_clean`, which would keep other names than the writer's.
_SCRIPT = ("proc -nomux -norom", "memory_collect")
_RUN_PYOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


def _run_yosys(text):
    """Verilog of an RTLIL text, from pyosys, else from any Yosys that Amaranth finds."""
    with tempfile.TemporaryDirectory(prefix="rowcast-") as folder:
        source, target = Path(folder, "in.il"), Path(folder, "out.v")
        if find_spec("pyosys") is None:
            return _run_other_yosys(text)
        source.write_text(text)
        commands = [f"read_rtlil {source}", *_SCRIPT, f"write_verilog {target}"]
        # In a process of its own, since an error in Yosys ends the process.
        done = subprocess.run([sys.executable, "-c", _RUN_PYOSYS, *commands], capture_output=True, text=True)
        if done.returncode != 0 or not target.exists():
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise EmissionError("Yosys did not accept the design:\n" + "\n".join(lines[-15:]))
        return target.read_text()


def _run_other_yosys(text):
    from amaranth._toolchain.yosys import YosysError, find_yosys

    script = "\n".join((f"read_rtlil <<rtlil\n{text}\nrtlil", *_SCRIPT, "write_verilog"))
    try:
        return find_yosys(lambda version: version >= (0, 40)).run(["-q", "-"], script, ignore_warnings=True)
    except YosysError as error:
        raise EmissionError(f"Verilog is written by Yosys: pip install pyosys (then: {error})") from error


def _header(config):
    lines = ["// Made by Rowcast from its Amaranth description; change that, not this."]
    if config is not None:
        fields = [f"{field}={value}" for field, value in config.to_dict().items()]
        lines.append(f"// Configuration {config.digest():08x}:")
        lines += ["//   " + " ".join(fields[i : i + 5]) for i in range(0, len(fields), 5)]
    return "\n".join(lines) + "\n\n"


_MEMORY = re.compile(r"^(  reg (?:\[[^\]]*\] )?(\S+) \[(\d+):0\];\n)(?!  initial begin\n)", re.MULTILINE)
_TRIGGER = re.compile(r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$(\d+) ")


def _tidy_verilog(text):
    """Take out what names the version of Yosys, and let memories without contents start with zeros in simulation."""
    text = re.sub(r"\A/\* Generated by Yosys.*?\*/\n+", "", text, flags=re.DOTALL)
    triggers = {}
    text = _TRIGGER.sub(lambda match: f"at_start_{triggers.setdefault(match[1], len(triggers))}", text)

    def with_zeros(match):
        declaration, memory, last = match.groups()
        loop = f"for ({memory}_i = 0; {memory}_i <= {last}; {memory}_i = {memory}_i + 1) {memory}[{memory}_i] = 0;"
        return f"{declaration}`ifndef SYNTHESIS\n  integer {memory}_i;\n  initial {loop}\n`endif\n"

    return _without_reset_value(_MEMORY.sub(with_zeros, text))


def _without_reset_value(text):
    """Registers that do nothing but hold what a memory's port gives start as zeros in simulation only: an iCE40's block RAM
    has no such value, and Yosys would build logic that hides the first read."""

    def tidy(module):
        for name in re.findall(r"\n  always @\(posedge clk\)\n    (\S+) <= port_data;\n", module[0]):
            start = rf"^  reg (\[[^\]]*\] )?{re.escape(name)} = (\S+);\n"
            initial = f"`ifndef SYNTHESIS\n  initial {name} = \\g<2>;\n`endif\n"
            body = re.sub(r"^  \(\* init = \S+ \*\)\n", "", module[0], flags=re.MULTILINE)
            return re.sub(start, rf"  reg \g<1>{name};\n" + initial, body, flags=re.MULTILINE)
        return module[0]

    return re.sub(r"^module .*?^endmodule$", tidy, text, flags=re.MULTILINE | re.DOTALL)
