"""Predict the cycles and counters of a program."""

import contextlib
import gc
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from rowcast.config import ConfigError
from rowcast.isa import Unit
from rowcast.registers import CAUSES, COUNTERS

from .array import compute_unit, filter_unit, ifmap_unit
from .bus import memory_model
from .causes import cycles_by_cause
from .counts import COUNTED
from .jobs import Jobs
from .machine import Machine
from .program import dispatch
from .reads import reads_unit
from .results import post_unit
from .transfers import load_unit, store_unit

__all__ = ["LayerPrediction", "Prediction", "Span", "predict"]

QUIET = 7 + 1  # cycles from the end of all work to the end of the run


@dataclass(frozen=True)
class LayerPrediction:
    """What happens between two MARKs.

    Members
    -------
    layer : number that the second MARK has, less 1; what follows the last MARK belongs to the last layer.
    counters : events by counter (`registers.COUNTERS`) in its cycles.
    """

    layer: int
    counters: dict

    @property
    def cycles(self):
        """All its cycles."""
        return self.counters["cycles"]

    @property
    def causes(self):
        """Cycles by cause."""
        return {cause: self.counters[f"cause_{cause}"] for cause in CAUSES}


@dataclass(frozen=True)
class Span:
    """An instruction at work.

    Members
    -------
    unit : `isa.Unit`; name : of the instruction; index : in the program; layer : to which it belongs in the program.
    start, end : first cycle of its work and first one after; the run begins in cycle 0.
    vector : of the vector unit.
    """

    unit: Unit
    name: str
    index: int
    layer: int
    start: int
    end: int
    vector: bool = False


@dataclass(frozen=True)
class Prediction:
    """What a run of a program would give.

    Members
    -------
    cycles : from start to interrupt.
    counters : by name (`registers.COUNTERS`).
    layers : `LayerPrediction` in the order of the MARKs.
    timeline : `Span` of every instruction that takes time, if asked for.
    """

    cycles: int
    counters: dict
    layers: list
    timeline: list = field(default_factory=list)

    @property
    def causes(self):
        """Cycles by cause."""
        return {cause: self.counters[f"cause_{cause}"] for cause in CAUSES}


def predict(instructions, config, memory=None, *, timeline=False):
    """Cycles and counters of a program.

    The counters of the whole run that follow from the program are exact: all but `cycles` and the causes.

    Parameters
    ----------
    instructions : list of `isa.Instruction` with their tokens, END last.
    config : Config.
    memory : `MemoryModel`, or anything with some of its attributes; None: its defaults.
    timeline : whether the prediction has a timeline.

    Raises
    ------
    ValueError
        The program does not come to its end: a token or a half that an instruction waits for never comes.
    ConfigError
        The configuration is compact, which this does not describe.
    """
    if config.compact:
        raise ConfigError("the cycle model does not describe compact configurations: set compact=0, or run the RTL")
    with _without_collector():
        return _predict(instructions, config, memory, timeline)


def _predict(instructions, config, memory, timeline):
    """`predict`; nothing that is only needed here is left when it returns."""
    jobs = Jobs(instructions, config)
    machine = Machine(jobs, config, memory_model(memory))
    units = [load_unit, store_unit, filter_unit, ifmap_unit, post_unit, compute_unit, dispatch, reads_unit]
    machine.run([unit(machine) for unit in units])
    cycles = ceil(machine.ended) + QUIET
    marks = machine.marks or [(1, cycles)]
    bounds = [ceil(cycle) for _, cycle in marks[:-1]] + [cycles]
    table = _by_layer(machine, jobs.counts, cycles, bounds)
    layers = [
        LayerPrediction(layer - 1, {name: int(values[at]) for name, values in table.items()})
        for at, (layer, _) in enumerate(marks)
    ]
    counters = {name: int(values.sum()) for name, values in table.items()}
    return Prediction(cycles, counters, layers, _timeline(machine) if timeline else [])


@contextlib.contextmanager
def _without_collector():
    """Nothing in here makes cycles of references, and the many small objects would set the collector off all the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _by_layer(machine, counts, cycles, bounds):
    """Events by counter, an array with an entry for each layer; the sums over layers are exact."""
    causes = cycles_by_cause(machine, cycles, bounds)
    spans = np.full((counts.instructions, 2), np.inf)
    for job, begin, end in machine.spans:
        spans[job.index] = begin, end + 1
    table = {"cycles": np.array(bounds)}
    for cause in CAUSES:
        table[f"cause_{cause}"] = np.round(causes[cause])
    for name in COUNTED:
        entries = np.array(counts.entries[name], float).reshape(-1, 2)
        index, events = entries[:, 0].astype(int), entries[:, 1]
        begins, ends = spans[index].T
        if name == "read_beats":
            bursts = np.array(machine.bursts)
            begins, ends = np.append(begins, bursts[:, 0]), np.append(ends, bursts[:, 1])
            events = np.append(events, bursts[:, 2])
        if name == "instructions":
            begins = np.array(machine.dispatched)
            ends, events = begins + 1, np.ones(len(begins))
        table[name] = _until(np.array(bounds) + 1, begins, ends, events) if len(events) else np.zeros(len(bounds))
        table[name][-1] = events.sum()
    rest = np.array(bounds) - sum(table[f"cause_{cause}"] for cause in CAUSES)
    table["cause_computing"] = table["cause_computing"] + rest  # what rounding left
    return {name: np.diff(table[name], prepend=0).astype(int) for name in COUNTERS}


def _until(cycles, begins, ends, events):
    """Events before each of these cycles, if those of each instruction are spread evenly over its work."""
    slopes = events / (ends - begins)
    points, changes = np.concatenate([begins, ends]), np.concatenate([slopes, -slopes])
    order = np.argsort(points, kind="stable")
    points, slopes = points[order], np.cumsum(changes[order])
    counts = np.concatenate([[0], np.cumsum(slopes[:-1] * np.diff(points))])
    return np.round(np.interp(cycles, points, counts))


def _timeline(machine):
    """The spans in the order in which they begin."""
    layers, layer = {}, 0
    order = sorted(((job.index, job) for jobs in machine.jobs.units for job in jobs), key=lambda pair: pair[0])
    for index, job in order:
        layers[index] = layer
        if job.name == "MARK":
            layer = job.work[0]
    unit_of = machine.jobs.order
    spans = []
    for job, begin, end in machine.spans:
        vector = (job.name == "IFMAP_RUN" and bool(job.work[2])) or (job.name == "POST_RUN" and job.work[0] != 0)
        unit = Unit(unit_of[job.index])
        spans.append(Span(unit, job.name, job.index, layers[job.index], int(begin), ceil(end) + 1, vector))
    return sorted(spans, key=lambda span: span.start)
