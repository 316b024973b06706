"""`rowcast bench mapper`: how long compiling and predicting the zoo's networks takes, and what is predicted of them."""

import multiprocessing
import time
from dataclasses import asdict, dataclass

import click
from rich.console import Console
from rowcast.config import PRESETS, preset
from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import compile_graph
from rowcast_models.cycles import predict
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import NETWORKS
from rowcast_models.zoo.images import pixels_to_int8, random_images
from rowcast_models.zoo.inception_v3 import asymmetric_block

from ..report import short
from .goals import BATCHES, MAPPER, SURVEY, VARIANTS
from .graph_run import LATENCY, memory_of, run_graph
from .output import Table, deliver, outputs, verdict

__all__ = ["BLOCK", "Figures", "block_tables", "mapper", "measure", "measure_block", "reached", "shortfalls", "tables"]

BLOCK = "asymmetric-block"  # of Inception v3, beside the names of networks
NAMES = (*SURVEY, *VARIANTS, BLOCK)
TEXT = (
    "Made by `rowcast bench mapper`: networks of the zoo compiled for preset {preset}, predicted by the cycle model "
    "with a memory that moves a beat a cycle, reads and writes together, after {latency} cycles, and evaluated by the "
    "golden. Seconds are those that a core spent, each network in a process of its own, so that none profits from what "
    "another one left in a cache."
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One network.

    Members
    -------
    network, preset, batch : of the zoo, of the hardware, images at a time.
    macs : useful ones, those of its definition, of all images.
    instructions : of the program.
    compiled, predicted, evaluated : core seconds of the compiler, the cycle model and the golden.
    cycles : by the cycle model; macs_a_cycle : of the array.
    tensors : that the golden evaluated; nodes : of the graph, each of which makes one.
    """

    network: str
    preset: str
    batch: int
    macs: int
    instructions: int
    compiled: float
    predicted: float
    evaluated: float
    cycles: int
    macs_a_cycle: int
    tensors: int
    nodes: int

    @property
    def utilisation(self):
        """Useful MACs of those that the array could do in all cycles."""
        return self.macs / (self.cycles * self.macs_a_cycle)


def measure(network, batch, preset_name):
    """Compile a network of the zoo, predict it, evaluate it."""
    entry, config = NETWORKS[network], preset(preset_name)
    graph = entry.build(batch=batch)
    program, compiled = _timed(lambda: compile_graph(graph, config, memory=Memory(latency=LATENCY)))
    prediction, predicted = _timed(lambda: predict(program.instructions, config, memory_of(config)))
    golden, evaluated = _timed(lambda: evaluate(graph, {graph.inputs[0]: entry.inputs(batch)}))
    return Figures(
        network=network, preset=preset_name, batch=batch, macs=batch * entry.definition.macs,
        instructions=len(program.instructions), compiled=compiled, predicted=predicted, evaluated=evaluated,
        cycles=prediction.cycles, macs_a_cycle=config.num_macs, tensors=len(golden) - len(graph.inputs),
        nodes=len(graph.nodes),
    )  # fmt: skip


def _timed(work):
    begin = time.process_time()
    return work(), time.process_time() - begin


def _alone(*job):
    """`measure` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, job)


def measure_block(preset_name):
    """A GraphRun of the zoo's block of asymmetric kernels, one image, on the compiled RTL."""
    from rowcast_models.zoo.build import build  # and with it onnx

    definition = asymmetric_block()
    graph = build(definition)
    inputs = {graph.inputs[0]: pixels_to_int8(random_images(1, definition.image.shape))}
    return run_graph(graph, preset(preset_name), inputs)


def reached(found):
    """{key of MAPPER: core seconds}, as far as these networks tell."""
    of_base = {each.network: each for each in found if each.preset == "base"}
    values = {"compiled": of_base["resnet50"].compiled} if "resnet50" in of_base else {}
    if set(SURVEY) <= set(of_base):
        values["predicted"] = sum(of_base[name].predicted for name in SURVEY)
    return values


