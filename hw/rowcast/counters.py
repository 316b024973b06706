"""Performance counters, and the one cause to which each cycle of a run is attributed."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import isa
from .isa import Unit
from .memory import Ram
from .registers import CAUSES, COUNTERS

__all__ = ["CauseEncoder", "Counters", "EVENTS", "event_width"]

# Counters that are fed from outside; `cycles` and the causes are counted here.
EVENTS = tuple(name for name in COUNTERS if name != "cycles" and not name.startswith("cause_"))


def event_width(config, name):
    """Bits of the number of events of counter `name` in a cycle."""
    if name == "act_writes":  # each group of post-processors, and LOAD
        return max(3, (config.drain_writers + 1).bit_length())
    return 3 if name in ("act_reads", "filter_reads", "filter_writes") else 1


def _add(value, step):
    """value + step, of value's width.  A few bits + 1 cost less without a carry chain, whose cells do two bits each."""
    if len(step) > 1:
        return (value + step)[: len(value)]
    carries = [step]
    for bit in value[:-1]:
        carries.append(carries[-1] & bit)
    return value ^ Cat(carries)


class Counters(wiring.Component):
    """All counters of `registers.COUNTERS`, each `counter_width` bits, in one memory with one adder.

    A small counter collects the events of each; one of them after the other is added to the memory and starts again,
    all of them in `len(COUNTERS)` cycles.  A read waits until its counter's turn and takes the sum of that turn, so it
    is exact: all events before the cycle of `read` are in it.  Latency of a read: from 4 to `len(COUNTERS)` + 3 cycles.
    Counters wrap around.

    Parameters
    ----------
    config : uses counter_width and drain_writers.

    Members
    -------
    clear : strobe; all counters are 0, from the next cycle on.  A read under way gets old or new values.
    run : count in this cycle; nothing is counted otherwise.
    cause : index in `registers.CAUSES`; in each cycle with `run` the counter of this cause and `cycles` advance.
    <name> : for each name in `EVENTS`, the number of events in this cycle (`event_width` bits).
    read : strobe; start to read counter `select`.
    select : index in `registers.COUNTERS`, stable until `done`.
    done : strobe; `value` is new.
    value : the counter; stays until the next `done`.
    """

    clear: Signal
    run: Signal
    cause: Signal
    read: Signal
    select: Signal
    done: Signal
    value: Signal

    def __init__(self, config):
        self.config = config
        self.ram = Ram(shape=config.counter_width, depth=len(COUNTERS), latency=1)
        super().__init__(
            {
                "clear": In(1),
                "run": In(1),
                "cause": In(range(len(CAUSES))),
                **{name: In(event_width(config, name)) for name in EVENTS},
                "read": In(1),
                "select": In(range(len(COUNTERS))),
                "done": Out(1),
                "value": Out(config.counter_width),
            }
        )

    def _increments(self):
        """What each counter adds in this cycle, in the order of COUNTERS; `cycles` adds 1."""
        causes = {f"cause_{name}": self.cause == i for i, name in enumerate(CAUSES)}
        events = {name: getattr(self, name) for name in EVENTS}
        return [{"cycles": self.run, **causes, **events}[name] for name in COUNTERS]

    def elaborate(self, platform):
        m = Module()
        number = len(COUNTERS)
        turn = Signal(range(number))  # whose turn it is
        turns = Signal(number, init=1)  # the same as one bit
        fresh = Signal(init=1)  # first round after a clear: what the memory holds does not count
        m.d.sync += [turn.eq(turn + 1), turns.eq(turns.rotate_left(1))]
        with m.If(turns[-1]):
            m.d.sync += [turn.eq(0), fresh.eq(0)]
        with m.If(self.clear):
            m.d.sync += [turn.eq(0), turns.eq(1), fresh.eq(1)]
        self._accumulate(m, turn, fresh, self._collect(m, turns))
        return m

    def _collect(self, m, turns):
        """A small counter for each counter; return what is collected in that of this turn (combinational)."""
        collected = []
        for name, increment, its_turn in zip(COUNTERS, self._increments(), turns):
            most = len(COUNTERS) * ((1 << len(increment)) - 1)
            step = Signal(len(increment), name=f"step_{name}")
            small, kept = (Signal(most.bit_length(), name=f"{kind}_{name}") for kind in ("small", "kept"))
            m.d.comb += kept.eq(Mux(its_turn, 0, small))
            m.d.sync += [step.eq(increment), small.eq(_add(kept, step))]
            with m.If(~self.run | self.clear):
                m.d.sync += step.eq(0)
            with m.If(self.clear):
                m.d.sync += small.eq(0)
            collected.append(Mux(its_turn, small, 0))
        return reduce(or_, collected)  # cheaper than a multiplexer

    def _accumulate(self, m, turn, fresh, collected):
        """Three cycles for each turn: read the memory; its flip-flop; add, write, and hand over."""
        m.submodules.ram = ram = self.ram
        old = Signal(self.config.counter_width)
        total = Signal(self.config.counter_width)
        delta = [Signal(len(collected), name=f"delta{i}", reset_less=True) for i in range(2)]
        turns = [Signal.like(turn, name=f"turn{i}") for i in range(2)]
        first = Signal(init=1)
        waiting = Signal()
        hit = Signal()
        hits = Signal(2)
        m.d.comb += [
            ram.read_address.eq(turn),
            total.eq(old + delta[1]),
            ram.write_enable.eq(1),
            ram.write_address.eq(turns[1]),
            ram.write_data.eq(total),
            hit.eq(waiting & (turn == self.select)),
        ]
        m.d.sync += [
            old.eq(ram.read_data),
            Cat(delta).eq(Cat(collected, delta[0])),
            Cat(turns).eq(Cat(turn, turns[0])),
            first.eq(fresh),
            waiting.eq(self.read | (waiting & ~hit)),
            hits.eq(Cat(hit, hits[0])),
            self.done.eq(hits[1]),
        ]
        with m.If(first):
            m.d.sync += old.eq(0)
        with m.If(hits[1]):
            m.d.sync += self.value.eq(total)


