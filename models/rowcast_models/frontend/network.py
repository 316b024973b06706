"""From a Model to what runs: stages on the accelerator, each an integer graph, and on the host, in turn."""

from dataclasses import dataclass

import numpy as np

from .. import graph as g
from ..golden.evaluate import evaluate
from ..golden.requantise import ScaleError
from .build import GraphBuilder
from .model import ModelError, Problem

__all__ = ["GraphStage", "HostStage", "Network", "further_problems", "import_model"]


@dataclass(frozen=True, eq=False)
class HostStage:
    """Operators that run in numpy, by their goldens."""

    operators: tuple


@dataclass(frozen=True, eq=False)
class GraphStage:
    """Operators that run on the accelerator.

    Members
    -------
    graph : the integer graph.
    operators : the model's operators in it.
    views : View of the model's values that lie in the graph.
    outputs : names of the model's values that are wanted outside.
    """

    graph: g.Graph
    operators: tuple
    views: dict
    outputs: tuple
    model: object

    def to_graph(self, values):
        """int8 arrays in the graph's shapes for its inputs, from the model's values by name."""
        made = {}
        for name in self.graph.inputs:
            array, view = values[name], self.views[name]
            array = array.transpose(0, *view.axes.order()).astype(np.int16) - 128 * (array.dtype == np.uint8)
            made[name] = array.reshape(len(array), *self.graph.tensors[name].shape[1:]).astype(np.int8)
        return made

    def from_graph(self, tensors):
        """The model's values by name, those whose tensors are among these, in the model's types and axes."""
        found = {}
        for name, view in self.views.items():
            if view.tensor not in tensors:
                continue
            array = tensors[view.tensor]
            array = array.reshape(len(array), -1)[:, view.where().reshape(-1)].reshape(len(array), *view.shape)
            if self.model.values[name].dtype == np.uint8:
                array = (array.astype(np.int16) + 128).astype(np.uint8)
            found[name] = array
        return found


@dataclass(frozen=True, eq=False)
class Network:
    """An imported model.

    Members
    -------
    model : the Model.
    kinds : OperatorKind by kind, of the model's format.
    stages : in order.
    batch : items that the graphs work on at a time.
    """

    model: object
    kinds: dict
    stages: tuple
    batch: int

    @property
    def host_operators(self):
        """The operators that run on the host."""
        return [op for stage in self.stages if isinstance(stage, HostStage) for op in stage.operators]

    def check_inputs(self, inputs):
        """Refuse arrays that the model does not take.

        Raises
        ------
        ModelError
            Which input is missing, unknown, or of another type or shape.
        """
        problems = []
        model = self.model
        for name in sorted(set(inputs) - set(model.inputs)):
            problems.append(Problem(name, "", f"is no input; inputs are: {', '.join(model.inputs)}"))
        for name in model.inputs:
            value = model.values[name]
            wanted = f"{np.dtype(value.dtype)} [N, {', '.join(map(str, value.shape[1:]))}]"
            if name not in inputs:
                problems.append(Problem(name, "", f"must be given: {wanted}"))
                continue
            array = inputs[name]
            if array.dtype != value.dtype or array.shape[1:] != tuple(value.shape[1:]) or not array.shape:
                problems.append(Problem(name, "", f"must be {wanted}, not {array.dtype} {list(array.shape)}"))
        lengths = {len(array) for name, array in inputs.items() if array.shape}
        if not problems and (len(lengths) > 1 or 0 in lengths):
            problems.append(Problem("", "", f"the inputs must have one batch of at least 1, not {sorted(lengths)}"))
        if problems:
            raise ModelError(problems)

    def run(self, inputs, run_graph=None):
        """All values of the model that are known after a run, by name, in the model's types and axes.

        Parameters
        ----------
        inputs : arrays by name, first axis the batch.
        run_graph : run_graph(stage, int8 arrays by name) -> int8 arrays by graph tensor, for each GraphStage;
            default the graph's golden.
        """
        self.check_inputs(inputs)
        run_graph = run_graph or (lambda stage, arrays: evaluate(stage.graph, arrays))
        values = dict(inputs)
        for stage in self.stages:
            if isinstance(stage, HostStage):
                for op in stage.operators:
                    values.update(run_operator(self.model, self.kinds, op, values))
            else:
                values.update(stage.from_graph(run_graph(stage, stage.to_graph(values))))
        return values

    def operator_golden(self, inputs):
        """All values, each operator by its own golden: nothing of the graph is in it."""
        self.check_inputs(inputs)
        values = dict(inputs)
        for op in self.model.operators:
            values.update(run_operator(self.model, self.kinds, op, values))
        return values


