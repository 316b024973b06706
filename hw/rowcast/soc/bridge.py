"""The host bridge: frames over a byte stream become accesses to registers and memory."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import lite_signature
from ..host import ADDRESS_BITS
from ..memory import Ram
from . import protocol
from .access import BeatAccess
from .bus import memory_signature
from .frame import FrameBytes, RequestHeader
from .protocol import Status

__all__ = ["HostBridge"]

LEAST_PAYLOAD, MOST_PAYLOAD = 64, 4096
LAST_HEADER, LAST_CHECKSUM = protocol.HEADER_BYTES - 1, 3
LENGTH_AT = protocol.HEADER_BYTES - 2  # in the header
BUFFER_LATENCY = 2


class HostBridge(wiring.Component):
    """Answers the requests of `protocol`, one after the other; a frame that is damaged has no effect.

    The payload of a write waits in a small memory until its checksum was right; a read is sent as it comes, with the
    status behind it.  Memory and registers are accessed a beat at a time.  `i` is taken only between answers, so that
    a byte stream with back-pressure may run ahead.  Whatever arrives, the bridge is back at the search for a start
    byte after at most two `timeout`s without a byte.

    A write with the sequence number of the last request that was understood is not done again, only answered: a host
    that missed an answer can repeat any request.

    Parameters
    ----------
    config : uses dram_bytes and address_width; memory above 4 GiB is out of reach.
    info : protocol.Info; its `payload` is the size of the buffer, a power of two.
    timeout : cycles; an unfinished frame is forgotten after one to two of them without a byte.
    ram_style : of the buffer, see `memory.Ram`.

    Members
    -------
    i, o : bytes from and to the host.
    broken : strobe; a byte was damaged on its way: the frame is dropped without an answer.
    irq, running : of the accelerator, shown in each answer.
    lite, memory : the buses.
    tick : strobe, every `timeout` cycles.

    Raises
    ------
    ValueError
        A payload or beat that the protocol cannot carry.
    """

    i: stream.Interface
    o: stream.Interface
    broken: Signal
    irq: Signal
    running: Signal
    lite: wiring.PureInterface
    memory: wiring.PureInterface
    tick: Signal

    def __init__(self, config, *, info, timeout, ram_style=None):
        payload = info.payload
        self.ram_style = ram_style
        if not LEAST_PAYLOAD <= payload <= MOST_PAYLOAD or payload & (payload - 1):
            raise ValueError(
                f"info.payload must be a power of two from {LEAST_PAYLOAD} to {MOST_PAYLOAD}, not {payload!r}"
            )
        if info.beat_bytes != config.dram_bytes:
            raise ValueError(f"info.beat_bytes must be dram_bytes ({config.dram_bytes}), not {info.beat_bytes!r}")
        if timeout < 2:
            raise ValueError(f"timeout must be at least 2 cycles, not {timeout!r}")
        self.config, self.info, self.timeout = config, info, timeout
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "broken": In(1),
                "irq": In(1),
                "running": In(1),
                "lite": Out(lite_signature(ADDRESS_BITS)),
                "memory": Out(memory_signature(config)),
                "tick": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        payload = self.info.payload
        m.submodules.frame = self._frame = FrameBytes()
        m.submodules.request = request = self._request = RequestHeader(self.config, payload=payload)
        m.submodules.access = access = self._access = BeatAccess(self.config, payload=payload)
        m.submodules.buffer = self._buffer = Ram(shape=8, depth=payload, latency=BUFFER_LATENCY, style=self.ram_style)
        wiring.connect(m, wiring.flipped(self.lite), access.lite)
        wiring.connect(m, wiring.flipped(self.memory), access.memory)
        wiring.connect(m, self._frame.o, wiring.flipped(self.o))
        m.d.comb += [
            *(getattr(access, name).eq(getattr(request, name)) for name in (
                "address", "end", "empty", "is_info", "is_register",
            )),
            self._buffer.read_address.eq(access.at),
            self._buffer.write_address.eq(access.at),
            self._buffer.write_data.eq(self.i.payload),
        ]  # fmt: skip
        self._expired = self._timer(m)
        self._here = Signal()  # a byte waits, and so does the frame
        m.d.sync += self._here.eq(self.i.valid & ~self.i.ready & self._frame.idle & ~self._frame.take & ~self._frame.send)
        self._count = Signal(range(protocol.HEADER_BYTES))
        self._status = Signal(protocol.CODE_BITS)
        self._reads = Signal()  # the answer carries what is read
        self._seen, self._last_sequence, self._again = Signal(), Signal(8), Signal()  # a request was; its number; this is it again
        m.d.sync += self._again.eq(request.is_write & self._seen & (self._last_sequence == request.sequence))
        with m.FSM():
            self._receive(m)
            self._write(m)
            self._answer(m)
        return m

    def _timer(self, m):
        """The tick, and whether it is the second one without a byte between."""
        timer = Signal(range(self.timeout))
        quiet = Signal()
        expired = Signal()
        m.d.sync += expired.eq(self.tick & quiet & ~(self.i.valid & self.i.ready))  # not behind a byte that came with the tick
        m.d.sync += [self.tick.eq(timer == 0), timer.eq(Mux(timer == 0, self.timeout - 1, timer - 1))]
        with m.If(self.tick):
            m.d.sync += quiet.eq(1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += quiet.eq(0)
        return expired

    # The states -------------------------------------------------------------------------------------------------------

    def _receive(self, m):
        """From the start byte to the decision what to do."""
        frame, request, access = self._frame, self._request, self._access
        with m.State("HUNT"):
            m.d.comb += [self.i.ready.eq(self._here), frame.clear.eq(1)]
            m.d.sync += [self._count.eq(0), self._status.eq(Status.OK), self._reads.eq(0)]
            with m.If(self._here & (self.i.payload == protocol.START_REQUEST)):
                m.next = "HEADER"
        with m.State("HEADER"):
            self._take(m, then="RANGE", when=self._count == LAST_HEADER)
            m.d.comb += [request.step.eq(frame.take), request.byte.eq(self.i.payload)]
        with m.State("RANGE"):
            m.d.comb += access.load.eq(1)
            with m.If(frame.idle):
                m.next = "CHECKSUM"
                with m.If(request.is_write & ~request.empty):
                    m.next = "PAYLOAD"
                with m.If(request.bad):
                    m.d.sync += self._status.eq(Status.RANGE)
                    m.next = "START"
        with m.State("PAYLOAD"):
            self._take(m, then="CHECKSUM", when=access.at_last)
            m.d.comb += [self._buffer.write_enable.eq(frame.take), access.advance.eq(frame.take)]
        with m.State("CHECKSUM"):
            self._take(m, then="DECISION", when=self._count == LAST_CHECKSUM)
        with m.State("DECISION"):
            m.d.comb += access.load_beat.eq(1)
            with m.If(frame.idle):
                self._decide(m)

    def _take(self, m, *, then, when):
        """Wait for a byte and begin with it; if `when` holds it was the last one."""
        frame = self._frame
        m.d.comb += [
            self.i.ready.eq(self._here),
            frame.byte.eq(self.i.payload),
            frame.take.eq(self._here),
        ]
        with m.If(frame.take):
            self._step(m, then, when)
        with m.Elif(self._expired):
            m.next = "HUNT"
        with m.If(self.broken):
            m.next = "HUNT"

    def _step(self, m, then, when):
        m.d.sync += self._count.eq(self._count + 1)
        with m.If(when):
            m.d.sync += self._count.eq(0)
            m.next = then

    def _decide(self, m):
        """All of the frame is there."""
        frame, request, access = self._frame, self._request, self._access
        seen, last_sequence, again = self._seen, self._last_sequence, self._again
        m.next = "START"
        with m.If(~frame.good):
            m.d.sync += self._status.eq(Status.CHECKSUM)
        with m.Elif(~request.known):
            m.d.sync += self._status.eq(Status.COMMAND)
        with m.Else():
            m.d.comb += access.forget.eq(~again)
            m.d.sync += [seen.eq(1), last_sequence.eq(request.sequence), self._reads.eq(~request.is_write)]
            with m.If(request.is_write & ~request.empty & ~again):
                m.next = "FILL"

    def _write(self, m):
        """From the buffer to the bus."""
        access = self._access
        with m.State("FILL"):
            m.d.comb += access.byte.eq(self._buffer.read_data)
            m.d.sync += self._count.eq(self._count + 1)
            with m.If(self._count == BUFFER_LATENCY):
                m.d.sync += self._count.eq(0)
                m.d.comb += [access.step.eq(1), access.write.eq(access.beat_full)]
                with m.If(access.beat_full):
                    m.next = "WRITE"
        with m.State("WRITE"):
            with m.If(access.done):
                m.d.comb += access.advance.eq(1)
                m.next = "FILL"
                with m.If(access.ended):
                    m.next = "START"

    def _answer(self, m):
        """The answer's bytes in turn; each waits until the one before it is gone."""
        frame, request, access, count = self._frame, self._request, self._access, self._count
        with m.State("START"):
            self._send(m, protocol.START_ANSWER, then="HEADER_OUT")
        with m.State("HEADER_OUT"):
            first = request.header[:8]
            m.d.comb += [frame.clear.eq(count == 0), request.step.eq(frame.idle), request.byte.eq(first)]
            byte = Mux(~self._reads & (count >= LENGTH_AT), 0, first)
            self._send(m, byte, then="NEXT", when=count == LAST_HEADER)
        with m.State("NEXT"):
            m.next = "STATUS"
            with m.If(self._reads & ~access.ended):
                m.d.comb += access.read.eq(1)
                m.next = "READ"
        with m.State("READ"):
            with m.If(access.done | request.is_info):
                m.next = "DRAIN"
        with m.State("DRAIN"):
            info = Array(Const(byte, 8) for byte in self.info.encode())
            m.d.comb += frame.byte.eq(Mux(request.is_info, info[access.at[:4]], access.data[:8]))
            with m.If(frame.idle & ~access.moving):
                m.d.comb += [frame.send.eq(access.inside), access.step.eq(1), access.advance.eq(1)]
                with m.If(access.beat_full):
                    m.next = "NEXT"
        with m.State("STATUS"):
            code = Mux(access.failed & ~self._status.any(), Status.ACCESS, self._status)
            self._send(m, Cat(code[: protocol.CODE_BITS], Const(0, 1), self.irq, self.running), then="CHECKSUM_OUT")
        with m.State("CHECKSUM_OUT"):
            m.d.comb += frame.send_checksum.eq(1)
            self._send(m, 0, then="HUNT", when=count == LAST_CHECKSUM)

    def _send(self, m, byte, *, then, when=1):
        """Send a byte; if `when` holds it was the last one of this kind."""
        frame = self._frame
        m.d.comb += [frame.byte.eq(byte), frame.send.eq(frame.idle)]
        with m.If(frame.idle):
            self._step(m, then, when)
