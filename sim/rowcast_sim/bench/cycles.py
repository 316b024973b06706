"""`rowcast bench cycles`: the cycle model against the compiled RTL."""

import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rowcast.config import PRESETS, preset
from rowcast.registers import CAUSES, COUNTERS
from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import compile_graph
from rowcast_models.cycles import predict
from rowcast_models.frontend.network import GraphStage
from rowcast_models.load import load_model
from rowcast_models.zoo.layers import LAYERS, layer_graph
from rowcast_models.zoo.registry import NETWORKS

from ..machine import RtlBackend
from ..trace import prediction_spans, write_trace
from ..verilated import Timing, build
from .output import Table, deliver, outputs, verdict
from .tiny import FOLDER, MODELS

__all__ = ["Figures", "LayerError", "cycles", "measure", "programs", "shortfalls", "tables"]

LAYER_BOUND, NETWORK_BOUND = 0.02, 0.01
SHOWN = 0.005  # layers with smaller errors are not listed
FEW = 20  # cycles that may always be missing: a handful of instructions' time
LENGTH = 4  # operators of a random model, about
SETS = ("layers", "lenet5", "tiny", "random")
# Counters that follow from the program: all but cycles and causes.
EXACT = tuple(name for name in COUNTERS if name != "cycles" and not name.startswith("cause_"))
TRACKS = ("layers", "LOAD", "STORE", "FILTER", "IFMAP", "COMPUTE", "POST")


@dataclass(frozen=True)
class LayerError:
    """A layer's cycles, measured and predicted; how many of them have another cause; which counters differ.

    A layer's counters are those of its cycles, so that what units do ahead counts for the layer before.
    """

    name: str
    cycles: int
    predicted: int
    misplaced: int
    unequal: tuple

    @property
    def error(self):
        """Of the prediction, relative."""
        return self.predicted / max(self.cycles, 1) - 1

    def within(self, bound):
        """Whether the error is within a relative bound, or a few cycles."""
        return abs(self.predicted - self.cycles) <= max(bound * self.cycles, FEW)


@dataclass(frozen=True)
class Figures:
    """One program: the whole of it, its layers, instructions, seconds that the model took."""

    whole: LayerError
    layers: tuple
    instructions: int
    seconds: float


def programs(sets, networks, *, seeds=8):
    """(name, function that makes the graph) of each program of these sets and zoo networks."""
    found = []
    if "layers" in sets:
        found += [(spec.name, lambda spec=spec: layer_graph(spec)) for spec in LAYERS]
    for name in dict.fromkeys([*networks, *({"lenet5"} & set(sets))]):
        found.append((name, lambda name=name: NETWORKS[name].build(batch=1)))
    if "tiny" in sets:
        found += [(name, lambda name=name: _first_graph(load_model(FOLDER / f"{name}.tflite"))) for name in MODELS]
    if "random" in sets:
        found += [(f"random {seed}", lambda seed=seed: _random_graph(seed)) for seed in range(seeds)]
    return found


def _random_graph(seed):
    from .random_models.compare import random_case

    return _first_graph(random_case("onnx", seed, LENGTH).network)


def _first_graph(network):
    return next((stage.graph for stage in network.stages if isinstance(stage, GraphStage)), None)


def measure(name, graph, config, *, model, timing, trace=None, seed=1):
    """Compile a graph, run it on the compiled RTL and predict it; `trace`: a folder for the predicted timeline."""
    program = compile_graph(graph, config, memory=Memory(latency=timing.latency, duplex=timing.duplex == "full"))
    rng = np.random.default_rng(seed)
    inputs = {each: rng.integers(-128, 128, program.tensors[each].shape, np.int8) for each in program.inputs}
    with RtlBackend(program, timing=timing, model=model) as backend:
        run = backend.run(inputs)
    begin = time.perf_counter()
    prediction = predict(program.instructions, config, timing)
    seconds = time.perf_counter() - begin
    if trace:
        spans = prediction_spans(
            predict(program.instructions, config, timing, timeline=True), [layer.name for layer in program.layers]
        )
        write_trace(Path(trace, f"{name.replace(' ', '-').replace('/', '-')}.json"), spans, process=name, tracks=TRACKS)
    layers = tuple(
        _error(layer.name, found, guess)
        for layer, found, guess in zip(program.layers, run.layers, prediction.layers)
    )
    return Figures(_error(name, run, prediction), layers, len(program.instructions), seconds)


