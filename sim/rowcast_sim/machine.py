"""A program on a backend: load it once, run it on many inputs."""

import copy

import numpy as np
from rowcast.registers import COUNTERS
from rowcast_models.golden.evaluate import evaluate

from .host.backend import PortBackend
from .results import Run
from .timeline import Timeline
from .verilated import LayerCycles, Timing, build

__all__ = ["BACKENDS", "AmaranthBackend", "FunctionalBackend", "GoldenBackend", "RtlBackend", "open_backend"]

BASE = 0x1000_0000  # of the image in the simulated memory: not 0, so that a missing base is noticed


class RtlBackend:
    """Compiled RTL: a Verilator process with a memory in C++.

    Parameters
    ----------
    program : Program.
    timing : of the memory; the default has 30 cycles of latency and moves a beat a cycle, reads and writes together.
    model : a model that is built already.
    """

    def __init__(self, program, *, timing=None, model=None, quiet=False):
        self.program = program
        self.timing = timing or Timing(latency=30, bytes_per_cycle=program.config.dram_bytes, duplex="half")
        self.model = model = model or build(program.config, quiet=quiet)
        # Narrow addresses reach the image and nothing else.
        self.base = BASE if program.config.address_width > BASE.bit_length() else 0
        self.session = model.session(base=self.base, size=program.size, timing=self.timing)
        self.session.load(self.base, program.image())
        end = self.base + program.size
        data = self.base + program.data_offset
        low, high = (data + word * program.config.lanes for word in program.writable)
        for name, value in {
            "PROGRAM_LENGTH": len(program.instructions), "PROGRAM_BASE": self.base, "DATA_BASE": data,
            "READ_BASE": self.base, "READ_LIMIT": end, "WRITE_BASE": low, "WRITE_LIMIT": high, "IRQ_ENABLE": 3,
        }.items():  # fmt: skip
            self.session.write(name, value)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.session.close()

    def run(self, inputs, *, limit=None, progress=None, every=2_000_000, state=None, window=None):
        """One inference: int8 inputs by name to a `Run`.

        Parameters
        ----------
        limit : cycles after which the run counts as stuck.
        progress : called with the cycles so far and the layer, after `every` cycles.
        window : a `timeline.Window` of cycles to record.
        state : a `saved.State`: the run goes on from it if it is there, is saved to it meanwhile, and removes it at its end.
        """
        program = self.program
        limit = limit or cycle_limit(program)
        if window is not None:
            self.session.watch(window.first, window.last, most=window.most)
        if state is not None and state.exists():
            state.restore(self.session)
        else:
            for name, values in inputs.items():
                offset, data = program.input_bytes(name, values)
                self.session.load(self.base + offset, data)
            self.session.start()
        if state is not None:
            state.keep(self.session)
        result = self.session.wait(limit=limit, progress=progress, every=every)
        if state is not None:
            state.remove()
        tensors = {}
        for name in program.tensors:
            offset, size = program.span(name)
            tensors[name] = program.tensor(name, self.session.dump(self.base + offset, size))
        layers = [result.layers.get(i) or LayerCycles.of({}) for i in range(len(program.layers) + 1)]
        last = layers.pop()  # after the last mark: stores that end the run
        if layers:  # not of a network of names and constants alone
            layers[-1] += last
        timeline = window and Timeline(*self.session.spans(), window.first)
        counters = {name: result.counters[name] for name in COUNTERS}
        if program.config.compact:  # has no counters: what its trace ports told
            counters = {name: sum(layer.counters[name] for layer in result.layers.values()) for name in COUNTERS}
        return Run(tensors, counters, layers, timeline)


class AmaranthBackend:
    """Amaranth's simulator; for tiny configurations."""

    def __init__(self, program, **_):
        self.program = program

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, inputs, *, limit=None, progress=None):
        """One inference."""
        from .pysim import AmaranthMachine

        program = self.program
        image = program.image(inputs)
        ticks = progress and (lambda cycles: progress(cycles, 0))
        machine = AmaranthMachine(program.config, progress=ticks)
        counters = machine.run(program, image, limit=limit or cycle_limit(program))
        return Run(_tensors(program, image), counters)


class FunctionalBackend(AmaranthBackend):
    """The instruction set in numpy: no cycles."""

    def run(self, inputs, *, limit=None, progress=None):
        """One inference."""
        from .functional import FunctionalMachine

        program = self.program
        image = program.image(inputs)
        machine = FunctionalMachine(program.config, image[program.data_offset :])
        machine.run(copy.deepcopy(program.instructions))
        return Run(_tensors(program, image))


class GoldenBackend:
    """The integer graph in numpy, without a program."""

    def __init__(self, graph, **_):
        self.graph = graph

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, inputs, *, limit=None, progress=None):
        """One inference."""
        return Run(evaluate(self.graph, inputs))


BACKENDS = {
    "golden": GoldenBackend, "functional": FunctionalBackend, "rtl": RtlBackend, "amaranth": AmaranthBackend, "port": PortBackend,
}  # fmt: skip


def open_backend(name, graph, program, **options):
    """The backend of this name, ready to run."""
    return BACKENDS[name](graph if name == "golden" else program, **options)


def cycle_limit(program):
    """Cycles after which a run certainly hangs: far above one MAC a cycle and any estimate."""
    macs = sum(layer.macs for layer in program.layers)
    words = sum(np.prod(place.layout, dtype=np.int64) for place in program.tensors.values())
    return int(2_000_000 + 2 * macs + 100 * words)


def _tensors(program, image):
    spans = {name: program.span(name) for name in program.tensors}
    return {name: program.tensor(name, image[at : at + size]) for name, (at, size) in spans.items()}
