"""Answers out of a stream of bytes, in which anything may be missing, wrong or too much.  No input or output here."""

from dataclasses import dataclass

from rowcast.soc import protocol
from rowcast.soc.protocol import Status

__all__ = ["Answer", "AnswerReader"]

CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class Answer:
    """What the device said to one request.

    Members
    -------
    command, sequence, address : those of the request.
    code : Status, or a number that this driver does not know.
    interrupt, running : the accelerator's, when the answer was sent.
    payload : what was read.
    """

    command: int
    sequence: int
    address: int
    code: int
    interrupt: bool
    running: bool
    payload: bytes


class AnswerReader:
    """Finds whole answers with a right checksum.  After a start byte that begins none the search goes on behind it.

    Parameters
    ----------
    payload : most bytes in an answer.
    """

    def __init__(self, payload):
        self.payload = payload
        self._bytes = bytearray()

    def clear(self):
        """Forget what came so far."""
        self._bytes.clear()

    def feed(self, data):
        """The answers that these bytes complete."""
        self._bytes += data
        found = []
        while True:
            start = self._bytes.find(protocol.START_ANSWER)
            del self._bytes[: start if start >= 0 else len(self._bytes)]
            if len(self._bytes) <= protocol.HEADER_BYTES:
                return found
            *named, length = protocol.header(self._bytes[1 : 1 + protocol.HEADER_BYTES])
            end = 1 + protocol.HEADER_BYTES + length + 1  # of what the checksum is about
            if length <= self.payload and len(self._bytes) < end + CHECKSUM_BYTES:
                return found
            body = bytes(self._bytes[1:end])
            if length > self.payload or protocol.checksum(body) != self._bytes[end : end + CHECKSUM_BYTES]:
                del self._bytes[:1]
                continue
            del self._bytes[: end + CHECKSUM_BYTES]
            found.append(_answer(*named, body[protocol.HEADER_BYTES : -1], body[-1]))


def _answer(command, sequence, address, payload, status):
    code = status & ((1 << protocol.CODE_BITS) - 1)
    flags = (bool(status >> bit & 1) for bit in (protocol.INTERRUPT_BIT, protocol.RUNNING_BIT))
    return Answer(command, sequence, address, Status(code) if code in list(Status) else code, *flags, payload)
