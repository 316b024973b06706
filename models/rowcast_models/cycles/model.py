"""Predict the cycles and counters of a program."""

from dataclasses import dataclass

from rowcast.isa import Unit

from .array import compute_unit, filter_unit, ifmap_unit
from .bus import memory_model
from .jobs import Jobs
from .machine import Machine
from .program import dispatch
from .results import post_unit
from .transfers import load_unit, store_unit

__all__ = ["Prediction", "predict"]

QUIET = 8  # cycles for which all must be quiet at the end


@dataclass
class Prediction:
    """What a run of a program would give."""

    cycles: int
    counters: dict
    machine: object


def predict(instructions, config, memory=None):
    """Cycles and counters of a program.

    Parameters
    ----------
    instructions : list of `isa.Instruction` with their tokens, END last.
    config : Config.
    memory : `MemoryModel`, or anything with its attributes; None: its defaults.
    """
    jobs = Jobs(instructions, config)
    machine = Machine(jobs, config, memory_model(memory))
    machine.vector_jobs = [job for job in jobs.units[Unit.IFMAP] if job.work is not None and job.work[2]]
    machine.waits = []
    units = [load_unit, store_unit, filter_unit, ifmap_unit, post_unit, compute_unit, dispatch]
    machine.run([unit(machine) for unit in units])
    cycles = int(machine.ended) + QUIET
    counters = {"cycles": cycles, **jobs.counts.totals()}
    return Prediction(cycles, counters, machine)
