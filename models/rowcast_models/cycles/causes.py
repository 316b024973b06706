"""Every cycle to its cause, by the rules of the hardware's `CauseEncoder`."""

import numpy as np
from rowcast.isa import Unit
from rowcast.registers import CAUSES

__all__ = ["Stretches", "cycles_by_cause"]

DELAY = 2  # cycles from what COMPUTE does to the cycle that is counted for it
EARLIER = 1  # of these, what other units do takes


class Stretches:
    """A set of cycles, as stretches [begin, end)."""

    def __init__(self, pairs):
        pairs = np.asarray(pairs, float).reshape(-1, 2)
        pairs = pairs[pairs[:, 1] > pairs[:, 0]]
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        ends = np.maximum.accumulate(pairs[:, 1]) if len(pairs) else pairs[:, 1]
        fresh = np.ones(len(pairs), bool)
        fresh[1:] = pairs[1:, 0] > ends[:-1]
        last = np.append(np.flatnonzero(fresh)[1:] - 1, len(pairs) - 1)[: fresh.sum()]
        self.begins, self.ends = pairs[fresh, 0], ends[last]
        points = np.stack([self.begins, self.ends], 1).reshape(-1)
        lengths = np.cumsum(self.ends - self.begins)
        self._points = np.concatenate([[-1e18], points])
        self._counts = np.concatenate([[0], np.stack([lengths - (self.ends - self.begins), lengths], 1).reshape(-1)])

    def __or__(self, other):
        pairs = [np.stack([each.begins, each.ends], 1) for each in (self, other)]
        return Stretches(np.concatenate(pairs))

    def __and__(self, other):
        cuts = np.unique(np.concatenate([self.begins, self.ends, other.begins, other.ends]))
        inside = (np.diff(self.until(cuts)) > 0) & (np.diff(other.until(cuts)) > 0)
        return Stretches(np.stack([cuts[:-1][inside], cuts[1:][inside]], 1))

    def until(self, cycles):
        """How many of its cycles are before each of these."""
        return np.interp(cycles, self._points, self._counts)


def _idle(machine, cycles):
    """Stretches in which COMPUTE is idle, by what it lacks: {what: [begin, end)}."""
    lacking = {"run": [], "filters": [], "ifmap": [], "psum": []}
    for begin, loaded, filters, ifmap, psum, start in machine.waits:
        at = begin
        for what, until in (("run", loaded), ("filters", filters), ("ifmap", ifmap), ("psum", psum)):
            until = min(until, start)
            if until > at:
                lacking[what].append((at, until))
                at = until
    last = machine.chunks[-1][-1] + 1 if machine.chunks else 0
    lacking["run"].append((last, cycles))
    return lacking


def cycles_by_cause(machine, cycles, bounds):
    """Cycles of each cause up to each of `bounds`.

    Parameters
    ----------
    machine : that has run the program.
    cycles : of the run.
    bounds : increasing cycles.

    Returns
    -------
    dict : cause -> array of cycles of the run up to and with each bound.
    """
    idle = _idle(machine, cycles)
    missing = {key: Stretches(pairs) for key, pairs in machine.missing.items()}
    busy = {unit: Stretches(machine.busy[unit]) for unit in (Unit.POST, Unit.LOAD, Unit.STORE)}
    vector = Stretches(machine.vector_busy)
    nothing = Stretches([])

    def lacks(unit, producer):
        return missing.get((unit, producer), nothing)

    drain = lacks(Unit.IFMAP, Unit.POST)
    rules = {
        "filters": ("filters", [("load", lacks(Unit.FILTER, Unit.LOAD))]),
        "ifmap": ("ifmap", [("load", lacks(Unit.IFMAP, Unit.LOAD)), ("vector", drain & vector), ("drain", drain)]),
        "psum": ("drain", [("store", lacks(Unit.POST, Unit.STORE)), ("load", lacks(Unit.POST, Unit.LOAD))]),
        "run": ("instruction", [("vector", vector), ("drain", busy[Unit.POST]), ("load", busy[Unit.LOAD]),
                                ("store", busy[Unit.STORE])]),
    }  # fmt: skip
    at = np.clip(np.asarray(bounds, float) + 1 - DELAY, 1 - DELAY, None)
    found = {cause: np.zeros(len(at)) for cause in CAUSES}
    waiting = np.zeros(len(at))
    for what, (otherwise, blamed) in rules.items():
        stretches = Stretches([(max(a, 1 - DELAY), b) for a, b in idle[what]])
        total = stretches.until(at)
        waiting += total
        covered, before = nothing, np.zeros(len(at))
        for cause, when in blamed:
            covered = covered | when
            shared = _shared(stretches, covered, at)
            found[cause] += shared - before
            before = shared
        found[otherwise] += total - before
    found["computing"] = at - (1 - DELAY) - waiting
    return found


def _shared(stretches, others, at):
    """Cycles up to each of `at` that are in both; `others` are seen a cycle earlier."""
    begins, ends = stretches.begins, stretches.ends
    if not len(begins):
        return np.zeros(len(at))
    overlap = others.until(ends + EARLIER) - others.until(begins + EARLIER)
    whole = np.concatenate([[0], np.cumsum(overlap)])
    number = np.searchsorted(ends, at, side="right")  # stretches that are over
    part = np.zeros(len(at))
    open_ = number < len(begins)
    begin = begins[np.minimum(number, len(begins) - 1)]
    inside = open_ & (begin < at)
    part[inside] = others.until(at[inside] + EARLIER) - others.until(begin[inside] + EARLIER)
    return whole[number] + part
