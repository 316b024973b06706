"""When what happens in a PE: the array's control record, decoded once for all PEs, each strobe at its stage.

Stage k of a record is the cycle k + `REGISTERS` after the one in which the record stands at the array's input; in it
the strobe of stage k stands in the PE's own register.

    0       ifmap scratchpad is read
    1       filter scratchpad is read; ifmap word stands in the block RAM's register
    2       filter entry stands behind its block RAM; ifmap word in the flip-flop behind its own, from which the masked bytes are
            ORed into the broadcast byte
    3       operands at the multipliers
    5, 6    product, and in the flip-flop after it
    7       accumulators hold it; `capture` copies them
    8 + i   copy of lane i is let through the mask
    9 + i   copies are ORed; the previous copy and the psum of lane i are read
    10 + i  current copy minus previous one; current copy replaces the previous one; psum stands behind its block RAM
    11 + i  difference plus psum
    12 + i  sum is written
A drain reads the psum at stage 9 too, so a record's drain and its own capture meet where the contract says.  From a
psum's read to the first cycle in which it can be read again: 4 cycles, the smallest `lanes`.
"""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .interfaces import pe_control_layout

__all__ = ["REGISTERS", "Schedule", "capture_to_drain", "drain_latency", "psum_latency", "strobes_layout"]

REGISTERS = 2  # one a row, one in the PE
CAPTURE = 7
PSUM_READ = 9
PSUM_WRITE = 12
MASKS = 11  # of what was read of the psums: `psum_keep`, `drain`
DRAIN_OUT = 12  # the drained psum stands in the PE's chain register


def psum_latency(config):
    """Cycles from a `capture` at the array's input until its last psum stands in the psum memory."""
    return REGISTERS + PSUM_WRITE + config.lanes


def capture_to_drain(config):
    """Cycles from a `capture` to the first `drain` that sees all its psums."""
    return PSUM_WRITE + config.lanes - PSUM_READ


def drain_latency(config, row):
    """Cycles from a `drain` of this row to its `o_valid`."""
    return REGISTERS + DRAIN_OUT + config.rows - 1 - row


