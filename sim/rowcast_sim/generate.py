"""`rowcast generate`: everything an integrator of one configuration needs, in one folder."""

import json
from pathlib import Path

from . import report
from .documents import c_header, interface_document
from .files import staged_folder

__all__ = ["generate", "print_files"]

# What the files are, for the table; Verilog and more come from `rowcast.emit`.
ABOUT = {
    "rowcast.v": "Verilog, module rowcast",
    "rowcast.h": "C header: registers, errors, instructions",
    "rowcast.md": "interface: ports, registers, instructions",
    "rowcast.json": "the configuration, for --config",
}


def generate(config, folder):
    """Write the files of a configuration; returns their paths.  All of them appear, or none."""
    with staged_folder(folder) as stage:
        with report.working("Writing the Verilog"):
            from rowcast.emit import emit_files

            emit_files(config, stage)
        (stage / "rowcast.h").write_text(c_header(config))
        (stage / "rowcast.md").write_text(interface_document(config))
        (stage / "rowcast.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        names = sorted(path.name for path in stage.iterdir())
    return [Path(folder, name) for name in names]


def print_files(console, paths):
    """A table of the files of a folder and their sizes."""
    report.sentence(console, f"Written to {paths[0].parent}:")
    made = report.table("file", "bytes", "what", numbers=("bytes",))
    for path in paths:
        made.add_row(path.name, report.num(path.stat().st_size), ABOUT.get(path.name, ""))
    console.print(made)
