"""Reads the program from memory, ahead of its execution."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from . import isa
from .axi import address_layout, read_channels
from .interfaces import INDEX_BITS, unit_error
from .registers import Error

__all__ = ["Fetch", "fetched_layout"]


def fetched_layout():
    """An instruction as it stands in memory (the low 128 bits), and its index in the program."""
    return data.StructLayout(
        {
            "opcode": isa.OPCODE_BITS,
            "wait": isa.TOKEN_UNITS,
            "signal": isa.TOKEN_UNITS,
            "payload": isa.PAYLOAD_BITS,
            "index": INDEX_BITS,
        }
    )


class Fetch(wiring.Component):
    """Reads a program in bursts and gives out its instructions in order.

    A burst ends at a multiple of its largest size (a power of two of at most 4 KiB), so none crosses a 4 KiB border.
    It is asked for only when the buffer has room for the largest one: `r` is always ready.  The buffer holds two of
    them.  An instruction of several beats passes in as many cycles, any other one a cycle.  Nothing is read past the
    beat that holds the last of `program_length` instructions, nothing is given out after END.

    Errors are precise: a fault of a beat that was read ahead counts only when the instruction that needs it is the
    next, so that what stands after END does no harm.  PROGRAM: the last instruction was not END (reported three
    cycles after it was taken, so that its own error comes first), or `program_length` is 0 or too large for an index.
    READ_WINDOW: the instruction lies in a burst that is not inside [`window_base`, `window_limit`).  READ_RESPONSE: the
    memory answered with an error.

    Parameters
    ----------
    config : uses dram_bytes, burst_beats and address_width.

    Members
    -------
    start : strobe, only while `idle`; what was left in the buffer is dropped.
    stop : from the next cycle on, no further burst and no further instruction; what is under way is read and dropped.
    program_base, program_length : byte address, a multiple of the beat; instructions.  Stable from `start` on.
    window_base, window_limit : first byte that may be read, first one after; stable from `start` on.
    ar, r : bursts and their beats.
    o : instructions.
    idle : no burst is offered or under way.
    error : see above.
    """

    start: Signal
    stop: Signal
    program_base: Signal
    program_length: Signal
    window_base: Signal
    window_limit: Signal
    ar: stream.Interface
    r: stream.Interface
    o: stream.Interface
    idle: Signal
    error: wiring.PureInterface

    def __init__(self, config):
        self.config = config
        self.beat_bytes = config.dram_bytes
        # 16 is the depth of a distributed RAM; 256 bytes are 16 instructions.
        self.buffer_beats = max(16, 256 // config.dram_bytes)
        self.max_beats = min(self.buffer_beats // 2, config.burst_beats)
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program_base": In(config.address_width),
                "program_length": In(32),
                "window_base": In(config.address_width),
                "window_limit": In(config.address_width),
                **read_channels(config),
                "o": Out(stream.Signature(fetched_layout())),
                "idle": Out(1),
                "error": Out(unit_error()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bursts = bursts = _Bursts(self.config, self.buffer_beats, self.max_beats)
        m.submodules.assemble = assemble = _Assemble(self.config, self.buffer_beats)
        transfer = Signal()
        finished = Signal()  # END was given out
        exhausted = Signal()  # another one was the last
        judged = Signal()  # dispatch has looked at it
        is_end = Signal()
        left = Signal(INDEX_BITS)  # instructions from the one offered to the end of the program
        last = Signal()  # it is the last
        quit = Signal()
        fits = self.program_length[INDEX_BITS:] == 0
        m.d.comb += [
            is_end.eq(assemble.ends),
            bursts.start.eq(self.start),
            bursts.stop.eq(quit),
            bursts.program_base.eq(self.program_base),
            bursts.program_length.eq(self.program_length[:INDEX_BITS]),
            bursts.window_base.eq(self.window_base),
            bursts.window_limit.eq(self.window_limit),
            bursts.received.eq(self.r.valid),
            bursts.released.eq(assemble.pop),
            self.ar.valid.eq(bursts.ar.valid),
            self.ar.payload.eq(bursts.ar.payload),
            bursts.ar.ready.eq(self.ar.ready),
            self.r.ready.eq(1),
            self.idle.eq(bursts.idle),
            assemble.clear.eq(self.start),
            assemble.stop.eq(quit),
            assemble.push.eq(self.r.valid),
            assemble.data.eq(self.r.payload.data),
            assemble.bad.eq(self.r.payload.resp[1]),
            self.o.payload.as_value()[: isa.BITS].eq(assemble.instruction),
            self.o.valid.eq(assemble.valid),
            transfer.eq(assemble.valid & self.o.ready),
            assemble.taken.eq(transfer),
            assemble.final.eq(last | is_end),
        ]
        index = self.o.payload.index
        over = Mux(self.start, 0, finished | exhausted | (transfer & assemble.final))
        m.d.sync += [judged.eq(exhausted), quit.eq(over | self.stop | self.error.valid)]
        with m.If(self.start):
            m.d.sync += [index.eq(0), left.eq(self.program_length), last.eq(self.program_length == 1)]
            m.d.sync += [finished.eq(0), exhausted.eq(0)]
            with m.If(~fits | (self.program_length == 0)):
                self._fail(m, Error.PROGRAM)
        with m.Elif(transfer):
            m.d.sync += [left.eq(left - 1), last.eq(left == 2)]
            with m.If(is_end):
                m.d.sync += finished.eq(1)
            with m.Elif(last):
                m.d.sync += exhausted.eq(1)
            with m.Else():
                m.d.sync += index.eq(index + 1)
        with m.Elif(judged & exhausted & ~self.error.valid & ~self.stop):
            self._fail(m, Error.PROGRAM)
        with m.Elif(~quit & assemble.fault):
            self._fail(m, Error.READ_RESPONSE)
        with m.Elif(~quit & bursts.outside & bursts.idle & assemble.empty):
            self._fail(m, Error.READ_WINDOW)
        m.d.comb += self.error.index.eq(index)  # stands still after an error
        return m

    def _fail(self, m, code):
        m.d.sync += [self.error.valid.eq(1), self.error.code.eq(code)]


class _Bursts(wiring.Component):
    """Cuts a program into bursts: four cycles a burst, and as long as it takes until the buffer has room.

    `received` and `released` are strobes: a beat came in, a beat left the buffer.  `outside`: the next burst is not in
    the window; it is never asked for.
    """

    def __init__(self, config, buffer_beats, max_beats):
        self.config, self.buffer_beats, self.max_beats = config, buffer_beats, max_beats
        address = In(config.address_width)
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program_base": address,
                "program_length": In(INDEX_BITS),
                "window_base": address,
                "window_limit": address,
                "ar": Out(stream.Signature(address_layout(config))),
                "received": In(1),
                "released": In(1),
                "outside": Out(1),
                "idle": Out(1),
            }
        )

    def _program_beats(self):
        """Beats of the whole program: a beat is some instructions, or an instruction some beats."""
        beat_bytes = self.config.dram_bytes
        if beat_bytes <= isa.BYTES:
            return self.program_length << exact_log2(isa.BYTES // beat_bytes)
        ratio = beat_bytes // isa.BYTES
        return (self.program_length + (ratio - 1)) >> exact_log2(ratio)

    def elaborate(self, platform):
        m = Module()
        low = exact_log2(self.config.dram_bytes)
        beat = Signal(self.config.address_width - low)  # beat address of the next burst
        beats_left = Signal(len(self._program_beats()))
        count = Signal(range(self.max_beats + 1))
        end = Signal(len(beat) + 1)
        inside = Signal()
        reserved = Signal(range(self.buffer_beats + 1))  # beats in the buffer or on the way to it
        pending = Signal(range(self.buffer_beats + 1))  # beats on the way
        issued = Signal()
        to_border = Signal.like(count)
        m.d.comb += [
            to_border.eq(self.max_beats - beat[: exact_log2(self.max_beats)]),
            self.ar.payload.addr.eq(Cat(Const(0, low), beat)),
            self.ar.payload.len.eq(count - 1),
            issued.eq(self.ar.valid & self.ar.ready),
            self.idle.eq(~self.ar.valid & (pending == 0)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [beat.eq(self.program_base[low:]), beats_left.eq(self._program_beats())]
                    m.next = "PLAN"
            with m.State("PLAN"):
                m.d.sync += count.eq(Mux(beats_left < to_border, beats_left, to_border))
                with m.If(self.stop | (beats_left == 0)):
                    m.next = "IDLE"
                with m.Elif(reserved <= self.buffer_beats - self.max_beats):
                    m.next = "BOUND"
            with m.State("BOUND"):
                m.d.sync += end.eq(beat + count)
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += inside.eq(
                    (self.ar.payload.addr >= self.window_base) & (end <= self.window_limit[low:])
                )
                m.next = "ISSUE"
                with m.If(self.stop):
                    m.next = "IDLE"
            with m.State("ISSUE"):
                m.d.comb += [self.ar.valid.eq(inside), self.outside.eq(~inside)]
                with m.If(issued):
                    m.d.sync += [beat.eq(end), beats_left.eq(beats_left - count)]
                    m.next = "PLAN"
                with m.If(self.outside & self.stop):
                    m.next = "IDLE"
        added = Mux(issued, count, 0)
        m.d.sync += [pending.eq(pending + added - self.received), reserved.eq(reserved + added - self.released)]
        with m.If(self.start):
            m.d.sync += reserved.eq(0)
        return m


class _Assemble(wiring.Component):
    """Buffers beats and makes instructions of them: `isa.BYTES / dram_bytes` cycles an instruction, at least one.

    `push` writes a beat (there must be room); `bad` marks it as an error.  `pop` tells that a beat has left the buffer.
    `fault`: the beat that comes next is bad, and all before it are taken.  `final`: the instruction offered is the last
    one; `ends`: it is END.  `empty`: nothing is buffered or offered.  `clear` and `stop` end the offer; `clear` empties the buffer.
    """

    def __init__(self, config, buffer_beats):
        self.config, self.buffer_beats = config, buffer_beats
        self.memory = Memory(shape=8 * config.dram_bytes, depth=buffer_beats, init=[], attrs={"no_rw_check": 1})
        super().__init__(
            {
                "clear": In(1),
                "stop": In(1),
                "push": In(1),
                "data": In(8 * config.dram_bytes),
                "bad": In(1),
                "pop": Out(1),
                "instruction": Out(isa.BITS),
                "valid": Out(1),
                "taken": In(1),
                "final": In(1),
                "ends": Out(1),
                "fault": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port(domain="comb")
        written = Signal(range(2 * self.buffer_beats))
        taken = Signal(range(2 * self.buffer_beats))
        after = Signal.like(taken, init=1)  # `taken` + 1
        bad_at = Signal.like(written)  # the first bad beat
        any_bad = Signal()
        good = Signal()  # the beat that comes next, if any
        bad = Signal()  # the same
        load = Signal()
        instruction = Signal(isa.BITS, reset_less=True)
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self.data),
            write.en.eq(self.push),
            read.addr.eq(taken),
            # In the cycle in which the last instruction leaves nothing follows it.
            load.eq(good & ~self.stop & (~self.valid | (self.taken & ~self.final))),
            self.fault.eq(bad & ~self.valid),
            self.instruction.eq(instruction),
        ]
        complete = self._load(m, load, read.data, instruction)
        m.d.sync += written.eq(written + self.push)
        with m.If(self.pop):
            m.d.sync += [taken.eq(after), after.eq(after + 1)]
        with m.If(self.push & self.bad & ~any_bad):
            m.d.sync += [any_bad.eq(1), bad_at.eq(written)]
        comes, spoilt = [], []  # for the present and the next `taken`: whether its beat is there in the next cycle, and is bad
        for place in (taken, after):
            comes.append(self.push | (written != place))
            spoilt.append((any_bad & (bad_at == place)) | (self.push & self.bad & ~any_bad & (written == place)))
        m.d.sync += [
            good.eq(Mux(self.pop, comes[1] & ~spoilt[1], comes[0] & ~spoilt[0])),
            bad.eq(Mux(self.pop, spoilt[1], spoilt[0])),
        ]
        with m.If(load):
            m.d.sync += self.valid.eq(complete)
        with m.Elif(self.taken):
            m.d.sync += self.valid.eq(0)
        with m.If(self.clear):
            m.d.sync += [written.eq(0), taken.eq(0), after.eq(1), self.valid.eq(0)]
            m.d.sync += [any_bad.eq(0), good.eq(0), bad.eq(0)]
        m.d.comb += self.empty.eq(~good & ~bad & ~self.valid)
        return m

    def _load(self, m, load, beat, instruction):
        """Move one part of a beat to the instruction, or one beat to a part of it; return whether that completes it."""
        parts = max(isa.BYTES, self.config.dram_bytes) // min(isa.BYTES, self.config.dram_bytes)
        is_end = lambda low: low[: isa.OPCODE_BITS] == isa.FORMATS["END"].opcode  # noqa: E731
        if parts == 1:
            m.d.comb += self.pop.eq(load)
            with m.If(load):
                m.d.sync += [instruction.eq(beat), self.ends.eq(is_end(beat))]
            return Const(1)
        part = Signal(range(parts))
        with m.If(load):
            m.d.sync += part.eq(part + 1)
        with m.If(self.clear):
            m.d.sync += part.eq(0)
        if self.config.dram_bytes < isa.BYTES:
            m.d.comb += self.pop.eq(load)
            with m.If(load & (part == 0)):
                m.d.sync += self.ends.eq(is_end(beat))
            for i in range(parts):
                with m.If(load & (part == i)):
                    m.d.sync += instruction.word_select(i, len(beat)).eq(beat)
            return part == parts - 1
        m.d.comb += self.pop.eq(load & (part == parts - 1))
        with m.If(load):
            m.d.sync += [instruction.eq(beat.word_select(part, isa.BITS)), self.ends.eq(is_end(beat.word_select(part, isa.BITS)))]
        return Const(1)