def tables(found):
    """Goals, as far as they can be told, and a row a network."""
    goals = Table("Goals", ("what", "core seconds", "goal"))
    for key, value in reached(found).items():
        goals.add(MAPPER[key].name, verdict(f"{value:.1f}", MAPPER[key].met(value)), str(MAPPER[key]))
    networks = Table(
        "Networks",
        ("network", "batch", "MACs", "instructions", "compiled, s", "predicted, s", "cycles, predicted", "utilisation",
         "tensors of the golden"),
        note="Utilisation: the MACs of the network's definition, of those that the array could do in the cycles of the "
        "whole network.",
    )  # fmt: skip
    for each in found:
        networks.add(
            each.network, each.batch, f"{each.macs:,}", f"{each.instructions:,}", f"{each.compiled:.1f}",
            f"{each.predicted:.1f}", f"{each.cycles:,}", f"{100 * each.utilisation:.1f}%",
            verdict(f"{each.tensors} of {each.nodes}", each.tensors == each.nodes),
        )  # fmt: skip
    return [table for table in (goals, networks) if table.rows]


def block_tables(run, preset_name):
    """The block in all, and its layers."""
    whole = Table(
        "Kernels of 1x7 and 7x1 on the RTL",
        ("what", "MACs", "cycles", "predicted", "error", "utilisation", "tensors equal"),
        note=f"Mixed_6b of Inception v3 on the compiled RTL of preset {preset_name}, one image. Cycles are those of the "
        "program as it would be used; tensors those of a second run, of the program that stores every tensor.",
    )
    layers = Table("Its layers", ("layer", "kind", "MACs", "cycles", "predicted", "error", "utilisation", "bound by"))
    whole.add("Mixed_6b", *_cells(run, run), verdict(f"{run.equal} of {run.compared}", not run.difference))
    for layer in run.layers:
        layers.add(short(layer.name), layer.kind, *_cells(run, layer), layer.bound)
    return [whole, layers]


def _cells(run, part):
    error = f"{100 * (part.predicted / part.cycles - 1):+.2f}%" if part.cycles else ""
    used = f"{100 * run.utilisation(part.macs, part.cycles):.1f}%" if part.macs else ""
    return f"{part.macs:,}" if part.macs else "", f"{part.cycles:,}", f"{part.predicted:,}", error, used


def shortfalls(found, block):
    """What is wrong, a line each; block : a GraphRun or None."""
    lines = [line for key, value in reached(found).items() if (line := MAPPER[key].shortfall(value))]
    lines += [f"{each.network}: {each.tensors} of {each.nodes} tensors" for each in found if each.tensors != each.nodes]
    return [*lines, *([f"{BLOCK} DIFFERS from the golden: {block.difference}"] if block and block.difference else [])]


@click.command()
@click.option("--network", "names", multiple=True, type=click.Choice(NAMES), help="One of them; can be repeated [all].")
@click.option("--preset", "preset_name", default="base", show_default=True, type=click.Choice(list(PRESETS)))
@outputs
def mapper(names, preset_name, **files):
    """Networks of the zoo compiled, predicted and evaluated, and a block of asymmetric kernels on the RTL.

    All of them take about ten minutes.
    """
    found, block, console = [], None, Console(stderr=True)
    for name in dict.fromkeys(names or NAMES):
        console.print(f"{name} ...", highlight=False)
        if name == BLOCK:
            block = measure_block(preset_name)
        else:
            found.append(_alone(name, BATCHES.get(name, 1), preset_name))
    wrong = shortfalls(found, block)
    made = [*tables(found), *(block_tables(block, preset_name) if block else [])]
    figures = {
        "preset": preset_name,
        "networks": [asdict(each) | {"utilisation": each.utilisation} for each in found],
        "block": asdict(block) if block else None,
    }
    failed = bool(block and block.difference) or any(each.tensors != each.nodes for each in found)
    deliver("The mapper and the cycle model", TEXT.format(preset=preset_name, latency=LATENCY), made, figures, wrong,
            failed=failed, **files)  # fmt: skip
