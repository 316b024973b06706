"""`rowcast bench speed`: how fast hardware is emitted and simulated."""

import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rowcast.config import preset

from ..tools import ToolError
from ..verilated import build
from .goals import SPEED
from .layers import measure, select
from .output import Stopwatch, Table, deliver, outputs, verdict

__all__ = ["Emission", "emit", "figures", "speed"]

LAYER = "VGG-16 CONV5_1"  # the smallest of VGG-16 that keeps the array busy
_GENERATE = "from rowcast_sim.cli import main; main()"  # the command `rowcast` of this very environment


@dataclass(frozen=True)
class Emission:
    """`rowcast generate` in a fresh process.

    Members: preset, seconds, core_seconds, verilog_bytes, modules, files (bytes by name).
    """

    preset: str
    seconds: float
    core_seconds: float
    verilog_bytes: int
    modules: int
    files: dict


def emit(name):
    """`rowcast generate` of a preset, from the start of Python on."""
    with tempfile.TemporaryDirectory(prefix="rowcast-") as parent:
        folder = str(Path(parent, name))
        command = [sys.executable, "-c", _GENERATE, "generate", "--preset", name, "-o", folder]
        with Stopwatch() as watch:
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ToolError(f"`rowcast generate --preset {name}` failed: {done.stderr[-2000:]}")
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        sources = [path for path in paths if path.suffix == ".v"]
        return Emission(
            preset=name,
            seconds=watch.seconds,
            core_seconds=watch.core_seconds,
            verilog_bytes=sum(path.stat().st_size for path in sources),
            modules=sum(path.read_text().count("\nendmodule") for path in sources),
            files={str(path.relative_to(folder)): path.stat().st_size for path in paths},
        )


def figures(layer, emissions):
    """The figures that have goals in `goals.SPEED`."""
    by_preset = {emission.preset: emission for emission in emissions}
    return {
        "rate": layer.rate / 1e6,
        "base": by_preset["base"].core_seconds,
        "large": by_preset["large"].core_seconds,
        "large_bytes": by_preset["large"].verilog_bytes,
    }


def tables(layer, emissions):
    """Simulation, then emission."""
    rate = SPEED["rate"]
    simulation = Table(
        "Simulation",
        ("layer", "MACs", "cycles", "clock s", "core s", "cycles/s", "MACs/s", "goal"),
        note="Compiled RTL of preset base with its memory, one thread; rates are in a second of one core.",
    )
    simulation.add(
        layer.name, f"{layer.macs / 1e6:,.0f} M", f"{layer.cycles:,}", f"{layer.seconds:.1f}",
        f"{layer.core_seconds:.1f}", f"{layer.cycles / layer.core_seconds:,.0f}",
        verdict(f"{layer.rate / 1e6:.1f} M", rate.met(layer.rate / 1e6)), f"{rate.bound:.0f} M",
    )  # fmt: skip
    emission = Table(
        "Emission",
        ("preset", "clock s", "core s", "goal", "Verilog bytes", "goal ", "modules"),
        note="`rowcast generate` in a fresh process, the start of Python included.",
    )
    for e in emissions:
        seconds, size = SPEED[e.preset], SPEED.get(f"{e.preset}_bytes")
        emission.add(
            e.preset, f"{e.seconds:.1f}", verdict(f"{e.core_seconds:.1f}", seconds.met(e.core_seconds)),
            seconds.show(seconds.bound), verdict(f"{e.verilog_bytes:,}", size is None or size.met(e.verilog_bytes)),
            size.show(size.bound) if size else "", e.modules,
        )  # fmt: skip
    return [simulation, emission]


@click.command()
@outputs
def speed(**files):
    """Time the emission of base and large, and the compiled RTL of base on a VGG-16 layer."""
    console = Console(stderr=True)
    emissions = []
    for name in ("base", "large"):
        with console.status(f"Emitting {name}"):
            emissions.append(emit(name))
    config = preset("base")
    model = build(config)
    with console.status(f"Running {LAYER}") as status:
        (spec,) = select([LAYER])
        layer = measure(
            spec, config, model=model,
            progress=lambda cycles, expected: status.update(f"Running {LAYER}: {min(99, 100 * cycles // expected)}%"),
        )  # fmt: skip
    values = figures(layer, emissions)
    lines = [line for key, goal in SPEED.items() if (line := goal.shortfall(values[key]))]
    if layer.difference:
        lines.append(f"{LAYER} DIFFERS from the golden: {layer.difference}")
    deliver(
        "Speed",
        "Made by `rowcast bench speed`. Clock seconds pass for everybody; core seconds are what the work itself takes "
        "of one core, whatever else the machine does: goals are held against them.",
        tables(layer, emissions),
        {
            "figures": values, "layer": {**asdict(layer), "rate": layer.rate},
            "emissions": [asdict(emission) for emission in emissions],
        },
        lines,
        failed=bool(layer.difference),
        **files,
    )  # fmt: skip
