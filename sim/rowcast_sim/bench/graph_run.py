"""A graph on the compiled RTL: its cycles as it would be used, beside the cycle model's, and every tensor compared."""

from dataclasses import dataclass

from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import compile_graph
from rowcast_models.cycles import predict
from rowcast_models.golden.evaluate import evaluate

from .. import report
from ..machine import RtlBackend
from ..results import compare
from ..verilated import Timing, build

__all__ = ["LATENCY", "GraphRun", "LayerRun", "memory_of", "run_graph"]

LATENCY = 30  # cycles of the memory that everything is measured with


@dataclass(frozen=True, kw_only=True)
class LayerRun:
    """One layer, from the MARK before it to its own.

    Members
    -------
    name, kind, macs : of the program's layer.
    cycles, predicted : on the RTL, and by the cycle model.
    bound : what it was bound by, as reports say it.
    """

    name: str
    kind: str
    macs: int
    cycles: int
    predicted: int
    bound: str


@dataclass(frozen=True, kw_only=True)
class GraphRun:
    """One run.

    Members
    -------
    layers : LayerRuns in the program's order.
    cycles, predicted : of all of it, on the RTL and by the cycle model.
    macs_a_cycle : of the array.
    compared, equal : tensors of a second run, of the program that stores every tensor, and those equal to the golden.
    difference : the first one in either run, "" if there is none.
    """

    layers: tuple
    cycles: int
    predicted: int
    macs_a_cycle: int
    compared: int
    equal: int
    difference: str = ""

    @property
    def macs(self):
        """Of all layers."""
        return sum(layer.macs for layer in self.layers)

    def cycles_of(self, *kinds, predicted=False):
        """Cycles of the layers of these kinds."""
        return sum(layer.predicted if predicted else layer.cycles for layer in self.layers if layer.kind in kinds)

    def utilisation(self, macs, cycles):
        """MACs of those that the array could do in these cycles."""
        return macs / max(1, cycles * self.macs_a_cycle)


def memory_of(config):
    """The `Timing` of the memory: a beat a cycle, reads and writes together, after `LATENCY` cycles."""
    return Timing(latency=LATENCY, bytes_per_cycle=config.dram_bytes, duplex="half")


def run_graph(graph, config, inputs):
    """Run a graph on the compiled RTL twice, as it would be used and with every tensor stored: a GraphRun.

    Parameters
    ----------
    graph : `rowcast_models.graph.Graph`.
    inputs : int8 arrays by name, in the graph's shapes.
    """
    timing, golden = memory_of(config), evaluate(graph, inputs)
    memory = Memory(latency=LATENCY)
    used, full = (compile_graph(graph, config, memory=memory, keep_all=every) for every in (False, True))
    model = build(config)
    runs = []
    for program in (used, full):
        with RtlBackend(program, timing=timing, model=model) as machine:
            runs.append(machine.run(inputs))
    made = {name: array for name, array in golden.items() if name not in graph.inputs}
    first, second = (compare(run.tensors, made) for run in runs)
    compared = sum(name in runs[1].tensors for name in made)
    prediction = predict(used.instructions, config, timing)
    layers = tuple(
        _layer(layer, spent, guess.cycles, config)
        for layer, spent, guess in zip(used.layers, runs[0].layers, prediction.layers, strict=True)
    )
    return GraphRun(
        layers=layers, cycles=runs[0].cycles, predicted=prediction.cycles, macs_a_cycle=config.num_macs,
        compared=compared, equal=compared - len(second), difference=str(next(iter(first + second), "")),
    )  # fmt: skip


def _layer(layer, spent, predicted, config):
    share = layer.macs / max(1, spent.cycles * config.num_macs)
    return LayerRun(
        name=layer.name, kind=layer.kind, macs=layer.macs, cycles=spent.cycles, predicted=predicted,
        bound=report.bound(spent, share),
    )  # fmt: skip
