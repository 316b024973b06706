"""COMPUTE: the loops of a dot product and of a patch's pixels, a MAC a cycle and lane."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .. import isa
from ..compute import ChunkGate
from .widths import Widths, fields_of

__all__ = ["Compute"]

LEVELS = ("c", "s", "r", "x", "y")  # innermost first; the first three are one dot product
DOT_LEVELS = 3
CAPTURE = 3  # cycles from the last addresses of a dot product until the accumulators hold it


class Compute(wiring.Component):
    """Run COMPUTE_LOOP_K, _LOOP_P and _RUN.  As `compute.ComputeUnit`, but for a cycle without a MAC after each dot
    product, in which the accumulators are cleared.

    Members
    -------
    opcode, payload, take, idle : instruction; no tokens.
    filter_filled, ifmap_filled, psum_freed, freed, psum_filled : halves of the scratchpads, strobes.
    mac : the operands at `filter_word` and `ifmap_byte` (both with their half) are read in this cycle.
    depthwise : see `array.Pe`; stable from a run's first MAC until two cycles after its last.
    capture : the accumulators are complete: they are taken, and cleared.
    first, pixel : they start the psums of the pixel (with its half), they are not added to them; both stay for `lanes`
        cycles more.
    serial : up until the last psum is written.
    cause : index in `registers.CAUSES`, for a trace.
    """

    def __init__(self, config):
        self.config = config
        self.widths = Widths(config)
        strobes = ("take", "filter_filled", "ifmap_filled", "psum_freed", "serial")
        super().__init__(
            {
                "opcode": In(isa.OPCODE_BITS),
                "payload": In(isa.PAYLOAD_BITS),
                **dict.fromkeys(strobes, In(1)),
                **dict.fromkeys(("idle", "freed", "psum_filled", "mac", "depthwise", "capture", "first"), Out(1)),
                "filter_word": Out(ceil_log2(config.filter_words)),
                "ifmap_byte": Out(ceil_log2(config.ifmap_words * config.lanes)),
                "pixel": Out(self.widths.pixels),
                "cause": Out(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, widths = self.config, self.widths
        m.submodules.gate = gate = ChunkGate()
        run = fields_of("COMPUTE_RUN", self.payload)
        is_run = self.opcode == isa.FORMATS["COMPUTE_RUN"].opcode
        chunks = Signal(widths.chunks, reset_less=True)
        first = Signal()
        last = Signal()
        running = Signal()
        active = Signal()
        owner = Signal()
        half = Signal()
        psum_half = Signal()
        bubble = Signal()
        gap = Signal(range(config.lanes + 1))  # cycles in which no dot product may end
        ending = Signal()  # a pass ends with the psums that are being written
        step = Signal()
        end_of_dot = Signal()
        end_of_chunk = Signal()
        go = Signal()
        run_end = Signal()

        # The nest.
        advanced = Signal(3, init=7)
        turns, steps = 1, [Const(0, widths.offset)] * 8
        m.d.comb += advanced.eq(7)
        for number, level in enumerate(LEVELS):
            form = "COMPUTE_LOOP_K" if number < DOT_LEVELS else "COMPUTE_LOOP_P"
            loop = fields_of(form, self.payload)
            bits = widths.half if number < DOT_LEVELS else widths.pixels
            count, turn = Signal(bits, name=f"count_{level}", init=1), Signal(bits, name=f"turn_{level}", init=1)
            steps[number] = Signal(widths.offset, name=f"step_{level}", reset_less=True)
            at_last = Signal(name=f"last_{level}")
            with m.If(self.take & (self.opcode == isa.FORMATS[form].opcode)):
                m.d.sync += [count.eq(loop[f"count_{level}"]), steps[number].eq(loop[f"step_{level}"])]
            m.d.comb += at_last.eq(turn == count)
            if number == DOT_LEVELS:
                m.d.comb += end_of_dot.eq(turns)
            with m.If(step & turns):
                m.d.sync += turn.eq(turn + 1)
                with m.If(at_last):
                    m.d.sync += turn.eq(1)
            with m.If(turns & ~at_last):
                m.d.comb += advanced.eq(number)
            turns = turns & at_last

        offset = Signal(widths.offset)
        word = Signal(ceil_log2(config.filter_words) - 1)
        pixel = Signal(widths.pixels - 1)
        m.d.comb += [
            step.eq(active & ~bubble & ~(end_of_dot & (gap != 0))),
            end_of_chunk.eq(step & turns),
            run_end.eq(end_of_chunk & (chunks == 1)),
            self.mac.eq(step),
            self.filter_word.eq(Cat(word, half)),
            self.ifmap_byte.eq(Cat(offset, half)),
            self.freed.eq(end_of_chunk),
            self.idle.eq(~running),
        ]
        m.d.sync += bubble.eq(step & end_of_dot)
        with m.If(step):
            m.d.sync += [offset.eq(offset + Array(steps)[advanced]), word.eq(word + 1)]
            with m.If(end_of_dot):
                m.d.sync += [word.eq(0), pixel.eq(pixel + 1), gap.eq(config.lanes)]
        with m.If((gap != 0) & ~(step & end_of_dot)):
            m.d.sync += gap.eq(gap - 1)
        with m.If(end_of_chunk):
            m.d.sync += [offset.eq(0), pixel.eq(0), half.eq(~half)]

        # Chunks and runs.
        m.d.comb += [
            gate.filter_filled.eq(self.filter_filled),
            gate.ifmap_filled.eq(self.ifmap_filled),
            gate.psum_freed.eq(self.psum_freed),
            gate.want.eq(running & ~active),
            gate.new_pass.eq(~owner),
            go.eq(gate.go),
            self.cause.eq(Mux(active, 0, Mux(running, gate.lacks, 7))),
        ]
        with m.If(self.take & is_run):
            m.d.sync += [chunks.eq(run.chunks), first.eq(run.first), last.eq(run.last), running.eq(1)]
            m.d.sync += self.depthwise.eq(run.depthwise)
        with m.If(go):
            m.d.sync += [active.eq(1), owner.eq(1)]
        with m.If(end_of_chunk):
            m.d.sync += [active.eq(0), chunks.eq(chunks - 1), first.eq(0)]
        with m.If(run_end):
            m.d.sync += running.eq(0)
            with m.If(last):
                m.d.sync += [owner.eq(0), psum_half.eq(~psum_half)]

        # What travels with a dot product to its capture; there is at most one on the way.
        end = Signal(CAPTURE)
        kept_pixel = Signal(widths.pixels)
        kept_first = Signal()
        pass_end = Signal()
        with m.If(step & end_of_dot):
            m.d.sync += [kept_pixel.eq(Cat(pixel, psum_half)), kept_first.eq(first), pass_end.eq(run_end & last)]
        m.d.sync += end.eq(Cat(step & end_of_dot, end))
        m.d.comb += self.capture.eq(end[-1])
        with m.If(end[-2]):
            m.d.sync += [self.pixel.eq(kept_pixel), self.first.eq(kept_first)]
        with m.If(self.capture):
            m.d.sync += ending.eq(pass_end)
        with m.If(ending & ~self.serial & ~self.capture):
            m.d.comb += self.psum_filled.eq(1)
            m.d.sync += ending.eq(0)
        return m
