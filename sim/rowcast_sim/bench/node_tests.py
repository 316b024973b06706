"""`rowcast bench node-tests`: ONNX's own tests of single operators."""

from collections import Counter, defaultdict

import click
import numpy as np
from rowcast_models.from_onnx import kinds
from rowcast_models.from_onnx.backend import RowcastBackend
from rowcast_models.frontend import ModelError

from .output import Table, deliver, outputs, verdict

__all__ = ["node_tests", "outcomes"]

PASSED = "passed"


def outcomes():
    """(operator, case, "passed", or why it cannot apply, or what failed, whether it failed) of every case of our operators."""
    from onnx.backend.test.loader import load_model_tests

    known = set(kinds())
    for case in load_model_tests(kind="node"):
        used = [node.op_type for node in case.model.graph.node]
        if used and set(used) <= known:
            yield (used[0], case.name, *_run(case))


def _run(case):
    rep = RowcastBackend.prepare(case.model)
    for inputs, wanted in case.data_sets:
        if any(np.asarray(array).dtype == object for array in (*inputs, *wanted)):  # TensorProtos of types that numpy lacks
            return "types of fewer than 8 bits, or float8", False
        try:
            made = rep.run(inputs)
        except ModelError as error:
            return _reason(case, error), False
        except Exception as error:
            return f"{type(error).__name__}: {error}", True
        for got, want in zip(made, map(np.asarray, wanted), strict=True):
            if got is None or got.shape != want.shape or got.dtype != want.dtype or not _equal(got, want):
                return "another result", True
    return PASSED, False


def _equal(got, want):
    """Integers in every bit; float results of the host as the suite compares them."""
    return np.array_equal(got, want) if want.dtype.kind in "iub" else np.allclose(got, want, rtol=1e-3, atol=1e-7)


def _reason(case, error):
    """One line: the type where that is what stands in the way, else what the reader says."""
    types = {value.type.tensor_type.elem_type for value in case.model.graph.input[:1]}
    if types and types.isdisjoint({2, 3}) and not any(node.op_type.endswith("tizeLinear") for node in case.model.graph.node):
        return "not on bytes: the operator on float or wide integers"
    return error.problems[0].text.split(";")[0][:110]


@click.command("node-tests")
@outputs
def node_tests(json_file, markdown_file, check):
    """ONNX's node tests for every operator of ours: passed, or why a case cannot apply.  Takes about half a minute."""
    counts, reasons, failures = defaultdict(Counter), defaultdict(Counter), []
    for operator, case, outcome, failed in outcomes():
        counts[operator]["failed" if failed else PASSED if outcome == PASSED else "other"] += 1
        if failed:
            failures.append(f"{case}: {outcome}")
        elif outcome != PASSED:
            reasons[operator][outcome] += 1
    table = Table("Cases", ("operator", "passed", "cannot apply", "failed", "why"))
    for operator, found in sorted(counts.items()):
        why = "; ".join(f"{count} {text}" for text, count in reasons[operator].most_common())
        table.add(operator, str(found[PASSED]), str(found["other"]), verdict(str(found["failed"]), not found["failed"]), why)
    figures = {"operators": {operator: dict(found) for operator, found in counts.items()}, "failures": failures}
    text = (
        "Made by `rowcast bench node-tests`: the cases of `onnx.backend.test.loader` whose operators are ours, on the integer graph's golden and the "
        "host. Weights, scales and shapes that the suite gives at run time are made constants first."
    )
    deliver("ONNX node tests", text, [table], figures, failures, json_file=json_file, markdown_file=markdown_file, check=check, failed=bool(failures))
