"""What happens on an SDRAM's command pins: accesses, rows that open while others move data, refresh, start."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..axi import ID_WIDTH
from .sdram_chip import POSTPONED, WORD_BYTES
from .sdram_chunks import CHUNK_BYTES, access_words, chunk_layout

__all__ = ["ADDRESS_PINS", "Command", "SdramScheduler", "access_layout", "command_layout"]

ADDRESS_PINS = 13
TURN_WORDS = 2 * CHUNK_BYTES // WORD_BYTES  # before the other direction has its turn: a turn costs about 8 cycles
_IDLE = 16  # cycles without a chunk after which what is owed is refreshed
_SETTLE = 31  # cycles after which nothing that a reset has cut is under way in the chip
_ALL_BANKS = 1 << 10  # of PRECHARGE


class Command(enum.Enum, shape=4):
    """CS#, RAS#, CAS#, WE#, from the highest bit."""

    NONE = 0b1111
    ACTIVATE = 0b0011
    READ = 0b0101
    WRITE = 0b0100
    PRECHARGE = 0b0010
    REFRESH = 0b0001
    MODE = 0b0000


_READY, _EMPTY = 2, 3  # bits of `_Next`


class _Next(enum.Enum):
    """What the next chunk waits for; the two that a further chunk can follow at once have a bit each."""

    LOOK = 0
    DECIDE = 1
    CLOSE = 2
    OPEN = 3
    READY = 1 << _READY
    EMPTY = 1 << _EMPTY


def command_layout(chip):
    """A cycle of the command pins."""
    return data.StructLayout({"code": Command, "ba": exact_log2(chip.banks), "a": ADDRESS_PINS})


def access_layout():
    """An access that begins: whether it is the first and the last of its beat; of the burst the ID, whether this is
    its end, whether there is no such memory."""
    return data.StructLayout({"read": 1, "write": 1, "head": 1, "tail": 1, "id": ID_WIDTH, "last": 1, "dead": 1})


class _Timer:
    """Cycles until something is allowed, as a shift register: the longest of the waits that were begun counts."""

    def __init__(self, m, name, longest):
        self.bits = Signal(max(1, longest - 1), name=name)
        self.begins = []
        self.busy = self.bits[0]
        self._m = m

    def begin(self, when, cycles):
        """`when` in cycle t: busy until t + cycles."""
        ones = (1 << cycles - 1) - 1
        self.begins.append(Mux(when, Const(ones, len(self.bits)), 0))

    def finish(self):
        value = self.bits >> 1
        for begin in self.begins:
            value = value | begin
        self._m.d.sync += self.bits.eq(value)


