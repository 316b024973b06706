"""The first half of the vector unit: words of a window to one value a lane."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .interfaces import vector_layout
from .isa import PostSource

__all__ = ["VALUE_BITS", "VectorFront", "result_layout", "values_layout"]

VALUE_BITS = 22  # the sum of a window of 2^14 words: more than 112 x 112
COUNT_BITS = VALUE_BITS - 7


def values_layout(config):
    """What a window makes of one word: a value a lane (MAX, SUM: signed; ADD, MUL: two bytes)."""
    return data.ArrayLayout(signed(VALUE_BITS), config.lanes)


def result_layout(config):
    """A window's result: the values of each of a turn's words, and the turns that are not padding."""
    words = data.ArrayLayout(values_layout(config), config.vector_words)
    return data.StructLayout({"words": words, "count": COUNT_BITS})


class VectorFront(wiring.Component):
    """Windows of turns to results, lane by lane.  One turn a cycle; a result is there 2 cycles after its last turn.

    A turn has `vector_words` words, which are padding or not together; each of them is reduced with its like.
    MAX : the largest of the bytes, padding left out; -128 if all is padding.
    SUM : the sum of the bytes, padding left out; exact up to 2^14 turns.
    ADD, MUL : the two bytes of a window of two turns, as they are.

    Members
    -------
    source : PostSource, stable from the cycle before a window's first turn until its result is taken.
    i : turns, see `vector_layout`; `last` ends a window.
    o : results, see `result_layout`.
    """

    source: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "source": In(PostSource),
                "i": In(stream.Signature(vector_layout(config))),
                "o": Out(stream.Signature(result_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        turn, result = self.i.payload, self.o.payload
        first = Signal(init=1)
        done = Signal()
        take = Signal()
        give = Signal()
        full = Signal()  # `done`, and a result before it
        is_sum = Signal()
        is_pair = Signal()
        m.d.comb += [
            give.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~full | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += [
            is_sum.eq(self.source == PostSource.SUM),
            is_pair.eq((self.source == PostSource.ADD) | (self.source == PostSource.MUL)),
        ]

        # Cycle 1: accumulate.
        count = Signal(COUNT_BITS, reset_less=True)
        with m.If(self.i.ready):
            m.d.sync += done.eq(take & turn.last)
        m.d.sync += full.eq(Mux(give, done & take & turn.last, done | (take & turn.last)))
        with m.If(take):
            m.d.sync += [first.eq(turn.last), count.eq(Mux(first, 0, count) + ~turn.pad)]
        lanes = [lane for word in result.words for lane in word]
        values = [self._lane(m, i, take, first, is_sum, is_pair) for i in range(len(lanes))]

        # Cycle 2: hand over.
        with m.If(give):
            m.d.sync += self.o.valid.eq(done)
        with m.If(give & done):
            m.d.sync += [result.count.eq(count), *(o.eq(value) for o, value in zip(lanes, values, strict=True))]
        return m

    def _lane(self, m, lane, take, first, is_sum, is_pair):
        """One lane's registers; those that the source does not use stay 0, so that the result is an OR."""
        byte, pad = self.i.payload.data.word_select(lane, 8).as_signed(), self.i.payload.pad
        total = Signal(signed(VALUE_BITS), name=f"total{lane}", reset_less=True)
        top = Signal(signed(8), name=f"top{lane}", reset_less=True)
        before = Signal(8, name=f"before{lane}", reset_less=True)
        with m.If(~is_sum):
            m.d.sync += total.eq(0)
        with m.Elif(take):
            m.d.sync += total.eq(Mux(first, 0, total) + Mux(pad, 0, byte))
        with m.If(take & (first | is_pair | is_sum | (~pad & (byte > top)))):
            # No multiplexer with a constant: it would become a reset, behind the enable.
            lowest = first & pad & ~is_pair
            m.d.sync += top.eq(Cat(byte[:7] & ~(lowest | is_sum).replicate(7), (byte[7] | lowest) & ~is_sum))
        with m.If(take):
            m.d.sync += before.eq(top)

        value = Signal(signed(VALUE_BITS), name=f"value{lane}")
        sign = top[-1]
        m.d.comb += [
            value[:8].eq(total[:8] | Mux(is_pair, before, top)),
            value[8:16].eq(total[8:16] | Mux(is_pair, top, sign.replicate(8))),
            value[16:].eq(total[16:] | (sign & ~is_pair).replicate(VALUE_BITS - 16)),
        ]
        return value
