"""What is known of one kind of operator: its arithmetic in numpy, how it becomes graph nodes, and what the table says."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["OperatorKind", "load_kinds"]


@dataclass(frozen=True, kw_only=True)
class OperatorKind:
    """One kind of operator of one format.

    Parameters
    ----------
    kind : as in `Operator.kind`.
    golden : golden(op, *arrays) -> tuple of arrays, one for each output.  Arrays have the model's own types and axes, constants
        included; None is an absent input.  The first axis, the batch, is free.
    lower : lower(op, build) appends nodes to a `GraphBuilder`, or raises `op.problem(...)`; None runs on the host.
    on_host : on_host(op, model) says that this one operator runs on the host, beyond those that do not work on bytes.
    supports : what of the operator, for the table; one line.
    source : where the arithmetic comes from: specification, or kernel of the runtime.
    share : largest share of values that may differ from the reference runtime, by 1.  0 is exact.
    free : moves and computes nothing, so it runs where its input is.
    """

    kind: str
    golden: Callable
    lower: Callable | None
    supports: str
    source: str
    share: float = 0.0
    free: bool = False
    on_host: Callable = staticmethod(lambda op, model: False)


def load_kinds(package):
    """OperatorKind by kind: `OPERATOR` of every module of a package, so that an operator is one file."""
    found = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        operator = getattr(module, "OPERATOR", None)
        if operator is None:
            continue
        if operator.kind in found:
            raise ValueError(f"two modules of {package.__name__} define {operator.kind!r}")
        found[operator.kind] = operator
    return found