def _error(name, found, guess):
    wrong = sum(abs(found.causes[cause] - guess.causes[cause]) for cause in CAUSES)
    misplaced = wrong - abs(found.cycles - guess.cycles)
    unequal = tuple(counter for counter in EXACT if found.counters[counter] != guess.counters[counter])
    return LayerError(name, found.cycles, guess.cycles, misplaced // 2, unequal)


def shortfalls(results):
    """Lines of what is not within its bound."""
    lines = []
    for result in results:
        whole = result.whole
        if whole.unequal:
            lines.append(f"{whole.name}: counters differ: {', '.join(whole.unequal)}")
        if not whole.within(NETWORK_BOUND):
            lines.append(f"{whole.name}: {whole.predicted:,} predicted, {whole.cycles:,} on the RTL")
        lines += [
            f"{whole.name}, layer {layer.name}: {layer.predicted:,} predicted, {layer.cycles:,} on the RTL"
            for layer in result.layers
            if not layer.within(LAYER_BOUND)
        ]
    return lines


def tables(results, *, complete=False):
    """Programs, and those of their layers that are not within `SHOWN`, or all."""
    whole = Table(
        "Programs",
        ("program", "instructions", "cycles on the RTL", "predicted", "error", "causes", "counters", "instructions/s"),
        note="Causes: share of the cycles that the prediction gives to another cause. Counters: all that follow from "
        "the program are equal.",
    )
    single = Table(
        "Layers", ("layer", "cycles on the RTL", "predicted", "difference", "error", "causes", "counters that differ"),
        note="" if complete else f"Those that are wrong by more than {100 * SHOWN:g}% and {FEW} cycles.",
    )  # fmt: skip
    for result in results:
        each = result.whole
        whole.add(
            each.name, f"{result.instructions:,}", f"{each.cycles:,}", f"{each.predicted:,}",
            verdict(f"{100 * each.error:+.2f}%", each.within(NETWORK_BOUND)),
            f"{100 * each.misplaced / each.cycles:.1f}%",
            verdict("differ" if each.unequal else "equal", not each.unequal),
            f"{result.instructions / result.seconds:,.0f}",
        )  # fmt: skip
        for layer in result.layers:
            if layer.within(SHOWN) and not complete:
                continue
            single.add(
                f"{each.name}: {layer.name}"[:58], f"{layer.cycles:,}", f"{layer.predicted:,}",
                f"{layer.predicted - layer.cycles:+,}",
                verdict(f"{100 * layer.error:+.2f}%", layer.within(LAYER_BOUND)),
                f"{100 * layer.misplaced / max(layer.cycles, 1):.1f}%", f"{len(layer.unequal)} of {len(EXACT)}",
            )  # fmt: skip
    return [whole, single] if single.rows else [whole]


@click.command()
@click.option("--set", "sets", multiple=True, type=click.Choice(SETS), help="Which programs; can be repeated [all].")
@click.option("--network", "networks", multiple=True, type=click.Choice(list(NETWORKS)), help="A network of the zoo.")
@click.option("--preset", "preset_name", type=click.Choice(list(PRESETS)), default="base", show_default=True)
@click.option("--duplex", type=click.Choice(["half", "full"]), default="half", show_default=True,
              help="half: memory moves its bytes in all; full: each way.")  # fmt: skip
@click.option("--latency", type=click.IntRange(min=1), default=30, show_default=True, help="Cycles of the memory.")
@click.option("--bytes", "rate", type=float, help="Bytes that memory moves in a cycle [a beat].")
@click.option("--seeds", type=click.IntRange(1), default=8, show_default=True, help="How many random models.")
@click.option("--trace", type=click.Path(file_okay=False, exists=True), help="Folder for the predicted timelines.")
@click.option("--all-layers", "complete", is_flag=True, help="List every layer, not only those that are wrong.")
@outputs
def cycles(sets, networks, preset_name, duplex, latency, rate, seeds, trace, complete, **files):
    """Predict the cycles of programs and compare with the compiled RTL, layer by layer and counter by counter."""
    config, console = preset(preset_name), Console(stderr=True)
    model = build(config)
    timing = Timing(latency=latency, bytes_per_cycle=rate or config.dram_bytes, duplex=duplex)
    sets = sets or (() if networks else SETS)
    results = []
    for name, make in programs(sets, networks, seeds=seeds):
        graph = make()
        if graph is None:
            continue
        results.append(measure(name, graph, config, model=model, timing=timing, trace=trace))
        each = results[-1].whole
        console.print(f"{name}: {each.cycles:,} cycles, {100 * each.error:+.2f}%", highlight=False)
    deliver(
        f"The cycle model on preset {preset_name}",
        f"Made by `rowcast bench cycles --preset {preset_name}`: cycles of compiled programs on the RTL, and as the "
        f"model predicts them from the instructions; a memory of {latency} cycles, {duplex} duplex.",
        tables(results, complete=complete),
        {"preset": preset_name, "programs": [_figures(result) for result in results]},
        shortfalls(results),
        failed=any(result.whole.unequal for result in results),
        **files,
    )


def _figures(result):
    """For a program."""
    layers = [vars(layer) | {"error": layer.error} for layer in result.layers]
    return {
        **vars(result.whole), "error": result.whole.error, "seconds": result.seconds,
        "instructions": result.instructions, "layers": layers,
    }  # fmt: skip
