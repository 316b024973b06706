"""`rowcast bench layers`: single layers of well-known networks on the compiled RTL."""

from dataclasses import asdict, dataclass

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rowcast import isa
from rowcast.config import PRESETS, preset
from rowcast.registers import CAUSES
from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo.layers import LAYERS, layer_graph

from ..machine import RtlBackend
from ..results import compare
from ..verilated import Timing, build
from .goals import INSTRUCTION_SHARE, layer_goal
from .output import Stopwatch, Table, deliver, outputs, verdict

__all__ = ["LayerFigures", "bounds", "layers", "measure", "select", "shortfalls", "tables", "total_share"]


@dataclass(frozen=True)
class LayerFigures:
    """What one layer reached.

    Members
    -------
    name : of the layer.
    mapping : what the mapper chose, in its words.
    macs : useful MACs.
    cycles, predicted : from start to interrupt; what the mapper expected.
    utilisation : useful MACs of the cycles' MACs.
    bounds : cycles that each resource alone needs, see `bounds`.
    causes : cycles by cause (`registers.CAUSES`).
    instruction_bytes, memory_bytes : of the program, and all that went to and from memory, program included.
    seconds, core_seconds : of the simulation.
    difference : the first difference from the golden, "" if every value is equal.
    """

    name: str
    mapping: str
    macs: int
    cycles: int
    predicted: int
    utilisation: float
    bounds: dict
    causes: dict
    instruction_bytes: int
    memory_bytes: int
    seconds: float
    core_seconds: float
    difference: str

    @property
    def limit(self):
        """The name of the largest bound."""
        return max(self.bounds, key=self.bounds.get)

    @property
    def memory_share(self):
        """Share of the memory's bound that is reached."""
        return self.bounds["memory"] / self.cycles

    @property
    def instruction_share(self):
        """Share of instructions in the bytes of memory."""
        return self.instruction_bytes / max(1, self.memory_bytes)

    @property
    def rate(self):
        """Useful MACs simulated in a second of one core."""
        return self.macs / max(1e-9, self.core_seconds)

    def reached(self, spec):
        """The figure that the layer's goal is about."""
        return self.memory_share if spec.memory_bound else self.utilisation


