"""Where the operators of a network run, and why."""

from collections import Counter

import numpy as np

from rowcast_models.frontend import GraphStage

from . import report

__all__ = ["print_placement", "reason"]


def reason(op, network):
    """Why an operator runs on the host."""
    model, kind = network.model, network.kinds[op.kind]
    if kind.lower is None:
        return "this kind runs on the host only"
    for name in (*op.inputs, *op.outputs):
        if name and model.constant(name) is None and not model.values[name].is_byte:
            return f"{name!r} is {np.dtype(model.values[name].dtype)}, and the accelerator works on int8 and uint8"
    return f"not in this form; on the accelerator: {kind.supports}"


def print_placement(console, network):
    """A line for what runs on the accelerator, and one for each operator on the host."""
    graph_stages = [stage for stage in network.stages if isinstance(stage, GraphStage)]
    inside = [op for stage in graph_stages for op in stage.operators]
    runs = f" in {len(graph_stages)} runs" if len(graph_stages) > 1 else ""
    report.sentence(console, f"On the accelerator{runs}: {_counted(inside) or 'nothing'}.")
    outside = network.host_operators
    if not outside:
        report.sentence(console, "On the host: nothing.")
    grouped = {}
    for op in outside:
        grouped.setdefault((op.kind, reason(op, network)), []).append(op.name)
    for (kind, why), names in grouped.items():
        shown = ", ".join(repr(report.short(name)) for name in names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
        report.sentence(console, f"On the host: {kind} {shown}: {why}.")
    console.print("")


def _counted(operators):
    """ "2 ADD, 9 CONV_2D", most frequent first."""
    counts = Counter(op.kind for op in operators)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
