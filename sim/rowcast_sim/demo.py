"""The demo: handwritten digits through LeNet-5 on the RTL, every tensor compared with the golden."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rich.text import Text

from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import digits, lenet5, to_int8

from . import report
from .machine import RtlBackend
from .results import compare
from .verilated import build, emitted

__all__ = ["demo", "simulator"]

PICTURES = 24  # at most


def demo(config, *, count, seed, console):
    """Run `count` digits that `seed` chooses; returns the exit status: 1 if a tensor differs from the golden."""
    images, labels = digits()
    chosen = np.random.default_rng(seed).choice(len(images), count, replace=False)
    images, labels = images[chosen], labels[chosen]
    inputs = to_int8(images)
    with report.working("Compiling LeNet-5"):
        graph = lenet5()
        golden = evaluate(graph, {"image": inputs})
        # The first as it would be used; the second stores what the first keeps on chip, so that it can be compared.
        programs = compile_graph(graph, config), compile_graph(graph, config, keep_all=True)
    model = simulator(config)
    started = time.monotonic()
    runs, full_runs = _run(programs, model, inputs)
    seconds = time.monotonic() - started

    differences = [
        (number, difference)
        for number, each in enumerate(zip(full_runs, runs))
        for run in each
        for difference in compare(run.tensors, {name: values[[number]] for name, values in golden.items()})
    ]
    classes = np.array([run.tensors["OUT"].argmax() for run in runs])
    _print_digits(console, images, classes, labels, runs)
    tensors = [node.output for node in graph.nodes]
    wrong = {(number, difference.tensor) for number, difference in differences}
    equal = {node.name: f"{count - sum(name == node.output for _, name in wrong)}/{count}" for node in graph.nodes}
    console.print(report.layer_table(programs[0], runs[0], equal=equal), "")
    console.print(report.cause_table(runs[0], ascii_only=console.options.ascii_only), "")
    cycles = sum(run.cycles for run in (*runs, *full_runs))
    report.sentence(console, f"{_what(config)}; {cycles:,} cycles of RTL simulated in {seconds:.1f} s.")
    for number, difference in differences[:1]:
        report.sentence(console, f"First difference: digit {number + 1}: {difference}", style="red")
    right, total = int((classes == labels).sum()), count * len(tensors)
    report.sentence(
        console,
        f"{total - len(wrong)} of {total} tensors of {count} digit{'s' * (count > 1)} equal the golden bit for bit; "
        f"{right} of {count} classified correctly.",
        style="bold red" if wrong else "bold green",
    )
    return 1 if differences else 0


def simulator(config):
    """The compiled RTL of a configuration, from the cache if it is there, with a word on what takes long."""
    with report.working("Writing the Verilog"):
        emitted(config)
    return build(config)


def _run(programs, model, inputs):
    """Each program on every input: lists of Runs.  Two processes at work, one a program."""
    stop = threading.Event()
    with report.progress_bar("Running the RTL", len(programs) * len(inputs)) as step:

        def run_all(program):
            runs = []
            with RtlBackend(program, model=model) as backend:
                for image in inputs:
                    if stop.is_set():
                        break
                    runs.append(backend.run({"image": image[None]}))
                    step()
            return runs

        with ThreadPoolExecutor() as pool:
            try:
                return list(pool.map(run_all, programs))
            finally:
                stop.set()


def _what(config):
    return f"{config.rows} x {config.columns} PEs of {config.lanes} lanes, {config.num_macs} MACs a cycle"


def _print_digits(console, images, classes, labels, runs):
    captions = []
    for number, label, run in zip(classes, labels, runs):
        caption = Text()
        caption.append(f"class {number}, label {label}\n", style="green" if number == label else "red")
        caption.append(f"{run.cycles:,} cycles", style="dim")
        captions.append(caption)
    console.print(report.gallery(console, images[:PICTURES], captions[:PICTURES]))
    if len(images) > PICTURES:
        console.print(f"... and {len(images) - PICTURES} more\n")
