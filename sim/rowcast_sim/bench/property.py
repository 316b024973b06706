"""`rowcast bench property`: random models of both formats against their runtimes, and on the RTL."""

from collections import Counter

import click
from rich.console import Console
from rich.progress import Progress
from rowcast.config import preset

from ..tools import ToolError
from ..verilated import build
from .output import Table, deliver, outputs, verdict
from .random_models.compare import FORMATS, Comparison, Difference, compare, compare_hardware, random_case

__all__ = ["CONFIGS", "property_"]

LENGTHS = 6  # operators of a model at most, about
CONFIGS = {
    "base": preset("base"),
    "tiny": preset("tiny"),
    "odd": preset("base").replace(
        rows=3, columns=2, lanes=4, dram_bytes=8, noc_words=2, act_words=4096, act_banks=4, filter_buffer_words=2048,
        queue_depth=8, outstanding_reads=2,
    ),
}  # fmt: skip


def draw(count, seed):
    """Random (seed, length) of models, as hypothesis draws them: ends of the ranges more often than chance would."""
    try:
        import hypothesis
        from hypothesis import strategies as st
    except ImportError as error:
        raise ToolError("hypothesis is not installed: pip install 'rowcast[test]'") from error
    found = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate])
    @hypothesis.given(st.integers(0, 2**32 - 1), st.integers(1, LENGTHS))
    def note(model, length):
        found[model, length] = None

    for extra in range(100):  # what it draws again does not count
        hypothesis.seed(seed + extra)(note)()
        if len(found) >= count:
            break
    return list(found)[:count]


def runs(formats, graphs, rtl, seed):
    """(format, seed, length, name of a configuration or None) of every model: each format as often, the RTL spread evenly."""
    made = []
    for number, format_ in enumerate(formats):
        count, hardware = (total // len(formats) + (number < total % len(formats)) for total in (graphs, rtl))
        for at, (model, length) in enumerate(draw(max(count, hardware), seed + number)):
            turn = at * hardware // max(count, hardware)
            new = turn != (at - 1) * hardware // max(count, hardware)
            made.append((format_, model, length, list(CONFIGS)[turn % len(CONFIGS)] if hardware and new else None))
    return made


def measure(todo):
    """Compare all models; returns (Comparison, Counter of RTL figures by (what, configuration), forms)."""
    into, hardware, forms, built = Comparison(), Counter(), Counter(), {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for format_, seed, length, name in progress.track(todo, description="models"):
            case = random_case(format_, seed, length)
            forms[format_, case.form] += 1
            compare(case, into)
            if name is not None:
                built[name] = built.get(name) or build(CONFIGS[name], quiet=True)
                tensors, cycles = compare_hardware(case, CONFIGS[name], model=built[name])
                hardware.update({("models", name): 1, ("tensors", name): tensors, ("cycles", name): cycles})
    return into, hardware, forms


def tables(into, hardware, forms):
    """Operators, models, and the RTL."""
    kinds = Table("Operators", ("operator", "in models", "values", "golden differs by 1", "graph differs by 1", "may at most"))
    for key in sorted(into.operators):
        share = into.shares.get(key, 0)
        may = "" if not share else "float" if share >= 1 else f"{100 * share:g}%"
        kinds.add(f"{key[0]} {key[1]}", f"{into.operators[key]:,}", f"{into.compared[key]:,}", f"{into.golden[key]:,}",
                  f"{into.graph[key]:,}", may)  # fmt: skip
    models = Table("Models", ("format", "models"))
    for (format_, form), count in sorted(forms.items()):
        models.add(f"{format_} {form}", f"{count:,}")
    rtl = Table("On the RTL", ("configuration", "models", "tensors, all equal to the graph's", "cycles"))
    for name in CONFIGS:
        if hardware["models", name]:
            rtl.add(name, f"{hardware['models', name]:,}", verdict(f"{hardware['tensors', name]:,}", True), f"{hardware['cycles', name]:,}")
    return [models, rtl, kinds] if rtl.rows else [models, kinds]


@click.command("property")
@click.option("--graphs", default=2000, show_default=True, type=click.IntRange(1), help="Random models in all.")
@click.option("--rtl", default=200, show_default=True, type=click.IntRange(0), help="How many of them also run on the RTL.")
@click.option("--format", "format_", type=click.Choice([*FORMATS, "both"]), default="both", show_default=True)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--only", nargs=2, type=int, metavar="SEED LENGTH", help="One model again, with --format and on the RTL of all configurations.")
@outputs
def property_(graphs, rtl, format_, seed, only, json_file, markdown_file, check):
    """Random small models of both formats: every operator equals the runtime, every tensor of the RTL the golden.

    ONNX models (QOperator and QDQ, int8 and uint8) are compared with ONNX Runtime, TensorFlow Lite models with LiteRT's
    reference kernels.  2,000 models and 200 of them on the RTL take two minutes.
    """
    formats = FORMATS if format_ == "both" else (format_,)
    if only:
        todo = [(each, *only, name) for each in formats for name in CONFIGS]
    else:
        todo = runs(formats, graphs, rtl, seed)
    try:
        into, hardware, forms = measure(todo)
        into.check_shares()
    except Difference as error:
        console = Console(stderr=True, highlight=False)
        console.print(f"[bold red]differs[/] {error}")
        if error.case:
            again = f"rowcast bench property --format {error.case.format} --only {error.case.seed} {error.case.length}"
            console.print(f"only this model again: {again}")
        raise SystemExit(1) from None
    figures = {
        "models": {f"{a} {b}": n for (a, b), n in forms.items()}, "rtl": {f"{a} {b}": n for (a, b), n in hardware.items()},
        "values": {f"{a} {b}": n for (a, b), n in into.compared.items()},
    }  # fmt: skip
    text = (
        f"Made by `rowcast bench property --seed {seed}`: random models of up to about {LENGTHS} operators with random windows, strides, "
        "paddings, dilations, groups, scales, zero points and odd sizes, two items at a time. Every operator's golden, fed with the "
        "runtime's tensors, is compared with the runtime; the integer graph with the goldens; every tensor of the RTL with the graph. "
        "A value may differ by 1 only where the operator computes in float inside, and no more often than the last column says."
    )
    deliver("Random models", text, tables(into, hardware, forms), figures, [], json_file=json_file, markdown_file=markdown_file,
            check=check)  # fmt: skip
