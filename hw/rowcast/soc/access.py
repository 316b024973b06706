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
    at, next_at : the byte's address in the block, and that plus 1.
    inside : the byte at `at` belongs to the request.
    beat_full : it is the last of its beat.
    ended : the last byte of the request was passed.
    data : the beat, from the byte at `at` on, unless `moving`: then the last `step` is not done yet.
    done : strobe; the access is over.
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
                "next_at": Out(range(payload + 1)),
                **dict.fromkeys(("inside", "beat_full", "ended", "done", "failed", "moving"), Out(1)),
                "data": Out(8 * config.dram_bytes),
                "lite": Out(lite_signature(ADDRESS_BITS)),
                "memory": Out(memory_signature(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        strobe = Signal(self.config.dram_bytes)
        self._walk(m)
        byte, inside = Signal(8, reset_less=True), Signal(reset_less=True)
        m.d.sync += [self.moving.eq(self.step), byte.eq(self.byte), inside.eq(self.inside)]
        with m.If(self.moving):
            m.d.sync += [self.data.eq(Cat(self.data[8:], byte)), strobe.eq(Cat(strobe[1:], inside))]
        self._bus(m, strobe)
        return m

    def _walk(self, m):
        """`at`, and where it is in the request and in the beat."""
        low, beat = exact_log2(self.payload), exact_log2(self.config.dram_bytes)
        start, started, is_first = self.address[:low], Signal(), Signal()
        lite = exact_log2(LITE_BYTES)
        m.d.comb += [
            self.next_at.eq(self.at + 1),
            is_first.eq(self.at == start),
            self.inside.eq((started | is_first) & ~self.ended),
            self.beat_full.eq(
                self.is_info | (self.at[:lite].all() & (self.is_register | (self.at[lite:beat].all() if beat > lite else 1)))
            ),
        ]
        with m.If(self.step):
            m.d.sync += started.eq(started | is_first)
            with m.If(self.inside & (self.next_at == self.end)):
                m.d.sync += self.ended.eq(1)
        with m.If(self.advance | (self.step & ~self.beat_full)):
            m.d.sync += self.at.eq(self.next_at)
        with m.If(self.load):
            m.d.sync += self.at.eq(start)
        with m.If(self.load_beat):
            in_register, in_beat = self.is_info.replicate(lite), (self.is_register | self.is_info).replicate(beat - lite)
            first = start & Cat(in_register, in_beat, Const(-1, low - beat))
            m.d.sync += [self.at.eq(first), started.eq(0), self.ended.eq(self.empty)]

    def _bus(self, m, strobe):
        """One access at a time on either bus; what is offered stays until it is taken."""
        low, beat = exact_log2(self.payload), exact_log2(self.config.dram_bytes)
        read_address, write_address, write_data, reading, writing = (Signal() for _ in range(5))
        memory_address = Cat(Const(0, beat), self.at[beat:], self.address[low:])
        lite = exact_log2(LITE_BYTES)
        lite_address = Cat(Const(0, lite), self.at[lite:], self.address[low:])
        for bus, mine, address in (
            (self.lite, self.is_register, lite_address), (self.memory, ~self.is_register, memory_address),
        ):  # fmt: skip
            m.d.comb += [
                bus.ar.valid.eq(read_address & mine),
                bus.aw.valid.eq(write_address & mine),
                bus.w.valid.eq(write_data & mine),
                bus.r.ready.eq(reading),
                bus.b.ready.eq(writing),
                bus.ar.payload.addr.eq(address),
                bus.aw.payload.addr.eq(address),
            ]
        m.d.comb += [
            self.lite.w.payload.data.eq(self.data[-8 * LITE_BYTES :]),
            self.lite.w.payload.strb.eq(strobe[-LITE_BYTES:]),
            self.memory.w.payload.data.eq(self.data),
            self.memory.w.payload.strb.eq(strobe),
            self.memory.w.payload.last.eq(1),
            self.memory.ar.payload.id.eq(LOAD_ID),
        ]

        def of(channel, name):
            return Mux(self.is_register, getattr(getattr(self.lite, channel), name), getattr(getattr(self.memory, channel), name))

        for pending, channel in ((read_address, "ar"), (write_address, "aw"), (write_data, "w")):
            with m.If(of(channel, "ready")):
                m.d.sync += pending.eq(0)
        answered, response = Signal(), Signal(2)
        m.d.comb += [
            answered.eq((reading & of("r", "valid")) | (writing & of("b", "valid"))),
            response.eq(Mux(reading, *(
                Mux(self.is_register, getattr(self.lite, channel).payload.resp, getattr(self.memory, channel).payload.resp)
                for channel in ("r", "b")
            ))),
            self.done.eq(answered),
        ]  # fmt: skip
        with m.If(answered):
            m.d.sync += [reading.eq(0), writing.eq(0), self.failed.eq(self.failed | (response != OKAY))]
        with m.If(answered & reading):
            with m.If(self.is_register):
                m.d.sync += self.data[: 8 * LITE_BYTES].eq(self.lite.r.payload.data)
            with m.Else():
                m.d.sync += self.data.eq(self.memory.r.payload.data)
        with m.If(self.read):
            m.d.sync += [read_address.eq(~self.is_info), reading.eq(~self.is_info)]
        write = Signal()  # when the last byte of the beat is in its place
        m.d.sync += write.eq(self.write)
        with m.If(write):
            m.d.sync += [write_address.eq(1), write_data.eq(1), writing.eq(1)]
        with m.If(self.forget):
            m.d.sync += self.failed.eq(0)
