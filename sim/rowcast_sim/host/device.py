"""A device with an accelerator: registers, memory, programs and runs."""

from dataclasses import dataclass

import numpy as np
from rowcast.config import PRESETS
from rowcast.registers import COUNTERS, ID_VALUE, REGISTERS, Error, address_of
from rowcast.soc.protocol import DEFAULT_BAUD, Command

from ..errors import InputError
from .link import Link, LinkError

__all__ = ["Device", "DeviceError"]

START, SOFT_RESET = 1, 2
BUSY, ERROR = 1, 4  # of STATUS
LAYER_AT = 16
IRQ_DONE_AND_ERROR = 3
PAGE = 4096
RESET_SECONDS = 1.0
_NAMES = {register.name for register in REGISTERS}


class DeviceError(RuntimeError):
    """A run stopped with an error, or did not end.

    Members: code (`registers.Error`), index (of the instruction).
    """

    def __init__(self, message, code=Error.NONE, index=0):
        super().__init__(message)
        self.code, self.index = code, index


@dataclass(frozen=True)
class _Place:
    """Where a program lies in the device's memory."""

    program: object
    base: int

    @property
    def end(self):
        return self.base + self.program.size


class Device:
    """A device behind a host bridge.

    Parameters
    ----------
    transport : see `link.Link`.
    patience : link.Patience

    Members
    -------
    link : Link
    info : protocol.Info
    digest : of the configuration that the hardware was made from.

    Raises
    ------
    LinkError
        Nothing answers, or something that is no accelerator.
    """

    def __init__(self, transport, *, patience=None):
        self.link = Link(transport, patience=patience)
        self.info, self.name = self.link.info, transport.name
        found = self.read("ID")
        if found != ID_VALUE:
            raise LinkError(f"{self.name}: register ID is {found:#010x}, not {ID_VALUE:#010x}: this is no accelerator")
        self.digest = self.read("CONFIG")
        self._places, self._active = [], None

    @classmethod
    def open(cls, port, baud=DEFAULT_BAUD, *, patience=None):
        """The device at a serial port."""
        from .serial_port import SerialTransport

        transport = SerialTransport(port, baud)
        try:
            return cls(transport, patience=patience)
        except BaseException:
            transport.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Give the port back."""
        self.link.close()

    # Registers and memory -----------------------------------------------------------------------------------------

    def read(self, name):
        """A register, 32 bits."""
        return int.from_bytes(self.link.read(Command.REGISTER_READ, address_of(name), 4), "little")

    def write(self, name, value):
        """Write a register; one with a `_HIGH` half takes 64 bits."""
        size = 8 if f"{name}_HIGH" in _NAMES else 4
        if value >> 8 * size:
            raise ValueError(f"{name} has {8 * size} bits, {value:#x} does not fit")
        self.link.write(Command.REGISTER_WRITE, address_of(name), int(value).to_bytes(size, "little"))

    def read_memory(self, address, size, *, progress=None):
        """Bytes of memory, uint8 [size]; `progress` is called with the bytes of each block."""
        self._inside(address, size)
        data = self.link.read(Command.MEMORY_READ, address, size, progress=progress)
        return np.frombuffer(data, np.uint8)

    def write_memory(self, address, data, *, progress=None):
        """Put an array's bytes into memory."""
        data = np.ascontiguousarray(np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data)
        data = data.reshape(-1).view(np.uint8)
        self._inside(address, len(data))
        self.link.write(Command.MEMORY_WRITE, address, data, progress=progress)

    def _inside(self, address, size):
        if address < 0 or address + size > self.info.memory_bytes:
            raise ValueError(
                f"memory has {self.info.memory_bytes} bytes, {address:#x} to {address + size:#x} is not inside"
            )

    def counters(self):
        """The counters of the last run by name (`registers.COUNTERS`)."""
        first = address_of(f"COUNT_{COUNTERS[0].upper()}")
        data = self.link.read(Command.REGISTER_READ, first, 8 * len(COUNTERS))
        return {name: int.from_bytes(data[8 * i : 8 * i + 8], "little") for i, name in enumerate(COUNTERS)}

    # Programs -----------------------------------------------------------------------------------------------------

    def check(self, config):
        """Whether programs for this configuration run here.

        Raises
        ------
        InputError
            The device was made from another configuration.
        """
        if self.digest != config.digest():
            raise InputError(
                f"{self.name}: the device has configuration {_named(self.digest)}, the program is for "
                f"{_named(config.digest())}: choose the device's with --preset or --config"
            )

    def load(self, program, *, progress=None):
        """Put a program's instructions and constants into memory, unless they are there already; returns its base.

        Raises
        ------
        InputError
            Another configuration, or too little memory.
        """
        for place in self._places:
            if place.program is program:
                return place.base
        self.check(program.config)
        if program.size > self.info.memory_bytes:
            raise InputError(
                f"{self.name}: the program needs {program.size:,} bytes of memory (instructions, weights and tensors), "
                f"the device has {self.info.memory_bytes:,}"
            )
        base = max((place.end for place in self._places), default=0)
        if base + program.size > self.info.memory_bytes:
            base, self._places, self._active = 0, [], None  # they take turns
        self._stop()
        self.write_memory(base, program.code, progress=progress)
        self.write_memory(base + program.data_offset, program.constants, progress=progress)
        self._places.append(_Place(program, base))
        return base

    def load_bytes(self, program):
        """What `load` sends."""
        return len(program.code) + len(program.constants)

    def activate(self, program):
        """Load a program if need be, and let `start` start it; returns its base."""
        base = self.load(program)
        if self._active is not program:
            data = base + program.data_offset
            low, high = (data + word * program.config.lanes for word in program.writable)
            for name, value in {
                "PROGRAM_LENGTH": len(program.instructions), "PROGRAM_BASE": base, "DATA_BASE": data, "READ_BASE": base,
                "READ_LIMIT": base + program.size, "WRITE_BASE": low, "WRITE_LIMIT": high,
                "IRQ_ENABLE": IRQ_DONE_AND_ERROR,
            }.items():  # fmt: skip
                self.write(name, value)
            self._active = program
        return base

    # Runs ---------------------------------------------------------------------------------------------------------

    def start(self):
        """Start the program that was activated."""
        self._stop()
        self.write("IRQ_STATUS", IRQ_DONE_AND_ERROR)
        self.write("CONTROL", START)

    def wait(self, *, cycles, progress=None):
        """Wait for the end of the run that was started.

        Parameters
        ----------
        cycles : after these the run counts as stuck.
        progress : called with the cycles and the layer so far, now and then.

        Raises
        ------
        DeviceError
            The run stopped with an error, or does not end.
        """
        transport, pause = self.link.transport, 0.0
        end = transport.now() + cycles / self.info.clock_hz + self.link.patience.answer
        while not self.link.ping().interrupt:
            if transport.now() > end:
                raise DeviceError(f"{self.name}: no interrupt in {cycles:,} cycles; {self._standing()}")
            if progress:
                progress(self.read("COUNT_CYCLES"), self.read("STATUS") >> LAYER_AT)
            transport.sleep(pause)
            pause = min(2 * pause + self.link.patience.poll / 16, self.link.patience.poll)
        if self.read("STATUS") & ERROR:
            raise self._error()

    def soft_reset(self):
        """Bring the accelerator back to idle, whatever it does."""
        self.write("CONTROL", SOFT_RESET)
        transport = self.link.transport
        end = transport.now() + RESET_SECONDS
        while self.read("STATUS") & BUSY:
            if transport.now() > end:
                raise DeviceError(f"{self.name}: the soft reset does not end; {self._standing()}")

    def _stop(self):
        """Idle, without an error."""
        if self.read("STATUS") & (BUSY | ERROR):
            self.soft_reset()

    def _error(self):
        code, index = self.read("ERROR_CODE"), self.read("ERROR_INDEX")
        code = Error(code) if code in list(Error) else code
        what = f"instruction {index}"
        if self._active is not None and index < len(self._active.instructions):
            what += f" ({self._active.instructions[index].name})"
        text = code.name if isinstance(code, Error) else f"error {code}"
        return DeviceError(f"{self.name}: the engine stopped at {what}: {text}", code, index)

    def _standing(self):
        names = ("STATUS", "QUEUES", "UNITS", "ERROR_CODE")
        return ", ".join(f"{name} {self.read(name):#x}" for name in names)


def _named(digest):
    for name, config in PRESETS.items():
        if config.digest() == digest:
            return f"{digest:08x} (preset {name})"
    return f"{digest:08x}"
