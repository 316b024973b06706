"""What the host bridge knows of frames: bytes on their way through the checksum, and the header of a request."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..host import ADDRESS_BITS
from . import protocol
from .protocol import Command

__all__ = ["FrameBytes", "RequestHeader"]

CRC_POLYNOMIAL = 0xEDB88320  # of CRC-32, bits in the order in which they are sent
CRC_BITS = 32


class FrameBytes(wiring.Component):
    """Passes a byte a bit a cycle through the checksum, and then out if it is to be sent.

    Commands count only while `idle`, one at a time; a byte takes 10 cycles, and one that is sent until it is taken.

    Members
    -------
    byte : of `take` and `send`.
    take : strobe; a byte that was received.
    send : strobe; a byte to send.
    send_checksum : with `send`: instead of `byte` the next byte of the checksum.
    clear : the checksum begins anew; with a byte: it is the first.
    idle : the next command may come; from a register.
    good : the bytes so far ended with their own checksum.
    o : bytes to the host.
    """

    byte: Signal
    take: Signal
    send: Signal
    send_checksum: Signal
    clear: Signal
    idle: Signal
    good: Signal
    o: stream.Interface

    def __init__(self):
        strobes = dict.fromkeys(("take", "send", "send_checksum", "clear"), In(1))
        super().__init__(
            {"byte": In(8), **strobes, "idle": Out(1), "good": Out(1), "o": Out(stream.Signature(8))}
        )

    def elaborate(self, platform):
        m = Module()
        crc = Signal(CRC_BITS)
        byte = Signal(8)
        steps = Signal(8)  # a 1 for each bit to come
        sends = Signal()
        plain = Signal()
        feedback = Signal()
        m.d.sync += self.good.eq(crc == protocol.RESIDUE)
        m.d.sync += self.idle.eq(~steps[0] & ~self.o.valid & ~self.take & ~self.send)
        m.d.comb += [
            self.o.payload.eq(byte),
            feedback.eq((crc[0] ^ byte[0]) & ~plain),
        ]
        with m.If(steps[0]):
            m.d.sync += [
                byte.eq(byte.rotate_right(1)),
                steps.eq(steps[1:]),
                crc.eq(Cat(crc[1:], 0) ^ Mux(feedback, CRC_POLYNOMIAL, 0)),
            ]
            with m.If(~steps[1]):
                m.d.sync += self.o.valid.eq(sends)
        with m.Elif(self.o.valid):
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        with m.Elif(self.take | self.send):
            m.d.sync += [
                byte.eq(Mux(self.send_checksum, ~crc[:8], self.byte)),
                steps.eq(~0),
                sends.eq(self.send),
                plain.eq(self.send_checksum),
            ]
        with m.If(self.clear):
            m.d.sync += crc.eq(~0)
        return m


class RequestHeader(wiring.Component):
    """The header of a request in a shift register, and what follows from it one cycle later.

    Parameters
    ----------
    config : uses address_width.
    payload : bytes in a block.

    Members
    -------
    step, byte : strobe; a byte enters as the last one.  As many as the header has, in turn, leave it as it was.
    header : the bytes, the first one lowest.
    sequence, address : fields.
    end : address in the block behind the request's last byte.
    empty : nothing is read or written.
    bad : the request reaches beyond its block, or beyond the address of its space.
    known, is_write, is_info, is_register : about the command.
    """

    step: Signal
    byte: Signal
    header: Signal
    sequence: Signal
    address: Signal
    end: Signal
    empty: Signal
    bad: Signal
    known: Signal
    is_write: Signal
    is_info: Signal
    is_register: Signal

    def __init__(self, config, *, payload):
        self.config, self.payload = config, payload
        flags = dict.fromkeys(("empty", "bad", "known", "is_write", "is_info", "is_register"), Out(1))
        super().__init__(
            {
                "step": In(1),
                "byte": In(8),
                "header": Out(8 * protocol.HEADER_BYTES),
                "sequence": Out(8),
                "address": Out(32),
                "end": Out(range(payload + 1)),
                **flags,
            }
        )

    def elaborate(self, platform):
        m = Module()
        command = Signal(8)
        length = Signal(16)
        m.d.comb += Cat(command, self.sequence, self.address, length).eq(self.header)
        with m.If(self.step):
            m.d.sync += self.header.eq(Cat(self.header[8:], self.byte))
        m.d.comb += [
            self.empty.eq(length == 0),
            self.is_write.eq(command[0]),
            self.is_register.eq(command[1]),
            self.is_info.eq(command[1:3] == 0),
        ]
        m.d.sync += self.known.eq(0)
        with m.Switch(command):
            with m.Case(*(command.value for command in Command)):
                m.d.sync += self.known.eq(1)
        low = exact_log2(self.payload)
        end = self.address[:low] + length[: low + 1]
        far = self.address[self.config.address_width :].any() if self.config.address_width < 32 else 0
        m.d.sync += [
            self.end.eq(end),
            self.bad.eq(
                (end > self.payload) | length[low + 1 :].any() | Mux(self.is_register, self.address[ADDRESS_BITS:].any(), far)
            ),
        ]
        return m
