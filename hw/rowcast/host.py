"""The host's view: registers on AXI4-Lite, and the interrupt."""

from functools import reduce
from operator import or_

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import OKAY, lite_ports
from .interfaces import INDEX_BITS
from .registers import COUNTERS, ID_VALUE, REGISTERS, VERSION_VALUE, address_of

__all__ = ["ADDRESS_BITS", "HostRegisters", "SLVERR"]

ADDRESS_BITS = 12
SLVERR = 2
LAYER_BITS = 16
QUEUES_BITS = 24
UNITS_BITS = 16

_COUNTERS_START = address_of(f"COUNT_{COUNTERS[0].upper()}")
_FIXED = tuple(register for register in REGISTERS if register.offset < _COUNTERS_START)
# Registers of the host that reach beyond 32 bits: those with a NAME_HIGH.
_WIDE = tuple(r.name for r in _FIXED if r.access == "rw" and any(other.name == f"{r.name}_HIGH" for other in _FIXED))

_COMPACT = ("PROGRAM_BASE", "DATA_BASE")  # those of them that a compact configuration has; the others read as 0


class HostRegisters(wiring.Component):
    """The table `registers.REGISTERS` as an AXI4-Lite subordinate with 32 bits of data, and the interrupt.

    One write and one read at a time.  A write takes both its address and its data in the same cycle, when both are
    offered, in whatever order they came.  Outputs do not depend on inputs within a cycle.  An access outside the table
    is answered with SLVERR; writes to ro registers are ignored, wo registers read as 0; address bits 1..0 are ignored.
    Bits beyond `address_width` are 0.

    A read of the low half of a counter fetches all of it from `Counters` and keeps it: the high half that is read next
    belongs to it.  `irq` is up while a bit is set in both IRQ_STATUS and IRQ_ENABLE, one cycle late.  An event wins
    over the host's clear in the same cycle.  A soft reset touches none of these registers.

    Parameters
    ----------
    config : uses address_width, counter_width and its digest.

    Members
    -------
    awaddr .. rready : AXI4-Lite, standard names without prefix (`axi.lite_ports`).
    start, soft_reset : strobes.
    program_length, program_base, data_base, read_base, read_limit, write_base, write_limit : the rw registers.
    busy, done, error, layer, error_code, error_index, queues, units : what STATUS, ERROR_*, QUEUES and UNITS show.
    done_event, error_event : strobes that set the bits of IRQ_STATUS.
    count_read, count_select, count_done, count_value : to `Counters`.
    irq : interrupt.
    """

    start: Signal
    soft_reset: Signal
    program_length: Signal
    program_base: Signal
    data_base: Signal
    read_base: Signal
    read_limit: Signal
    write_base: Signal
    write_limit: Signal
    irq: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **lite_ports(ADDRESS_BITS, prefix=""),
                **dict.fromkeys(("start", "soft_reset", "count_read", "irq"), Out(1)),
                "program_length": Out(32),
                **{name.lower(): Out(config.address_width) for name in _WIDE},
                **dict.fromkeys(("busy", "done", "error", "done_event", "error_event", "count_done"), In(1)),
                "layer": In(LAYER_BITS),
                "error_code": In(4),
                "error_index": In(INDEX_BITS),
                "queues": In(QUEUES_BITS),
                "units": In(UNITS_BITS),
                "count_select": Out(range(len(COUNTERS))),
                "count_value": In(config.counter_width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        irq_enable = Signal(2)
        irq_status = Signal(2)
        clear = Signal.like(irq_status)
        # 32 bits at an offset -> register bits behind it; short ones are the low bits
        storage = {"IRQ_ENABLE": irq_enable}
        if not self.config.compact:
            storage["PROGRAM_LENGTH"] = self.program_length
        for name in _COMPACT if self.config.compact else _WIDE:
            value = getattr(self, name.lower())
            storage |= {name: value[:32], f"{name}_HIGH": value[32:]}
        shown = storage | {
            "ID": Const(ID_VALUE, 32),
            "VERSION": Const(VERSION_VALUE, 32),
            "CONFIG": Const(self.config.digest(), 32),
            "STATUS": Cat(self.busy, self.done, self.error, Const(0, 13), self.layer),
            "IRQ_STATUS": irq_status,
            "ERROR_CODE": self.error_code,
            "ERROR_INDEX": self.error_index,
            "QUEUES": self.queues,
            "UNITS": self.units,
        }
        if self.config.compact:
            left_out = [name for name in _WIDE if name not in _COMPACT]
            shown |= dict.fromkeys(("PROGRAM_LENGTH", *left_out, *(f"{name}_HIGH" for name in left_out)), Const(0, 32))
        self._write(m, storage, clear)
        self._read(m, shown)
        m.d.sync += [
            irq_status.eq(irq_status & ~clear | Cat(self.done_event, self.error_event)),
            self.irq.eq((irq_status & irq_enable).any()),
        ]
        return m

    def _write(self, m, storage, clear):
        """`accept` follows the offer by a cycle, and the answer follows `accept`."""
        accept = Signal()
        mapped = Signal()
        m.d.comb += [self.awready.eq(accept), self.wready.eq(accept)]
        m.d.sync += accept.eq(self.awvalid & self.wvalid & ~accept & ~self.bvalid)
        word = self.awaddr[2:]
        m.d.sync += [self.start.eq(0), self.soft_reset.eq(0), mapped.eq(_mapped(m, word, "write"))]
        with m.If(accept):
            m.d.sync += [self.bvalid.eq(1), self.bresp.eq(Mux(mapped, OKAY, SLVERR))]
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)
        for register in _FIXED:
            if register.access == "ro" or register.name not in (*storage, "IRQ_STATUS", "CONTROL"):
                continue
            # Decoded in the cycle before `accept`, when the address stands already.
            here = Signal(name=f"write_{register.name.lower()}")
            m.d.sync += here.eq(word == register.offset // 4)
            if register.name == "IRQ_STATUS":
                m.d.comb += clear.eq(Mux(accept & here & self.wstrb[0], self.wdata, 0))
            elif register.name == "CONTROL":
                with m.If(accept & here & self.wstrb[0]):
                    m.d.sync += Cat(self.start, self.soft_reset).eq(self.wdata)
            else:
                self._store(m, accept & here, storage[register.name])

    def _store(self, m, write, target):
        for byte in range(-(-len(target) // 8)):
            part = target[8 * byte : min(8 * byte + 8, len(target))]
            with m.If(write & self.wstrb[byte]):
                m.d.sync += part.eq(self.wdata[8 * byte : 8 * byte + 8])

    def _read(self, m, shown):
        word = Signal(ADDRESS_BITS - 2)
        mapped = Signal()
        high = Signal()
        readable = [register for register in _FIXED if register.access != "wo"]
        chosen = Signal(len(readable) + 2)  # one bit a register, then the low and the high halves of all counters
        m.d.comb += [mapped.eq(_mapped(m, word, "read")), high.eq(word[0])]
        counter = Signal()
        m.d.comb += [
            counter.eq(mapped & (word >= _COUNTERS_START // 4)),
            self.count_select.eq(word[1:] - _COUNTERS_START // 8),
        ]
        m.d.sync += chosen.eq(
            Cat(*(word == register.offset // 4 for register in readable), counter & ~high, counter & high)
        )
        values = [shown[register.name] for register in readable] + [self.count_value[:32], self.count_value[32:]]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += word.eq(self.araddr[2:])
                with m.If(self.arvalid):
                    m.next = "ACCEPT"
            with m.State("ACCEPT"):
                m.d.comb += [self.arready.eq(1), self.count_read.eq(counter & ~high)]
                m.next = "SELECT"
                with m.If(self.count_read):
                    m.next = "COUNT"
            with m.State("COUNT"):
                with m.If(self.count_done):
                    m.next = "SELECT"
            with m.State("SELECT"):
                m.d.sync += [
                    # Gates are cheaper than a multiplexer here.
                    self.rdata.eq(reduce(or_, (Mux(bit, value, 0) for bit, value in zip(chosen, values)))),
                    self.rresp.eq(Mux(mapped, OKAY, SLVERR)),
                    self.rvalid.eq(1),
                ]
                m.next = "ANSWER"
            with m.State("ANSWER"):
                with m.If(self.rready):
                    m.d.sync += self.rvalid.eq(0)
                    m.next = "IDLE"


def _mapped(m, word, name):
    """Whether there is a register at this word address."""
    result = Signal(name=f"{name}_mapped")
    with m.Switch(word):
        with m.Case(*(register.offset // 4 for register in REGISTERS)):
            m.d.comb += result.eq(1)
    return result
