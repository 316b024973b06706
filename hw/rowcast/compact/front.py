"""From the program to the units: fetch, one memory for all queues, tokens, and one instruction offered at a time."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from .. import isa
from ..axi import address_layout, read_data_layout
from ..interfaces import unit_error
from ..isa import Unit
from ..memory import Ram
from ..registers import Error

__all__ = ["Fetch", "Front", "PAIRS", "Tokens"]

UNITS = tuple(unit for unit in Unit if unit is not Unit.CONTROL)
ITEM = 32  # bits of a queue memory's word: an instruction is four of them
ITEMS = isa.BITS // ITEM
# (producer, consumer): the units that touch the same memories, and so the only ones that have anything to wait for.
PAIRS = tuple(
    (a, b)
    for pair in ((Unit.LOAD, Unit.STORE), (Unit.LOAD, Unit.FILTER), (Unit.LOAD, Unit.IFMAP), (Unit.LOAD, Unit.POST),
                 (Unit.STORE, Unit.POST), (Unit.IFMAP, Unit.POST))
    for a, b in (pair, pair[::-1])
)  # fmt: skip


def queue_address(unit, place, item, depth):
    """Where an item of the instruction at a place of a unit's queue stands."""
    return Cat(item, place[: exact_log2(depth)], unit)


