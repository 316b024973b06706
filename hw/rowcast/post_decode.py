"""Instructions of POST, decoded while they wait for their execution."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import isa
from .interfaces import INDEX_BITS, instruction_layout, payload_layout
from .isa import PostSource

__all__ = ["FORMATS", "PostDecoder", "decoded_layout"]

FORMATS = ("POST_PE", "POST_SET", "POST_LOOP", "POST_RUN", "MARK")


def decoded_layout():
    """An instruction that waits for its execution."""
    return data.StructLayout(
        {
            **dict.fromkeys(FORMATS, 1),
            "when_idle": 1,  # it waits until no run is under way; no bit of these three: never, it is wrong
            "when_still": 1,  # until all psums or results of the runs are there
            "when_room": 1,  # DRAIN: until a psum half is filled, perhaps behind another DRAIN
            "unknown": 1,
            "drains": 1,
            "singles": 3,  # counts of 1: `count_x`, `count_y`, `rows`
            "signal": isa.TOKEN_UNITS,
            "payload": max(payload_layout(name).size for name in FORMATS),
            "index": INDEX_BITS,
        }
    )


class PostDecoder(wiring.Component):
    """One instruction, decoded in the cycle in which it is taken.  Every second cycle at most: `i.ready` is a register.

    Members
    -------
    i : instructions.
    valid, word : the instruction that waits, see `decoded_layout`.
    take : it is executed.
    """

    i: stream.Interface
    valid: Signal
    word: data.View
    take: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(instruction_layout())),
                "valid": Out(1),
                "word": Out(decoded_layout()),
                "take": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, word, i = self.config, self.word, self.i.payload
        opcode = {name: i.opcode == isa.FORMATS[name].opcode for name in FORMATS}
        fields = {name: data.View(payload_layout(name), i.payload[: payload_layout(name).size]) for name in FORMATS}
        place, loop, run = fields["POST_PE"], fields["POST_LOOP"], fields["POST_RUN"]
        drains = run.source == PostSource.DRAIN
        wrong = {
            "POST_PE": (place.row >= config.rows) | (place.column >= config.columns),
            "POST_LOOP": (loop.count_x == 0) | (loop.count_y == 0),
            "POST_RUN": (drains & ((run.rows == 0) | (run.rows > config.rows)))
            | (run.source > max(PostSource)) | (run.more_words >= config.vector_words),
        }  # fmt: skip
        right = {name: opcode[name] & ~wrong.get(name, 0) for name in FORMATS}
        silent = i.signal == 0
        early = right["POST_PE"] | right["POST_LOOP"]
        ready = Signal(init=1)  # the opposite of `valid`: a register of its own, for it has many to serve
        m.d.comb += self.i.ready.eq(ready)
        with m.If(self.take):
            m.d.sync += [self.valid.eq(0), ready.eq(1)]
        with m.If(ready):
            m.d.sync += [
                self.valid.eq(self.i.valid),
                ready.eq(~self.i.valid),
                *(word[name].eq(opcode[name]) for name in FORMATS),
                word.when_idle.eq(
                    (early & ~silent) | right["POST_SET"] | right["MARK"] | (right["POST_RUN"] & ~drains)
                ),
                word.when_still.eq(early & silent),
                word.when_room.eq(right["POST_RUN"] & drains),
                word.unknown.eq(~reduce(or_, opcode.values())),
                word.drains.eq(drains),
                word.singles.eq(Cat(loop.count_x == 1, loop.count_y == 1, ~drains | (run.rows == 1))),
                word.signal.eq(i.signal),
                word.payload.eq(i.payload),
                word.index.eq(i.index),
            ]
        return m
