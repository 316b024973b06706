"""Requests to a device, repeated until they are answered."""

import os
from dataclasses import dataclass

from rowcast.soc import protocol
from rowcast.soc.protocol import Command, Info, Status

from .frames import AnswerReader

__all__ = ["Link", "LinkError", "Patience"]

MOST_PAYLOAD = 1 << 15  # before the device has said how much
BITS_A_BYTE = 10
UNKNOWN_QUIET = 0.3


class LinkError(RuntimeError):
    """The device does not answer, or not to what it was asked."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    Parameters
    ----------
    answer : for the first byte of an answer, beyond the time that the bytes themselves take.
    quiet : until a device has forgotten an unfinished frame; None: what it says itself, before that `UNKNOWN_QUIET`.
    poll : longest pause between two looks at a run.
    attempts : how often a request is sent.
    """

    answer: float = 0.5
    quiet: float | None = None
    poll: float = 0.02
    attempts: int = 5


class Link:
    """Requests one after the other; each is repeated until there is an answer with a right checksum.

    Writes are done once, however often they are sent: the device knows them by their sequence number.  After any
    failure the line is left quiet for so long that the device has forgotten what it may have seen.

    Parameters
    ----------
    transport : what carries the bytes:
        `write(data)`; `read(seconds)`, what has come, at least one byte unless the time passes; `sleep(seconds)`;
        `now()`, in seconds; `close()`; `name`, for messages; `baud`.
    patience : Patience

    Members
    -------
    info : protocol.Info of the device.
    retries : frames that were sent again so far.

    Raises
    ------
    LinkError
        There is no answer, or it speaks another version of the protocol.
    """

    def __init__(self, transport, *, patience=None):
        self.transport, self.patience = transport, patience or Patience()
        self.retries = 0
        self._quiet = self.patience.quiet or UNKNOWN_QUIET
        self._sequence = os.urandom(1)[0]
        self._reader = AnswerReader(MOST_PAYLOAD)
        data = self.request(Command.INFO_READ, 0, length=protocol.INFO_BYTES).payload
        if data[0] != protocol.PROTOCOL_VERSION:
            raise LinkError(
                f"{transport.name}: the device speaks version {data[0]} of the protocol, "
                f"this driver version {protocol.PROTOCOL_VERSION}"
            )
        self.info = Info.decode(data)
        self._quiet = self.patience.quiet or self.info.quiet_ms / 1000
        self._reader = AnswerReader(self.info.payload)

    def close(self):
        """Give the transport back."""
        self.transport.close()

    def ping(self):
        """An Answer without a payload: whether a run is under way, and whether there is an interrupt."""
        return self.request(Command.INFO_READ, 0, length=0)

    def read(self, command, address, size, *, progress=None):
        """Bytes of a space, in as many requests as it takes; `progress` is called with the bytes of each."""
        data = b""
        for start, length in self._blocks(address, size):
            data += self.request(command, start, length=length).payload
            if progress:
                progress(length)
        return data

    def write(self, command, address, data, *, progress=None):
        """Bytes into a space."""
        for start, length in self._blocks(address, len(data)):
            self.request(command, start, payload=bytes(data[start - address : start - address + length]))
            if progress:
                progress(length)

    def _blocks(self, address, size):
        """(address, bytes) of pieces that cross no multiple of the largest payload."""
        end = address + size
        while address < end:
            stop = min(end, (address // self.info.payload + 1) * self.info.payload)
            yield address, stop - address
            address = stop

    def request(self, command, address, *, length=None, payload=b""):
        """One request and its Answer.

        Raises
        ------
        LinkError
            No answer after `attempts`, or the device refuses.
        """
        self._sequence = (self._sequence + 1) % 256
        length = len(payload) if length is None else length
        frame = protocol.request(command, sequence=self._sequence, address=address, length=length, payload=payload)
        wanted = command, self._sequence, address, 0 if protocol.is_write(command) else length
        refused = None
        for attempt in range(self.patience.attempts):
            if attempt:
                self.retries += 1
                self._recover()
            self.transport.write(frame)
            answer = self._await(wanted, len(frame) + length)
            if answer is None:
                continue
            if answer.code == Status.OK:
                return answer
            refused = answer.code
            if refused not in (Status.CHECKSUM, Status.RANGE):
                break  # these two may be the line's fault
        raise LinkError(self._problem(refused, command, address, length))

    def _await(self, wanted, size):
        """The Answer to this request, or one that refuses something; None: there is none in time."""
        transport = self.transport
        end = transport.now() + self.patience.answer + 2 * size * BITS_A_BYTE / transport.baud
        while (left := end - transport.now()) > 0:
            for answer in self._reader.feed(transport.read(left)):
                if (answer.command, answer.sequence, answer.address, len(answer.payload)) == wanted:
                    return answer
                if answer.code in (Status.CHECKSUM, Status.RANGE):
                    return answer
        return None

    def _recover(self):
        """Wait until nothing has come for long enough."""
        transport = self.transport
        end = transport.now() + self._quiet
        while (left := end - transport.now()) > 0:
            if transport.read(left):
                end = transport.now() + self._quiet
        self._reader.clear()

    def _problem(self, refused, command, address, length):
        name = self.transport.name
        what = f"{Command(command).name} of {length} bytes at {address:#x}"
        if refused is None:
            return (
                f"{name}: the device does not answer ({what}, sent {self.patience.attempts} times at "
                f"{self.transport.baud} baud): is this the board's UART and not its programming port, is the bitstream "
                "loaded, was it made with this baud rate (--baud)?"
            )
        if refused == Status.CHECKSUM:
            times = self.patience.attempts
            return f"{name}: the line is too bad: {what} arrived damaged {times} times; try a lower baud rate"
        if refused == Status.ACCESS:
            return f"{name}: the device's bus answered with an error: {what}"
        text = refused.name if isinstance(refused, Status) else f"status {refused}"
        return f"{name}: the device refuses {what}: {text}"
