"""An imported network on a backend: compiled once, run on many inputs, in the model's own types.

    network = load_model("model.tflite")
    with Runner(network, config=PRESETS["base"]) as machine:
        outputs = machine.run(x).outputs
"""

import contextlib
from dataclasses import dataclass

import numpy as np

from rowcast.config import PRESETS
from rowcast_models.compiler.network import compile_graph
from rowcast_models.compiler.program import Program
from rowcast_models.frontend import GraphStage, ModelError

from .machine import BACKENDS, open_backend
from .results import Run

__all__ = ["ModelRun", "Runner", "StageRun", "compile_network"]


@dataclass(frozen=True, eq=False)
class StageRun:
    """One run of one GraphStage.

    Members
    -------
    stage : the GraphStage; program : what it was compiled to, None for the golden.
    inputs : int8 arrays by graph input.
    run : `results.Run`: tensors, cycles, layers.
    """

    stage: GraphStage
    program: Program | None
    inputs: dict
    run: Run


@dataclass(frozen=True, eq=False)
class ModelRun:
    """What a network made of its inputs.

    Members
    -------
    outputs : the model's outputs by name, in its types and axes, first axis the batch.
    values : all values of the model that are known: inputs, outputs, what the host made, and what the accelerator
        stored to memory (with `keep_all`, everything).
    parts : for each batch in turn, a StageRun of each GraphStage.
    """

    outputs: dict
    values: dict
    parts: tuple

    @property
    def cycles(self):
        """Cycles of all stages and batches together, 0 if the backend has none."""
        return sum(each.run.cycles for part in self.parts for each in part)


class Runner:
    """A network on a backend.  Everything is compiled, and the simulators are started, when it is made.

    Parameters
    ----------
    network : `frontend.Network`, as `rowcast_models.load.load_model` gives it.
    backend : "rtl", "functional", "amaranth", "golden" or "port", see `machine`.
    config : `rowcast.Config` of the accelerator; default the preset `base`.
    keep_all : keep every tensor, not only those that are needed outside the accelerator.
    options : for the backend, such as `timing` (of the memory) or `model` (compiled RTL) of the RTL, or the `device`
        (`host.Device`) at a port.

    Members
    -------
    programs : Program of each GraphStage in turn; None for the golden.

    Raises
    ------
    ValueError
        There is no such backend.
    CompileError
        The network does not fit the configuration.
    """

    def __init__(self, network, *, backend="rtl", config=None, keep_all=False, programs=None, **options):
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
        self.network, self.backend = network, backend
        graph_stages = [stage for stage in network.stages if isinstance(stage, GraphStage)]
        if backend == "golden":
            programs = (None,) * len(graph_stages)
        elif programs is None:
            programs = compile_network(network, config or PRESETS["base"], keep_all=keep_all)
        self.programs = tuple(programs)
        self._machines = {}
        with contextlib.ExitStack() as stack:
            for stage, program in zip(graph_stages, self.programs, strict=True):
                machine = stack.enter_context(open_backend(backend, stage.graph, program, **options))
                self._machines[id(stage)] = program, machine
            self._stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """End the simulators."""
        self._stack.close()

    def run(self, inputs, *, progress=None, window=None):
        """Run as many items as the inputs have, `network.batch` at a time.

        Parameters
        ----------
        inputs : arrays by name of the model's inputs, in its types and axes, first axis the batch; or the one array
            of a model with one input.
        progress : called with (items done, cycles of the stage under way).
        window : a `timeline.Window` of the cycles of the first batch to record, of the RTL.

        Returns
        -------
        ModelRun

        Raises
        ------
        ModelError
            The arrays are not what the model takes.
        """
        model, step = self.network.model, self.network.batch
        inputs = self._named(inputs)
        self.network.check_inputs(inputs)
        count = len(next(iter(inputs.values())))
        if count % step:
            raise ModelError(f"there are {count} items, but the network works on {step} at a time: give a multiple of {step}")
        known, parts = [], []
        for start in range(0, count, step):
            note = progress and (lambda cycles, start=start: progress(start, cycles))
            batch = {name: array[start : start + step] for name, array in inputs.items()}
            values, stages = self._part(batch, note, window if start == 0 else None)
            known.append(values)
            parts.append(stages)
        values = {name: np.concatenate([each[name] for each in known]) for name in known[0]}
        outputs = {name: self._value(values, name, count) for name in model.outputs}
        return ModelRun(outputs, values, tuple(parts))

    def _named(self, inputs):
        if isinstance(inputs, dict):
            return {name: np.asarray(array) for name, array in inputs.items()}
        names = self.network.model.inputs
        if len(names) != 1:
            raise ModelError(f"the model has {len(names)} inputs, give arrays by name: {', '.join(names)}")
        return {names[0]: np.asarray(inputs)}

    def _part(self, inputs, note, window):
        """(values, StageRun of each GraphStage) of one batch."""
        stages = []
        watch = {} if window is None else {"window": window}

        def run_graph(stage, arrays):
            program, machine = self._machines[id(stage)]
            run = machine.run(arrays, progress=note and (lambda cycles, layer: note(cycles)), **watch)
            stages.append(StageRun(stage, program, arrays, run))
            return run.tensors

        return self.network.run(inputs, run_graph), tuple(stages)

    def _value(self, values, name, count):
        if name in values:
            return values[name]
        constant = self.network.model.constant(name)  # an output that depends on no input
        return np.repeat(constant[:1], count, 0) if constant.shape else constant


def compile_network(network, config, *, memory=None, keep_all=False, progress=None):
    """A Program of each GraphStage; `progress` is called with (nodes done, nodes of all stages, name of the node).

    `memory` is the `mapping.Memory` that the mapper plans for.
    """
    graphs = [stage.graph for stage in network.stages if isinstance(stage, GraphStage)]
    total, programs = sum(len(graph.nodes) for graph in graphs), []
    for number, graph in enumerate(graphs):
        before = sum(len(each.nodes) for each in graphs[:number])
        note = progress and (lambda done, _, name, before=before: progress(before + done, total, name))
        programs.append(compile_graph(graph, config, memory=memory, keep_all=keep_all, progress=note))
    return tuple(programs)
