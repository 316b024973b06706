"""COMPUTE: the sequencer whose one record a cycle runs all PEs."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from . import isa, schedule
from .interfaces import INDEX_BITS, instruction_layout, payload_layout, pe_control_layout, unit_error, unit_ports
from .loops import LoopNest
from .registers import CAUSES, Error

__all__ = ["ChunkGate", "ComputeDecoder", "ComputeUnit", "DrainMerge", "RecordPath"]

LEVELS = ("c", "s", "r", "x", "y")  # innermost first; the first three are one dot product
COUNT_BITS = 12
DOT_LEVELS = 3
PREPARE = 2  # stage 0 to the record: `ComputeUnit.LATENCY`


def _offset_bits(config):
    """Bits of a byte offset in half an ifmap scratchpad."""
    return ceil_log2(config.ifmap_words * config.lanes) - 1


def loops_layout(config):
    """The five loops of a chunk, by level; a step is taken modulo half the scratchpad, `singles` are counts of 1."""
    return data.StructLayout(
        {
            "counts": data.ArrayLayout(COUNT_BITS, len(LEVELS)),
            "singles": len(LEVELS),
            "steps": data.ArrayLayout(_offset_bits(config), len(LEVELS)),
        }
    )


def run_layout():
    """A COMPUTE_RUN."""
    return data.StructLayout({"chunks": COUNT_BITS, "first": 1, "last": 1, "depthwise": 1})


def turn_layout(config):
    """One turn of the nest, at stage 1."""
    return data.StructLayout(
        {
            "mac": 1,
            "capture": 1,
            "discard": 1,
            "first": 1,
            "depthwise": 1,
            "chunk_start": 1,  # first turn of a chunk
            "dot_start": 1,  # first turn of a dot product
            "half": 1,  # of the filter and the ifmap scratchpad
            "psum_half": 1,
            "chunk_end": 1,
            "pass_end": 1,
            "delta": _offset_bits(config),  # to the previous turn's ifmap address, if it is in the same chunk
        }
    )


class ComputeDecoder(wiring.Component):
    """Instructions to runs: keeps the next run and the loops it has, while the current one is under way.

    Takes an instruction a cycle as long as no run waits.  After a reset every loop has one turn.

    Members
    -------
    i : instructions.
    valid, run, loops : the next run and its loops; `changed`: its loops are not those of the run before.
    take : the run is taken.
    error : FIELD for a count of 0 and for an opcode of another unit; nothing is taken any more.
    """

    i: stream.Interface
    valid: Signal
    changed: Signal
    run: data.View
    loops: data.View
    take: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(instruction_layout())),
                "valid": Out(1),
                "changed": Out(1, init=1),
                "run": Out(run_layout()),
                "loops": Out(
                    loops_layout(config), init={"counts": [1] * len(LEVELS), "singles": (1 << len(LEVELS)) - 1}
                ),
                "take": In(1),
                "error": Out(unit_error()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        instruction = self.i.payload
        accepted = Signal()
        bad = Signal()
        m.d.comb += [self.i.ready.eq(~self.valid & ~self.error.valid), accepted.eq(self.i.valid & self.i.ready)]
        with m.If(self.take):
            m.d.sync += [self.valid.eq(0), self.changed.eq(0)]
        with m.If(accepted):
            with m.Switch(instruction.opcode):
                for name, levels in (("COMPUTE_LOOP_K", "csr"), ("COMPUTE_LOOP_P", "xy")):
                    fields = self._fields(name)
                    with m.Case(isa.FORMATS[name].opcode):
                        m.d.sync += self.changed.eq(1)
                        for level in levels:
                            index, count = LEVELS.index(level), fields[f"count_{level}"]
                            m.d.sync += [
                                self.loops.counts[index].eq(count),
                                self.loops.singles[index].eq(count == 1),
                                self.loops.steps[index].eq(fields[f"step_{level}"]),
                            ]
                        m.d.comb += bad.eq(Cat(fields[f"count_{level}"] == 0 for level in levels).any())
                with m.Case(isa.FORMATS["COMPUTE_RUN"].opcode):
                    fields = self._fields("COMPUTE_RUN")
                    m.d.sync += [getattr(self.run, field).eq(fields[field]) for field in self.run.shape().members]
                    m.d.comb += bad.eq(fields.chunks == 0)
                    m.d.sync += self.valid.eq(fields.chunks != 0)
                with m.Default():
                    m.d.comb += bad.eq(1)
            with m.If(bad):
                m.d.sync += [
                    self.error.valid.eq(1),
                    self.error.code.eq(int(Error.FIELD)),
                    self.error.index.eq(instruction.index[:INDEX_BITS]),
                ]
        return m

    def _fields(self, name):
        layout = payload_layout(name)
        return data.View(layout, self.i.payload.payload[: layout.size])


class ChunkGate(wiring.Component):
    """Counts filled scratchpad halves and free psum halves, and says when a chunk may start.

    Members
    -------
    filter_filled, ifmap_filled, psum_freed : strobes.
    want : a chunk could start; `new_pass`: if it does, it is the first of a pass, and takes a psum half.
    go : it does (combinational), and takes one half of each.
    lacks : index in `registers.CAUSES` of what is not there.
    """

    filter_filled: Signal
    ifmap_filled: Signal
    psum_freed: Signal
    want: Signal
    new_pass: Signal
    go: Signal
    lacks: Signal

    def __init__(self):
        super().__init__(
            {
                "filter_filled": In(1),
                "ifmap_filled": In(1),
                "psum_freed": In(1),
                "want": In(1),
                "new_pass": In(1),
                "go": Out(1),
                "lacks": Out(range(len(CAUSES))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        filters = Signal(2)
        ifmaps = Signal(2)
        psums = Signal(2, init=2)
        m.d.comb += self.go.eq(self.want & filters.any() & ifmaps.any() & (psums.any() | ~self.new_pass))
        m.d.sync += [
            filters.eq(filters + self.filter_filled - self.go),
            ifmaps.eq(ifmaps + self.ifmap_filled - self.go),
            psums.eq(psums + self.psum_freed - (self.go & self.new_pass)),
        ]
        with m.If(~filters.any()):
            m.d.comb += self.lacks.eq(CAUSES.index("filters"))
        with m.Elif(~ifmaps.any()):
            m.d.comb += self.lacks.eq(CAUSES.index("ifmap"))
        with m.Elif(self.new_pass & ~psums.any()):
            m.d.comb += self.lacks.eq(CAUSES.index("drain"))
        with m.Else():
            m.d.comb += self.lacks.eq(CAUSES.index("computing"))  # starts now
        return m


class RecordPath(wiring.Component):
    """A turn (stage 1) to the fields of the record that are not about drains (stage 2).  Latency 1.

    Ifmap byte address: the half, then an offset that starts at 0 in every chunk and grows by `delta`, modulo the half.
    The filter word counts up from the half's start in every dot product, the psum pixel in every chunk.
    """

    turn: data.View
    control: data.View

    def __init__(self, config):
        self.config = config
        super().__init__({"turn": In(turn_layout(config)), "control": Out(pe_control_layout(config))})

    def elaborate(self, platform):
        m = Module()
        config, turn, control = self.config, self.turn, self.control
        mac = Signal()
        capture = Signal()
        how = Signal(data.StructLayout({"first": 1, "discard": 1, "depthwise": 1, "half": 1, "psum_half": 1}))
        offset = Signal(_offset_bits(config), reset_less=True)
        word = Signal(ceil_log2(config.filter_words) - 1, reset_less=True)
        pixel = Signal(ceil_log2(config.psum_pixels) - 1, reset_less=True)
        m.d.sync += [mac.eq(turn.mac), capture.eq(turn.capture)]
        m.d.sync += [getattr(how, field).eq(getattr(turn, field)) for field in how.shape().members]
        with m.If(turn.mac):
            m.d.sync += [offset.eq(offset + turn.delta), word.eq(word + 1)]
            with m.If(turn.chunk_start):
                m.d.sync += offset.eq(0)
            with m.If(turn.dot_start):
                m.d.sync += [word.eq(0), pixel.eq(pixel + 1)]
                with m.If(turn.chunk_start):
                    m.d.sync += pixel.eq(0)
        m.d.comb += [
            control.mac.eq(mac),
            control.filter_word.eq(Cat(word, how.half)),
            control.ifmap_byte.eq(Cat(offset, how.half)),
            control.depthwise.eq(how.depthwise),
            control.capture.eq(capture),
            control.discard.eq(how.discard),
            control.first.eq(how.first),
            control.pixel.eq(Cat(pixel, how.psum_half)),
        ]
        return m


class DrainMerge(wiring.Component):
    """Lets a drain into the next cycle's record when the psum memories' read port and the chains are free.

    The read port belongs to a capture that adds, for `lanes` cycles.  In the chains a psum needs a cycle a row, so a
    row above the previously drained one waits for `rows` cycles: only between passes.  `ready` is a register.

    Members
    -------
    adds : the record after the next has a capture that is neither `first` nor `discard`.
    drain, row, psum, ready : `ComputeUnit`'s drain ports.
    o_drain, o_row, o_psum : the record's fields.
    """

    adds: Signal
    drain: Signal
    row: Signal
    psum: Signal
    ready: Signal
    o_drain: Signal
    o_row: Signal
    o_psum: Signal

    def __init__(self, config):
        self.config = config
        control = pe_control_layout(config)
        super().__init__(
            {
                "adds": In(1),
                "drain": In(1),
                "row": In(control["drain_row"].shape),
                "psum": In(control["drain_psum"].shape),
                "ready": Out(1),
                "o_drain": Out(1),
                "o_row": Out(control["drain_row"].shape),
                "o_psum": Out(control["drain_psum"].shape),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        taken = Signal(range(config.lanes + 1))  # cycles for which the read port is taken, this one included
        underway = Signal(range(config.rows))  # cycles for which the last psum may still be in a chain
        take = Signal()
        waits = Signal()
        m.d.comb += [
            take.eq(self.drain & self.ready),
            waits.eq((underway > 1) & (self.row > self.o_row) & ~take),
        ]
        with m.If(self.adds):
            m.d.sync += taken.eq(config.lanes)
        with m.Elif(taken.any()):
            m.d.sync += taken.eq(taken - 1)
        m.d.sync += [self.ready.eq(~(self.adds | (taken > 1) | waits)), self.o_drain.eq(take)]
        with m.If(take):
            m.d.sync += [self.o_row.eq(self.row), self.o_psum.eq(self.psum), underway.eq(config.rows - 1)]
        with m.Elif(underway.any()):
            m.d.sync += underway.eq(underway - 1)
        return m


class ComputeUnit(wiring.Component):
    """Runs chunks of passes, a MAC record a cycle, and lets drains into the record between the psum updates.

    A chunk starts when both scratchpads hold a filled half and, if it is the first of a pass, a psum half is free.
    When they are there in time, no cycle is lost from pixel to pixel, chunk to chunk and run to run; new loops between
    two runs cost one cycle.  A dot product shorter than `lanes` waits before its last turn, so that captures
    are `lanes` apart.

    A turn of the nest (stage 0) is in `control` `LATENCY` cycles later; `RecordPath` has its addresses.  Filter and
    ifmap halves alternate from chunk to chunk, psum halves from pass to pass.  The first record after a reset is a
    discarded capture.

    Parameters
    ----------
    config : Config

    Members
    -------
    i, busy, error, signal : see `interfaces.unit_ports`; makes no tokens.  `busy` until the last `psum_filled`.
    filter_filled, ifmap_filled : a half has been filled.
    filter_freed, ifmap_freed : the last address of a half is in `control` now.
    psum_filled : the psum half of a pass is complete: a drain taken in this cycle or later sees all of it.
    psum_freed : a psum half has been drained.
    drain, drain_row, drain_psum, drain_ready : POST's reads of psums, `drain_psum` with its half; in `control` in the
        cycle after `drain` & `drain_ready`.  `drain_ready` is a register.  A row above that of the drain before stands
        at `drain_row` for at least one cycle before its `drain`.
    control : to the PE array.
    cause : index in `registers.CAUSES`: computing, filters, ifmap, drain (psum half) or instruction.  Register.
    mac_cycle : `control.mac`.
    """

    LATENCY = PREPARE

    i: stream.Interface
    control: data.View
    cause: Signal
    mac_cycle: Signal

    def __init__(self, config):
        self.config = config
        control = pe_control_layout(config)
        super().__init__(
            {
                **unit_ports(),
                "filter_filled": In(1),
                "ifmap_filled": In(1),
                "filter_freed": Out(1),
                "ifmap_freed": Out(1),
                "psum_filled": Out(1),
                "psum_freed": In(1),
                "drain": In(1),
                "drain_row": In(control["drain_row"].shape),
                "drain_psum": In(control["drain_psum"].shape),
                "drain_ready": Out(1),
                "control": Out(control),
                "cause": Out(range(len(CAUSES)), init=CAUSES.index("instruction")),
                "mac_cycle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = ComputeDecoder(self.config)
        m.submodules.path = path = RecordPath(self.config)
        m.submodules.merge = merge = DrainMerge(self.config)
        wiring.connect(m, wiring.flipped(self.i), decoder.i)
        wiring.connect(m, wiring.flipped(self.error), decoder.error)
        running, turn, adds = self._turns(m, decoder)

        # The end of a pass travels beside its last capture until a drain may follow.
        ending = Signal(schedule.capture_to_drain(self.config))
        freed = Signal()
        ends = Signal()  # anything in `ending`
        ended = Cat(turn.pass_end, ending[:-1])
        m.d.sync += [ending.eq(ended), ends.eq(ended.any()), freed.eq(turn.chunk_end)]
        m.d.comb += [
            path.turn.eq(turn),
            merge.adds.eq(adds),
            merge.drain.eq(self.drain),
            merge.row.eq(self.drain_row),
            merge.psum.eq(self.drain_psum),
            self.drain_ready.eq(merge.ready),
            self.control.eq(path.control),
            self.control.drain.eq(merge.o_drain),
            self.control.drain_row.eq(merge.o_row),
            self.control.drain_psum.eq(merge.o_psum),
            self.mac_cycle.eq(path.control.mac),
            self.filter_freed.eq(freed),
            self.ifmap_freed.eq(freed),
            self.psum_filled.eq(ending[-1]),
            self.busy.eq(running | decoder.valid | turn.mac | path.control.mac | ends),
        ]
        return m

    def _turns(self, m, decoder):
        """Stage 0, which turn is current and whether it goes.

        Returns: a run is under way; the turn at stage 1; this turn is a capture that adds to its psums.
        """
        config = self.config
        m.submodules.nest = nest = LoopNest([COUNT_BITS] * len(LEVELS), ahead=True)
        loops = Signal(loops_layout(config), reset_less=True)
        primed = Signal()  # the discarded capture after a reset has been given
        gap = Signal(range(config.lanes))  # cycles until the next capture may come
        gone = Signal()  # `gap` is 0
        active = Signal()
        end_of_dot = Signal()
        step = Signal()
        dot_ends = Signal()
        m.d.comb += [count.eq(value) for count, value in zip(nest.counts, loops.counts, strict=True)]
        m.d.comb += [
            end_of_dot.eq(nest.inner_last[DOT_LEVELS]),
            step.eq(active & (~end_of_dot | gone) & ~self.error.valid),
            dot_ends.eq(active & end_of_dot & gone & ~self.error.valid),  # and `step`
            nest.step.eq(step),
            nest.singles.eq(loops.singles),
        ]
        m.d.sync += primed.eq(1)
        with m.If(~primed | dot_ends):
            m.d.sync += [gap.eq(config.lanes - 1), gone.eq(0)]
        with m.Else():
            m.d.sync += [gap.eq(gap - gap.any()), gone.eq(gap <= 1)]
        with m.If(decoder.take):
            m.d.sync += loops.eq(decoder.loops)

        turn = Signal(turn_layout(config))
        running, first = self._runs(m, decoder, nest, active, gone, turn)
        # How this turn's address follows from the one before.
        advanced = Signal(len(LEVELS), reset_less=True)
        chunk_start = Signal(init=1)
        dot_start = Signal(init=1)
        with m.If(step):
            m.d.sync += [advanced.eq(nest.advance), chunk_start.eq(nest.last), dot_start.eq(end_of_dot)]
        deltas = [Mux(level, delta, 0) for level, delta in zip(advanced, loops.steps, strict=True)]
        m.d.sync += [
            turn.mac.eq(step),
            turn.capture.eq(dot_ends | ~primed),
            turn.discard.eq(~primed),
            turn.chunk_start.eq(chunk_start),
            turn.dot_start.eq(dot_start),
            turn.delta.eq(reduce(or_, deltas)),
        ]
        return running, turn, dot_ends & ~first

    def _runs(self, m, decoder, nest, active, gone, turn):
        """From chunk to chunk and from run to run: drives `active`, what a turn knows of its run, and `cause`.

        Returns: a run is under way; its psums start with the current chunk.
        """
        m.submodules.gate = gate = ChunkGate()
        run = Signal(run_layout())
        loaded = Signal()  # a run is here
        restart = Signal()  # the nest has yet to load the run's loops
        more = Signal()  # the run has chunks after this one
        owner = Signal()  # the pass has its psum half
        half = Signal()
        psum_half = Signal()
        chunk_end = Signal()
        run_end = Signal()
        pass_end = Signal()
        m.d.comb += [
            chunk_end.eq(active & nest.last & gone & ~self.error.valid),  # `nest.step` in the last turn
            run_end.eq(chunk_end & ~more),
            pass_end.eq(run_end & run.last),
            nest.start.eq(restart),
            nest.fresh.eq(restart),
            decoder.take.eq(decoder.valid & (~loaded | run_end)),
            gate.filter_filled.eq(self.filter_filled),
            gate.ifmap_filled.eq(self.ifmap_filled),
            gate.psum_freed.eq(self.psum_freed),
            gate.want.eq((loaded & ~active) | (chunk_end & (more | (decoder.valid & ~decoder.changed)))),
            # Of a chunk that follows this one, or of one that waits: not the late `pass_end`.
            gate.new_pass.eq(Mux(active, ~more & run.last, ~owner)),
        ]
        m.d.sync += [restart.eq(0), half.eq(half ^ chunk_end), psum_half.eq(psum_half ^ pass_end)]
        with m.If(chunk_end):
            m.d.sync += [active.eq(0), run.first.eq(0), run.chunks.eq(run.chunks - 1), more.eq(run.chunks != 2)]
        with m.If(run_end):
            m.d.sync += loaded.eq(0)
        with m.If(pass_end):
            m.d.sync += owner.eq(0)
        with m.If(decoder.take):
            m.d.sync += [
                loaded.eq(1),
                restart.eq(decoder.changed),
                run.eq(decoder.run),
                more.eq(decoder.run.chunks != 1),
            ]
        with m.If(gate.go):
            m.d.sync += [active.eq(1), owner.eq(1)]

        m.d.sync += [
            turn.first.eq(run.first),
            turn.depthwise.eq(run.depthwise),
            turn.half.eq(half),
            turn.psum_half.eq(psum_half),
            turn.chunk_end.eq(chunk_end),
            turn.pass_end.eq(pass_end),
        ]
        with m.If(active):
            m.d.sync += self.cause.eq(CAUSES.index("computing"))
        with m.Elif(loaded):
            m.d.sync += self.cause.eq(gate.lacks)
        with m.Else():
            m.d.sync += self.cause.eq(CAUSES.index("instruction"))
        return loaded, run.first
