"""The host bridge in plain Python: what the hardware does with every byte, for tests of it and of drivers."""

from . import protocol
from .protocol import Command, Status

__all__ = ["BridgeTwin", "BusError"]

LITE_BYTES = 4


class BusError(Exception):
    """A bus answers with an error."""


class BridgeTwin:
    """Bytes in, bytes out; see `bridge.HostBridge`.

    Parameters
    ----------
    info : protocol.Info
    registers : object with `read(address)`, which gives 32 bits, and `write(address, value, strobe)`; address of a
        register, a bit of `strobe` for each byte.
    memory : object with `read(address)`, which gives the bytes of a beat, and `write(address, data, strobe)`.
        Both raise BusError for an answer with an error.
    address_width : of the memory bus.

    Members
    -------
    interrupt, running : what the status byte shows.
    """

    def __init__(self, info, registers, memory, *, address_width=32):
        self.info, self.registers, self.memory = info, registers, memory
        self.address_width = address_width
        self.interrupt = self.running = False
        self._frame = None
        self._last, self._failed = None, False

    def silence(self):
        """More than two time-outs without a byte, or a byte without a stop bit."""
        self._frame = None

    def feed(self, data):
        """The bytes that are sent in answer to these."""
        sent = b""
        for byte in data:
            if self._frame is None:
                self._frame = bytearray() if byte == protocol.START_REQUEST else None
                continue
            self._frame.append(byte)
            sent += self._look()
        return sent

    def _look(self):
        """What a frame is answered with; nothing while it is not complete."""
        frame = self._frame
        if len(frame) < protocol.HEADER_BYTES:
            return b""
        command, sequence, address, length = protocol.header(frame[: protocol.HEADER_BYTES])
        if len(frame) == protocol.HEADER_BYTES and self._beyond(command, address, length):
            return self._answer(command, sequence, address, Status.RANGE)
        size = protocol.HEADER_BYTES + length * protocol.is_write(command)
        if len(frame) < size + 4:
            return b""
        if protocol.checksum(frame[:size]) != frame[size:]:
            return self._answer(command, sequence, address, Status.CHECKSUM)
        if command not in list(Command):
            return self._answer(command, sequence, address, Status.COMMAND)
        return self._execute(Command(command), sequence, address, length, bytes(frame[protocol.HEADER_BYTES : size]))

    def _beyond(self, command, address, length):
        width = 12 if command & 2 else self.address_width
        return address % self.info.payload + length > self.info.payload or address >> width

    def _execute(self, command, sequence, address, length, payload):
        again = protocol.is_write(command) and self._last == sequence
        self._last = sequence
        self._failed = self._failed and again
        read = b""
        if command is Command.INFO_READ:
            info = self.info.encode()
            read = bytes(info[(address + i) % len(info)] for i in range(length))
        elif not protocol.is_write(command):
            read = self._read(command, address, length)
        elif not again:
            self._write(command, address, payload)
        return self._answer(command, sequence, address, Status.ACCESS if self._failed else Status.OK, read)

    def _beats(self, command, address, length):
        """(bus, address of a beat, its bytes, those of them that are asked for) of each beat."""
        is_register = command in (Command.REGISTER_READ, Command.REGISTER_WRITE)
        bus, size = (self.registers, LITE_BYTES) if is_register else (self.memory, self.info.beat_bytes)
        for beat in range(address // size * size, address + length, size) if length else ():
            yield bus, beat, size, slice(max(address - beat, 0), min(address + length - beat, size))

    def _read(self, command, address, length):
        """A beat that cannot be read gives whatever was on the bus: zeros here."""
        read = b""
        for bus, beat, size, part in self._beats(command, address, length):
            try:
                data = bus.read(beat)
                data = data.to_bytes(LITE_BYTES, "little") if isinstance(data, int) else data
            except BusError:
                data, self._failed = bytes(size), True
            read += data[part]
        return read

    def _write(self, command, address, payload):
        for bus, beat, size, part in self._beats(command, address, len(payload)):
            strobe = sum(1 << i for i in range(size)[part])
            data = bytearray(size)
            data[part] = payload[beat + part.start - address : beat + part.stop - address]
            value = int.from_bytes(data, "little") if bus is self.registers else bytes(data)
            try:
                bus.write(beat, value, strobe)
            except BusError:
                self._failed = True

    def _answer(self, command, sequence, address, code, payload=b""):
        self._frame = None
        status = code | self.interrupt << protocol.INTERRUPT_BIT | self.running << protocol.RUNNING_BIT
        return protocol.answer(command, sequence=sequence, address=address, status=status, payload=payload)
