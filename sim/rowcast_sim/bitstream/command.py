"""`rowcast bitstream`: one board's bitstream, with the figures that it reaches."""

import contextlib
import json
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rowcast.boards import BoardError
from rowcast.boards.estimate import check_fits
from rowcast.emit import write_atomic

from .. import report
from ..errors import InputError
from .flow import Flow

__all__ = ["bitstream", "default_folder", "print_bitstream", "progress_lines"]

MISSED = 1


@contextlib.contextmanager
def progress_lines():
    """A line for each step that is under way, with its time; on what is no terminal, a line when a step's text changes.

    Gives a function of (step, text).
    """
    console = report.output(stderr=True)
    if not console.is_terminal:
        last = {}

        def note(step, text):
            coarse = text.partition(",")[0] if step == "synthesis" and text.startswith("step") else text
            if step == "synthesis" and coarse.startswith("step"):
                coarse = "running"
            if last.get(step) != coarse:
                last[step] = coarse
                console.print(f"{step}: {coarse}")

        yield note
        return
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        lines = {}

        def show(step, text):
            if step not in lines:
                for name, line in lines.items():
                    if not (name.startswith("seed") and step.startswith("seed")):
                        progress.stop_task(line)
                lines[step] = progress.add_task(step, total=None)
            progress.update(lines[step], description=f"{step}: {text}")

        yield show


def default_folder(board):
    """Where a board's files go if nobody says: build/out/NAME of a checkout, else rowcast-NAME here."""
    from ..tools import repository

    root = repository()
    return root / "build" / "out" / board.name if root is not None else Path(f"rowcast-{board.name}")


def bitstream(board, config, *, folder=None, clock_hz=None, network=None, seeds=1, jobs=1, force=False, console):
    """Build, print what came out, write `bitstream.json`; returns the exit status.

    Raises
    ------
    BoardError
        The configuration does not fit the device, by estimate, or the network not the memory: nothing is synthesised.
    """
    folder = Path(folder) if folder is not None else default_folder(board)
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise InputError(f"{existing}: is not a folder")
    estimate = check_fits(board, config, refuse=not force)
    if network is not None:
        _check_network(board, config, network, console)
    with progress_lines() as say:
        flow = Flow(board, config, folder, clock_hz=clock_hz, say=say)
        report.sentence(console, f"{board.title}: {', '.join(flow.tools)}")
        made = flow.build(seeds, jobs=min(jobs, seeds))
    figures = {
        "board": board.name, "config": config.to_dict(), "digest": config.digest(), "clock_mhz": made.best.clock_mhz,
        "best_mhz": made.best.mhz, "median_mhz": made.median_mhz, "met": made.best.met,
        "seeds": {placement.seed: placement.mhz for placement in made.placements},
        "used": made.best.used, "available": made.best.available, "estimate": vars(estimate), "tools": made.tools,
        "bitstream": made.path.name,
    }  # fmt: skip
    write_atomic(folder / "bitstream.json", json.dumps(figures, indent=1) + "\n")
    print_bitstream(console, board, config, made)
    return 0 if made.best.met else MISSED


def _check_network(board, config, name, console):
    """That a network's images fit the board's memory, one at a time."""
    from rowcast_models.compiler.network import compile_graph
    from rowcast_models.load import ENDINGS, lower_model
    from rowcast_models.zoo import NETWORKS

    from ..run_model import read_network
    from ..runner import compile_network

    with report.working(f"Compiling {name}"):
        if name in NETWORKS:
            programs = [compile_graph(NETWORKS[name].build(batch=1), config)]
        elif Path(name).exists() or Path(name).suffix.lower() in ENDINGS:
            model, _ = read_network(name, None)
            programs = compile_network(lower_model(model), config)
        else:
            raise InputError(f"there is no network {name!r}; networks are: {', '.join(NETWORKS)}; or give a file {' or '.join(ENDINGS)}")
    size = max(program.size for program in programs)
    if size > board.memory_bytes:
        raise BoardError(
            f"{name} needs {size:,} bytes of memory, {board.title} has {board.memory_bytes:,}: take a smaller network, or another board"
        )
    report.sentence(console, f"{name} takes {size:,} of {board.memory_bytes:,} bytes of memory.")


def print_bitstream(console, board, config, made):
    """Resources, frequencies, and where the bitstream is."""
    best = made.best
    table = report.table("resource", "used", "available", "share", numbers=("used", "available", "share"))
    for name, used in sorted(best.used.items()):
        if used and best.available[name]:
            table.add_row(name, report.num(used), report.num(best.available[name]), f"{100 * used / best.available[name]:.0f}%")
    console.print(table)
    if len(made.placements) > 1:
        placed = ", ".join(f"seed {placement.seed} {placement.mhz:.1f}" for placement in made.placements)
        report.sentence(console, f"Fmax in MHz: {placed}; median {made.median_mhz:.1f}.")
    gops = 2 * config.num_macs * best.mhz / 1000
    report.sentence(console, f"Fmax {best.mhz:.1f} MHz (seed {best.seed}), clock {best.clock_mhz:g} MHz; {config.num_macs} MACs a cycle, {gops:.1f} GOPS at Fmax.")
    if not best.met:
        report.sentence(console, f"The clock of {best.clock_mhz:g} MHz is not reached: the bitstream is kept and marked; try --seeds, or --clock {int(best.mhz)}.")
    report.sentence(console, f"Written: {made.path}")