class SdramScheduler(wiring.Component):
    """Chunks in, commands out.

    Three places: the *present* chunk issues a READ or WRITE every `access_words` cycles, without gaps to the next
    one's; the *next* chunk finds or opens its row in the cycles between; refresh waits until it is owed `POSTPONED`
    times or nothing else has happened for a while.  Rows stay open.  Reads and writes change after `TURN_WORDS` words
    when both wait.  Between the last word of a read and the first of a write one cycle is left for the chip to let go of
    the bus.

    Chunks of beyond the chip take their turn and their cycles, but no command.  A chunk in an open row follows its
    predecessor at once if that has at least 4 cycles of data.

    Parameters
    ----------
    config : Config
    chip : SdramChip
    timing : SdramTiming

    Members
    -------
    i_read, i_write : chunks.
    access, command : what begins, and the pins of the same cycle.
    started : the chip has its mode; low from the reset until then.
    """

    i_read: stream.Interface
    i_write: stream.Interface
    started: Signal

    def __init__(self, config, chip, timing):
        self.config, self.chip, self.timing = config, chip, timing
        self.words = access_words(config)
        chunk = stream.Signature(chunk_layout(config, chip))
        super().__init__(
            {
                "i_read": In(chunk),
                "i_write": In(chunk),
                "access": Out(access_layout()),
                "command": Out(command_layout(chip), init={"code": Command.NONE}),
                "started": Out(1),
            }
        )

    @property
    def mode(self):
        """The mode register: burst length, sequential, CAS latency, writes as long as reads."""
        return exact_log2(self.words) | self.timing.cas << 4

    def elaborate(self, platform):
        m = Module()
        timing, words, banks = self.timing, self.words, self.chip.banks
        names = ("access", "activate", "precharge", "close_all", "refresh", "mode")
        go = self._go = {name: Signal(name=f"go_{name}") for name in names}
        self._run = Signal()  # further chunks may come
        # the present chunk
        self._present, self._dead = Signal(), Signal(reset_less=True)
        self._write, self._number = Signal(reset_less=True), Signal(exact_log2(banks), reset_less=True)
        self._bank_timers = [
            _Timer(m, f"bank{bank}", max(timing.ras, words - 1 + timing.wr, words)) for bank in range(banks)
        ]
        self._recent, self._activated = Signal(), Signal()  # a cycle ago: there was a present chunk, a row was opened
        m.d.sync += [self._recent.eq(self._present), self._activated.eq(go["activate"])]
        self._next(m)
        self._accesses(m)
        self._maintain(m)
        self._banks(m)
        self._commands(m)
        return m

    def _banks(self, m):
        """Until each bank may be closed, counted from the cycle after the command: nobody asks before."""
        timing, words = self.timing, self.words
        touched = Signal()
        write = Signal(reset_less=True)
        number = Signal.like(self._number, reset_less=True)
        m.d.sync += [touched.eq(self._go["access"] & ~self._dead), write.eq(self._write), number.eq(self._number)]
        for bank, timer in enumerate(self._bank_timers):
            here = touched & (number == bank)
            timer.begin(self._activated & (self._waiting.bank == bank), timing.ras - 1)
            timer.begin(here & write, words - 2 + timing.wr)
            timer.begin(here & ~write, words - 1)
            timer.finish()

    def _choose(self, m):
        """Which side gives the next chunk: the same as before, until it has had its turn.

        Chunks are taken three cycles apart at least, so there is time for registers: who is there (`offered`, and of whom, `side`), and
        what was taken (of `waiting`, a cycle later).
        """
        write = Signal()
        taken = Signal(range(2 * TURN_WORDS // self.words))  # accesses of this turn
        over = Signal()
        side = Signal()
        offered = Signal()
        m.d.sync += [
            over.eq(taken[exact_log2(TURN_WORDS // self.words) :].any()),
            side.eq(self.i_write.valid & (~self.i_read.valid | (write ^ over))),
            offered.eq(self.i_read.valid | self.i_write.valid),
        ]
        chunk = Signal(self.i_read.payload.shape())
        m.d.comb += chunk.eq(Mux(side, self.i_write.payload, self.i_read.payload))
        with m.If(self._took):
            m.d.sync += write.eq(self._waiting_write)
            with m.If(self._waiting_write != write):
                m.d.sync += taken.eq(self._waiting.more + 1)
            with m.Elif(~over):
                m.d.sync += taken.eq(taken + self._waiting.more + 1)
        return side, chunk, offered

    def _next(self, m):
        """The chunk behind the present one, and the rows."""
        timing, banks, go = self.timing, self.chip.banks, self._go
        self._take, self._took, self._move = Signal(), Signal(), Signal()  # `_took`: a cycle later, when its place is given back
        m.d.sync += self._took.eq(self._take)
        waiting = self._waiting = Signal(self.i_read.payload.shape(), reset_less=True)
        waiting_write = self._waiting_write = Signal(reset_less=True)
        side, chunk, offered = self._choose(m)
        state = self._state = Signal(_Next, init=_Next.EMPTY)
        empty, ready = state[_EMPTY], state[_READY]
        rows = Array(Signal.like(waiting.row, name=f"row{bank}", reset_less=True) for bank in range(banks))
        opened = Signal(banks)
        match, is_open, same = (Signal(name=name, reset_less=True) for name in ("match", "is_open", "same"))
        timer = _Timer(m, "row_timer", max(timing.rp, timing.rcd, timing.rrd))
        busy = Signal()  # the row of `waiting` may not be closed yet
        m.d.comb += [
            busy.eq(Array(bank.busy for bank in self._bank_timers)[waiting.bank] | ((self._present | self._recent) & same)),
            self._move.eq(ready & ~timer.busy & ~self._present),
            self._take.eq(offered & self._run & (empty | self._move)),
            self.i_read.ready.eq(self._took & ~waiting_write),
            self.i_write.ready.eq(self._took & waiting_write),
            go["precharge"].eq((state == _Next.CLOSE) & ~busy & ~go["access"]),
            go["activate"].eq((state == _Next.OPEN) & ~timer.busy & ~go["access"]),
        ]
        timer.begin(go["precharge"], timing.rp)
        # The present chunk's first access is a cycle after the move, the next chunk's ACTIVATE at least three.
        timer.begin(go["activate"], max(timing.rcd - 1, timing.rrd - 3, 1))
        timer.finish()
        with m.Switch(state):
            with m.Case(_Next.LOOK):
                m.d.sync += [
                    match.eq(rows[waiting.bank] == waiting.row),
                    is_open.eq(opened.bit_select(waiting.bank, 1)),
                    same.eq(waiting.bank == self._number),
                    state.eq(_Next.DECIDE),
                ]
            with m.Case(_Next.DECIDE):
                with m.If(waiting.dead | (is_open & match)):
                    m.d.sync += state.eq(_Next.READY)
                with m.Elif(is_open):
                    m.d.sync += state.eq(_Next.CLOSE)
                with m.Else():
                    m.d.sync += state.eq(_Next.OPEN)
            with m.Case(_Next.CLOSE):
                with m.If(go["precharge"]):
                    m.d.sync += state.eq(_Next.OPEN)
            with m.Case(_Next.OPEN):
                with m.If(go["activate"]):
                    m.d.sync += state.eq(_Next.READY)
        with m.If(self._activated):
            m.d.sync += rows[waiting.bank].eq(waiting.row)
        with m.If(self._take):
            m.d.sync += [state.eq(_Next.LOOK), waiting.eq(chunk), waiting_write.eq(side)]
        with m.Elif(self._move):
            m.d.sync += state.eq(_Next.EMPTY)
        for bank in range(banks):
            with m.If(self._activated & (waiting.bank == bank)):
                m.d.sync += opened[bank].eq(1)
            with m.If(go["close_all"]):
                m.d.sync += opened[bank].eq(0)

    def _accesses(self, m):
        """The present chunk: an access every `words` cycles."""
        timing, words, go = self.timing, self.words, self._go
        waiting, present = self._waiting, self._present
        place = self._place = Signal.like(waiting.access, name="place", reset_less=True)
        final = Signal(reset_less=True)
        left = Signal.like(waiting.more, name="left", reset_less=True)
        number = Signal(ID_WIDTH, reset_less=True)
        last = Signal(reset_less=True)
        read_timer = _Timer(m, "read_timer", words)
        write_timer = _Timer(m, "write_timer", words + timing.cas + 1)
        m.d.comb += go["access"].eq(present & ~Mux(self._write, write_timer.busy, read_timer.busy))
        read_timer.begin(go["access"], words)
        write_timer.begin(go["access"], words)
        write_timer.begin(go["access"] & ~self._write, words + timing.cas + 1)
        read_timer.finish()
        write_timer.finish()
        with m.If(self._move):
            m.d.sync += [
                present.eq(1),
                self._write.eq(self._waiting_write),
                self._dead.eq(waiting.dead),
                self._number.eq(waiting.bank),
                place.eq(waiting.access),
                left.eq(waiting.more),
                final.eq(waiting.more == 0),
                number.eq(waiting.id),
                last.eq(waiting.last),
            ]
        with m.Elif(go["access"]):
            m.d.sync += [present.eq(~final), place.eq(place + 1), left.eq(left - 1), final.eq(left == 1)]
        part = exact_log2(self.config.dram_bytes // WORD_BYTES // words)
        m.d.sync += [
            self.access.read.eq(go["access"] & ~self._write),
            self.access.write.eq(go["access"] & self._write),
            self.access.head.eq(~place[:part].any()),
            self.access.tail.eq(place[:part].all() if part else 1),  # in RTLIL no bits are not all ones
            self.access.id.eq(number),
            self.access.last.eq(last & final),
            self.access.dead.eq(self._dead),
        ]

    def _maintain(self, m):
        """Start, and refresh: close all rows, refresh what is owed."""
        timing, go = self.timing, self._go
        owed = Signal(range(2 * max(POSTPONED, self.chip.startup_refreshes)))
        interval = Signal(range(timing.refresh))
        tick = Signal()
        waited = Signal(range(timing.powerup + 1))
        power = Signal()
        powered = Signal(reset_less=True)  # since the bitstream was loaded
        quiet = Signal(range(_IDLE + 1))
        idle = Signal()
        # The chunks that stand in the scheduler end first: meanwhile another refresh may fall due.
        rest = 2 * CHUNK_BYTES // WORD_BYTES + 64
        urgent = max(1, POSTPONED - -(-rest // timing.refresh))
        timer = _Timer(m, "timer", max(timing.rp, timing.rfc, timing.mrd))
        empty = Signal()
        m.d.comb += [
            empty.eq(self._state[_EMPTY] & ~self._present & ~self._recent),
            idle.eq(quiet[-1]),
        ]
        with m.If(~empty | self.i_read.valid | self.i_write.valid):
            m.d.sync += quiet.eq(0)
        with m.Elif(~idle):
            m.d.sync += quiet.eq(quiet + 1)
        m.d.sync += [tick.eq(interval == 1), interval.eq(Mux(tick, timing.refresh - 1, interval - 1))]
        with m.If(~self.started):
            m.d.sync += [tick.eq(0), interval.eq(timing.refresh - 1)]
        wanted = Signal()
        m.d.sync += wanted.eq((owed >= urgent) | (idle & owed.any()))
        with m.FSM():
            with m.State("POWERUP"):
                m.d.sync += [
                    waited.eq(waited + 1),
                    power.eq((waited == timing.powerup) | (powered & (waited == _SETTLE))),
                ]
                with m.If(power):
                    m.next = "CLOSE"
            with m.State("RUN"):
                with m.If(wanted):
                    m.d.sync += self._run.eq(0)
                    m.next = "CLOSE"
            with m.State("CLOSE"):
                with m.If(empty & ~Cat(bank.busy for bank in self._bank_timers).any()):
                    m.d.comb += go["close_all"].eq(1)
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                m.d.comb += go["refresh"].eq(~timer.busy & owed.any())
                with m.If(~timer.busy & ~owed.any()):
                    m.d.sync += self._run.eq(self.started)
                    m.next = "RUN"
                    with m.If(~self.started):
                        m.next = "MODE"
            with m.State("MODE"):
                m.d.comb += go["mode"].eq(1)
                m.d.sync += [self.started.eq(1), powered.eq(1)]
                m.next = "REFRESH"
        with m.If(power):
            m.d.sync += [power.eq(0), owed.eq(self.chip.startup_refreshes)]
        with m.Elif(tick & ~go["refresh"]):
            m.d.sync += owed.eq(owed + 1)
        with m.Elif(go["refresh"] & ~tick):
            m.d.sync += owed.eq(owed - 1)
        timer.begin(go["close_all"], timing.rp)
        timer.begin(go["refresh"], timing.rfc)
        timer.begin(go["mode"], timing.mrd)
        timer.finish()

    def _commands(self, m):
        go, command = self._go, self.command
        column = Cat(Const(0, exact_log2(self.words)), self._place)
        m.d.sync += [
            command.code.eq(Command.NONE),
            command.ba.eq(Mux(go["access"], self._number, self._waiting.bank)),
            command.a.eq(Mux(go["access"], column, Mux(go["activate"], self._waiting.row, 0))),
        ]
        with m.If(go["access"] & ~self._dead):
            m.d.sync += command.code.eq(Mux(self._write, Command.WRITE, Command.READ))
        for name, code in (
            ("activate", Command.ACTIVATE), ("precharge", Command.PRECHARGE), ("close_all", Command.PRECHARGE),
            ("refresh", Command.REFRESH), ("mode", Command.MODE),
        ):  # fmt: skip
            with m.If(go[name]):
                m.d.sync += command.code.eq(code)
        with m.If(go["close_all"]):
            m.d.sync += command.a.eq(_ALL_BANKS)
        with m.If(go["mode"]):
            m.d.sync += [command.a.eq(self.mode), command.ba.eq(0)]
