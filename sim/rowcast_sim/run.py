"""`rowcast run` of a network of the zoo, on inputs from a file, on any backend; models of one's own: `run_model`."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.load import ENDINGS
from rowcast_models.zoo import NETWORKS

from . import report
from .errors import InputError
from .files import check_target, read_array, write_array
from .machine import open_backend
from .results import compare
from .timeline import Window, write_runs

__all__ = ["Job", "backend_options", "opened", "read_input", "run"]

@dataclass(frozen=True)
class Job:
    """What the command line asks for; see `rowcast run --help`."""

    network: str
    sources: tuple
    target: str | None
    backend: str
    batch: bool
    check: bool
    memory: int | None
    config: object
    runtime: str | None = None
    trace: str | None = None
    port: str | None = None
    baud: int | None = None


def run(job, *, console):
    """Do it; returns the exit status: 1 if `check` finds a difference."""
    if job.trace is not None:
        if job.backend != "rtl":
            raise InputError(f"--trace shows the RTL, not the backend {job.backend}")
        check_target(job.trace)
    if job.network not in NETWORKS:
        if not Path(job.network).exists() and Path(job.network).suffix.lower() not in ENDINGS:
            raise InputError(
                f"there is no network {job.network!r}; networks are: {', '.join(NETWORKS)}; "
                f"a model of your own is a file that ends in {' or '.join(ENDINGS)}"
            )
        from .run_model import run_model

        return run_model(job, console=console)
    if job.runtime is not None:
        raise InputError(f"--runtime is for .tflite models, not for {job.network}")
    if len(job.sources) != 1:
        raise InputError(f"{job.network} has one input, not {len(job.sources)}: give --input once")
    if job.check and job.backend == "golden":
        raise InputError("--check compares with the golden: choose another --backend")
    if job.target is not None:
        check_target(job.target)
    network = NETWORKS[job.network]
    inputs = read_input(job.sources[0], network)
    graph = network.build(batch=len(inputs) if job.batch else 1)
    with opened(job) as device:
        program = _compile(job, graph)
        runs = _run(job, graph, program, np.split(inputs, 1 if job.batch else len(inputs)), device)
    outputs = np.concatenate([run.tensors[graph.outputs[0]] for run in runs])
    if job.target is not None:
        write_array(job.target, outputs)
    if job.trace is not None:
        write_runs(job.trace, [(program, runs[0])], process=job.network)
    _print(console, job, program, outputs, runs)
    return _check(console, graph, inputs, runs) if job.check else 0


def read_input(path, network):
    """The int8 input in a file, images converted; the first axis is the batch.

    Raises
    ------
    InputError
        No array, or one that the network cannot take.
    """
    array = read_array(path)
    shape = network.input_shape
    allowed = [("int8", shape), ("uint8", network.image_shape)]
    if (array.dtype.name, array.shape[1:]) not in allowed or not array.ndim:
        texts = [f"{dtype} [N, {', '.join(map(str, sizes))}]" for dtype, sizes in allowed]
        raise InputError(f"{path}: the input must be {' or '.join(texts)}, not {array.dtype} {list(array.shape)}")
    if not len(array):
        raise InputError(f"{path}: there are no images in it")
    return network.to_input(array) if array.dtype == np.uint8 else array


def _compile(job, graph):
    """The program, or None if the backend needs none and nobody asks for its size."""
    if job.backend == "golden" and job.memory is None:
        return None
    with report.working(f"Compiling {graph.name}"):
        program = compile_graph(graph, job.config, keep_all=job.check)
    if job.memory is not None and program.size > job.memory:
        raise InputError(
            f"the program needs {program.size:,} bytes of memory (instructions, weights and tensors), "
            f"more than --memory {job.memory:,}"
        )
    return program


@contextlib.contextmanager
def opened(job):
    """The device at --port, made for this very configuration; None without --port."""
    if job.port is None:
        yield None
        return
    from rowcast.soc.protocol import DEFAULT_BAUD

    from .host import Device

    with Device.open(job.port, job.baud or DEFAULT_BAUD) as device:
        device.check(job.config)
        yield device


def backend_options(job, programs, device):
    """What the job's backend needs to begin: a compiled simulator, or the programs in the device's memory."""
    if job.backend == "rtl" and programs:
        from .demo import simulator

        return {"model": simulator(job.config)}
    if device is None:
        return {}
    for program in programs:
        with report.progress_bar(f"Loading {device.load_bytes(program):,} bytes", device.load_bytes(program)) as step:
            device.load(program, progress=step)
    return {"device": device, "everything": job.check}


def _run(job, graph, program, batches, device):
    """A Run of each batch."""
    options = backend_options(job, [program], device)
    (name,) = graph.inputs
    runs = []
    with open_backend(job.backend, graph, program, **options) as backend:
        with report.progress_bar(f"Running {graph.name}", len(batches)) as step:

            def note(cycles, layer):
                step(0, note=f"{cycles:,} cycles, layer {layer + 1} of {len(program.layers)}")

            for batch in batches:
                watch = {"window": Window()} if job.trace is not None and not runs else {}
                runs.append(backend.run({name: batch}, progress=note, **watch))
                step()
    return runs


def _print(console, job, program, outputs, runs):
    timed = runs[0].cycles > 0
    cycles = [run.cycles for run in runs] if timed and not job.batch else None
    console.print(report.result_table({"outputs": outputs}, what="image", cycles=cycles), "")
    if len(outputs) > report.ROWS:
        console.print(f"... and {len(outputs) - report.ROWS} more\n")
    if runs[0].layers:
        console.print(report.layer_table(program, runs[0]), "")
        console.print(report.cause_table(runs[0], ascii_only=console.options.ascii_only), "")
    elif timed:
        report.sentence(console, f"{sum(run.cycles for run in runs):,} cycles.")


def _check(console, graph, inputs, runs):
    """Compare every tensor of every run with the golden."""
    golden = evaluate(graph, {graph.inputs[0]: inputs})
    names = [node.output for node in graph.nodes]
    step = len(inputs) // len(runs)
    found, compared = [], 0
    for number, run in enumerate(runs):
        part = slice(number * step, (number + 1) * step)
        compared += sum(name in run.tensors for name in names)
        differences = compare(run.tensors, {name: golden[name][part] for name in names})
        found += [(number, difference) for difference in differences]
    for number, difference in found[:1]:
        place = f"run {number}: " if len(runs) > 1 else ""
        report.sentence(console, f"First difference: {place}{difference}", style="red")
    report.sentence(
        console, f"{compared - len(found)} of {compared} tensors equal the golden bit for bit.",
        style="bold red" if found else "bold green",
    )  # fmt: skip
    return 1 if found else 0