class Fetch(wiring.Component):
    """Reads the program, an instruction a burst, and writes each into its unit's queue.

    An instruction whose queue turns out to be full is dropped and read again when there is room, so that beats of the
    program never stand in the way of LOAD's.

    Members
    -------
    start : strobe; the program begins at `program_base` (in units of 16 bytes).
    stop : no further burst.
    allowed : the read channel is free; `reading` : it is in use.
    ar, r : bursts and their beats.
    full : for each unit, its queue has no room.
    write_enable, write_item, write_data : items for the queue `target`; `push` with the last one.
    ended : END was met.
    error : OPCODE, READ_RESPONSE.
    """

    def __init__(self, config):
        self.config = config
        self.beat_items = config.dram_bytes * 8 // ITEM
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program_base": In(config.address_width - 4),
                "allowed": In(1),
                "reading": Out(1),
                "ar": Out(stream.Signature(address_layout(config))),
                "r": In(stream.Signature(read_data_layout(config))),
                "full": In(len(UNITS)),
                "target": Out(range(len(Unit))),
                "write_enable": Out(1),
                "write_item": Out(range(ITEMS)),
                "write_data": Out(ITEM),
                "push": Out(1),
                "ended": Out(1),
                "error": Out(unit_error()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        place = Signal(len(self.program_base))
        item = Signal(range(ITEMS))
        drop = Signal()
        full = Signal()
        running = Signal()
        beat_end = Signal()
        last = Signal()
        items = [self.r.payload.data.word_select(i, ITEM) for i in range(self.beat_items)]
        m.d.comb += [
            full.eq(Array(self.full[u] if u < len(UNITS) else 0 for u in range(8))[self.target]),
            self.ar.payload.addr.eq(Cat(Const(0, 4), place)),
            self.ar.payload.len.eq(ITEMS // self.beat_items - 1),
            self.write_item.eq(item),
            self.write_data.eq(Array(items)[item[: ceil_log2(self.beat_items)]] if self.beat_items > 1 else items[0]),
            beat_end.eq(item[: ceil_log2(self.beat_items)].all() if self.beat_items > 1 else 1),
            last.eq(item == ITEMS - 1),
        ]
        with m.If(self.start):
            m.d.sync += [place.eq(self.program_base), self.ended.eq(0), drop.eq(0), running.eq(1)]
        with m.FSM() as fsm:
            with m.State("WAIT"):
                with m.If(running & ~self.stop & ~self.error.valid & self.allowed & ~(drop & full)):
                    m.d.sync += running.eq(0)
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.ar.valid.eq(1)
                with m.If(self.ar.ready):
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [item.eq(0), self.target.eq(7)]
                with m.Switch(self.r.payload.data[: isa.OPCODE_BITS]):
                    for unit in Unit:
                        with m.Case(*(form.opcode for form in isa.FORMATS.values() if form.unit is unit)):
                            m.d.sync += self.target.eq(unit)
                with m.If(self.r.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += drop.eq(full)
                m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [
                    self.r.ready.eq(beat_end),
                    self.write_enable.eq(self.r.valid & ~drop),
                    self.push.eq(self.write_enable & last & (self.target < Unit.CONTROL)),
                ]
                with m.If(self.r.valid):
                    m.d.sync += item.eq(item + 1)
                    with m.If(last):
                        m.next = "WAIT"
                        m.d.sync += [
                            place.eq(place + ~drop),
                            running.eq(self.target != Unit.CONTROL),
                            self.ended.eq(self.target == Unit.CONTROL),
                        ]
                        with m.If(self.target == 7):
                            m.d.sync += [self.error.valid.eq(1), self.error.code.eq(Error.OPCODE), running.eq(0)]
                    with m.If(self.r.payload.resp[1]):
                        m.d.sync += [self.error.valid.eq(1), self.error.code.eq(Error.READ_RESPONSE)]
        m.d.comb += self.reading.eq(~fsm.ongoing("WAIT"))
        return m


class Tokens(wiring.Component):
    """A counter of tokens for each of `PAIRS`; see `dispatch.Tokens`.

    Members
    -------
    signals : for each producer, the consumers that get a token.
    take : producers whose token the unit `consumer` takes.
    available : producers from which the unit `consumer` has a token.
    clear : strobe; no tokens at all.
    """

    def __init__(self, *, width):
        self.width = width
        units = isa.TOKEN_UNITS
        super().__init__(
            {
                "signals": In(units).array(units),
                "consumer": In(range(len(UNITS))),
                "take": In(units),
                "available": Out(units),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        there = [[Const(0, 1)] * 8 for _ in range(isa.TOKEN_UNITS)]
        for producer, consumer in PAIRS:
            count = Signal(self.width, name=f"count_{producer.name}_{consumer.name}".lower())
            down = self.take[producer] & (self.consumer == consumer)
            with m.If(self.signals[producer][consumer] ^ down):
                m.d.sync += count.eq(count + Cat(Const(1, 1), down.replicate(self.width - 1)))
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            there[producer][consumer] = count.any()
        m.d.comb += [self.available[p].eq(Array(there[p])[self.consumer]) for p in range(isa.TOKEN_UNITS)]
        return m


class Front(wiring.Component):
    """Fetch, queues, tokens, and the offer of one instruction at a time to its unit.

    Queues are parts of one block RAM.  They are looked at in turn; the head of a queue whose unit is idle is read, and
    if its tokens are there it is offered until the unit takes it.

    Members
    -------
    start, stop, program_base, allowed, reading, ar, r, ended, error : see `Fetch`; `stop` also keeps instructions back.
    opcode, payload : of the instruction that is offered.
    valid, idle, hold, done : a bit for each unit: it is offered; the unit has nothing to do; takes the instruction in
        more than one cycle; has completed one.
    empty : no instruction is queued or offered.
    levels : 4 bits a unit, 0 for an empty queue, else 1.
    """

    def __init__(self, config):
        self.config = config
        self.ram = Ram(shape=ITEM, depth=8 * config.queue_depth * ITEMS, latency=1)
        units = len(UNITS)
        fetch = Fetch(config)
        super().__init__(
            {
                **{name: In(1) for name in ("start", "stop", "allowed")},
                "program_base": In(config.address_width - 4),
                "reading": Out(1),
                "ar": Out(stream.Signature(address_layout(config))),
                "r": In(stream.Signature(read_data_layout(config))),
                "ended": Out(1),
                "error": Out(unit_error()),
                "opcode": Out(isa.OPCODE_BITS),
                "payload": Out(isa.PAYLOAD_BITS),
                "valid": Out(units),
                "idle": In(units),
                "hold": In(units),
                "done": In(units),
                "empty": Out(1),
                "levels": Out(4 * units),
            }
        )
        self.fetch = fetch

    def elaborate(self, platform):
        m = Module()
        depth, units = self.config.queue_depth, len(UNITS)
        m.submodules.fetch = fetch = self.fetch
        m.submodules.ram = ram = self.ram
        m.submodules.tokens = tokens = Tokens(width=self.config.token_width)
        for name in ("start", "stop", "program_base", "allowed"):
            m.d.comb += getattr(fetch, name).eq(getattr(self, name))
        for name in ("ar", "r", "error"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(fetch, name))
        heads = [Signal(exact_log2(depth) + 1, name=f"head{u}") for u in range(units)]
        tails = [Signal(exact_log2(depth) + 1, name=f"tail{u}") for u in range(units)]
        some = Signal(units)
        pop = Signal(units)
        for u in range(units):
            m.d.comb += [
                some[u].eq(heads[u] != tails[u]),
                fetch.full[u].eq((heads[u] ^ tails[u]) == depth),
                self.levels[4 * u].eq(some[u]),
            ]
            m.d.sync += [heads[u].eq(heads[u] + pop[u]), tails[u].eq(tails[u] + (fetch.push & (fetch.target == u)))]

        scan = Signal(range(units))
        item = Signal(range(ITEMS))
        offered = Signal()
        head = Signal(exact_log2(depth) + 1)
        m.d.comb += [
            head.eq(Array(heads)[scan]),
            ram.write_enable.eq(fetch.write_enable),
            ram.write_address.eq(
                queue_address(fetch.target[:3], Array(tails)[fetch.target], fetch.write_item, depth)
            ),
            ram.write_data.eq(fetch.write_data),
            ram.read_address.eq(queue_address(scan, head, item, depth)),
            tokens.consumer.eq(scan),
            tokens.clear.eq(self.start),
        ]
        word = ram.read_data
        instruction = Signal(isa.BITS, reset_less=True)
        wait = instruction[isa.OPCODE_BITS :][: isa.TOKEN_UNITS]
        lacking = (word[isa.OPCODE_BITS :][: isa.TOKEN_UNITS] & ~tokens.available).any()
        taken = Signal()
        with m.FSM():
            with m.State("SCAN"):
                with m.If(Array(some & self.idle)[scan] & ~self.stop):
                    m.next = "HEAD"
                    m.d.sync += item.eq(1)
                with m.Else():
                    m.d.sync += scan.eq(Mux(scan == units - 1, 0, scan + 1))
            with m.State("HEAD"):
                m.d.sync += [item.eq(2), instruction[:ITEM].eq(word)]
                m.next = "SECOND"
                with m.If(lacking):
                    m.d.sync += [item.eq(0), scan.eq(Mux(scan == units - 1, 0, scan + 1))]
                    m.next = "SCAN"
            with m.State("SECOND"):
                m.d.sync += [item.eq(3), instruction[ITEM : 2 * ITEM].eq(word)]
                m.next = "THIRD"
            with m.State("THIRD"):
                m.d.sync += [item.eq(0), instruction[2 * ITEM : 3 * ITEM].eq(word)]
                m.next = "FOURTH"
            with m.State("FOURTH"):
                m.d.sync += instruction[3 * ITEM :].eq(word)
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [offered.eq(1), taken.eq(~Array(self.hold)[scan])]
                with m.If(taken):
                    m.d.comb += tokens.take.eq(wait)
                    m.next = "SCAN"
        start = isa.OPCODE_BITS + isa.TOKEN_UNITS
        m.d.comb += [
            self.opcode.eq(instruction),
            self.payload.eq(instruction[isa.PAYLOAD_START :]),
            *(self.valid[u].eq(offered & (scan == u)) for u in range(units)),
            *(pop[u].eq(taken & (scan == u)) for u in range(units)),
            self.empty.eq((some == 0) & ~offered),
            self.reading.eq(fetch.reading),
            self.ended.eq(fetch.ended),
        ]
        # What the instruction at work in a unit will signal.
        for u in range(isa.TOKEN_UNITS):
            signals = Signal(isa.TOKEN_UNITS, name=f"signals{u}")
            with m.If(pop[u]):
                m.d.sync += signals.eq(instruction[start : start + isa.TOKEN_UNITS])
            m.d.comb += tokens.signals[u].eq(Mux(self.done[u], signals, 0))
        return m

