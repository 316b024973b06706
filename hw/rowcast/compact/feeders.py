"""FILTER and IFMAP: from the global buffer into the PE's scratchpads."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .. import isa
from ..memory import Ram
from .widths import Widths, fields_of

__all__ = ["FilterFeeder", "IfmapFeeder"]


def _feeder_ports(config, address_bits, words):
    return {
        "opcode": In(isa.OPCODE_BITS),
        "payload": In(isa.PAYLOAD_BITS),
        "take": In(1),
        "idle": Out(1),
        "done": Out(1),
        "address": Out(address_bits),
        "write": Out(1),
        "entry": Out(ceil_log2(words)),
        "freed": In(1),
        "filled": Out(1),
    }


class FilterFeeder(wiring.Component):
    """Run FILTER_RUN: words of the filter memory, upwards, into halves of the filter scratchpad.  A word a cycle.

    Tags and groups do not count with one PE; FILTER_ID does nothing.

    Members
    -------
    opcode, payload, take, idle, done : instruction; taken with `take`; strobe when complete.
    address : of the word that is read; it is written to `entry` (half included) in the next cycle, with `write`.
    freed, filled : strobes; a half is free, a half is complete.
    """

    def __init__(self, config):
        self.config = config
        self.widths = Widths(config)
        super().__init__(_feeder_ports(config, self.widths.filter, config.filter_words))

    def elaborate(self, platform):
        m = Module()
        widths = self.widths
        fields = fields_of("FILTER_RUN", self.payload)
        flits = Signal(widths.half, reset_less=True)
        flit = Signal(widths.half, reset_less=True)
        chunks = Signal(widths.chunks, reset_less=True)
        half = Signal()
        halves = Signal(2, init=2)
        running = Signal()
        first = Signal(init=1)
        go = Signal()
        end = Signal()
        m.d.comb += [
            self.idle.eq(~running & ~self.done),
            go.eq(running & (~first | halves.any())),
            end.eq(go & (flit == flits)),
        ]
        m.d.sync += [
            halves.eq(halves + self.freed - (go & first)),
            self.write.eq(go),
            self.filled.eq(end),
            self.done.eq(0),
            self.entry.eq(Cat((flit - 1)[: len(self.entry) - 1], half)),
        ]
        with m.If(go):
            m.d.sync += [self.address.eq(self.address + 1), flit.eq(flit + 1), first.eq(0)]
        with m.If(end):
            m.d.sync += [flit.eq(1), first.eq(1), half.eq(~half), chunks.eq(chunks - 1)]
            with m.If(chunks == 1):
                m.d.sync += [running.eq(0), self.done.eq(1)]
        with m.If(self.take):
            m.d.sync += [
                self.address.eq(fields.buffer),
                flits.eq(fields.flits),
                flit.eq(1),
                chunks.eq(fields.chunks),
                running.eq(self.opcode == isa.FORMATS["FILTER_RUN"].opcode),
                self.done.eq(self.opcode != isa.FORMATS["FILTER_RUN"].opcode),
            ]
        return m


class IfmapFeeder(wiring.Component):
    """Run IFMAP_LOOP, _SET and _RUN: words of the activation memory, in the order of a loop nest, into halves of the
    ifmap scratchpad.  A word in two cycles.

    As `feeder_ifmap.IfmapUnit`, for one PE: levels 3 and 4, which count tags, have one turn; there is no vector unit.

    Members
    -------
    opcode, payload, take, hold, idle, done : instruction; IFMAP_LOOP takes a second cycle.
    address, request, grant : the word that is read in a cycle with both.
    write, entry : in the next cycle its data is written to `entry` (half included); `pad`: `pad_byte` instead.
    freed, filled : strobes; a half is free, a half is complete.
    """

    LEVELS = (0, 1, 2, 5)
    HELD = 8  # levels have a number of 3 bits

    def __init__(self, config):
        self.config = config
        self.widths = Widths(config)
        ports = _feeder_ports(config, self.widths.act, config.ifmap_words)
        super().__init__(
            {**ports, "hold": Out(1), "request": Out(1), "grant": In(1), "pad": Out(1), "pad_byte": Out(8)}
        )

    def elaborate(self, platform):
        m = Module()
        widths = self.widths
        delta_layout = data.StructLayout({"step": widths.act, "dy": widths.place, "dx": widths.place})
        m.submodules.deltas = deltas = Ram(shape=delta_layout.size, depth=self.HELD, latency=1)
        loop, run, settings = (fields_of(f"IFMAP_{name}", self.payload) for name in ("LOOP", "RUN", "SET"))
        opcode = {name: self.opcode == isa.FORMATS[f"IFMAP_{name}"].opcode for name in ("LOOP", "RUN", "SET")}
        height = Signal(widths.coordinate, reset_less=True)
        width = Signal(widths.coordinate, reset_less=True)
        y = Signal(widths.place, reset_less=True)
        x = Signal(widths.place, reset_less=True)
        second = Signal()
        running = Signal()
        moving = Signal()
        first = Signal(init=1)
        half = Signal()
        halves = Signal(2, init=2)
        entry = Signal(len(self.entry) - 1, reset_less=True)
        go = Signal()

        # Instructions.
        new = Signal(delta_layout)
        value = Signal(widths.chunks)
        level = Signal(3)
        m.d.comb += [
            self.idle.eq(~running & ~self.done),
            self.hold.eq(opcode["LOOP"] & ~second),
            level.eq(Cat(second, loop.pair)),
            value.eq(Mux(second, loop.count_b, loop.count_a)),
            new.step.eq(Mux(second, loop.step_b, loop.step_a)),
            new.dy.eq(Mux(second, loop.dy_b, loop.dy_a)),
            new.dx.eq(Mux(second, loop.dx_b, loop.dx_a)),
            deltas.write_enable.eq(self.take & opcode["LOOP"]),
            deltas.write_address.eq(level),
            deltas.write_data.eq(new),
        ]
        m.d.sync += [self.done.eq(self.take & ~opcode["RUN"] & ~self.hold), second.eq(self.take & self.hold)]
        with m.If(self.take & opcode["SET"]):
            m.d.sync += [height.eq(settings.height), width.eq(settings.width), self.pad_byte.eq(settings.pad)]

        # The nest: counters from 1; in a turn that is a level's last one the next level advances.
        turns = 1
        advanced = Signal(3)
        for number in self.LEVELS:
            bits = widths.chunks if number == 5 else widths.half
            count, turn = Signal(bits, name=f"count{number}", init=1), Signal(bits, name=f"turn{number}", init=1)
            at_last = Signal(name=f"last{number}")
            m.d.comb += at_last.eq(turn == count)
            with m.If(self.take & opcode["LOOP"] & (level == number)):
                m.d.sync += count.eq(value)
            if number == 5:
                chunk_ends = turns
            with m.If(go & turns):
                m.d.sync += turn.eq(turn + 1)
                with m.If(at_last):
                    m.d.sync += turn.eq(1)
            with m.If(turns & ~at_last):
                m.d.comb += advanced.eq(number)
            turns = turns & at_last
        m.d.comb += deltas.read_address.eq(advanced)
        delta = data.View(delta_layout, deltas.read_data)

        # A word: read and advance, then move on and write.
        m.d.comb += [
            self.request.eq(running & ~moving & (~first | halves.any())),
            go.eq(self.request & self.grant),
            self.write.eq(moving),
            self.entry.eq(Cat(entry, half)),
        ]
        ends = Signal()
        last = Signal()
        m.d.sync += [halves.eq(halves + self.freed - (go & first)), self.filled.eq(0), moving.eq(go)]
        with m.If(go):
            m.d.sync += [
                self.pad.eq((y >= height) | (x >= width)),
                first.eq(0),
                ends.eq(chunk_ends),
                last.eq(turns),
            ]
        with m.If(moving):
            m.d.sync += [
                self.address.eq(self.address + delta.step),
                y.eq(y + delta.dy),
                x.eq(x + delta.dx),
                entry.eq(Mux(ends, 0, entry + 1)),
            ]
            with m.If(ends):
                m.d.sync += [first.eq(1), half.eq(~half), self.filled.eq(1)]
            with m.If(last):
                m.d.sync += [running.eq(0), self.done.eq(1)]
        with m.If(self.take & opcode["RUN"]):
            m.d.sync += [running.eq(1), self.address.eq(run.buffer), y.eq(run.y), x.eq(run.x), entry.eq(0)]
        return m

