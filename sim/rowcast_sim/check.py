"""Three layers of truth against each other, tensor by tensor: hardware, integer graph, operators, reference runtime."""

from dataclasses import dataclass, field

import numpy as np

from rowcast_models.frontend.network import run_operator
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.load import read_model

from .results import describe_difference

__all__ = ["Check", "allowance", "check_graph", "check_hardware", "check_reference"]

FLOAT_STEPS = 16  # units in the last place by which float results may differ where the runtime has an exponential of its own


@dataclass
class Check:
    """One comparison.

    Members
    -------
    title : what is compared with what.
    compared, equal : tensors; equal counts those that differ no more than their operator may.
    first : the first difference, as text.
    notes : what else to say, a sentence each.
    skipped : why it could not run.
    """

    title: str
    compared: int = 0
    equal: int = 0
    first: str = ""
    notes: list = field(default_factory=list)
    skipped: str = ""

    @property
    def failed(self):
        """Whether a tensor differs."""
        return self.equal < self.compared

    def compare(self, name, got, want, *, who, share=0.0):
        """Count one tensor; returns how many values differ.

        Parameters
        ----------
        who : the words for `got` and `want`.
        share : of the values that may differ, integers by 1 and floats by FLOAT_STEPS.
        """
        self.compared += 1
        if got.dtype != want.dtype or got.shape != want.shape:
            found = f"tensor {name!r}: {who[0]} {got.dtype} {list(got.shape)}, {who[1]} {want.dtype} {list(want.shape)}"
            self.first = self.first or found
            return got.size
        wrong = _differs(got, want)
        count = int(wrong.sum())
        if not count or (count <= allowance(share, got.size) and _steps(got, want) <= (FLOAT_STEPS if _is_float(got) else 1)):
            self.equal += 1
        else:
            self.first = self.first or describe_difference(name, got, want, wrong, who=who)
        return count


def allowance(share, size):
    """How many of `size` values may differ where on average `share` of them do.

    A small tensor is a small sample: of 10 values with a share of 4% one differs in every third tensor.  So four
    standard deviations of the count, and one, more than its mean.
    """
    return min(size, share * size + 4 * np.sqrt(share * size) + 1) if share else 0


def _is_float(array):
    return array.dtype.kind == "f"


def _differs(got, want):
    differs = got != want
    return differs & ~(np.isnan(got) & np.isnan(want)) if _is_float(got) else differs


def _steps(got, want):
    """The largest difference: of integers itself, of floats in units in the last place of what is wanted."""
    if not _is_float(got):
        return int(np.abs(got.astype(np.int64) - want.astype(np.int64)).max())
    with np.errstate(invalid="ignore"):  # infinite or not a number: never near
        steps = np.abs(got.astype(np.float64) - want) / np.spacing(np.abs(want))
    return float(np.where(_differs(got, want), np.nan_to_num(steps, nan=np.inf), 0).max())


def check_hardware(result, backend):
    """Every tensor that a run on a backend keeps (`ModelRun`), against the integer graph's golden."""
    check = Check(f"{_backend(backend)} = graph")
    for stages in zip(*result.parts, strict=True):
        graph = stages[0].stage.graph
        inputs = {name: np.concatenate([each.inputs[name] for each in stages]) for name in graph.inputs}
        golden = evaluate(graph, inputs)
        for node in graph.nodes:
            arrays = [each.run.tensors.get(node.output) for each in stages]
            if all(array is not None for array in arrays):
                got = np.concatenate(arrays)
                check.compare(node.output, got, golden[node.output], who=(_backend(backend), "graph"))
    return check


def check_graph(network, inputs):
    """Every value of the model that the integer graph has, against its operator's golden on the graph's own inputs."""
    check = Check("graph = operators")
    known = network.run(inputs)
    hidden = 0
    values = dict(inputs)
    allowed = _Allowed(check)
    for op in network.model.operators:
        made = run_operator(network.model, network.kinds, op, values)
        for name, want in made.items():
            if name in known:
                allowed.compare(network, op, name, known[name], want, who=("graph", "operator"))
            hidden += name not in known
        values.update(made | {name: known[name] for name in made if name in known})
    allowed.note()
    if hidden:
        check.notes.append(f"{_tensors(hidden)} of the model do not exist in the graph, where operators are joined")
    return check


def check_reference(network, path, inputs, *, runtime):
    """Every operator's golden, on the reference runtime's own inputs of it, against the runtime's output.

    Parameters
    ----------
    path : the model's file.
    runtime : with which it was read.
    """
    model = network.model
    reference, said = ("LiteRT", "litert") if model.format == "tflite" else ("ONNX Runtime", "ort")
    check = Check(f"operators = {reference}")
    try:
        tensors = _runtime(said, path, inputs)
    except ImportError as error:
        check.skipped = str(error)
        return check
    if model.format == "tflite" and runtime != "litert":
        model = read_model(path, runtime="litert")
        check.notes.append('for this check the model was read with runtime "litert", whose fully connected layers round once')
    values = tensors | inputs
    missing = 0
    allowed = _Allowed(check)
    for op in model.operators:
        made = run_operator(model, network.kinds, op, values)
        for name, got in made.items():
            if name in tensors:
                allowed.compare(network, op, name, got, tensors[name], who=("operator", reference))
            missing += name not in tensors
        values.update({name: array for name, array in made.items() if name not in tensors})
    allowed.note()
    if not check.compared and missing:
        check.skipped = f"{reference} does not show any tensor of the model"
    elif missing:
        check.notes.append(f"{reference} does not show {_tensors(missing)}")
    return check


def _runtime(name, path, inputs):
    """All tensors by name, of reference runtime `name`; ImportError if it is not installed."""
    if name == "litert":
        from rowcast_models.reference import litert as module
    else:
        from rowcast_models.reference import ort as module
    return module.run(path, inputs)


class _Allowed:
    """Comparisons in which some kinds of operator may differ a little in a share of values; counts what they do."""

    def __init__(self, check):
        self.check, self.counts = check, {}

    def compare(self, network, op, name, got, want, *, who):
        share = network.kinds[op.kind].share
        count = self.check.compare(name, got, want, who=who, share=share)
        if share:
            key = op.kind, share, _is_float(got)
            before = self.counts.get(key, (0, 0))
            self.counts[key] = before[0] + count, before[1] + got.size

    def note(self):
        for (kind, share, is_float), (count, size) in self.counts.items():
            by = f"{FLOAT_STEPS} units in the last place" if is_float else "1"
            may = "all" if share >= 1 else f"{100 * share:g}%"
            self.check.notes.append(f"{kind}: {count:,} of {size:,} values differ; {may} may, by up to {by}")


def _backend(name):
    return {"rtl": "RTL", "functional": "instruction set", "amaranth": "Amaranth's simulator", "port": "device"}[name]


def _tensors(count):
    return "1 tensor" if count == 1 else f"{count} tensors"
