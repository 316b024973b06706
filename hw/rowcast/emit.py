"""From the Amaranth description to Verilog in which every distinct module stands once."""

import contextlib
import gc
import os
import re
import tempfile
from pathlib import Path

from amaranth.back import rtlil

from . import rtlil_text, verilog_text
from .hierarchy import Emission
from .verilog_module import UnknownCell

__all__ = ["EmissionError", "emit_files", "verilog", "write_atomic"]


class EmissionError(RuntimeError):
    """The description cannot be written as Verilog."""


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
        It holds what has no place in Verilog for synthesis: prints, assertions, signed divisions.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be a Verilog identifier, not {name!r}")
    with _quick():
        modules = _convert(component, name)
    rtlil_text.remove_absent_ports(modules)
    modules = rtlil_text.merge_equal(modules)
    rtlil_text.rename(modules, _module_names(modules, name))
    try:
        return _header(config) + verilog_text.write(modules)
    except UnknownCell as error:
        raise EmissionError(str(error)) from None


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


@contextlib.contextmanager
def _quick():
    """A third of the time: no garbage collection (nothing is garbage yet), no word by word lists of zeros."""
    emit_memory, collects = rtlil.ModuleEmitter.emit_memory, gc.isenabled()

    def emit_contents(self, cell_idx, cell):
        if any(cell.init):
            emit_memory(self, cell_idx, cell)

    rtlil.ModuleEmitter.emit_memory = emit_contents
    gc.disable()
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = emit_memory
        if collects:
            gc.enable()


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


def _header(config):
    lines = ["// Made by Rowcast from its Amaranth description; change that, not this."]
    if config is not None:
        fields = [f"{field}={value}" for field, value in config.to_dict().items()]
        lines.append(f"// Configuration {config.digest():08x}:")
        lines += ["//   " + " ".join(fields[i : i + 5]) for i in range(0, len(fields), 5)]
    return "\n".join(lines) + "\n\n"
