"""The host bridge's side of the buses: bytes become beats of registers or memory, and back."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..axi import LOAD_ID, OKAY, lite_signature
from ..host import ADDRESS_BITS
from .bus import memory_signature

__all__ = ["BeatAccess"]

LITE_BYTES = 4


class BeatAccess(wiring.Component):
    """Walks through the bytes of a request, and through the beats in which they lie.

    In each beat there is a `step` for every byte, also for those outside the request (`inside` is low).  A write
    shifts them in and then goes out with the strobes of those that are inside; a read shifts them out of `data`.
    One access at a time: a beat, or a register of 4 bytes.

    Parameters
    ----------
    config : uses dram_bytes and address_width.
    payload : bytes in a block.

    Members
    -------
    address, end, empty, is_info, is_register : of the request, see `RequestHeader`; INFO has neither beats nor a bus.
    load : strobe; `at` is the request's first byte.
    load_beat : strobe; `at` is the first byte of its beat.
    forget : strobe; `failed` falls.
    step : strobe; the next byte.  `byte` enters `data` at its upper end, the lowest byte of `data` leaves, a cycle later.
    advance : strobe; `at` moves on, which it does not with the `step` of a beat's last byte.
    read, write : strobes; begin an access to the beat of `at`, a read at once, a write when what was stepped is in `data`.
    at : the byte's address in the block.
    at_last : it is the request's last one.  This and `inside` are a cycle behind `at`: it moves at most every other cycle.
    inside : the byte at `at` belongs to the request.
    beat_full : it is the last of its beat.
    ended : the last byte of the request was passed.
    data : the beat, from the byte at `at` on, unless `moving`: then the last `step` is not done yet.
    done : strobe; the access is over, and what was read is in `data`.
    failed : since `forget`, one was answered with an error.
    lite, memory : the buses.
    """

    def __init__(self, config, *, payload):
        self.config, self.payload = config, payload
        strobes = ("load", "load_beat", "forget", "step", "advance", "read", "write")
        super().__init__(
            {
                "address": In(32),
                "end": In(range(payload + 1)),
                **dict.fromkeys(("empty", "is_info", "is_register", *strobes), In(1)),
                "byte": In(8),
                "at": Out(range(payload)),
                **dict.fromkeys(("at_last", "inside", "beat_full", "ended", "done", "failed", "moving"), Out(1)),
                "data": Out(8 * config.dram_bytes),
                "lite": Out(lite_signature(ADDRESS_BITS)),
                "memory": Out(memory_signature(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        strobe = Signal(self.config.dram_bytes)
        self._walk(m)
        byte = Signal(8, reset_less=True)
        inside = Signal(reset_less=True)
        m.d.sync += [self.moving.eq(self.step), byte.eq(self.byte), inside.eq(self.inside)]
        with m.If(self.moving):
            m.d.sync += [self.data.eq(Cat(self.data[8:], byte)), strobe.eq(Cat(strobe[1:], inside))]
        self._bus(m, strobe)
        return m

    def _walk(self, m):
        """`at`, and where it is in the request and in the beat."""
        low, beat = exact_log2(self.payload), exact_log2(self.config.dram_bytes)
        started = Signal()
        is_first = Signal()
        start = self.address[:low]
        next_at = Signal(range(self.payload + 1))
        lite = exact_log2(LITE_BYTES)
        m.d.comb += [
            next_at.eq(self.at + 1),
            self.inside.eq((started | is_first) & ~self.ended),
            self.beat_full.eq(
                self.is_info | (self.at[:lite].all() & (self.is_register | (self.at[lite:beat].all() if beat > lite else 1)))
            ),
        ]
        m.d.sync += [is_first.eq(self.at == start), self.at_last.eq(next_at == self.end)]
        with m.If(self.step):
            m.d.sync += started.eq(started | is_first)
            with m.If(self.inside & self.at_last):
                m.d.sync += self.ended.eq(1)
        with m.If(self.advance | (self.step & ~self.beat_full)):
            m.d.sync += self.at.eq(next_at)
        with m.If(self.load):
            m.d.sync += self.at.eq(start)
        with m.If(self.load_beat):
            in_register, in_beat = self.is_info.replicate(lite), (self.is_register | self.is_info).replicate(beat - lite)
            first = start & Cat(in_register, in_beat, Const(-1, low - beat))
            m.d.sync += [self.at.eq(first), started.eq(0), self.ended.eq(self.empty)]

    def _bus(self, m, strobe):
        """One access at a time on either bus; what is offered stays until it is taken."""
        low, beat = exact_log2(self.payload), exact_log2(self.config.dram_bytes)
        reading = Signal()
        writing = Signal()
        write = Signal()
        memory_address = Cat(Const(0, beat), self.at[beat:], self.address[low:])
        lite = exact_log2(LITE_BYTES)
        lite_address = Cat(Const(0, lite), self.at[lite:], self.address[low:])
        m.d.sync += write.eq(self.write)  # when the last byte of the beat is in its place
        for bus, mine, address in (
            (self.lite, self.is_register, lite_address), (self.memory, ~self.is_register, memory_address),
        ):  # fmt: skip
            m.d.comb += [
                bus.r.ready.eq(reading),
                bus.b.ready.eq(writing),
                bus.ar.payload.addr.eq(address),
                bus.aw.payload.addr.eq(address),
            ]
            for channel, begin in ((bus.ar, self.read & ~self.is_info), (bus.aw, write), (bus.w, write)):
                with m.If(begin & mine):
                    m.d.sync += channel.valid.eq(1)
                with m.Elif(channel.ready):
                    m.d.sync += channel.valid.eq(0)
        m.d.comb += [
            self.lite.w.payload.data.eq(self.data[-8 * LITE_BYTES :]),
            self.lite.w.payload.strb.eq(strobe[-LITE_BYTES:]),
            self.memory.w.payload.data.eq(self.data),
            self.memory.w.payload.strb.eq(strobe),
            self.memory.w.payload.last.eq(1),
            self.memory.ar.payload.id.eq(LOAD_ID),
        ]

        # One access is under way, so an answer on either bus is its answer.
        answers = [(reading, self.lite.r), (reading, self.memory.r), (writing, self.lite.b), (writing, self.memory.b)]
        with m.If(self.forget):
            m.d.sync += self.failed.eq(0)
        m.d.sync += self.done.eq(0)
        for waits, channel in answers:
            with m.If(waits & channel.valid):
                m.d.sync += [waits.eq(0), self.done.eq(1), self.failed.eq(self.failed | (channel.payload.resp != OKAY))]
        with m.If(reading & self.lite.r.valid):
            m.d.sync += self.data[: 8 * LITE_BYTES].eq(self.lite.r.payload.data)
        with m.If(reading & self.memory.r.valid):
            m.d.sync += self.data.eq(self.memory.r.payload.data)
        with m.If(self.read):
            m.d.sync += reading.eq(~self.is_info)
        with m.If(write):
            m.d.sync += writing.eq(1)