def run_operator(model, kinds, op, values):
    """Outputs by name of one operator's golden; `values` has what is not constant."""

    def array(name):
        if not name:
            return None
        constant = model.constant(name)
        return values[name] if constant is None else constant

    made = kinds[op.kind].golden(op, *map(array, op.inputs))
    return dict(zip(op.outputs, made, strict=True))


def import_model(model, kinds, *, batch=None):
    """Lower a model to a Network.

    Parameters
    ----------
    kinds : OperatorKind by kind.
    batch : items at a time; default the model's own, or 1 where it leaves that open.

    Raises
    ------
    ModelError
        Everything that is not supported, each with its node.
    """
    problems = [
        Problem(op.name, op.kind, f"there is no such operator; operators of this format are: {', '.join(kinds)}")
        for op in model.operators
        if op.kind not in kinds
    ]
    known = [op for op in model.operators if op.kind in kinds]
    batch = batch or next((model.values[name].shape[0] for name in model.inputs if model.values[name].shape), 1)
    stages, lost = [], set()
    for number, ops in enumerate(_stages(model, kinds, known)):
        if number % 2 == 0:
            stages.append(HostStage(tuple(ops)))
        else:
            stages.append(_graph_stage(model, kinds, ops, batch, f"{model.name}", problems, lost))
    if problems:
        raise ModelError(problems)
    return Network(model, kinds, tuple(s for s in stages if s is not None and s.operators), batch)


def further_problems(model, kinds):
    """What else is wrong with a model of which only a part could be read: the operators that could be are lowered."""
    try:
        import_model(model, kinds)
    except ModelError as error:
        return error.problems
    return ()


def _on_host(op, model, kinds):
    kind = kinds[op.kind]
    if kind.lower is None or kind.on_host(op, model):
        return True
    activations = [name for name in op.inputs if name and model.constant(name) is None]
    return not all(model.values[name].is_byte for name in (*activations, *op.outputs))


def _stages(model, kinds, operators):
    """Lists of operators; those of even lists run on the host, of odd ones on the accelerator."""
    level, lists = {}, []
    for op in operators:
        host = _on_host(op, model, kinds)
        number = max((level.get(name, 0) for name in op.inputs), default=0)
        if kinds[op.kind].free and number:
            host = number % 2 == 0
        if number % 2 == host:  # even numbers are the host's
            number += 1
        for name in op.outputs:
            level[name] = number
        while len(lists) <= number:
            lists.append([])
        lists[number].append(op)
    return lists


def _graph_stage(model, kinds, ops, batch, name, problems, lost):
    """The GraphStage of these operators, or None if there were problems; `lost` are values that none makes."""
    build = GraphBuilder(model, batch=batch)
    for op in ops:
        if lost.intersection(op.inputs):
            lost.update(op.outputs)
            continue
        try:
            kinds[op.kind].lower(op, build)
        except ModelError as error:
            problems.extend(error.problems)
            lost.update(op.outputs)
        except g.GraphError as error:
            problems.append(Problem(op.name, op.kind, str(error)))
            lost.update(op.outputs)
        except ScaleError as error:
            text = f"input scales / output scale: {error}; quantise the model again"
            problems.append(Problem(op.name, op.kind, text))
            lost.update(op.outputs)
    if problems:
        return None
    made = {name for op in ops for name in op.outputs}
    inside = {id(op) for op in ops}
    outside = set(model.outputs)
    outside.update(name for op in model.operators if id(op) not in inside for name in op.inputs)
    outputs = tuple(name for op in ops for name in op.outputs if name in made & outside)
    tensors = tuple(dict.fromkeys(build.views[name].tensor for name in outputs))
    used = _used(build.nodes, tensors)
    kept = {*build.inputs, *(node.output for node in used)}
    graph = g.Graph(
        name=name, tensors=[t for t in build.tensors.values() if t.name in kept], inputs=tuple(build.inputs),
        outputs=tensors, nodes=tuple(used),
    )  # fmt: skip
    views = {name: view for name, view in build.views.items() if view.tensor in kept}
    return GraphStage(graph, tuple(ops), views, outputs, model)


def _used(nodes, outputs):
    """Nodes that the outputs need, in order."""
    needed, used = set(outputs), []
    for node in reversed(nodes):
        if node.output in needed:
            needed.update(node.inputs)
            used.append(node)
    return used[::-1]
