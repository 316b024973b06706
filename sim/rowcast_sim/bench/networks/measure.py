"""A network of the zoo, whole, on the compiled RTL; what was measured is kept."""

import dataclasses
import json
import re
from dataclasses import dataclass

from rowcast import isa
from rowcast.config import preset as preset_of
from rowcast.emit import write_atomic
from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import NETWORKS

from ... import report
from ...machine import RtlBackend
from ...results import compare
from ...saved import digest_of, state_of
from ...tools import cache_dir
from ...verilated import Timing, build
from ..output import Stopwatch
from .figures import CONV, DEPTHWISE, FC, OTHER, POINTWISE, Figures, LayerFigures, buffer_bound

__all__ = ["Job", "check_all", "kept_jobs", "kept_figures", "measure"]

LATENCY = 30  # cycles of the memory that everything is measured with
EVERY = 200_000  # cycles from one line of progress to the next
_NAME = re.compile(r"(?P<network>.+)-(?P<preset>[a-z]+)-batch(?P<batch>\d+)\.json")


@dataclass(frozen=True)
class Job:
    """What is to be measured: a network of the zoo on a preset, some images at a time."""

    network: str
    preset: str
    batch: int

    @property
    def path(self):
        """Where its figures are kept."""
        return cache_dir() / "networks" / f"{self.network}-{self.preset}-batch{self.batch}.json"

    def prepare(self, *, keep_all=False):
        """The network, compiled.

        Raises
        ------
        CompileError
            It does not fit the configuration, or its tensors do not fit the memory.
        """
        config, entry = preset_of(self.preset), NETWORKS[self.network]
        graph = entry.build(batch=self.batch)
        with report.progress_bar(f"Compiling {self}", len(graph.nodes)) as step:
            note = lambda done, total, name: step(int(done > 0), note=name)  # noqa: E731
            program = compile_graph(graph, config, memory=Memory(latency=LATENCY), keep_all=keep_all, progress=note)
        with report.working("Writing the Verilog"):
            model = build(config)
        return Prepared(self, graph, program, model, {graph.inputs[0]: entry.inputs(self.batch)}, _timing(config))

    def __str__(self):
        images = f", {self.batch} images" if self.batch > 1 else ""
        return f"{self.network} on {self.preset}{images}"


