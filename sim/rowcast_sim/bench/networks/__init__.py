"""`rowcast bench networks`: networks of the zoo whole on the compiled RTL, every tensor compared."""

import click
from rich.console import Console
from rowcast.config import PRESETS
from rowcast_models.zoo import NETWORKS

from ...errors import InputError
from ...files import check_target
from ...timeline import Window, write_runs
from ..goals import BATCHES, SURVEY
from ..output import deliver, outputs
from .runs import Job, check_all, keep, kept_figures, kept_jobs, measure
from .tables import goal_table, network_tables, shortfalls, summary

__all__ = ["networks"]

TEXT = (
    "Made by `rowcast bench networks`: networks of the zoo, whole, on the compiled RTL, with a memory that moves a "
    "beat a cycle, reads and writes together, after 30 cycles. Figures are those of the program as it would be used, "
    "in which tensors that fit stay on the chip; every tensor that reaches memory was compared with the golden. "
    "Published figures stand as their authors gave them."
)


class WindowType(click.ParamType):
    """FIRST:LAST cycles."""

    name = "window"

    def convert(self, value, param, ctx):
        first, colon, last = value.partition(":")
        try:
            if colon:
                return Window(int(first or 0), int(last) if last else Window.last)
        except ValueError:
            pass
        self.fail(f"must be FIRST:LAST cycles, such as 0:100000, not {value!r}", param, ctx)


@click.command()
@click.option("--network", "names", multiple=True, metavar="NAME", help="Of the zoo; can be repeated [the survey's].")
@click.option("--preset", "preset_name", default="base", show_default=True, type=click.Choice(list(PRESETS)))
@click.option("--batch", type=click.IntRange(1), help="Images at a time [AlexNet 4, VGG-16 3, others 1].")
@click.option("--check-all/--no-check-all", "every", default=True,
              help="Also run the program that stores every tensor, and compare them all.")  # fmt: skip
@click.option("--again", is_flag=True, help="Measure again what is known already.")
@click.option("--trace", "trace_file", type=click.Path(dir_okay=False), help="Write what each unit did, for Perfetto.")
@click.option("--trace-cycles", "window", type=WindowType(), metavar="FIRST:LAST", help="Of these cycles only.")
@outputs
def networks(names, preset_name, batch, every, again, trace_file, window, **files):
    """Whole networks on the RTL: cycles, bounds, traffic, beside goals and published figures.

    A run that is stopped goes on where it was when it is asked for again. Figures are kept: a page (--markdown) has all
    networks that were measured with this program, hardware and tool.
    """
    for name in names:
        if name not in NETWORKS:
            raise InputError(f"there is no network {name!r}; networks are: {', '.join(NETWORKS)}")
    names = dict.fromkeys(names or SURVEY)
    if trace_file:
        if len(names) != 1:
            raise InputError("--trace is of one run: give --network once")
        check_target(trace_file)
    if window and not trace_file:
        raise InputError("--trace-cycles says what --trace shows: give both")
    jobs = [Job(name, preset_name, batch or BATCHES.get(name, 1)) for name in names]
    try:
        found = [figures_of(job, every=every, again=again, trace_file=trace_file, window=window) for job in jobs]
    except KeyboardInterrupt:
        _say("Stopped; the same command goes on where this one was.")
        raise
    tables = [table for figures in found for table in network_tables(figures)]
    others = _others(jobs) if files["markdown_file"] else []
    tables = [summary([*found, *others]), goal_table([*found, *others]), *tables]
    tables += [table for figures in others for table in network_tables(figures)]
    failed = any(figures.failed for figures in found)
    data = {"networks": [figures.to_dict() for figures in (*found, *others)]}
    deliver("Networks", TEXT, tables, data, shortfalls([*found, *others]), failed=failed, **files)


def figures_of(job, *, every, again=False, trace_file=None, window=None):
    """Figures of a job: kept ones if they are still true, else measured."""
    prepared = job.prepare()
    figures = None if again or trace_file else kept_figures(prepared)
    if figures is not None:
        _say(f"{job}: measured before, with the same program, hardware and tool")
    else:
        figures, run = measure(prepared, every=every, window=(window or Window()) if trace_file else None)
        keep(job, figures)
        if trace_file:
            write_runs(trace_file, [(prepared.program, run)], process=str(job))
            _say(f"{trace_file}: cycles {run.timeline.first:,} to {run.timeline.end:,}")
    if every and figures.all_compared is None:
        figures = check_all(figures, prepared)
        keep(job, figures)
    return figures


def _others(jobs):
    """Figures of earlier invocations that are still true."""
    found = []
    for job in kept_jobs():
        if job in jobs:
            continue
        figures = kept_figures(job.prepare())
        if figures is None:
            _say(f"{job}: measured with another program, hardware or tool; left out")
        else:
            _say(f"{job}: measured before, with the same program, hardware and tool")
            found.append(figures)
    return found


def _say(text):
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
