"""A device at a port as a backend, like the simulators of `machine`."""

from ..results import Run

__all__ = ["PortBackend"]


class PortBackend:
    """A program on a device, loaded by the first run unless it is there already.

    Parameters
    ----------
    program : Program.
    device : Device; the one who opened it closes it.
    everything : read back every tensor that is in memory, not only the outputs.
    """

    def __init__(self, program, *, device, everything=False):
        self.program, self.device, self.everything = program, device, everything
        device.check(program.config)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, inputs, *, limit=None, progress=None):
        """One inference: int8 inputs by name to a `Run`, whose layers are empty."""
        from ..machine import cycle_limit

        program, device = self.program, self.device
        base = device.activate(program)
        for name, values in inputs.items():
            offset, data = program.input_bytes(name, values)
            device.write_memory(base + offset, data)
        device.start()
        device.wait(cycles=limit or cycle_limit(program), progress=progress)
        tensors = dict(inputs)
        for name in program.tensors if self.everything else program.outputs:
            if name not in tensors:
                offset, size = program.span(name)
                tensors[name] = program.tensor(name, device.read_memory(base + offset, size))
        return Run(tensors, device.counters())