def _timing(config):
    return Timing(latency=LATENCY, bytes_per_cycle=config.dram_bytes, duplex="half")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A Job with its graph, program, compiled RTL, inputs and memory."""

    job: Job
    graph: object
    program: object
    model: object
    inputs: dict
    timing: Timing

    def digest(self):
        """Of what decides each cycle."""
        return digest_of(self.program, self.inputs, model=self.model, timing=self.timing)

    def run(self, *, window=None):
        """A Run, from where an earlier one was stopped if there is a saved state of it."""
        layers = self.program.layers
        with RtlBackend(self.program, timing=self.timing, model=self.model) as machine:
            about = f"-{window.first}-{window.last}-{window.most}" if window else ""
            state = state_of(machine, self.inputs, about=about)
            going_on = " (going on)" if state.exists() else ""
            with report.progress_bar(f"Running {self.job}{going_on}", len(layers)) as step:
                done = 0

                def note(cycles, layer):
                    nonlocal done
                    step(layer - done, note=f"{cycles:,} cycles, {layers[min(layer, len(layers) - 1)].name}")
                    done = layer

                return machine.run(self.inputs, progress=note, every=EVERY, state=state, window=window)


def measure(prepared, *, window=None):
    """(Figures, Run) of the program as it would be used; tensors that reach memory are compared with the golden."""
    graph, program, config, job = prepared.graph, prepared.program, prepared.program.config, prepared.job
    with Stopwatch() as watch:
        run = prepared.run(window=window)
    compared, differences = _compare(prepared, run)
    nodes = {node.name: node for node in graph.nodes}
    layers = tuple(
        _layer(graph, nodes.get(layer.name), layer, spent, cycles, config)
        for layer, spent, cycles in zip(program.layers, run.layers, predicted_cycles(program), strict=True)
    )
    figures = Figures(
        network=job.network, title=NETWORKS[job.network].title, preset=job.preset, batch=job.batch,
        digest=prepared.digest(), pes=config.rows * config.columns, columns=config.columns, lanes=config.lanes,
        dram_bytes=config.dram_bytes, layers=layers, instruction_bytes=len(program.instructions) * isa.BYTES,
        program_bytes=program.size, compared=compared, equal=compared - len(differences),
        difference=str(differences[0]) if differences else "", seconds=watch.seconds,
    )  # fmt: skip
    return figures, run


def predicted_cycles(program):
    """Cycles of each layer by the cycle model."""
    return [int(layer.estimate) for layer in program.layers]


def check_all(figures, prepared):
    """The figures with the result of a run of the program that stores every tensor."""
    compared, differences = _compare(prepared, prepared.run())
    first = figures.difference or (str(differences[0]) if differences else "")
    return dataclasses.replace(
        figures, all_compared=compared, all_equal=compared - len(differences), difference=first
    )


def _compare(prepared, run):
    """(tensors compared, Differences) of what a run left in memory, its inputs apart."""
    with report.working(f"Computing the golden of {prepared.job}"):
        golden = evaluate(prepared.graph, prepared.inputs)
    made = {name: golden[name] for name in golden if name in run.tensors and name not in prepared.graph.inputs}
    return len(made), compare(run.tensors, made)


def _layer(graph, node, layer, spent, predicted, config):
    group, form = _kind(graph, node)
    sizes = [_size(graph, name) for name in node.inputs] if node is not None else []
    weights = getattr(node, "weights", None)
    parameters = 0 if weights is None else weights.nbytes + 4 * len(node.bias)
    read, written = sum(sizes) + parameters, _size(graph, node.output) if node is not None else 0
    bound = read + written
    if group != OTHER:
        buffer = (config.act_words + config.filter_buffer_words) * config.lanes
        bound = buffer_bound(layer.macs, _reuse(node), buffer, least=bound)
    return LayerFigures(
        name=layer.name, kind=layer.kind, group=group, form=form, macs=layer.macs, counters=spent.counters,
        first=spent.first, predicted=predicted, least_read=read, least_write=written,
        buffer_bound=bound,
    )  # fmt: skip


def _kind(graph, node):
    kind = type(node).__name__
    if kind == "FullyConnected":
        return FC, ""
    if kind != "Conv":
        return OTHER, ""
    if node.groups > 1 and node.groups == graph.tensors[node.inputs[0]].shape[-1]:
        return CONV, DEPTHWISE
    return CONV, POINTWISE if node.weights.shape[1:3] == (1, 1) else ""


def _reuse(node):
    """How many windows share an ifmap value."""
    if type(node).__name__ != "Conv":
        return 1
    return max(1, node.weights.shape[1] * node.weights.shape[2] / (node.stride[0] * node.stride[1]))


def _size(graph, name):
    size = 1
    for axis in graph.tensors[name].shape:
        size *= axis
    return size


# Figures of earlier invocations -------------------------------------------------------------------------------------


def keep(job, figures):
    """Write them where `kept_figures` finds them."""
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(job.path, json.dumps(figures.to_dict(), indent=1) + "\n")


def kept_figures(prepared):
    """Figures of an earlier invocation, if program, inputs, hardware, tool and memory are the same; else None."""
    try:
        figures = Figures.from_dict(json.loads(prepared.job.path.read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # never measured, or by a version that measured something else
    return figures if figures.digest == prepared.digest() else None


def kept_jobs():
    """Jobs of which there are figures, whatever they are worth."""
    found = []
    for path in sorted((cache_dir() / "networks").glob("*.json")):
        match = _NAME.fullmatch(path.name)
        if match and match["network"] in NETWORKS:
            found.append(Job(match["network"], match["preset"], int(match["batch"])))
    return found
