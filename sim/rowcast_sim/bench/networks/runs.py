"""A network of the zoo, whole, on the compiled RTL; what was measured is kept."""

import dataclasses
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod

from rowcast import isa
from rowcast.config import preset as preset_of
from rowcast.emit import write_atomic
from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import MAX_IMAGE, compile_graph
from rowcast_models.cycles import predict
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import NETWORKS

from ... import report
from ...errors import InputError
from ...machine import RtlBackend
from ...results import compare
from ...saved import digest_of, state_of
from ...tools import cache_dir
from ...verilated import Timing, build, emitted
from ..graph_run import LATENCY, memory_of
from .figures import CONV, DEPTHWISE, FC, OTHER, POINTWISE, Figures, LayerFigures, buffer_bound, tile_bound

__all__ = ["Job", "Prepared", "check_all", "keep", "kept_figures", "kept_jobs", "measure"]

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

    def prepare(self):
        """The network; what takes long is made when it is asked for."""
        config, entry = preset_of(self.preset), NETWORKS[self.network]
        with report.working(f"Building {self}"):
            graph = entry.build(batch=self.batch)
        return Prepared(self, graph, config, memory_of(config))

    def __str__(self):
        images = f", {self.batch} images" if self.batch > 1 else ""
        return f"{self.network} on {self.preset}{images}"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A Job with its graph, configuration, and memory."""

    job: Job
    graph: object
    config: object
    timing: Timing

    @cached_property
    def model(self):
        """The compiled RTL."""
        with report.working("Writing the Verilog"):
            emitted(self.config)
        return build(self.config)

    @cached_property
    def inputs(self):
        """Seeded ones, by name."""
        return {self.graph.inputs[0]: NETWORKS[self.job.network].inputs(self.job.batch)}

    @cached_property
    def program(self):
        """As it would be used: tensors that fit stay on the chip.

        Raises
        ------
        InputError, CompileError
            The tensors do not fit the memory, or the network does not fit the configuration.
        """
        return self._compile(keep_all=False)

    @cached_property
    def full_program(self):
        """The one that stores every tensor."""
        return self._compile(keep_all=True)

    def _compile(self, *, keep_all):
        self._check_size(self.graph.tensors if keep_all else (*self.graph.inputs, *self.graph.outputs))
        memory = Memory(latency=LATENCY)
        what = f"Compiling {self.job}{', every tensor stored' if keep_all else ''}"
        with report.progress_bar(what, len(self.graph.nodes)) as step:
            note = lambda done, total, name: step(int(done > 0), note=name)
            return compile_graph(self.graph, self.config, memory=memory, keep_all=keep_all, progress=note)

    def _check_size(self, names):
        """Say at once what the compiler would say after hours of mapping."""
        size = sum(_words(self.graph, name, self.config.lanes) for name in names) * self.config.lanes
        if size > MAX_IMAGE:
            raise InputError(
                f"{self.job}: tensors of {size:,} bytes do not fit a memory of {MAX_IMAGE:,}: lower --batch"
            )

    @cached_property
    def golden(self):
        """Every tensor of the graph."""
        with report.working(f"Computing the golden of {self.job}"):
            return evaluate(self.graph, self.inputs)

    @cached_property
    def digest(self):
        """Of what decides each cycle."""
        return digest_of(self.program, self.inputs, model=self.model, timing=self.timing)

    def run(self, program, step, machines, *, window=None):
        """A Run of a program, from where an earlier one was stopped if there is a saved simulation of it.

        Parameters
        ----------
        step : called with the layers done since the last call, and a note.
        machines : gets the machine, so that another thread can stop it.
        """
        layers, done = program.layers, 0
        with RtlBackend(program, timing=self.timing, model=self.model) as machine:
            machines.append(machine)
            about = "-all" if program is not self.program else ""
            about += f"-{window.first}-{window.last}-{window.most}" if window else ""
            state = state_of(machine, self.inputs, about=about)

            def note(cycles, layer):
                nonlocal done
                step(layer - done, note=f"{cycles:,} cycles, {layers[min(layer, len(layers) - 1)].name}")
                done = layer

            run = machine.run(self.inputs, progress=note, every=EVERY, state=state, window=window)
        step(len(layers) - done)
        return run


def measure(prepared, *, every, window=None):
    """(Figures, Run of the program as it would be used).

    Parameters
    ----------
    every : also run the program that stores every tensor, at the same time.
    window : `timeline.Window` of the cycles to record.
    """
    programs = [prepared.program, *([prepared.full_program] if every else [])]
    runs = _run(prepared, programs, window)
    results = [_compare(prepared, run) for run in runs]
    return _figures(prepared, runs[0], *results), runs[0]


def check_all(figures, prepared):
    """The figures with the result of a run of the program that stores every tensor."""
    (run,) = _run(prepared, [prepared.full_program], None)
    return _with_all(figures, *_compare(prepared, run))


def _run(prepared, programs, window):
    """A Run of each program, at the same time: a process each."""
    layers = sum(len(program.layers) for program in programs)
    with report.progress_bar(f"Running {prepared.job}", layers) as step, ThreadPoolExecutor() as pool:
        machines = []
        work = [
            pool.submit(prepared.run, program, step, machines, window=window if program is programs[0] else None)
            for program in programs
        ]
        try:
            return [each.result() for each in work]
        except BaseException:  # one has failed, or we are to stop: so shall the others, which save what they have
            for machine in machines:
                machine.session.stop()
            raise


def _compare(prepared, run):
    """(tensors compared, Differences) of what a run left in memory, its inputs apart."""
    golden, graph = prepared.golden, prepared.graph
    made = {name: golden[name] for name in golden if name in run.tensors and name not in graph.inputs}
    return len(made), compare(run.tensors, made)


def _figures(prepared, run, stored, every=None):
    program, config, job = prepared.program, prepared.config, prepared.job
    nodes = {node.name: node for node in prepared.graph.nodes}
    predicted = predicted_cycles(program, prepared.timing)
    layers = tuple(
        _layer(prepared.graph, nodes.get(layer.name), layer, spent, cycles, program)
        for layer, spent, cycles in zip(program.layers, run.layers, predicted, strict=True)
    )
    compared, differences = stored
    figures = Figures(
        network=job.network, title=NETWORKS[job.network].title, preset=job.preset, batch=job.batch,
        digest=prepared.digest, pes=config.rows * config.columns, columns=config.columns, lanes=config.lanes,
        dram_bytes=config.dram_bytes, layers=layers, instruction_bytes=len(program.instructions) * isa.BYTES,
        program_bytes=program.size, compared=compared, equal=compared - len(differences),
        difference=str(differences[0]) if differences else "",
    )  # fmt: skip
    return figures if every is None else _with_all(figures, *every)


def _with_all(figures, compared, differences):
    first = figures.difference or (str(differences[0]) if differences else "")
    equal = compared - len(differences)
    return dataclasses.replace(figures, all_compared=compared, all_equal=equal, difference=first)


def predicted_cycles(program, timing):
    """Cycles of each layer by the cycle model."""
    spent = {each.layer: each.cycles for each in predict(program.instructions, program.config, timing).layers}
    return [spent.get(number, 0) for number in range(len(program.layers))]


def _layer(graph, node, layer, spent, predicted, program):
    group, form = _kind(graph, node)
    return LayerFigures(
        name=layer.name, kind=layer.kind, group=group, form=form, macs=layer.macs,
        on_array=type(node).__name__ in ("ChannelSum", "Conv", "FullyConnected"), counters=spent.counters,
        first=spent.first, predicted=predicted, own=sum(program.transfers.get(layer.name, ())),
        **_bounds(graph, node, program.config),
    )  # fmt: skip


def _bounds(graph, node, config):
    """Bytes that a layer has to move at least, as the fields of LayerFigures."""
    sizes = [_size(graph, name) for name in node.inputs] if node is not None else []
    weights = getattr(node, "weights", None)
    parameters = 0 if weights is None else weights.nbytes + 4 * len(node.bias)
    read, written = sum(sizes) + parameters, _size(graph, node.output) if node is not None else 0
    bound = tiles = read + written
    if _kind(graph, node)[0] != OTHER:
        memories = config.act_words * config.lanes, config.filter_buffer_words * config.lanes
        bound = buffer_bound(graph.macs(node), _reuse(node), sum(memories), least=bound)
        groups = getattr(node, "groups", 1)
        once = tile_bound(sum(sizes) / groups, weights.nbytes / groups, *memories)
        tiles = max(bound, int(groups * once) + parameters - weights.nbytes + written)
    return {"least_read": read, "least_write": written, "buffer_bound": bound, "tile_bound": tiles}


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
    return prod(graph.tensors[name].shape)


def _words(graph, name, lanes):
    *outer, channels = graph.tensors[name].shape
    return prod(outer) * -(-channels // lanes)


# Figures of earlier invocations -------------------------------------------------------------------------------------


def keep(job, figures):
    """Write them where `kept_figures` finds them."""
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(job.path, json.dumps(figures.to_dict(), indent=1) + "\n")


def kept_figures(prepared):
    """Figures of an earlier invocation, if program, inputs, hardware, tool and memory are the same; else None.

    What the cycle model predicts is that of today's model, and so are the bounds.
    """
    try:
        figures = Figures.from_dict(json.loads(prepared.job.path.read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # never measured, or by a version that measured something else
    if figures.digest != prepared.digest:
        return None
    nodes = {node.name: node for node in prepared.graph.nodes}
    predicted = predicted_cycles(prepared.program, prepared.timing)
    layers = (
        dataclasses.replace(layer, predicted=cycles, **_bounds(prepared.graph, nodes.get(layer.name), prepared.config))
        for layer, cycles in zip(figures.layers, predicted, strict=True)
    )
    return dataclasses.replace(figures, layers=tuple(layers))


def kept_jobs():
    """Jobs of which there are figures, whatever they are worth."""
    found = []
    for path in sorted((cache_dir() / "networks").glob("*.json")):
        match = _NAME.fullmatch(path.name)
        if match and match["network"] in NETWORKS:
            found.append(Job(match["network"], match["preset"], int(match["batch"])))
    return found
