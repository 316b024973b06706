"""Random models against the runtimes that they are made for, at every tensor; and on the hardware."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from rowcast_models import from_onnx, from_tflite
from rowcast_models.frontend import import_model
from rowcast_models.frontend.network import Network, run_operator

from ...check import check_hardware
from ...runner import Runner

__all__ = ["Case", "Comparison", "Difference", "FORMATS", "compare", "compare_hardware", "random_case"]

FORMATS = ("onnx", "tflite")


class Difference(AssertionError):
    """Two tensors that ought to be equal: names the model, the operator and the first element; `case` is the Case, or None."""

    def __init__(self, text, case=None):
        self.case = case
        super().__init__(f"{case}: {text}" if case else text)


@dataclass(frozen=True, eq=False)
class Case:
    """A random model.

    Members
    -------
    format : "onnx" or "tflite"; form : of ONNX, "qoperator-int8" say; seed, length : what made it.
    network : the model, imported; inputs : arrays by name; reference : what the runtime makes of every tensor.
    """

    format: str
    form: str
    seed: int
    length: int
    network: Network
    inputs: dict
    reference: dict

    def __str__(self):
        return f"{self.format} model of seed {self.seed} and length {self.length}"


def random_case(format_, seed, length=5, *, batch=2):
    """The Case of a seed; its runtime has run.

    Parameters
    ----------
    length : operators, about.
    """
    if format_ == "onnx":
        from rowcast_models.reference import ort

        from .onnx_random import random_model
        from .onnx_writer import random_inputs

        model, form = random_model(seed, length)
        inputs = random_inputs(model, np.random.default_rng(seed), batch)
        network, reference = import_model(from_onnx.read(model), from_onnx.kinds()), ort.run(model, inputs)
    else:
        from rowcast_models.reference import litert

        from .tflite_random import random_model

        (model, writer, names), form = random_model(seed, length), "int8"
        inputs = writer.arrays(names, batch)
        network = import_model(from_tflite.read(model, runtime="litert"), from_tflite.kinds())
        reference = litert.run(model, inputs)
    return Case(format_, form, seed, length, network, inputs, reference)


class Comparison:
    """Counts of values by (format, kind of operator): compared, golden unlike runtime, graph unlike golden."""

    def __init__(self):
        self.compared, self.golden, self.graph, self.operators = Counter(), Counter(), Counter(), Counter()
        self.shares = {}

    def add(self, which, case, op, got, want):
        """Compare one tensor: equal, or, where the kind states a share, at most 1 apart."""
        share = self.shares.setdefault((case.format, op.kind), case.network.kinds[op.kind].share)
        place = f"{op.kind} {op.name!r}, {which}"
        if got.dtype != want.dtype or got.shape != want.shape:
            raise Difference(f"{place}: {got.dtype} {got.shape}, not {want.dtype} {want.shape}", case)
        apart = np.abs(got.astype(np.int16) - want) if got.dtype.kind != "f" else np.float64(got != want) * (share < 1)
        if apart.max(initial=0) > (share > 0):
            at = tuple(int(i) for i in np.argwhere(apart > (share > 0))[0])
            count = f"{np.count_nonzero(apart)} of {apart.size} differ"
            raise Difference(f"{place}: {count}, the first at {at}: {got[at]}, not {want[at]}", case)
        getattr(self, which)[case.format, op.kind] += int(np.count_nonzero(apart))

    def check_shares(self):
        """No kind has more values that differ than it says, over all models.

        Raises
        ------
        Difference
        """
        for (format_, kind), count in (self.golden + self.graph).items():
            allowed = 2 * self.shares[format_, kind] * self.compared[format_, kind] + 2
            if count > allowed:
                size = self.compared[format_, kind]
                raise Difference(f"{kind} of {format_}: {count} of {size} values differ, more than {allowed:.1f}")


def compare(case, into=None):
    """Compare a random model with its runtime, and the integer graph with the goldens, at every tensor.

    Every operator's golden is fed with the runtime's own tensors, and then with the graph's, so that a difference stays
    where it arises.

    Parameters
    ----------
    into : the Comparison that counts; default a new one.

    Returns
    -------
    Comparison

    Raises
    ------
    Difference
    """
    into, network = into or Comparison(), case.network
    unseen = [name for name in network.model.outputs if name not in case.reference]
    if unseen:
        raise Difference(f"output {unseen[0]!r}: the runtime gives none of this name", case)
    reference, values = dict(case.reference), network.run(case.inputs)
    for op in network.model.operators:
        into.operators[case.format, op.kind] += 1
        made = run_operator(network.model, network.kinds, op, reference)
        from_graph = run_operator(network.model, network.kinds, op, {**made, **values})
        for name, array in made.items():
            if name in case.reference:
                into.compared[case.format, op.kind] += array.size
                into.add("golden", case, op, array, reference[name])
            reference.setdefault(name, array)
            if name in values:
                into.add("graph", case, op, values[name], from_graph[name])
    return into


def compare_hardware(case, config, **options):
    """Compare every tensor of a random model with the integer graph's, on a backend (default the RTL).

    Parameters
    ----------
    options : of Runner, such as `backend` and `model` (compiled RTL).

    Returns
    -------
    (tensors, cycles)

    Raises
    ------
    Difference
    """
    with Runner(case.network, config=config, keep_all=True, **options) as machine:
        result = machine.run(case.inputs)
    check = check_hardware(result, machine.backend)
    if check.failed:
        raise Difference(f"{check.first} ({config})", case)
    return check.compared, result.cycles