def strobes_layout(config):
    """What the PEs of a row get in a cycle; the number is the stage."""
    return data.StructLayout(
        {
            "ifmap_entry": ceil_log2(config.ifmap_words // config.noc_words),  # 0
            "filter_entry": ceil_log2(config.filter_words // config.noc_words),  # 1
            "byte_mask": config.noc_words * config.lanes,  # 2: bytes that are multiplied, none without `mac`
            "filter_mask": config.noc_words,  # 2: the word of the filter entry
            "depthwise": 1,  # 2
            "capture": 1,  # 7
            "lane_mask": config.lanes,  # 8: one-hot
            "lane": ceil_log2(config.lanes),  # 9
            "lane_valid": 1,  # 9
            "psum_read": ceil_log2(config.psum_pixels * config.lanes),  # 9
            "psum_keep": 1,  # 11: add to the psum that was read, else to 0
            "drain": 1,  # 11: the psum that was read goes to the chain
            "psum_write": ceil_log2(config.psum_pixels * config.lanes),  # 12
            "psum_write_enable": 1,  # 12
        }
    )


def _delayed(m, value, cycles, name, *, reset_less=True):
    """The value of `cycles` cycles ago."""
    for stage in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{stage + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


class Schedule(wiring.Component):
    """One record a cycle to strobes: stage k of a record leaves k cycles after it came.

    Only `drain` has a reset: what was on its way would otherwise come out after it as psums that nobody asked for.

    Members
    -------
    control : the record (`pe_control_layout`).
    strobes : for the row registers (`strobes_layout`), all but `drain`.
    drain : the `drain` strobe of each row.
    """

    control: data.View
    strobes: data.View
    drain: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "control": In(pe_control_layout(config)),
                "strobes": Out(strobes_layout(config)),
                "drain": Out(config.rows),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._operands(m)
        self._psums(m)
        return m

    def _operands(self, m):
        config, control, strobes = self.config, self.control, self.strobes
        word_bits, byte_bits = ceil_log2(config.noc_words), ceil_log2(config.lanes)
        byte = control.ifmap_byte[:byte_bits]
        ifmap_word = control.ifmap_byte[byte_bits : byte_bits + word_bits]
        filter_word = control.filter_word[:word_bits]

        byte_mask = Signal(config.noc_words * config.lanes, reset_less=True)
        filter_mask = Signal(config.noc_words, reset_less=True)
        for word in range(config.noc_words):
            m.d.sync += filter_mask[word].eq(control.mac & (filter_word == word))
            for lane in range(config.lanes):
                m.d.sync += byte_mask[word * config.lanes + lane].eq(
                    control.mac & (ifmap_word == word) & (control.depthwise | (byte == lane))
                )
        m.d.comb += [
            strobes.ifmap_entry.eq(control.ifmap_byte[byte_bits + word_bits :]),
            strobes.filter_entry.eq(_delayed(m, control.filter_word[word_bits:], 1, "filter_entry")),
            strobes.byte_mask.eq(_delayed(m, byte_mask, 1, "byte_mask")),
            strobes.filter_mask.eq(_delayed(m, filter_mask, 1, "filter_mask")),
            strobes.depthwise.eq(_delayed(m, control.depthwise, 2, "depthwise")),
        ]

    def _psums(self, m):
        config, control, strobes = self.config, self.control, self.strobes
        how = Signal(data.StructLayout({"discard": 1, "first": 1, "pixel": control.pixel.shape()}))
        capture = _delayed(m, control.capture, CAPTURE, "capture")
        m.d.comb += [getattr(how, field).eq(getattr(control, field)) for field in how.shape().members]
        captured = _delayed(m, how, CAPTURE, "captured")

        # Stage 8: which lane's turn it is, if any, and how its psum is treated.
        lane_mask = Signal(config.lanes, reset_less=True)
        serial = Signal.like(captured, reset_less=True)
        m.d.sync += lane_mask.eq(Cat(capture, lane_mask[:-1] & ~capture.replicate(config.lanes - 1)))
        with m.If(capture):
            m.d.sync += serial.eq(captured)

        # Stage 9.
        lane = Signal(ceil_log2(config.lanes), reset_less=True)
        lane_valid = Signal(reset_less=True)
        turn = Signal.like(serial, reset_less=True)
        modify = Signal(reset_less=True)  # the psum is read, added to and written back
        place = Cat(lane, turn.pixel)
        m.d.sync += [
            lane.eq(Mux(lane_mask[0], 0, lane + 1)),
            lane_valid.eq(lane_mask.any()),
            turn.eq(serial),
            modify.eq(lane_mask.any() & ~serial.first & ~serial.discard),
        ]
        drain_psum = _delayed(m, control.drain_psum, PSUM_READ, "drain_psum")
        drain_row = _delayed(m, control.drain_row, MASKS - 1, "drain_row")
        drain = _delayed(m, control.drain, MASKS - 1, "drain", reset_less=False)
        rows = Signal(config.rows)
        m.d.sync += [rows[row].eq(drain & (drain_row == row)) for row in range(config.rows)]

        m.d.comb += [
            strobes.capture.eq(capture),
            strobes.lane_mask.eq(lane_mask),
            strobes.lane.eq(lane),
            strobes.lane_valid.eq(lane_valid),
            strobes.psum_read.eq(Mux(modify, place, drain_psum)),
            strobes.psum_keep.eq(_delayed(m, modify, MASKS - PSUM_READ, "keep")),
            strobes.psum_write.eq(_delayed(m, place, PSUM_WRITE - PSUM_READ, "psum_write")),
            strobes.psum_write_enable.eq(
                _delayed(m, lane_valid & ~turn.discard, PSUM_WRITE - PSUM_READ, "psum_write_enable")
            ),
            self.drain.eq(rows),
        ]
