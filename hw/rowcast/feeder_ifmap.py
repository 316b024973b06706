"""The IFMAP unit: walks over an ifmap in the activation memory, for the ifmap network or for the vector unit."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .feeder_walk import LEVELS, AffineWalk
from .fifo import Fifo
from .halves import count_halves
from .interfaces import GLB_READ_LATENCY, flit_layout, payload_layout, read_port, unit_ports, vector_layout
from .isa import FORMATS, TOKEN_UNITS
from .registers import Error
from .skid import Skid

__all__ = ["IfmapUnit"]

VECTOR_SLOTS = 8  # turns under way to the vector unit: 7 cycles from a read to its freed slot, so never short


class IfmapUnit(wiring.Component):
    """Run IFMAP_ID, _LOOP, _SET and _RUN: read the activation memory in the order of a loop nest of six levels.

    A run starts at word `buffer` and coordinates (y, x).  When level i of the nest advances (and the levels below
    return), the address grows by step_i and the coordinates by (dy_i, dx_i).  Each turn is one flit: `noc_words`
    words from the address (any alignment), or padding, which is not read, unless 0 <= y < height and 0 <= x < width.

    To the network (`vector` = 0): levels 0 to 2 count `entry` up from 0 in the current half of the scratchpads; an
    advance of level 3 starts again at 0 with `column_tag` + 1, of level 4 also with `column_tag` = 0 and
    `row_tag` + 1, of level 5 with both 0 and in the other half, as does the next run.  A half is filled only once it
    is free; halves alternate, starting with 0.
    To the vector unit (`vector` = 1): the first `vector_words` words of each turn; `last` where levels 0 and 1 are in
    their last turn.

    Throughput: one flit a cycle while reads are granted and halves are free or `vector` is taken; a cycle between runs.
    Other instructions wait until the last read before them is granted (3 cycles if nothing stalls) and take a cycle each,
    IFMAP_LOOP two.
    Latency: 4 cycles from an accepted run to its first request, GLB_READ_LATENCY to its flit, two more to `vector`.
    `signal` pulses in the cycle after the last read (or padding) of a run, or after another instruction.
    `filled` pulses NETWORK_LATENCY cycles after `o_valid` of a chunk's last flit.  `busy` lasts until all is over.

    Parameters
    ----------
    config : Config

    Members
    -------
    i, signal, busy, error : see `unit_ports`.  Errors: OPCODE; FIELD (a count of 0, a pair of 3, more flits than half
        a scratchpad has entries, more groups than tags, a PE outside the array, an ID wider than a tag); BUFFER_RANGE
        (the first word of a flit that is not padding lies outside the activation memory).
    read : read client of `noc_words` words.
    o_valid, o : `flit_layout`, to the ifmap network; never waits.
    vector : stream of `vector_layout` to the vector unit; the padding's data is the pad byte, too.
    freed : pulses when COMPUTE has finished with a half.
    filled : pulses when a half is complete in the scratchpads.
    waiting : there is a flit to send, and it waits for nothing but a free half.
    flit : pulses with every flit that carries words (or padding) to the network.
    """

    NETWORK_LATENCY = 5  # from `o_valid` until COMPUTE may address the words: Y bus, X bus, PE, write, and one to spare

    i: stream.Interface
    signal: Signal
    busy: Signal
    error: wiring.PureInterface
    read: wiring.PureInterface
    o_valid: Signal
    o: data.View
    vector: stream.Interface
    freed: Signal
    filled: Signal
    waiting: Signal
    flit: Signal

    def __init__(self, config):
        self.config = config
        self.half_entries = config.ifmap_words // config.noc_words // 2
        super().__init__(
            {
                **unit_ports(),
                "read": Out(read_port(config, config.noc_words)),
                "o_valid": Out(1),
                "o": Out(flit_layout(config, config.ifmap_words)),
                "vector": Out(stream.Signature(vector_layout(config))),
                "freed": In(1),
                "filled": Out(1),
                "waiting": Out(1),
                "flit": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.walk = walk = AffineWalk()
        turn = data.StructLayout(  # what a turn of the walk takes along
            {
                "first": 1,
                "last": 1,
                "leaves": LEVELS,
                "vector": 1,
                "signal": TOKEN_UNITS,  # tokens of its run
                "index": self.i.payload.index.shape(),
            }
        )
        # A turn passes the loops, the sums (stage a) and the request (stage b); one that finds b full waits beside it, and as
        # long as it does (`spilt`) a and the loops stand still.
        running = Signal()
        a_valid = Signal()
        b_valid = Signal()
        spilt = Signal()
        issue = Signal()
        turns = Signal(turn)
        a = Signal(turn, reset_less=True)
        settings = payload_layout("IFMAP_SET")
        ifmap = Signal(settings)

        failing = Signal()
        job = self._decode(m)
        still = ~(a_valid | b_valid)  # what is spilt stands behind a valid b
        ident, code, done = self._elaborate_instructions(m, job, walk, running, turns, ifmap, still, failing)
        m.d.comb += [
            turns.first.eq(walk.first),
            turns.last.eq(walk.last),
            turns.leaves.eq(walk.leaves),
            done.eq(walk.step & walk.last),
        ]

        # A chunk of a network run starts when a half is free.
        chunk_starts = Signal(init=1)
        takes_half = Signal()
        halves = Signal(2, init=2)
        free = Signal(init=1)
        m.d.comb += [
            takes_half.eq(chunk_starts & ~turns.vector),
            self.waiting.eq(running & takes_half & ~free),
            walk.step.eq(running & ~spilt & (free | ~takes_half)),  # an error ends `running`
        ]
        m.d.sync += count_halves(halves, free, up=self.freed, down=walk.step & takes_half)
        with m.If(walk.step):
            m.d.sync += chunk_starts.eq(walk.leaves[5])

        # Stage a to stage b: is the turn padding?  Negative coordinates are large unsigned ones.
        pad = Signal()
        outside = Signal()
        m.d.comb += [
            pad.eq((walk.y.as_unsigned() >= ifmap.height) | (walk.x.as_unsigned() >= ifmap.width)),
            outside.eq(walk.address[ceil_log2(config.act_words) :].any()),
        ]
        requested = data.StructLayout({"turn": turn, "address": 20, "pad": 1, "outside": 1})
        m.submodules.requests = requests = Skid(requested)
        m.d.comb += [
            requests.i.valid.eq(a_valid),
            requests.i.payload.turn.eq(a),
            requests.i.payload.address.eq(walk.address),
            requests.i.payload.pad.eq(pad),
            requests.i.payload.outside.eq(outside & ~pad),
            requests.o.ready.eq(issue),
            spilt.eq(~requests.i.ready),
            b_valid.eq(requests.o.valid),
        ]
        b, b_address = requests.o.payload.turn, requests.o.payload.address
        b_pad, b_outside = requests.o.payload.pad, requests.o.payload.outside
        with m.If(~spilt):
            m.d.sync += [a_valid.eq(walk.step), a.eq(turns)]

        # Stage b: request and issue.
        row, column, entry, misplaced = self._elaborate_place(m, issue, b)
        bad = Signal()
        good = Signal()
        slot = Signal(init=1)  # there are some
        m.d.comb += [
            bad.eq(b_outside | (misplaced & ~b.vector)),
            good.eq(b_valid & ~bad & ~self.error.valid & (slot | ~b.vector)),
            self.read.request.eq(good & ~b_pad),
            self.read.address.eq(b_address),
            issue.eq(good & (b_pad | self.read.grant)),
        ]
        with m.If(issue & b.last):
            m.d.sync += self.signal.eq(b.signal)
        with m.Elif(job.valid & job.ready & ~job.payload.run):
            m.d.sync += self.signal.eq(job.payload.instruction.signal)
        with m.Else():
            m.d.sync += self.signal.eq(0)
        m.d.comb += failing.eq((b_valid & bad) | (code != 0))
        with m.If(~self.error.valid):
            m.d.sync += self.error.valid.eq(failing)
            with m.If(b_valid & bad):
                m.d.sync += self.error.code.eq(Mux(b_outside, Error.BUFFER_RANGE, Error.FIELD))
                m.d.sync += self.error.index.eq(b.index)
            with m.Else():
                m.d.sync += [self.error.code.eq(job.payload.code), self.error.index.eq(job.payload.instruction.index)]

        pad_byte = Signal(8, reset_less=True)  # taken over when all flits of earlier settings have left
        with m.If(~spilt & a_valid & a.first):
            m.d.sync += pad_byte.eq(ifmap.pad)
        on_way = self._elaborate_output(m, issue, b, b_pad, pad_byte, ident, row, column, entry, slot)
        m.d.comb += self.busy.eq(job.valid | running | a_valid | b_valid | on_way)
        return m

    def _fields(self, instruction, name):
        layout = payload_layout(f"IFMAP_{name}")
        return data.View(layout, instruction.payload[: layout.size])

    def _decode(self, m):
        """The instructions behind a register, with what they are and what is wrong with them: a stream."""
        config, instruction = self.config, self.i.payload
        kinds = ("id", "loop", "set", "run")
        decoded = data.StructLayout({"instruction": instruction.shape(), **dict.fromkeys(kinds, 1), "legal": 1, "good_run": 1, "good_other": 1, "code": 4})
        m.submodules.instructions = skid = Skid(decoded)
        ident, loop = (self._fields(instruction, name) for name in ("ID", "LOOP"))
        tags = 1 << config.tag_width
        wrong = Signal(4)
        job = skid.i.payload
        with m.Switch(instruction.opcode):
            with m.Case(FORMATS["IFMAP_ID"].opcode):
                outside = (ident.row >= config.rows) | (ident.column >= config.columns)
                with m.If(outside | (ident.row_id >= tags) | (ident.column_id >= tags)):
                    m.d.comb += wrong.eq(Error.FIELD)
            with m.Case(FORMATS["IFMAP_LOOP"].opcode):
                with m.If((loop.count_a == 0) | (loop.count_b == 0) | (loop.pair == 3)):
                    m.d.comb += wrong.eq(Error.FIELD)
            with m.Case(FORMATS["IFMAP_SET"].opcode, FORMATS["IFMAP_RUN"].opcode):
                pass
            with m.Default():
                m.d.comb += wrong.eq(Error.OPCODE)
        m.d.comb += [
            skid.i.valid.eq(self.i.valid),
            self.i.ready.eq(skid.i.ready),
            job.instruction.eq(instruction),
            *(job[kind].eq(instruction.opcode == FORMATS[f"IFMAP_{kind.upper()}"].opcode) for kind in kinds),
            job.legal.eq(wrong == 0),
            job.good_run.eq(job.run & (wrong == 0)),
            job.good_other.eq(~job.run & (wrong == 0)),
            job.code.eq(wrong),
        ]
        return skid.o

    def _elaborate_instructions(self, m, job, walk, running, turns, ifmap, still, failing):
        """Take instructions: a run when the one before has made its last step, the others when no turn is under way.

        Returns the layout of a PE's new ID to send now, the error code of the instruction, and the signal that says
        that a run makes its last step.
        """
        instruction, tag = job.payload.instruction, self.config.tag_width
        ident, loop, settings, run = (self._fields(instruction, name) for name in ("ID", "LOOP", "SET", "RUN"))
        is_id, is_loop, is_set, is_run = (job.payload[kind] for kind in ("id", "loop", "set", "run"))
        code = Signal(4)
        done = Signal()
        turn = Signal()
        go = Signal()
        second = Signal()
        shut = Signal()  # `running`, or there was an error
        m.d.comb += [
            turn.eq(job.valid & ~running & (is_run | still) & ~self.error.valid),
            code.eq(Mux(turn, job.payload.code, 0)),
            go.eq(job.valid & job.payload.good_other & still & ~shut),
            job.ready.eq(walk.start | (go & (~is_loop | second))),
            walk.start.eq(job.valid & job.payload.good_run & ~shut),
            walk.fresh.eq(~running),
            walk.base.address.eq(run.buffer),
            walk.base.y.eq(run.y),
            walk.base.x.eq(run.x),
            # Level b of the pair in the second cycle.
            walk.write.eq(go & is_loop),
            walk.level.eq(Cat(second, loop.pair)),
            walk.count.eq(Mux(second, loop.count_b, loop.count_a)),
            walk.delta.step.eq(Mux(second, loop.step_b, loop.step_a)),
            walk.delta.dy.eq(Mux(second, loop.dy_b, loop.dy_a)),
            walk.delta.dx.eq(Mux(second, loop.dx_b, loop.dx_a)),
        ]
        with m.If(walk.write):
            m.d.sync += second.eq(~second)
        with m.If(go & is_set):
            m.d.sync += ifmap.eq(settings)
        with m.If(failing | done):
            m.d.sync += running.eq(0)
        with m.Elif(walk.start):
            m.d.sync += running.eq(1)
        with m.If(failing):
            m.d.sync += shut.eq(1)
        with m.Elif(done):
            m.d.sync += shut.eq(0)
        with m.Elif(walk.start):
            m.d.sync += shut.eq(1)
        vector = Signal(reset_less=True)
        signal = Signal(TOKEN_UNITS, reset_less=True)
        index = Signal.like(instruction.index, reset_less=True)
        with m.If(~running):  # the run that starts next
            m.d.sync += [vector.eq(run.vector), signal.eq(instruction.signal), index.eq(instruction.index)]
        m.d.comb += [turns.vector.eq(vector), turns.signal.eq(signal), turns.index.eq(index)]

        new = Signal(data.StructLayout({"send": 1, "row": tag, "column": tag, "ids": 2 * tag}))
        m.d.comb += [
            new.send.eq(go & is_id),
            new.row.eq(ident.row),
            new.column.eq(ident.column),
            new.ids.eq(Cat(ident.row_id[:tag], ident.column_id[:tag])),
        ]
        return new, code, done

    def _elaborate_place(self, m, issue, b):
        """Tags and entry of the turn in stage b, and whether they are more than there are."""
        tag = self.config.tag_width
        row = Signal(tag + 1)
        column = Signal(tag + 1)
        half = Signal()
        entry = Signal(range(self.half_entries + 1))
        with m.If(issue & ~b.vector):
            m.d.sync += [entry.eq(Mux(b.leaves[3], 0, entry + 1)), half.eq(half ^ b.leaves[5])]
            with m.If(b.leaves[3]):
                m.d.sync += column.eq(Mux(b.leaves[4], 0, column + 1))
            with m.If(b.leaves[4]):
                m.d.sync += row.eq(Mux(b.leaves[5], 0, row + 1))
        return row[:tag], column[:tag], Cat(entry[:-1], half), row[-1] | column[-1] | entry[-1]

    def _elaborate_output(self, m, issue, b, b_pad, pad_byte, ident, row, column, entry, slot):
        """What accompanies a read to its data, and both outputs; returns whether anything is on its way."""
        config = self.config
        layout = data.StructLayout(
            {
                "config": 1,
                "row": len(row),
                "column": len(column),
                "entry": len(entry),
                "pad": 1,
                "last": 1,
            }
        )
        flits = Signal(GLB_READ_LATENCY)
        words = Signal(GLB_READ_LATENCY)
        ends = Signal(GLB_READ_LATENCY + self.NETWORK_LATENCY)
        to_network = Signal()
        m.d.comb += to_network.eq(issue & ~b.vector)
        m.d.sync += [
            flits.eq(Cat(to_network | ident.send, flits)),
            words.eq(Cat(issue & b.vector, words)),
            ends.eq(Cat(to_network & b.leaves[5], ends)),
        ]
        stages = [Signal(layout, name=f"stage{i}", reset_less=True) for i in range(GLB_READ_LATENCY)]
        m.d.sync += [
            stages[0].config.eq(ident.send),
            stages[0].row.eq(Mux(ident.send, ident.row, row)),
            stages[0].column.eq(Mux(ident.send, ident.column, column)),
            stages[0].entry.eq(entry),
            stages[0].pad.eq(b_pad & ~ident.send),
            stages[0].last.eq(b.leaves[2]),
            *(after.eq(before) for before, after in zip(stages, stages[1:])),
        ]
        # Nothing is read for padding and for an ID, so the memory's data are 0 there.
        ids = [Signal.like(ident.ids, name=f"ids{i}", reset_less=True) for i in range(GLB_READ_LATENCY - 1)]
        own = Signal.like(self.read.data, reset_less=True)
        m.d.sync += [
            ids[0].eq(Mux(ident.send, ident.ids, 0)),
            *(after.eq(before) for before, after in zip(ids, ids[1:])),
            own.eq(ids[-1] | (pad_byte & stages[-2].pad.replicate(8)).replicate(len(own) // 8)),
        ]
        words_data = Signal.like(self.read.data)
        last = stages[-1]
        m.d.comb += [
            words_data.eq(self.read.data | own),
            self.o_valid.eq(flits[-1]),
            self.o.config.eq(last.config),
            self.o.row_tag.eq(last.row),
            self.o.column_tag.eq(last.column),
            self.o.entry.eq(last.entry),
            self.o.data.eq(words_data),
            self.filled.eq(ends[-1]),
            self.flit.eq(self.o_valid & ~last.config),
        ]

        # The vector unit may stop at any time: a read starts only if a slot is kept for its words.
        word = Signal(vector_layout(config), reset_less=True)
        word_valid = Signal()
        m.submodules.words = fifo = Fifo(word.shape(), depth=VECTOR_SLOTS)
        slots = Signal(range(VECTOR_SLOTS + 1), init=VECTOR_SLOTS)
        m.d.sync += [
            word.data.eq(words_data[: len(word.data)]),
            word.pad.eq(last.pad),
            word.last.eq(last.last),
            word_valid.eq(words[-1]),
        ]
        m.d.comb += [
            fifo.i.payload.eq(word),
            fifo.i.valid.eq(word_valid),
            self.vector.payload.eq(fifo.o.payload),
            self.vector.valid.eq(fifo.o.valid),
            fifo.o.ready.eq(self.vector.ready),
        ]
        back, taken = self.vector.valid & self.vector.ready, issue & b.vector
        with m.If(back ^ taken):
            m.d.sync += slots.eq(Mux(taken, slots - 1, slots + 1))
        m.d.sync += [slot.eq(back | Mux(taken, slots > 1, slot))]
        return flits.any() | words.any() | word_valid | ends.any() | fifo.o.valid