class CauseEncoder(wiring.Component):
    """The cause of each cycle, as an index in `registers.CAUSES`.  Latency 1.

    - COMPUTE multiplies: computing.
    - COMPUTE waits for filters: load if FILTER's next instruction lacks a token of LOAD, else filters.
    - COMPUTE waits for the ifmap: load if IFMAP's lacks one of LOAD; else, if it lacks one of POST: vector during a
      vector run, drain otherwise; else ifmap.
    - COMPUTE waits for a psum half: store if POST's next instruction lacks a token of STORE, load if it lacks one of
      LOAD, else drain.
    - COMPUTE has no instruction: vector during a vector run, else drain if POST is busy, load if LOAD is, store if
      STORE is, else instruction.

    The first of COMPUTE's reports that is up counts; with none it is as if COMPUTE had no instruction.

    Members
    -------
    computing, wait_filter, wait_ifmap, wait_psum : from COMPUTE.
    filter_missing, ifmap_missing, post_missing : tokens that the next instruction of these units lacks, a bit for each
        producer (`Dispatch.missing`).
    vector : POST is in a vector run.
    post_busy, load_busy, store_busy : these units are at work.
    cause : the cause of the previous cycle.
    """

    computing: Signal
    wait_filter: Signal
    wait_ifmap: Signal
    wait_psum: Signal
    filter_missing: Signal
    ifmap_missing: Signal
    post_missing: Signal
    vector: Signal
    post_busy: Signal
    load_busy: Signal
    store_busy: Signal
    cause: Signal

    def __init__(self):
        reports = ("computing", "wait_filter", "wait_ifmap", "wait_psum")
        states = ("post_busy", "load_busy", "store_busy")
        super().__init__(
            {
                **dict.fromkeys((*reports, "vector", *states), In(1)),
                "filter_missing": In(isa.TOKEN_UNITS),
                "ifmap_missing": In(isa.TOKEN_UNITS),
                "post_missing": In(isa.TOKEN_UNITS),
                "cause": Out(range(len(CAUSES))),
            }
        )

    def elaborate(self, platform):
        m = Module()

        def blame(*rules, otherwise):
            """A rule is (condition, cause); the first one that holds counts."""
            result = CAUSES.index(otherwise)
            for condition, cause in reversed(rules):
                result = Mux(condition, CAUSES.index(cause), result)
            return result

        ifmap_lacks = self.ifmap_missing
        with m.If(self.computing):
            m.d.sync += self.cause.eq(CAUSES.index("computing"))
        with m.Elif(self.wait_filter):
            m.d.sync += self.cause.eq(blame((self.filter_missing[Unit.LOAD], "load"), otherwise="filters"))
        with m.Elif(self.wait_ifmap):
            m.d.sync += self.cause.eq(
                blame(
                    (ifmap_lacks[Unit.LOAD], "load"),
                    (ifmap_lacks[Unit.POST] & self.vector, "vector"),
                    (ifmap_lacks[Unit.POST], "drain"),
                    otherwise="ifmap",
                )
            )
        with m.Elif(self.wait_psum):
            m.d.sync += self.cause.eq(
                blame(
                    (self.post_missing[Unit.STORE], "store"),
                    (self.post_missing[Unit.LOAD], "load"),
                    otherwise="drain",
                )
            )
        with m.Else():
            m.d.sync += self.cause.eq(
                blame(
                    (self.vector, "vector"),
                    (self.post_busy, "drain"),
                    (self.load_busy, "load"),
                    (self.store_busy, "store"),
                    otherwise="instruction",
                )
            )
        return m
