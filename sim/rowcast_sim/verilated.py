"""The emitted Verilog, compiled: whole networks on the RTL at hundreds of thousands of cycles a second.

A `Model` is a program made of the design and of the C++ in `harness/` (memory, host, statistics); a `Session` is one
running process of it.  Python gives orders a run at a time and never wakes up in between.
"""

import contextlib
import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rowcast.registers import CAUSES, COUNTERS, REGISTERS, Error, address_of

from .surround import EVENTS
from .verilate import BuildError, compiled, emitted

__all__ = [
    "BuildError", "EngineError", "LayerCycles", "Model", "ProtocolViolation", "RunResult", "Session", "SimulationError",
    "SimulationStuck", "Timing", "build", "emitted",
]  # fmt: skip

_IRQ_DONE_AND_ERROR = 3
_START, _SOFT_RESET = 1, 2
_RESET_CYCLES = 4
_SAVE_SECONDS = 60  # for the state of a large simulation on a slow disk


class SimulationError(RuntimeError):
    """The simulation cannot go on."""


class ProtocolViolation(SimulationError):
    """The design broke a rule of AXI, or reached outside the memory image."""


class SimulationStuck(SimulationError):
    """No interrupt before the cycle limit; the message says where every queue stands."""


class EngineError(SimulationError):
    """The engine stopped with an error code of its own.

    Members: code (`registers.Error`), index (of the instruction), result (`RunResult`).
    """

    def __init__(self, result):
        self.code, self.index, self.result = result.error, result.error_index, result
        super().__init__(f"the engine stopped at instruction {self.index} after {result.cycles} cycles: {self.code.name}")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How the memory behaves.

    Parameters
    ----------
    latency : cycles from an address to its first beat, and from a last written beat to its answer.
    bytes_per_cycle : bandwidth, a number above 0 (fractions count to 1/256); None: a beat a cycle.
    duplex : "full": that many bytes each way; "half": together.
    outstanding : bursts taken each way before the first is answered, 1 to 64.
    stall_percent : how often each channel idles for a cycle, 0 to 99.
    seed : of the stalls.
    """

    latency: int = 20
    bytes_per_cycle: float | None = None
    duplex: str = "full"
    outstanding: int = 16
    stall_percent: int = 0
    seed: int = 1

    def __post_init__(self):
        if self.latency < 1:
            raise ValueError(f"latency must be at least 1, not {self.latency!r}")
        if self.bytes_per_cycle is not None and round(self.bytes_per_cycle * 256) < 1:
            raise ValueError(f"bytes_per_cycle must be at least 1/256, not {self.bytes_per_cycle!r}")
        if self.duplex not in ("full", "half"):
            raise ValueError(f"duplex must be 'full' or 'half', not {self.duplex!r}")
        if not 1 <= self.outstanding <= 64:
            raise ValueError(f"outstanding must be from 1 to 64, not {self.outstanding!r}")
        if not 0 <= self.stall_percent <= 99:
            raise ValueError(f"stall_percent must be from 0 to 99, not {self.stall_percent!r}")


@dataclass(frozen=True)
class LayerCycles:
    """What one layer took, from the MARK before it to its own.

    Members
    -------
    counters : by name, as `registers.COUNTERS`; the layers' sums are the counters of the run.
    first : cycle of the run in which it began.
    """

    counters: dict
    first: int = 0

    @property
    def causes(self):
        """Cycles by cause (`registers.CAUSES`)."""
        return {cause: self.counters[f"cause_{cause}"] for cause in CAUSES}

    @property
    def cycles(self):
        """All its cycles."""
        return self.counters["cycles"]

    @property
    def read_beats(self):
        """Beats read on the memory bus."""
        return self.counters["read_beats"]

    @property
    def write_beats(self):
        """Beats written on the memory bus."""
        return self.counters["write_beats"]

    @classmethod
    def of(cls, causes, *, first=0, **events):
        """From cycles by cause and other counters by name; what is not named is 0."""
        named = {**dict.fromkeys(CAUSES, 0), **causes}
        by_name = {f"cause_{cause}": cycles for cause, cycles in named.items()}
        counts = {"cycles": sum(named.values()), **by_name, **events}
        return cls({name: counts.get(name, 0) for name in COUNTERS}, first)

    def __add__(self, later):
        return LayerCycles({name: count + later.counters[name] for name, count in self.counters.items()}, self.first)


@dataclass(frozen=True)
class RunResult:
    """One run, from `start` to the interrupt.

    Members: cycles (in which the engine ran), registers (by name), counters (`registers.COUNTERS`, both halves joined),
    layers (value of the trace port `layer` -> `LayerCycles`), error, error_index, under_way (bursts that memory still
    had to answer at the interrupt), dumps (uint8 arrays by name, of `Model.run`).
    """

    cycles: int
    registers: dict
    counters: dict
    layers: dict
    error: Error
    error_index: int
    under_way: int
    dumps: dict = field(default_factory=dict)


def build(design, *, start=1, **options):
    """The `Model` of a design (Config, or Verilog text); parameters and errors are those of `verilate.compiled`."""
    return Model(compiled(design, **options), start=start)


class Model:
    """A compiled design.

    Members
    -------
    program : the executable.
    start : seed of what has no initial value, in a netlist.
    arguments : more for the executable (Verilog's plusargs).
    """

    def __init__(self, program, *, start=1, arguments=()):
        self.program, self.start, self.arguments = Path(program), start, tuple(arguments)

    def session(self, *, base, size, timing=None):
        """A process of this design with `size` bytes of memory from address `base`, out of reset.  A context manager."""
        command = (
            str(self.program), "+verilator+rand+reset+2", f"+verilator+seed+{self.start}", *self.arguments,
        )  # fmt: skip
        return Session(command, base=base, size=size, timing=timing)

    def run(self, regions, registers, *, dumps=None, limit=100_000_000, timing=None, image=None, check=True, progress=None):
        """One run in a process of its own.

        Parameters
        ----------
        regions : {address: array}, what memory holds at first.
        registers : {name: value}, written before `start`.
        dumps : {name: (address, bytes)}, read at the end into the result's `dumps`.
        limit : cycles after which the run counts as stuck.
        image : (base, bytes) of the memory; by default what regions and dumps span.
        check : raise EngineError if the engine stops with an error, else return the result.
        progress : called with (cycle, layer) now and then.
        """
        dumps = dumps or {}
        base, size = image or _span([*((a, _bytes(d).size) for a, d in regions.items()), *dumps.values()])
        with self.session(base=base, size=size, timing=timing) as session:
            for address, data in regions.items():
                session.load(address, data)
            for name, value in registers.items():
                session.write(name, value)
            result = session.run(limit=limit, check=check, progress=progress)
            result.dumps.update((name, session.dump(*where)) for name, where in dumps.items())
            return result


class Session:
    """One process of a compiled design: load once, run many times.

    The context manager ends the process and removes its files, whatever happens.
    """

    def __init__(self, command, *, base, size, timing=None):
        self._keeps = False
        self._folder = tempfile.TemporaryDirectory(prefix="rowcast-")
        self._errors = Path(self._folder.name, "stderr")
        with open(self._errors, "w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            self._ask(f"image {base} {size}")
            self.set_timing(timing or Timing())
            self.reset()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """End the process; a trace file is complete then."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                # A process in the middle of a run does not read its input: it is not waited for, but while it saves.
                if self._keeps:
                    self._process.terminate()
                self._process.wait(timeout=_SAVE_SECONDS if self._keeps else 1)
            except BaseException:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self._folder.cleanup()

    def stop(self):
        """Ask the process to end, from any thread: a kept simulation is saved, and who waits gets an error."""
        self._process.terminate()

    # The design and its surroundings ------------------------------------------------------------------------------

    def set_timing(self, timing):
        """How memory behaves from now on."""
        rate = 0 if timing.bytes_per_cycle is None else round(timing.bytes_per_cycle * 256)
        self._ask(f"memory {timing.latency} {rate} {timing.duplex} {timing.outstanding}")
        self._ask(f"stalls {timing.stall_percent} {timing.seed}")

    def add_fault(self, kind, address, size):
        """Answer every read (kind "read") or write ("write") that touches these bytes with SLVERR."""
        if kind not in ("read", "write"):
            raise ValueError(f"kind must be 'read' or 'write', not {kind!r}")
        self._ask(f"fault {kind} {address} {size}")

    def clear_faults(self):
        """No more faults."""
        self._ask("fault none 0 0")

    def reset(self):
        """Pull the reset input."""
        self._ask(f"reset {_RESET_CYCLES}")

    def soft_reset(self, *, settle=100):
        """The reset by register; `settle` cycles for what is under way on the bus."""
        self.write("CONTROL", _SOFT_RESET)
        self.step(settle)

    def step(self, cycles):
        """Let the clock run."""
        self._ask(f"step {cycles}")

    def trace(self, path):
        """Write a VCD from here on, if the model was built with `trace=True`; None ends it."""
        self._ask(f"trace {Path(path).resolve() if path is not None else ''}")

    def load(self, address, data):
        """Put an array's bytes into memory."""
        path = Path(self._folder.name, "transfer")
        _bytes(data).tofile(path)
        self._ask(f"load {address} {path}")

    def dump(self, address, size):
        """Bytes of memory, uint8 [size]."""
        path = Path(self._folder.name, "transfer")
        self._ask(f"dump {address} {size} {path}")
        return np.fromfile(path, np.uint8)

    def write(self, name, value):
        """Write a register; one with a `_HIGH` half takes 64 bits."""
        value = int(value)
        self._ask(f"write {address_of(name)} {value & 0xFFFFFFFF}")
        if f"{name}_HIGH" in _NAMES:
            self._ask(f"write {address_of(f'{name}_HIGH')} {value >> 32}")
        elif value >> 32:
            raise ValueError(f"{name} has 32 bits, {value:#x} does not fit")

    def read(self, name):
        """Read one register, 32 bits."""
        return self._ask(f"read {address_of(name)}")["value"]

    def registers(self):
        """All registers that can be read, by name."""
        return {register.name: self.read(register.name) for register in REGISTERS if register.access != "wo"}

    # Runs ---------------------------------------------------------------------------------------------------------

    def run(self, *, limit=100_000_000, check=True, progress=None, every=2_000_000):
        """Start, wait for the interrupt, acknowledge it.

        Raises
        ------
        SimulationStuck
            `limit` cycles passed.
        ProtocolViolation
            A rule of the bus was broken.
        EngineError
            The engine reports an error, unless `check` is False.
        """
        self.start()
        return self.wait(limit=limit, check=check, progress=progress, every=every)

    def start(self):
        """Clear the statistics and start a run."""
        self.write("IRQ_ENABLE", _IRQ_DONE_AND_ERROR)
        self._ask("clear")
        self.write("CONTROL", _START)

    def wait(self, *, limit=100_000_000, check=True, progress=None, every=2_000_000):
        """Wait for the end of a run that was started; `progress` is called with (cycle, layer) after `every` cycles."""
        answer = self._ask(f"wait {limit} {every if progress else 0}", progress)
        if not answer["interrupt"]:
            raise SimulationStuck(f"no interrupt in {limit} cycles; {self._where_it_stands()}")
        result = self._result(answer["under_way"])
        self.write("IRQ_STATUS", _IRQ_DONE_AND_ERROR)
        if check and result.error is not Error.NONE:
            raise EngineError(result)
        return result

    def layers(self):
        """What each layer has taken so far in this run: {layer: LayerCycles}."""
        table = {}
        for layer, counts in enumerate(self._ask("stats")["layers"]):
            *counts, read_beats, write_beats, first = counts
            causes, events = counts[: len(CAUSES)], dict(zip(EVENTS, counts[len(CAUSES) :], strict=True))
            if any(causes):
                table[layer] = LayerCycles.of(
                    dict(zip(CAUSES, causes, strict=True)), read_beats=read_beats, write_beats=write_beats,
                    first=first, **events,
                )  # fmt: skip
        return table

    # What outlives the process ---------------------------------------------------------------------------------------

    def keep(self, path, *, seconds=60):
        """From here on, save the simulation to a file while it waits: so often, and when this session is closed."""
        self._keeps = True
        self._ask(f"keep {seconds} {Path(path).resolve()}")

    def restore(self, path):
        """Go on where a saved simulation of this very design was, in a memory of the same size: `wait` for its end.

        Raises
        ------
        SimulationError
            The file is not a complete saved simulation.
        """
        self._ask(f"restore {Path(path).resolve()}")

    def watch(self, first, last, *, most):
        """Record what the units do in these cycles of each run to come, in at most so many spans."""
        self._ask(f"timeline {first} {last} {most}")

    def spans(self):
        """(array with fields track, state, start, end; cycle at which it ends) of the last run that was watched."""
        path = Path(self._folder.name, "spans")
        end = self._ask(f"spans {path}")["end"]
        return np.fromfile(path, [("track", "u4"), ("state", "u4"), ("start", "u8"), ("end", "u8")]), end

    def _result(self, under_way):
        layers, registers = self.layers(), self.registers()
        counters = {}
        for name in COUNTERS:
            register = f"COUNT_{name.upper()}"
            counters[name] = registers[register] | registers[f"{register}_HIGH"] << 32
        return RunResult(
            cycles=sum(layer.cycles for layer in layers.values()),
            registers=registers,
            counters=counters,
            layers=layers,
            error=Error(registers["ERROR_CODE"]),
            error_index=registers["ERROR_INDEX"],
            under_way=under_way,
        )

    def _where_it_stands(self):
        from rowcast.isa import Unit

        status, queues, units = (self.read(name) for name in ("STATUS", "QUEUES", "UNITS"))
        parts = []
        for unit in Unit:
            if unit is Unit.CONTROL:
                continue
            state = "waits for a token" if units >> (8 + unit) & 1 else "is busy" if units >> unit & 1 else "is idle"
            parts.append(f"{unit.name} {state}, {queues >> (4 * unit) & 15} queued")
        return f"layer {status >> 16}, status {status & 7}: {'; '.join(parts)}"

    def _ask(self, command, progress=None):
        """Send a command, return its answer."""
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # the process is gone: what it said last is read below
        while line := self._process.stdout.readline():
            answer = json.loads(line)
            if "violation" in answer:
                raise ProtocolViolation(f"cycle {answer['cycle']}: {answer['violation']}")
            if "error" in answer:
                raise SimulationError(f"{command.split()[0]}: {answer['error']}")
            if "progress" not in answer:
                return answer
            progress(answer["progress"], answer["layer"])
        said = self._errors.read_text(errors="replace").strip()
        raise SimulationError(f"the simulator ended with status {self._process.wait()}: {said or 'it said nothing'}")


_NAMES = {register.name for register in REGISTERS}


def _bytes(data):
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8)


def _span(ranges, page=4096):
    """Base and size of the pages that contain these (address, bytes)."""
    base = min(address for address, _ in ranges) // page * page
    limit = -(-max(address + size for address, size in ranges) // page) * page
    return base, limit - base
