"""From the program to the units: decoding, a queue for each unit, and the tokens that instructions wait for."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from . import isa
from .fetch import fetched_layout
from .interfaces import INDEX_BITS, instruction_layout, unit_error
from .isa import Unit
from .registers import Error

__all__ = ["Dispatch", "InstructionQueue", "QUEUE_UNITS", "TokenGate", "Tokens"]

QUEUE_UNITS = tuple(unit for unit in Unit if unit is not Unit.CONTROL)
TOKEN_BITS = 6


class InstructionQueue(wiring.Component):
    """The instructions that wait before one unit.  One in and one out a cycle; first word after one cycle.

    The distributed RAM keeps only what this unit can use: payload bits that none of its formats has, and the token bits
    of the unit itself (of all units for COMPUTE) come out as 0.

    Parameters
    ----------
    unit : whose instructions.
    depth : instructions, a power of two.

    Members
    -------
    i, o : instructions; `o.payload` is a combinational read.
    level : instructions inside.

    Raises
    ------
    ValueError
        No such unit, or a depth that is not a power of two.
    """

    i: stream.Interface
    o: stream.Interface
    level: Signal

    def __init__(self, *, unit, depth):
        if unit not in QUEUE_UNITS:
            raise ValueError(f"unit must be a unit with a queue, not {unit!r}")
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two from 2 upwards, not {depth!r}")
        self.depth = depth
        formats = [form for form in isa.FORMATS.values() if form.unit is unit]
        self.payload_bits = max(sum(field.width for field in form.fields) for form in formats)
        self.partners = [u for u in range(isa.TOKEN_UNITS) if u != unit] if unit < isa.TOKEN_UNITS else []
        self.memory = Memory(shape=len(self._pack(Signal(fetched_layout()))), depth=depth, init=[],
                             attrs={"no_rw_check": 1})  # fmt: skip
        super().__init__(
            {
                "i": In(stream.Signature(fetched_layout())),
                "o": Out(stream.Signature(fetched_layout())),
                "level": Out(range(depth + 1)),
            }
        )

    def _pack(self, item):
        """The bits of an instruction that are kept."""
        return Cat(
            item.opcode,
            *(item.wait[u] for u in self.partners),
            *(item.signal[u] for u in self.partners),
            item.payload[: self.payload_bits],
            item.index,
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port(domain="comb")
        address_bits = exact_log2(self.depth)
        head = Signal(address_bits)
        tail = Signal(address_bits)
        push = Signal()
        pop = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.level[address_bits]),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
            write.en.eq(push),
            write.addr.eq(tail),
            write.data.eq(self._pack(self.i.payload)),
            read.addr.eq(head),
            self._pack(self.o.payload).eq(read.data),
        ]
        m.d.sync += [head.eq(head + pop), tail.eq(tail + push)]
        with m.If(push ^ pop):  # one adder: + 1 or - 1
            m.d.sync += [
                self.level.eq(self.level + Cat(Const(1, 1), pop.replicate(address_bits))),
                self.o.valid.eq(push | (self.level != 1)),
            ]
        return m


class TokenGate(wiring.Component):
    """Holds an instruction back until the tokens that it waits for are there; then takes them.  Latency 2, one in two cycles.

    Two registers: in the first the instruction waits, and `granted` says that its tokens are there; the second is in front of
    the unit.  The tokens are taken when the instruction goes there, which can be some time before its unit takes it.

    Members
    -------
    i, o : instructions; those at `o` have their tokens.
    available : units from which at least one token is there.
    take : units from which one token is taken; a register.
    missing : units whose token the first instruction lacks, while nothing is in front of it.
    waits : there is an instruction in the first register.
    stop : lets no further instruction to the unit.
    """

    i: stream.Interface
    o: stream.Interface
    available: Signal
    take: Signal
    missing: Signal
    waits: Signal
    stop: Signal

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(fetched_layout())),
                "o": Out(stream.Signature(instruction_layout())),
                "available": In(isa.TOKEN_UNITS),
                "take": Out(isa.TOKEN_UNITS),
                "missing": Out(isa.TOKEN_UNITS),
                "waits": Out(1),
                "stop": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        held = Signal(fetched_layout(), reset_less=True)
        output = Signal(instruction_layout(), reset_less=True)
        wait = Signal(isa.TOKEN_UNITS)  # of the instruction held, 0 without one
        granted = Signal()
        free = Signal()
        passes = Signal()
        lacking = Signal(isa.TOKEN_UNITS)
        next_lacking = Signal(isa.TOKEN_UNITS)
        m.d.comb += [
            lacking.eq(wait & (~self.available | self.take)),
            next_lacking.eq(self.i.payload.wait & (~self.available | self.take)),
            free.eq(~self.o.valid | self.o.ready),
            passes.eq(granted & ~self.stop & free),
            self.i.ready.eq(~self.waits),
            self.missing.eq(Mux(self.o.valid, 0, lacking)),
            self.o.payload.eq(output),
        ]
        m.d.sync += self.take.eq(Mux(passes, wait, 0))
        with m.If(~self.waits):
            m.d.sync += [
                self.waits.eq(self.i.valid),
                granted.eq(self.i.valid & (next_lacking == 0)),
                wait.eq(Mux(self.i.valid, self.i.payload.wait, 0)),
                held.eq(self.i.payload),
            ]
        with m.Elif(passes):
            m.d.sync += [self.waits.eq(0), granted.eq(0), wait.eq(0)]
        with m.Else():
            m.d.sync += granted.eq(lacking == 0)
        with m.If(free):  # what is not valid may be anything: the payload does not wait for the tokens
            m.d.sync += [
                self.o.valid.eq(passes),
                *(output[name].eq(held[name]) for name in ("opcode", "signal", "payload", "index")),
            ]
        return m


class Tokens(wiring.Component):
    """A counter of tokens for each pair of different token units.

    A signal in cycle t makes the token available in cycle t + 1.  A signal and a take at once leave the count as it is.
    A take without a token, and a signal from a unit to itself, are excluded by the users.

    Members
    -------
    signals : for each producer, the consumers that get a token.
    takes : for each consumer, the producers whose token it takes.
    available : for each consumer, the producers from which it has a token.
    clear : strobe; no tokens at all.
    overflow : strobe, one cycle late; a counter was full (its count is lost).
    """

    signals: list
    takes: list
    available: list
    clear: Signal
    overflow: Signal

    def __init__(self):
        units = isa.TOKEN_UNITS
        super().__init__(
            {
                "signals": In(units).array(units),
                "takes": In(units).array(units),
                "available": Out(units).array(units),
                "clear": In(1),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        overflows = []
        for producer in range(isa.TOKEN_UNITS):
            for consumer in range(isa.TOKEN_UNITS):
                if producer == consumer:
                    continue
                count = Signal(TOKEN_BITS, name=f"count_{Unit(producer).name}_{Unit(consumer).name}".lower())
                up, down = self.signals[producer][consumer], self.takes[consumer][producer]
                some = Signal(name=f"some_{Unit(producer).name}_{Unit(consumer).name}".lower())
                with m.If(up ^ down):  # one adder: + 1 or - 1
                    m.d.sync += [
                        count.eq(count + Cat(Const(1, 1), down.replicate(TOKEN_BITS - 1))),
                        some.eq((up & ~count.all()) | (down & (count != 1))),
                    ]
                with m.If(self.clear):
                    m.d.sync += [count.eq(0), some.eq(0)]
                m.d.comb += self.available[consumer][producer].eq(some)
                overflows.append(up & ~down & count.all())
        m.d.sync += self.overflow.eq(Cat(*overflows).any())
        return m


class Dispatch(wiring.Component):
    """Deals the instructions of a program to the queues of their units, in order, one in two cycles.

    An instruction whose queue is full blocks all that follow.  END ends the run's dispatching.  Behind each queue a
    `TokenGate` waits for the tokens that an instruction needs.  The payload of an instruction is that of its unit's
    longest format at most; bits beyond are dropped.  Latency from `i` to a unit that is free: 4 cycles.

    Errors: OPCODE (unknown); FIELD (a wait or signal bit of the instruction's own unit, any in one of COMPUTE or
    CONTROL, a signal bit in one of `isa.SILENT`); TOKEN (a counter overflows; the index is that of the last dispatched
    instruction).  The faulty instruction goes nowhere, and nothing more is dispatched; the queues run on until `stop`.

    Members
    -------
    start : strobe before the first instruction of a run; there are no tokens, and `ended` is low from then on.
    stop : two cycles later nothing more goes into or out of the queues (what is in front of a unit stays there).
    i : instructions from `Fetch`.
    o_load, o_store, o_filter, o_ifmap, o_post, o_compute : to the units.
    signals : tokens made by LOAD, STORE, FILTER, IFMAP, POST: one-cycle pulses, a bit for each consumer.
    missing : for each of these five units, the tokens that the next instruction lacks (see `TokenGate`).
    waiting : bit u: unit u's next instruction lacks a token.
    levels : 4 bits a unit: instructions in its queue, 15 for 15 or more; the one in front of the unit is not counted.
    empty : no instruction is in a queue or in front of a unit.
    ended : END was met; all before it went to the queues.
    dispatched : strobe; an instruction was dispatched (END too).
    error : stays up until the reset.
    """

    start: Signal
    stop: Signal
    i: stream.Interface
    o_load: stream.Interface
    o_store: stream.Interface
    o_filter: stream.Interface
    o_ifmap: stream.Interface
    o_post: stream.Interface
    o_compute: stream.Interface
    signals: list
    missing: list
    waiting: Signal
    levels: Signal
    empty: Signal
    ended: Signal
    dispatched: Signal
    error: wiring.PureInterface

    def __init__(self, config):
        self.config = config
        units = isa.TOKEN_UNITS
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "i": In(stream.Signature(fetched_layout())),
                **{f"o_{unit.name.lower()}": Out(stream.Signature(instruction_layout())) for unit in QUEUE_UNITS},
                "signals": In(units).array(units),
                "missing": Out(units).array(units),
                "waiting": Out(len(QUEUE_UNITS)),
                "levels": Out(4 * len(QUEUE_UNITS)),
                "empty": Out(1),
                "ended": Out(1),
                "dispatched": Out(1),
                "error": Out(unit_error()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tokens = tokens = Tokens()
        m.d.comb += tokens.clear.eq(self.start)
        stop = Signal()
        m.d.sync += stop.eq(self.stop)
        push = Signal(len(QUEUE_UNITS))
        ready = Signal(len(QUEUE_UNITS))
        occupied = Signal(len(QUEUE_UNITS))
        held, item = self._decode(m, push, ready, tokens.overflow)
        for unit in QUEUE_UNITS:
            name = unit.name.lower()
            queue, gate = InstructionQueue(unit=unit, depth=self.config.queue_depth), TokenGate()
            m.submodules[f"queue_{name}"], m.submodules[f"gate_{name}"] = queue, gate
            output = getattr(self, f"o_{name}")
            wiring.connect(m, queue.o, gate.i)
            wiring.connect(m, gate.o, wiring.flipped(output))
            m.d.comb += [
                queue.i.payload.eq(item),
                queue.i.valid.eq(push[unit]),
                ready[unit].eq(queue.i.ready),
                gate.stop.eq(stop),
                occupied[unit].eq(queue.o.valid | gate.waits | gate.o.valid),
                self.levels.word_select(int(unit), 4).eq(Mux(queue.level >= 15, 15, queue.level)),
            ]
            if unit < isa.TOKEN_UNITS:
                m.d.comb += [
                    tokens.signals[unit].eq(self.signals[unit]),
                    tokens.takes[unit].eq(gate.take),
                    gate.available.eq(tokens.available[unit]),
                    self.missing[unit].eq(gate.missing),
                    self.waiting[unit].eq(gate.missing.any()),
                ]
        m.d.comb += self.empty.eq(~held & (occupied == 0))
        return m

    def _decode(self, m, push, ready, overflow):
        """One register, with what the opcode means, between fetch and the queues: `i.ready` says that it is free."""
        held, item, target, legal = self._take(m)
        halted = Signal()  # a register: whatever sets it lasts
        go = Signal()
        last_index = Signal(INDEX_BITS)
        queues = target[: len(QUEUE_UNITS)]
        m.d.comb += [
            go.eq(held & ~halted),
            push.eq(Mux(go & legal, queues, 0)),
            self.dispatched.eq(go & legal & (target[Unit.CONTROL] | (queues & ready).any())),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += held.eq(1)
        with m.Elif(self.dispatched):
            m.d.sync += held.eq(0)
        with m.If(self.dispatched):
            m.d.sync += last_index.eq(item.index)
        over = self.dispatched & target[Unit.CONTROL]
        halts = Signal()
        m.d.comb += halts.eq(self.stop | self.ended | over | self.error.valid | overflow)
        m.d.sync += [
            halted.eq(halts),
            self.i.ready.eq(~halts & Mux(held, self.dispatched, ~(self.i.valid & self.i.ready))),
        ]
        with m.If(self.start):
            m.d.sync += self.ended.eq(0)
        with m.Elif(over):
            m.d.sync += self.ended.eq(1)
        with m.If(~self.error.valid):
            with m.If(overflow):
                self._fail(m, Error.TOKEN, last_index)
            with m.Elif(go & ~legal):
                self._fail(m, Mux(target.any(), Error.FIELD, Error.OPCODE), item.index)
        return held, item

    def _take(self, m):
        """The register: whether it is full, the instruction, its unit (one-hot, 0: unknown opcode), whether it is legal."""
        arriving = self.i.payload
        unit = Signal(len(Unit))
        with m.Switch(arriving.opcode):
            for each in Unit:
                with m.Case(*(form.opcode for form in isa.FORMATS.values() if form.unit is each)):
                    m.d.comb += unit.eq(1 << each)
        partners = Signal(isa.TOKEN_UNITS)  # token units that must not be named
        no_tokens = unit[Unit.COMPUTE] | unit[Unit.CONTROL]
        m.d.comb += partners.eq(unit[: isa.TOKEN_UNITS] | no_tokens.replicate(isa.TOKEN_UNITS))
        silent = Cat(arriving.opcode == isa.FORMATS[name].opcode for name in isa.SILENT).any()
        held = Signal()
        item = Signal.like(arriving, reset_less=True)
        target = Signal.like(unit, reset_less=True)
        legal = Signal(reset_less=True)
        with m.If(~held):
            m.d.sync += [
                item.eq(arriving),
                target.eq(unit),
                legal.eq(unit.any() & ~((arriving.wait | arriving.signal) & partners).any() & ~(silent & arriving.signal.any())),
            ]
        return held, item, target, legal

    def _fail(self, m, code, index):
        m.d.sync += [self.error.valid.eq(1), self.error.code.eq(code), self.error.index.eq(index)]
