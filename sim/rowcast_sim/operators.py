"""`rowcast operators`: what of each format is supported, as the operators themselves say it."""

from pathlib import Path

from rowcast.emit import write_atomic
from rowcast_models import from_onnx, from_tflite

from . import report
from .files import check_target

__all__ = ["page", "print_operators", "write_operators"]

FORMATS = (("TensorFlow Lite", from_tflite), ("ONNX", from_onnx))
COLUMNS = ("operator", "runs on", "what of it", "equal to the runtime", "arithmetic")
INTRODUCTION = """# Operators

Made by `rowcast operators --write docs/operators.md`.

Every operator has a numpy golden of its own, in a file of its own (`models/rowcast_models/from_tflite/operators`,
`models/rowcast_models/from_onnx/operators`). Tests compare it with the runtime (LiteRT's reference kernels, ONNX Runtime) on random
shapes, scales and zero points, and the integer graph, which the hardware equals bit for bit, with the golden. "exact" is equal in
every bit; a share is the largest part of the values that may differ, by 1, because the runtime computes in float there.
"""


def _rows(package):
    for kind, operator in sorted(package.kinds().items()):
        place = "host" if operator.lower is None else "nothing runs" if operator.free else "accelerator"
        exact = "float, on the host" if operator.share >= 1 else f"at most {100 * operator.share:g}% by 1" if operator.share else "exact"
        yield kind, place, operator.supports, exact, operator.source


def page():
    """The table as markdown."""
    parts = [INTRODUCTION]
    for title, package in FORMATS:
        lines = [f"## {title}", "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in _rows(package)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def write_operators(path):
    """Write the page."""
    check_target(path)
    write_atomic(Path(path), page())


def print_operators(console):
    """Print the table."""
    for title, package in FORMATS:
        made = report.table(*COLUMNS[:4], title=title)
        for row in _rows(package):
            made.add_row(*row[:4])
        console.print(made, "")
