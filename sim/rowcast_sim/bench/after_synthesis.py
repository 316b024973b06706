"""`rowcast bench netlist`: the accelerator after synthesis, gate by gate, against the RTL and the golden."""

from dataclasses import dataclass
from importlib import metadata

import click
import numpy as np
from rich.console import Console
from rowcast.config import PRESETS, preset
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate

from ..gates import gate_model, netlist_text, sample_graph
from ..machine import RtlBackend
from ..results import compare
from ..synthesis import FAMILIES
from ..verilated import build
from .output import Stopwatch, Table, deliver, outputs, verdict

__all__ = ["GateRun", "measure", "netlist_", "shortfalls", "tables"]


@dataclass(frozen=True)
class GateRun:
    """One run of the program on the netlist.

    Members
    -------
    start : seed of the initial values.
    layers : (name, cycles on the RTL, cycles on the netlist) of each.
    equal : names of the tensors that equal the golden's.
    differences : lines of what does not.
    seconds : of the simulation.
    """

    start: int
    layers: tuple
    equal: tuple
    differences: tuple
    seconds: float


def measure(graph, config, models, *, starts=(1, 2)):
    """Run a graph on (RTL, netlist) models of a configuration, the netlist from several initial values.

    Returns
    -------
    list of `GateRun`, one for each of `starts`.
    """
    program = compile_graph(graph, config, keep_all=True)
    shape = graph.tensors["ifmap"].shape
    inputs = {"ifmap": np.random.default_rng(1).integers(-128, 128, shape, np.int8)}
    golden = evaluate(graph, inputs)
    rtl, gates = models
    with RtlBackend(program, model=rtl) as backend:
        reference = backend.run(inputs)
    runs = []
    for start in starts:
        gates.start = start
        with Stopwatch() as watch, RtlBackend(program, model=gates) as backend:
            run = backend.run(inputs)
        differences = compare(run.tensors, golden)
        wrong = {difference.tensor for difference in differences}
        layers = zip(program.layers, reference.layers, run.layers, strict=True)
        runs.append(GateRun(
            start=start,
            layers=tuple((layer.name, before.cycles, after.cycles) for layer, before, after in layers),
            equal=tuple(name for name in golden if name in run.tensors and name not in wrong),
            differences=tuple(map(str, differences)),
            seconds=watch.seconds,
        ))  # fmt: skip
    return runs


def tables(runs, config):
    """Layers with their cycles, and the tensors of each run."""
    layers = Table(
        "Layers",
        ("layer", "cycles on the RTL", *(f"on the netlist, start {run.start}" for run in runs)),
        note=f"{config.num_macs} MACs a cycle; a memory of 30 cycles of latency that moves a beat a cycle.",
    )
    for rows in zip(*(run.layers for run in runs), strict=True):
        name, rtl, _ = rows[0]
        layers.add(name, f"{rtl:,}", *(verdict(f"{gates:,}", gates == rtl) for _, _, gates in rows))
    tensors = Table("Tensors", ("start", "equal to the golden", "different", "seconds"))
    for run in runs:
        different = verdict(str(len(run.differences)), not run.differences)
        tensors.add(run.start, f"{len(run.equal)}: {', '.join(run.equal)}", different, f"{run.seconds:.1f}")
    return [layers, tensors]


def shortfalls(runs):
    """Lines of what differs from the golden, and of layers that take another number of cycles."""
    lines = []
    for run in runs:
        lines += [f"start {run.start}: {difference}" for difference in run.differences]
        lines += [
            f"start {run.start}: {name} takes {gates:,} cycles, on the RTL {rtl:,}"
            for name, rtl, gates in run.layers
            if gates != rtl
        ]
    return lines


@click.command("netlist")
@click.option("--preset", "preset_name", type=click.Choice(list(PRESETS)), default="base", show_default=True)
@click.option("--family", type=click.Choice(list(FAMILIES)), default="ecp5", show_default=True)
@outputs
def netlist_(preset_name, family, **files):
    """Synthesise, and run a convolution, pooling, a depthwise layer and an addition on the netlist.

    Takes minutes, once for the same Verilog.
    """
    config, console = preset(preset_name), Console(stderr=True)
    rtl = build(config)
    with console.status("Synthesis") as status:
        text = netlist_text(config, family, progress=lambda step: status.update(f"Synthesis: {step}"))
    gates = gate_model(text, family)
    size, filters = (28, config.columns * config.lanes) if not config.compact else (12, config.lanes)
    graph = sample_graph(size=size, channels=2 * config.lanes, filters=filters, vector=not config.compact)
    with console.status("Running the netlist"):
        runs = measure(graph, config, (rtl, gates))
    deliver(
        f"The netlist of preset {preset_name} for {family}",
        f"Made by `rowcast bench netlist --preset {preset_name} --family {family}`: a program on the emitted Verilog and "
        f"on the netlist that Yosys (pyosys {metadata.version('pyosys')}) makes of it, with the cell models that Yosys "
        "carries, both compiled by Verilator. Flip-flops and memories of the netlist start at random, from the seed "
        "`start`. Every value of every tensor is compared with the golden.",
        tables(runs, config),
        {
            "preset": preset_name, "family": family, "config": config.to_dict(),
            "runs": [vars(run) for run in runs],
        },
        shortfalls(runs),
        failed=any(run.differences for run in runs),
        **files,
    )  # fmt: skip