def bounds(counters, macs, config, duplex):
    """Cycles that each resource needs for what it did, if nothing else were in its way.

    Parameters
    ----------
    counters : of the run (`registers.COUNTERS`).
    macs : useful MACs.
    duplex : "full": memory moves a beat each way in a cycle; "half": one in all.

    Returns
    -------
    dict : cycles by resource: multipliers, memory, filter bus, ifmap bus, drain (a psum a column).
    """
    beats = counters["read_beats"], counters["write_beats"]
    return {
        "multipliers": -(-macs // config.num_macs),
        "memory": max(beats) if duplex == "full" else sum(beats),
        "filter bus": counters["filter_flits"],
        "ifmap bus": counters["ifmap_flits"],
        "drain": counters["psums"],
    }


def select(names):
    """The layers of the zoo whose names contain one of these texts, whatever the case; all for no text.

    Raises
    ------
    ValueError
        A text that is in no name.
    """
    for name in names:
        if not any(name.lower() in spec.name.lower() for spec in LAYERS):
            known = ", ".join(spec.name for spec in LAYERS)
            raise ValueError(f"no layer has {name!r} in its name; layers are: {known}")
    return [spec for spec in LAYERS if not names or any(name.lower() in spec.name.lower() for name in names)]


def measure(spec, config, *, model, latency=30, duplex="half", progress=None, seed=1):
    """Compile a layer, run it on the compiled RTL and on the golden, and compare.

    Parameters
    ----------
    spec : `zoo.layers.LayerSpec`.
    model : `verilated.Model` of the configuration.
    latency, duplex : of a memory that moves a beat in a cycle.
    progress : called with (cycles so far, expected cycles).
    """
    graph = layer_graph(spec, seed=seed)
    program = compile_graph(graph, config, memory=Memory(latency=latency, duplex=duplex == "full"))
    shape = graph.tensors["ifmap"].shape
    inputs = {"ifmap": np.random.default_rng(seed).integers(-128, 128, shape, np.int8)}
    golden = evaluate(graph, inputs)
    layer = program.layers[0]
    timing = Timing(latency=latency, bytes_per_cycle=config.dram_bytes, duplex=duplex)
    with Stopwatch() as watch, RtlBackend(program, timing=timing, model=model) as backend:
        report = progress and (lambda cycles, _: progress(cycles, layer.estimate))
        run = backend.run(inputs, progress=report)
    return LayerFigures(
        name=spec.name,
        mapping=layer.mapping,
        macs=layer.macs,
        cycles=run.cycles,
        predicted=int(layer.estimate),
        utilisation=layer.macs / (run.cycles * config.num_macs),
        bounds=bounds(run.counters, layer.macs, config, duplex),
        causes=run.causes,
        instruction_bytes=len(program.instructions) * isa.BYTES,
        memory_bytes=(run.counters["read_beats"] + run.counters["write_beats"]) * config.dram_bytes,
        seconds=watch.seconds,
        core_seconds=watch.core_seconds,
        difference="; ".join(map(str, compare({"ofmap": run.tensors["ofmap"]}, golden))),
    )


# What to say of it --------------------------------------------------------------------------------------------------


def total_share(results):
    """Share of instructions in the bytes of memory of all layers together."""
    return sum(r.instruction_bytes for r in results) / max(1, sum(r.memory_bytes for r in results))


def shortfalls(specs, results):
    """Lines of what differs from the golden and of what falls short of its goal."""
    lines = []
    for spec, result in zip(specs, results, strict=True):
        if result.difference:
            lines.append(f"{spec.name} DIFFERS from the golden: {result.difference}")
        lines.append(layer_goal(spec).shortfall(result.reached(spec)))
    lines.append(INSTRUCTION_SHARE.shortfall(total_share(results)))
    return [line for line in lines if line]


def tables(specs, results, config):
    """What the layers reach, what limits them, and where their cycles go."""
    reached = Table(
        "Layers",
        ("layer", "MACs", "cycles", "utilisation", "goal", "simulated MACs/s"),
        note=f"Utilisation is useful MACs of {config.num_macs} a cycle; with * it is the share of the memory's bound "
        "that is reached. MACs are simulated in a second of one core.",
    )
    limits = Table(
        "What limits them",
        ("layer", "largest bound", "its cycles", "cycles", "predicted", "error"),
        note="The largest of the cycles that the multipliers, the memory, the filter bus, the ifmap bus and the drain "
        "each need for what they did; and what the mapper predicted.",
    )
    used = [cause for cause in CAUSES if any(result.causes[cause] for result in results)]
    spent = Table(
        "Where the cycles go",
        ("layer", *used, "instruction bytes"),
        note="Share of cycles by cause; share of instructions in the bytes that went to and from memory "
        f"({_percent(total_share(results))} of all layers together, goal {INSTRUCTION_SHARE}).",
    )
    for spec, result in zip(specs, results, strict=True):
        goal, star = layer_goal(spec), "*" if spec.memory_bound else ""
        shown = verdict(goal.show(result.reached(spec)) + star, goal.met(result.reached(spec)))
        if result.difference:
            shown = verdict("DIFFERS", False)
        reached.add(
            spec.name, f"{result.macs / 1e6:,.1f} M", f"{result.cycles:,}", shown, goal.show(spec.goal) + star,
            f"{result.rate / 1e6:.1f} M",
        )  # fmt: skip
        most = result.bounds[result.limit]
        limits.add(
            spec.name, result.limit, f"{most:,}", f"{result.cycles:,} ({result.cycles / most:.2f} x)",
            f"{result.predicted:,}", f"{100 * (result.predicted / result.cycles - 1):+.1f}%",
        )  # fmt: skip
        shares = (result.causes[cause] / result.cycles for cause in used)
        spent.add(spec.name, *map(_percent, shares), _percent(result.instruction_share))
    return [reached, limits, spent]


def _percent(share):
    return f"{100 * share:.1f}%"


def _figures(specs, results, config, options):
    """For a program."""
    rows = []
    for spec, result in zip(specs, results, strict=True):
        rows.append({
            **asdict(result), "limit": result.limit, "goal": spec.goal, "reached": result.reached(spec),
            "memory_bound": spec.memory_bound, "instruction_share": result.instruction_share, "rate": result.rate,
        })  # fmt: skip
    return {"config": config.to_dict(), **options, "layers": rows, "instruction_share": total_share(results)}


@click.command()
@click.option("--layer", "names", multiple=True, metavar="TEXT", help="Only layers with TEXT in their name.")
@click.option("--preset", "preset_name", type=click.Choice(list(PRESETS)), default="base", show_default=True)
@click.option("--duplex", type=click.Choice(["half", "full"]), default="half", show_default=True,
              help="half: memory moves one beat a cycle; full: one each way.")  # fmt: skip
@click.option("--latency", type=click.IntRange(min=1), default=30, show_default=True, help="Cycles of the memory.")
@outputs
def layers(names, preset_name, duplex, latency, **files):
    """Run single layers on the compiled RTL: equal to the golden, and how close to the bounds."""
    try:
        specs = select(names)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--layer") from None
    config = preset(preset_name)
    model = build(config)
    results = []
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[cycles]}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for number, spec in enumerate(specs, start=1):
            task = progress.add_task(f"{number}/{len(specs)} {spec.name}", total=None, cycles="")

            def advance(cycles, expected, task=task):
                text = f"{cycles / 1e6:.0f} M cycles"
                progress.update(task, completed=cycles, total=max(cycles, expected), cycles=text)

            result = measure(spec, config, model=model, latency=latency, duplex=duplex, progress=advance)
            results.append(result)
            progress.update(task, visible=False)
            said = "DIFFERS from the golden" if result.difference else f"{result.cycles:,} cycles"
            progress.console.print(
                f"{spec.name}: {said}, {_percent(result.reached(spec))} (goal {_percent(spec.goal)}), "
                f"{result.seconds:.0f} s",
                highlight=False,
            )
    beat = f"{config.dram_bytes} bytes a cycle" + (" each way" if duplex == "full" else "")
    deliver(
        f"Layers on preset {preset_name}",
        f"Made by `rowcast bench layers --preset {preset_name} --duplex {duplex} --latency {latency}`: single layers "
        f"with random weights on the compiled RTL, {config.num_macs} MACs a cycle, a memory of {beat} and {latency} "
        "cycles of latency. Every value of every layer is compared with the golden.",
        tables(specs, results, config),
        _figures(specs, results, config, {"preset": preset_name, "duplex": duplex, "latency": latency}),
        shortfalls(specs, results),
        failed=any(result.difference for result in results),
        **files,
    )
