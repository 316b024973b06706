"""The global buffer's memories: interleaved banks behind prioritised clients."""

from functools import reduce
from operator import or_

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .hierarchy import place
from .interfaces import GLB_READ_LATENCY, read_port, write_port
from .memory import Ram

__all__ = ["BankedMemory"]


def _power_of_two(value):
    return isinstance(value, int) and value > 0 and value & (value - 1) == 0


class BankedMemory(wiring.Component):
    """A memory of words in interleaved banks (word a is in bank a mod `banks`), shared by read and write clients.

    Each bank serves one read and one write a cycle.  Client k is granted when no bank that it needs is *asked for* by a
    client of the same kind with a lower number: a higher priority never waits for a lower one, and a grant is two
    levels of logic, because it does not depend on other grants.  Reads and writes never wait for each other.

    A read of n words starts at any word and has its data GLB_READ_LATENCY (4) cycles after the cycle of its grant, for
    one cycle: address register, block RAM, flip-flop, client's flip-flop; the OR after that is combinational.  The data
    of a cycle without a request are 0 then, so that a client can OR what it sends instead.  A read wraps at the end of
    the memory.  A write of n words starts at a multiple of n, needs only the banks of its masked words,
    and is seen by reads that are granted from the next cycle on.  Reading a word in the cycle in which it is written
    gives an undefined word.  Address bits above the memory are ignored: clients check their range.

    The registers around the banks are there for speed, as 64 block RAMs stand in columns all over the die: placed and
    routed with both feeders on an LFE5U-85F-6, an arbitrated address that goes straight to the banks allows 80 MHz, a
    register before the banks 89 MHz, and a flip-flop of each bank that does nothing but receive its data 105 MHz.

    Selection costs no multiplexer: the flip-flops after those, one set for each read client, are cleared where the
    client did not ask (a flip-flop's reset is free), so that the banks are merely ORed, and rotated if n > 1.

    Parameters
    ----------
    config : Config
    words : words in the memory, a power of two.
    banks : a power of two, at most `words` / 2.
    reads, writes : words in an access of each client, highest priority first; powers of two, at most `banks`.

    Members
    -------
    read__0, ... : `read_port` of each read client; also the list `reads`.
    write__0, ... : `write_port` of each write client; also the list `writes`.
    read_count, write_count : accesses granted in the cycle before.

    Raises
    ------
    ValueError
        A size is not a power of two or too large.
    """

    reads: list
    writes: list
    read_count: Signal
    write_count: Signal

    def __init__(self, config, *, words, banks, reads, writes):
        if not _power_of_two(words):
            raise ValueError(f"words must be a power of two, not {words!r}")
        if not _power_of_two(banks) or 2 * banks > words:
            raise ValueError(f"banks must be a power of two up to words / 2 = {words // 2}, not {banks!r}")
        for name, widths in (("reads", reads), ("writes", writes)):
            if not widths:
                raise ValueError(f"{name} must name at least one client, not {widths!r}")
            for width in widths:
                if not _power_of_two(width) or width > banks:
                    raise ValueError(f"{name} must be powers of two up to banks = {banks}, not {width!r}")
        self.words, self.banks = words, banks
        self.read_words, self.write_words = tuple(reads), tuple(writes)
        self.word_bits = config.word_bits
        self.bank_bits = ceil_log2(banks)
        self.row_bits = ceil_log2(words // banks)
        super().__init__(
            {
                **{f"read__{k}": In(read_port(config, n)) for k, n in enumerate(self.read_words)},
                **{f"write__{k}": In(write_port(config, n)) for k, n in enumerate(self.write_words)},
                "read_count": Out(range(len(self.read_words) + 1)),
                "write_count": Out(range(len(self.write_words) + 1)),
            }
        )
        self.reads = [getattr(self, f"read__{k}") for k in range(len(self.read_words))]
        self.writes = [getattr(self, f"write__{k}") for k in range(len(self.write_words))]

    def elaborate(self, platform):
        m = Module()
        rams = [Ram(shape=unsigned(self.word_bits), depth=1 << self.row_bits, latency=1) for _ in range(self.banks)]
        for b, ram in enumerate(rams):
            m.submodules[f"bank{b}"] = place(ram, f"glb_bank_{1 << self.row_bits}x{self.word_bits}", platform)
        self._elaborate_reads(m, rams)
        self._elaborate_writes(m, rams)
        return m

    def _first_bank(self, port):
        """Bank of the first word of an access."""
        return port.address[: self.bank_bits]

    def _asks(self, port):
        """Whether an access needs any bank."""
        return port.request & (port.mask.any() if "mask" in port.signature.members else 1)

    def _row(self, port):
        """Row of the first word of an access."""
        return port.address[self.bank_bits : self.bank_bits + self.row_bits]

    def _arbitrate(self, m, ports, sizes, wants, count):
        """Grant what no earlier client wants too."""
        for k, (port, size, want) in enumerate(zip(ports, sizes, wants, strict=True)):
            conflict = Const(0)
            for other, other_size, other_want in zip(ports[:k], sizes, wants):
                if size == other_size == 1:  # fewer levels of logic than a bit for each bank
                    same = self._first_bank(port) == self._first_bank(other)
                    conflict |= self._asks(port) & self._asks(other) & same
                else:
                    conflict |= (want & other_want).any()
            m.d.comb += port.grant.eq(port.request & ~conflict)
        m.d.sync += count.eq(sum(port.grant for port in ports))

    def _elaborate_reads(self, m, rams):
        wants, rows = [], []
        banks_data = [Signal(self.word_bits, name=f"bank_data{b}", reset_less=True) for b in range(self.banks)]
        m.d.sync += [bank_data.eq(ram.read_data) for bank_data, ram in zip(banks_data, rams, strict=True)]
        for k, (port, n) in enumerate(zip(self.reads, self.read_words, strict=True)):
            first = self._first_bank(port)
            want = Signal(self.banks, name=f"read_want{k}")
            for b in range(self.banks):
                within = 1 if n == self.banks else reduce(or_, (first == (b - i) % self.banks for i in range(n)))
                m.d.comb += want[b].eq(port.request & within)
            row = Signal(self.row_bits, name=f"read_row{k}")
            wrapped = Signal(self.row_bits, name=f"read_row_wrapped{k}")
            m.d.comb += [row.eq(self._row(port)), wrapped.eq(row + 1)]
            # A bank before the first one holds a word of the next row.
            rows.append([Mux(first > b, wrapped, row) if n > 1 else row for b in range(self.banks)])
            self._select(m, banks_data, port, n, want, k)
            wants.append(want)
        for b, ram in enumerate(rams):
            address = rows[-1][b]
            for want, row in reversed(list(zip(wants[:-1], rows[:-1], strict=True))):
                address = Mux(want[b], row[b], address)
            read_address = Signal(self.row_bits, name=f"read_address{b}", reset_less=True)
            m.d.sync += read_address.eq(address)
            m.d.comb += ram.read_address.eq(read_address)
        self._arbitrate(m, self.reads, self.read_words, wants, self.read_count)

    def _select(self, m, banks_data, port, n, want, k):
        """The words of read client k, from the banks' data three cycles after its grant."""
        want = self._later(m, want, GLB_READ_LATENCY - 1)
        held = [Signal(self.word_bits, name=f"read_word{k}_{b}", reset_less=True) for b in range(self.banks)]
        for b, bank_data in enumerate(banks_data):
            m.d.sync += held[b].eq(Mux(want[b], bank_data, 0))
        # n consecutive banks differ modulo n, so at most one bank of each residue is not cleared.
        words = [Signal(self.word_bits, name=f"read_residue{k}_{i}") for i in range(n)]
        for i, word in enumerate(words):
            m.d.comb += word.eq(reduce(or_, held[i::n]))
        data = Cat(words)
        if n > 1:
            start = Signal(ceil_log2(n), name=f"read_start{k}")
            m.d.comb += start.eq(port.address)
            start = self._later(m, start, GLB_READ_LATENCY)
            data = Signal(self.word_bits * n, name=f"read_rotated{k}")
            with m.Switch(start):
                for turn in range(n):
                    with m.Case(turn):
                        m.d.comb += data.eq(Cat(words[turn:], words[:turn]))
        m.d.comb += port.data.eq(data)

    def _later(self, m, signal, cycles):
        """The signal some cycles later."""
        for cycle in range(1, cycles + 1):
            register = Signal.like(signal, name=f"{signal.name}_{cycle}", reset_less=True)
            m.d.sync += register.eq(signal)
            signal = register
        return signal

    def _elaborate_writes(self, m, rams):
        wants = []
        for k, (port, n) in enumerate(zip(self.writes, self.write_words, strict=True)):
            group = self._first_bank(port)[ceil_log2(n) :]
            want = Signal(self.banks, name=f"write_want{k}")
            for b in range(self.banks):
                within = 1 if n == self.banks else group == b // n
                m.d.comb += want[b].eq(port.request & port.mask[b % n] & within)
            wants.append(want)
        for b, ram in enumerate(rams):
            clients = list(zip(self.writes, self.write_words, wants, strict=True))
            row, data = self._write_of(clients[-1], b)
            for client in reversed(clients[:-1]):
                client_row, client_data = self._write_of(client, b)
                want = client[2]
                row, data = Mux(want[b], client_row, row), Mux(want[b], client_data, data)
            write_address = Signal(self.row_bits, name=f"write_address{b}", reset_less=True)
            write_data = Signal(self.word_bits, name=f"write_data{b}", reset_less=True)
            write_enable = Signal(name=f"write_enable{b}")
            m.d.sync += [
                write_address.eq(row),
                write_data.eq(data),
                write_enable.eq(reduce(or_, (want[b] & port.grant for port, _, want in clients))),
            ]
            m.d.comb += [
                ram.write_address.eq(write_address),
                ram.write_data.eq(write_data),
                ram.write_enable.eq(write_enable),
            ]
        self._arbitrate(m, self.writes, self.write_words, wants, self.write_count)

    def _write_of(self, client, bank):
        """Row and data that a write client has for a bank."""
        port, n, _ = client
        return self._row(port), port.data.word_select(bank % n, self.word_bits)
