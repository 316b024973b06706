"""A device without hardware: the bridge's twin in front of registers, memory, and the functional machine."""

import contextlib
import os
import random
import select
import threading
import time
import tty
from collections import deque

import numpy as np

from rowcast import isa
from rowcast.registers import CAUSES, COUNTERS, ID_VALUE, REGISTERS, Error, address_of
from rowcast.soc import protocol
from rowcast.soc.protocol import Info
from rowcast.soc.twin import BridgeTwin, BusError
from rowcast_sim.functional import FunctionalMachine

__all__ = ["MemoryLine", "TwinDevice", "at_a_port"]

NAMES = {register.offset: register.name for register in REGISTERS}
ACCESS = {register.name: register.access for register in REGISTERS}
BAUD = 1_000_000
DONE, ERROR = 2, 4
CYCLES = 1000  # of every run, as its counters say


class TwinDevice:
    """Registers and memory of an accelerator whose runs take no time.

    Parameters
    ----------
    config : Config
    memory_bytes : of memory.
    fail_at : index of the instruction at which every run stops, None: it does not.
    hang : runs never end.

    Members
    -------
    twin : BridgeTwin
    starts : runs so far.
    """

    def __init__(
        self, config, memory_bytes, *, payload=256, fail_at=None, hang=False, version=protocol.PROTOCOL_VERSION
    ):
        self.config, self.fail_at, self.hang = config, fail_at, hang
        self.bytes = np.random.default_rng(1).integers(0, 256, memory_bytes, np.uint8)
        self.values = dict.fromkeys(ACCESS, 0) | {"ID": ID_VALUE, "CONFIG": config.digest()}
        self.starts = 0
        info = Info(version, payload, config.dram_bytes, 50, memory_bytes, 20_000_000, BAUD)
        self.twin = BridgeTwin(info, self, _Memory(self.bytes, config.dram_bytes))

    def read(self, address):
        """A register."""
        if address not in NAMES:
            raise BusError
        return self.values[NAMES[address]]

    def write(self, address, value, strobe):
        """A register; whole ones only."""
        if address not in NAMES:
            raise BusError
        assert strobe == 15
        name = NAMES[address]
        if name == "CONTROL":
            self._control(value)
        elif name == "IRQ_STATUS":
            self.values[name] &= ~value
        elif ACCESS[name] == "rw":
            self.values[name] = value
        self._interrupt()

    def _control(self, value):
        values = self.values
        if value & 2:
            values |= dict.fromkeys(("STATUS", "ERROR_CODE", "ERROR_INDEX"), 0)
        elif value & 1 and not values["STATUS"] & (1 | ERROR):
            self.starts += 1
            values["STATUS"] = 1
            self.twin.running = self.hang
            if not self.hang:
                self._run()

    def _interrupt(self):
        self.twin.interrupt = bool(self.values["IRQ_STATUS"] & self.values["IRQ_ENABLE"])

    def _run(self):
        values, base = self.values, self.values["PROGRAM_BASE"]
        if self.fail_at is not None:
            values |= {"STATUS": ERROR, "ERROR_CODE": Error.BUFFER_RANGE, "ERROR_INDEX": self.fail_at, "IRQ_STATUS": 2}
            return
        code = self.bytes[base : base + isa.BYTES * values["PROGRAM_LENGTH"]].tobytes()
        program = [isa.decode(code[i : i + isa.BYTES]) for i in range(0, len(code), isa.BYTES)]
        memory = self.bytes[values["DATA_BASE"] : values["READ_LIMIT"]]
        FunctionalMachine(self.config, memory).run(program)
        counts = dict.fromkeys(COUNTERS, 0) | {"cycles": CYCLES, f"cause_{CAUSES[0]}": CYCLES}
        for name, count in counts.items():
            values[f"COUNT_{name.upper()}"] = count
        values |= {"STATUS": DONE, "IRQ_STATUS": 1}


class _Memory:
    def __init__(self, data, beat_bytes):
        self.data, self.beat_bytes = data, beat_bytes

    def read(self, address):
        if address >= len(self.data):
            raise BusError
        return self.data[address : address + self.beat_bytes].tobytes()

    def write(self, address, data, strobe):
        if address >= len(self.data):
            raise BusError
        for i, byte in enumerate(data):
            if strobe >> i & 1:
                self.data[address + i] = byte


class MemoryLine:
    """A transport to a twin, in a time of its own, that damages a share of the pieces in each direction.

    Members
    -------
    seconds : that went by.
    deaf : nothing reaches the device; drop_answers : so many answers to come get lost.
    """

    def __init__(self, twin, *, damage=0.0, seed=0, byte_seconds=10 / BAUD):
        self.twin, self.damage, self.rng = twin, damage, random.Random(seed)
        self.name, self.baud, self.byte_seconds = "memory", BAUD, byte_seconds
        self.seconds, self.closed, self.deaf, self.drop_answers = 0.0, False, False, 0
        self._silent_since, self._pieces = 0.0, deque()

    def write(self, data):
        if self.seconds - self._silent_since > self.twin.info.quiet_ms / 1000:
            self.twin.silence()
        self.seconds += len(data) * self.byte_seconds
        self._silent_since = self.seconds
        if self.deaf:
            return
        answer = self.twin.feed(self._damaged(data))
        if answer and self.drop_answers:
            self.drop_answers -= 1
        elif answer:
            cut = self.rng.randrange(len(answer) + 1)
            self._pieces += [piece for piece in (answer[:cut], answer[cut:]) if piece]

    def read(self, seconds):
        if not self._pieces:
            self.seconds += seconds
            return b""
        data = self._pieces.popleft()
        self.seconds += len(data) * self.byte_seconds
        return self._damaged(data)

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds

    def close(self):
        self.closed = True

    def _damaged(self, data):
        data = bytearray(data)
        if self.rng.random() < self.damage:
            place = self.rng.randrange(len(data))
            kind = self.rng.randrange(4)
            if kind == 0:
                data[place] ^= 1 << self.rng.randrange(8)
            elif kind == 1:
                del data[place:]
            elif kind == 2:
                del data[place]
            else:
                data[place:place] = self.rng.randbytes(4)
        return bytes(data)


@contextlib.contextmanager
def at_a_port(device):
    """The name of a serial port behind which the device is; None: nobody is."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    stop = threading.Event()

    def serve():
        last = time.monotonic()
        while not stop.is_set():
            if not select.select([ours], [], [], 0.02)[0]:
                continue
            data = os.read(ours, 65536)
            if device is None:
                continue
            if time.monotonic() - last > 2:
                device.twin.silence()
            os.write(ours, device.twin.feed(data))
            last = time.monotonic()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        thread.join()
        os.close(ours)
        os.close(theirs)
