"""`rowcast run` of a model of one's own: read, lower, compile, run, and compare with everything there is to compare."""

from pathlib import Path

from rowcast_models.frontend import GraphStage
from rowcast_models.load import lower_model, model_format, read_model

from . import report
from .check import check_graph, check_hardware, check_reference
from .errors import InputError
from .files import check_target, write_array, write_arrays
from .inputs import read_inputs
from .placement import print_placement
from .runner import Runner, compile_network
from .timeline import Window, write_runs

__all__ = ["read_network", "run_model"]


def run_model(job, *, console):
    """Do it; returns the exit status: 1 if `check` finds a difference."""
    from .run import opened

    if job.target is not None:
        check_target(job.target)
    model, runtime = read_network(job.network, job.runtime)
    _check_ending(job.target, model)
    inputs = read_inputs(job.sources, model)
    count = max((len(array) for array in inputs.values() if array.shape), default=1)
    network = lower_model(model, batch=count if job.batch and count else None)
    network.check_inputs(inputs)
    with opened(job) as device:
        programs = _programs(job, network)
        print_placement(console, network)
        result = _run(job, network, programs, inputs, device)
    _write(job.target, result.outputs)
    if job.trace is not None:
        write_runs(job.trace, [(each.program, each.run) for each in result.parts[0]], process=network.model.name)
    _print(console, job, network, result)
    return _check(console, job, network, inputs, result, runtime) if job.check else 0


def read_network(path, runtime):
    """(the file's Model, the runtime whose rounding it has); `runtime` is the text of --runtime or None."""
    if runtime is not None and model_format(path) != "tflite":
        raise InputError(f"--runtime is for .tflite models, not for {path}")
    runtime = runtime or "tflm"
    with report.working(f"Reading {Path(path).name}"):
        return read_model(path, runtime=runtime), runtime


def _check_ending(target, model):
    if target is not None and len(model.outputs) > 1 and not target.lower().endswith(".npz"):
        raise InputError(f"{target}: the model has {len(model.outputs)} outputs ({', '.join(model.outputs)}): give a .npz file")


def _programs(job, network):
    """Program of each GraphStage, or None if the backend needs none and nobody asks for their size."""
    if job.backend == "golden" and job.memory is None:
        return None
    nodes = sum(len(stage.graph.nodes) for stage in network.stages if isinstance(stage, GraphStage))
    with report.progress_bar(f"Compiling {network.model.name}", nodes) as step:
        note = lambda done, total, name: step(int(done > 0), note=name)  # noqa: E731
        programs = compile_network(network, job.config, keep_all=job.check, progress=note)
    size = sum(program.size for program in programs)
    if job.memory is not None and size > job.memory:
        raise InputError(
            f"the program needs {size:,} bytes of memory (instructions, weights and tensors), "
            f"more than --memory {job.memory:,}"
        )
    return programs


def _run(job, network, programs, inputs, device):
    from .run import backend_options

    options = backend_options(job, programs, device)
    count = len(next(iter(inputs.values())))
    with Runner(network, backend=job.backend, config=job.config, programs=programs, **options) as machine:
        with report.progress_bar(f"Running {network.model.name}", count) as step:
            done = 0

            def note(items, cycles):
                nonlocal done
                step(items - done, note=f"{cycles:,} cycles")
                done = items

            return machine.run(inputs, progress=note, window=None if job.trace is None else Window())


def _write(target, outputs):
    if target is None:
        return
    if target.lower().endswith(".npz"):
        write_arrays(target, outputs)
    else:
        write_array(target, *outputs.values())


def _print(console, job, network, result):
    count = len(next(iter(result.outputs.values())))
    each = [sum(stage.run.cycles for stage in part) for part in result.parts]
    cycles = each if any(each) and len(each) == count else None
    console.print(report.result_table(result.outputs, cycles=cycles), "")
    if count > report.ROWS:
        console.print(f"... and {count - report.ROWS} more\n")
    for number, stage in enumerate(result.parts[0]):
        if not stage.run.layers:
            continue
        if len(result.parts[0]) > 1:
            report.sentence(console, f"Run {number + 1} of {len(result.parts[0])} on the accelerator", style="bold")
        console.print(report.layer_table(stage.program, stage.run), "")
        console.print(report.cause_table(stage.run, ascii_only=console.options.ascii_only), "")
    if result.cycles:
        items = "1 item" if network.batch == 1 else f"{network.batch} items at a time"
        more = "; --check stores every tensor, which takes some of them" if job.check else ""
        report.sentence(console, f"{each[0]:,} cycles for {items}{more}.")


def _check(console, job, network, inputs, result, runtime):
    """Run the checks, print them; returns the exit status."""
    with report.working("Comparing"):
        checks = [] if job.backend == "golden" else [check_hardware(result, job.backend)]
        checks.append(check_graph(network, inputs))
        checks.append(check_reference(network, job.network, inputs, runtime=runtime))
    made = report.table("check", "tensors", "equal", numbers=("tensors", "equal"))
    for check in checks:
        made.add_row(check.title, *(["-", "not run"] if check.skipped else [str(check.compared), str(check.equal)]))
    console.print(made, "")
    for check in checks:
        for text in [*check.notes, *([check.skipped] if check.skipped else [])]:
            report.sentence(console, f"{check.title}: {text}.")
    for check in [check for check in checks if check.first][:1]:
        report.sentence(console, f"First difference, {check.title}: {check.first}", style="red")
    failed = any(check.failed for check in checks)
    compared, equal = (sum(getattr(check, which) for check in checks) for which in ("compared", "equal"))
    report.sentence(console, f"{equal} of {compared} comparisons of a tensor equal{_ran(checks)}.",
                    style="bold red" if failed else "bold green")  # fmt: skip
    return 1 if failed else 0


def _ran(checks):
    skipped = sum(bool(check.skipped) for check in checks)
    return f"; {len(checks) - skipped} checks of {len(checks)} ran" if skipped else ""
