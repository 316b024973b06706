"""`rowcast generate`: everything an integrator of one configuration needs, in one folder."""

import json
from pathlib import Path

from . import report
from .documents import c_header, interface_document
from .driver import driver_header, driver_source
from .files import staged_folder
from .packaging import fusesoc_core, waiver_file

__all__ = ["generate", "print_files"]

# What the files are, for the table; Verilog and more come from `rowcast.emit`.
ABOUT = {
    "rowcast.v": "Verilog, module rowcast",
    "rowcast.h": "C header: registers, errors, instructions",
    "rowcast_driver.h": "C99 driver: start, wait, errors, counters",
    "rowcast_driver.c": "its functions",
    "rowcast.core": "FuseSoC core (CAPI2)",
    "rowcast.vlt": "Verilator's warnings that are meant to be",
    "rowcast.md": "interface: ports, registers, instructions",
    "rowcast.json": "the configuration, for --config",
}


def generate(config, folder):
    """Write the files of a configuration; returns their paths.  All of them appear, or none."""
    with staged_folder(folder) as stage:
        with report.working("Writing the Verilog"):
            from rowcast.emit import emit_files

            emit_files(config, stage)
        texts = {
            "rowcast.h": c_header(config),
            "rowcast_driver.h": driver_header(),
            "rowcast_driver.c": driver_source(),
            "rowcast.core": fusesoc_core(config),
            "rowcast.vlt": waiver_file(),
            "rowcast.md": interface_document(config),
            "rowcast.json": json.dumps(config.to_dict(), indent=2) + "\n",
        }
        for name, text in texts.items():
            (stage / name).write_text(text)
        names = sorted(path.name for path in stage.iterdir())
    return [Path(folder, name) for name in names]


def print_files(console, paths):
    """A table of the files of a folder and their sizes."""
    report.sentence(console, f"Written to {paths[0].parent}:")
    made = report.table("file", "bytes", "what", numbers=("bytes",))
    for path in paths:
        made.add_row(path.name, report.num(path.stat().st_size), ABOUT.get(path.name, ""))
    console.print(made)
