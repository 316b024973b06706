"""The host bridge's protocol as data: what the hardware and every driver of it agree on.  Free of Amaranth.

A request is START_REQUEST, a header, a payload if it is a write, and a checksum; an answer is START_ANSWER, a header,
the bytes that were read, a status, and a checksum.  All numbers are little-endian; `docs/bridge.md` is for people.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "CODE_BITS", "Command", "DEFAULT_BAUD", "DEFAULT_PAYLOAD", "HEADER_BYTES", "INFO_BYTES", "INTERRUPT_BIT", "Info",
    "PROTOCOL_VERSION", "RESIDUE", "RUNNING_BIT", "START_ANSWER", "START_REQUEST", "Status", "answer", "checksum", "header",
    "is_write", "request",
]  # fmt: skip

PROTOCOL_VERSION = 1
START_REQUEST = 0xA5
START_ANSWER = 0x5A
DEFAULT_BAUD = 1_000_000
DEFAULT_PAYLOAD = 512  # bytes; a block RAM of an iCE40
RESIDUE = 0xDEBB20E3  # what the CRC register holds after a frame and its own checksum

_HEADER = struct.Struct("<BBIH")
HEADER_BYTES = _HEADER.size
_INFO = struct.Struct("<BBBBIII")
INFO_BYTES = _INFO.size


class Command(IntEnum):
    """What a request asks for: bit 0 is set if it writes, the bits above name the space."""

    INFO_READ = 0
    REGISTER_READ = 2
    REGISTER_WRITE = 3
    MEMORY_READ = 4
    MEMORY_WRITE = 5


class Status(IntEnum):
    """How a request ended: bits 2..0 of an answer's status byte."""

    OK = 0
    CHECKSUM = 1  # the checksum was wrong: nothing was done, and the header in the answer means nothing
    RANGE = 2  # more bytes than the payload may have, past the end of the block, or beyond the address: nothing was done
    COMMAND = 3  # no such command: nothing was done
    ACCESS = 4  # the bus answered with an error; other bytes of the request may have been read or written


CODE_BITS = 3
INTERRUPT_BIT = 4  # of the status byte: the accelerator's interrupt is up
RUNNING_BIT = 5  # of the status byte: a run is under way


@dataclass(frozen=True)
class Info:
    """What a device says of itself: the INFO space.

    Members
    -------
    version : of the protocol.
    payload : most bytes in a request or an answer; no request crosses a multiple of it.
    beat_bytes : of the memory bus.
    quiet_ms : after so many milliseconds without a byte the device has forgotten any unfinished frame.
    memory_bytes : bytes of memory, from address 0.
    clock_hz, baud : as configured.
    """

    version: int
    payload: int
    beat_bytes: int
    quiet_ms: int
    memory_bytes: int
    clock_hz: int
    baud: int

    def encode(self):
        """The INFO space's bytes."""
        logarithms = self.payload.bit_length() - 1, self.beat_bytes.bit_length() - 1
        return _INFO.pack(self.version, *logarithms, self.quiet_ms, self.memory_bytes, self.clock_hz, self.baud)

    @classmethod
    def decode(cls, data):
        """From the INFO space's bytes."""
        version, payload, beat_bytes, *rest = _INFO.unpack(data)
        return cls(version, 1 << payload, 1 << beat_bytes, *rest)


def is_write(command):
    """Whether requests with this command, known or not, carry a payload."""
    return bool(command & 1)


def checksum(data):
    """CRC-32 as of Ethernet and zip, as bytes; of everything between the start byte and the checksum."""
    return zlib.crc32(data).to_bytes(4, "little")


def header(data):
    """(command, sequence, address, length) from a header's bytes."""
    return _HEADER.unpack(data)


def request(command, *, sequence, address, length=None, payload=b""):
    """The frame of a request; `length` is that of the payload unless something is read."""
    length = len(payload) if length is None else length
    body = _HEADER.pack(command, sequence, address, length) + payload
    return bytes([START_REQUEST]) + body + checksum(body)


def answer(command, *, sequence, address, status, payload=b""):
    """The frame of an answer; `status` is the whole byte."""
    body = _HEADER.pack(command, sequence, address, len(payload)) + payload + bytes([status])
    return bytes([START_ANSWER]) + body + checksum(body)
