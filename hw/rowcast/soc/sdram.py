"""An SDR SDRAM of 16 bits behind the memory bus."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import exact_log2

from ..skid import Skid
from .bus import memory_signature
from .bus_registers import BusRegisters
from .sdram_chip import ULX3S, WORD_BYTES, AS4C32M16SB_7, IS42S16160G_7, SdramChip, W9825G6KH_6, sdram_timing
from .sdram_chunks import Admission, ChunkSplitter, chunk_beats, chunk_layout
from .sdram_data import ReadData, WriteData, lead
from .sdram_scheduler import ADDRESS_PINS, Command, SdramScheduler

__all__ = [
    "AS4C32M16SB_7", "IS42S16160G_7", "SdramChip", "SdramController", "ULX3S", "W9825G6KH_6", "pins_signature",
]  # fmt: skip

_WRITES = 8  # bursts between their address and their answer
_CHUNKS = 4  # longest chunks that the data of each direction have room for
_SLVERR = 2


def pins_signature(chip):
    """The chip's pins but its clock, from the controller's side; `dq_oe` high: the controller drives."""
    return Signature(
        {
            **dict.fromkeys(("cke", "cs_n", "ras_n", "cas_n", "we_n", "dq_oe"), Out(1)),
            "ba": Out(exact_log2(chip.banks)),
            "a": Out(ADDRESS_PINS),
            "dqm": Out(WORD_BYTES),
            "dq_o": Out(8 * WORD_BYTES),
            "dq_i": In(8 * WORD_BYTES),
        }
    )


class SdramController(wiring.Component):
    """Bursts of the memory bus become commands of an SDRAM, a word a cycle at best.

    All outputs come from registers; `dq_i` goes into one.  Without registers at the pins the chip samples a cycle's
    outputs at the end of that cycle, and its first word of a READ is sampled CAS latency cycles later.  The bus sees a
    read's first beat about 23 cycles after its address if the row is open; no path leads through from bus to bus.  A write is answered when its last word is
    on its way: whoever reads after the answer gets what was written.  Reads and writes pass each other.

    Addresses beyond the chip are answered with SLVERR, in bursts of the right length, and change nothing.  A reset
    sets the chip's mode again, at once; what the chip holds stays, but for a write that the reset cuts.

    Parameters
    ----------
    config : Config
    chip : SdramChip
    clock_hz : of the clock, an integer.
    cas_latency : None: the shortest that the clock allows.
    io_delay : cycles that registers at the pins add, those of outputs and inputs together.
    ram_style : of the queues, "block" or "distributed".

    Members
    -------
    bus : the memory bus, as its subordinate.
    pins : see `pins_signature`.
    ready : the chip is started; what comes before then waits.

    Raises
    ------
    ValueError
        The clock does not suit the chip.
    """

    bus: wiring.PureInterface
    pins: wiring.PureInterface
    ready: Signal

    def __init__(self, config, chip, *, clock_hz, cas_latency=None, io_delay=0, ram_style="block"):
        if isinstance(io_delay, bool) or not isinstance(io_delay, int) or not 0 <= io_delay <= 8:
            raise ValueError(f"io_delay must be from 0 to 8 cycles, not {io_delay!r}")
        self.config, self.chip, self.io_delay, self.ram_style = config, chip, io_delay, ram_style
        self.timing = sdram_timing(chip, clock_hz, cas_latency=cas_latency)
        super().__init__({"bus": In(memory_signature(config)), "pins": Out(pins_signature(chip)), "ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, chip = self.config, self.chip
        m.submodules.bus_registers = registers = BusRegisters(memory_signature(config))
        wiring.connect(m, wiring.flipped(self.bus), registers.i)
        bus = registers.o
        beats = _CHUNKS * chunk_beats(config)
        lag = 1 + lead(config)  # of the command pins, for data to be there with them
        m.submodules.scheduler = scheduler = SdramScheduler(config, chip, self.timing)
        m.submodules.write_data = write_data = WriteData(config, depth=beats, style=self.ram_style)
        delay = lag + self.timing.cas + self.io_delay
        m.submodules.read_data = read_data = ReadData(config, depth=beats, delay=delay, style=self.ram_style)
        m.submodules.read_splitter = reads = ChunkSplitter(config, chip)
        m.submodules.write_splitter = writes = ChunkSplitter(config, chip)
        m.submodules.read_admission = read_admission = Admission(config, chip, beats=beats, free=beats)
        m.submodules.write_admission = write_admission = Admission(config, chip, beats=beats, free=0)
        wiring.connect(m, bus.ar, reads.i)
        for name, splitter, admission, chunks in (
            ("read", reads, read_admission, scheduler.i_read), ("write", writes, write_admission, scheduler.i_write),
        ):  # fmt: skip
            wiring.connect(m, splitter.o, admission.i)
            m.submodules[f"{name}_admitted"] = admitted = Skid(chunk_layout(config, chip))
            wiring.connect(m, admission.o, admitted.i)
            wiring.connect(m, admitted.o, chunks)
        wiring.connect(m, bus.w, write_data.i)
        wiring.connect(m, read_data.o, bus.r)
        m.d.comb += [
            read_admission.give.eq(read_data.taken),
            write_admission.give.eq(write_data.arrived),
            write_data.access.eq(scheduler.access),
            write_data.started.eq(scheduler.started),
            read_data.access.eq(scheduler.access),
            read_data.dq.eq(self.pins.dq_i),
            self.ready.eq(scheduler.started),
        ]
        self._answers(m, bus, writes.i, scheduler.access)
        self._pins(m, scheduler.command, write_data, lag)
        return m

    def _answers(self, m, bus, addresses, access):
        """B, in the order of AW."""
        aw, b = bus.aw, bus.b
        m.submodules.answers = answers = SyncFIFO(width=1, depth=_WRITES)
        owed = Signal(range(_WRITES + 1))
        take = Signal()
        give = Signal()
        m.d.comb += [
            addresses.payload.addr.eq(aw.payload.addr),
            addresses.payload.len.eq(aw.payload.len),
            addresses.valid.eq(aw.valid & ~owed[-1]),
            aw.ready.eq(addresses.ready & ~owed[-1]),
            take.eq(aw.valid & aw.ready),
            answers.w_en.eq(access.write & access.tail & access.last),
            answers.w_data.eq(access.dead),
            b.valid.eq(answers.r_rdy),
            b.payload.resp.eq(answers.r_data.replicate(2) & _SLVERR),
            give.eq(b.valid & b.ready),
            answers.r_en.eq(give),
        ]
        m.d.sync += owed.eq(owed + take - give)

    def _pins(self, m, command, write_data, lag):
        pins = self.pins
        for stage in range(lag):
            later = Signal(command.shape(), name=f"command{stage}", init={"code": Command.NONE})
            m.d.sync += later.eq(command)
            command = later
        code = command.code.as_value()
        awake = Signal(reset_less=True)  # never low again: the chip would keep what it does for later
        m.d.sync += awake.eq(1)
        m.d.comb += [
            pins.cke.eq(awake),
            *(getattr(pins, name).eq(code[bit]) for bit, name in enumerate(("we_n", "cas_n", "ras_n", "cs_n"))),
            pins.ba.eq(command.ba),
            pins.a.eq(command.a),
            pins.dqm.eq(write_data.dqm),
            pins.dq_o.eq(write_data.dq),
            pins.dq_oe.eq(write_data.oe),
        ]
