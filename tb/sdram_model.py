"""An SDR SDRAM of 16 bits at its pins: keeps data, and says which rule of its data sheet a command breaks.

Shares nothing with the controller but the chip's figures.  Free of simulators: `edge` is called at every rising edge of
the clock with what the pins show just before it.  The names of the rules are the data sheet's (JESD21-C, 3.11.5).
"""

import random
from collections import deque, namedtuple

from rowcast.soc.sdram_chip import POSTPONED

__all__ = ["PINS", "Pins", "SdramModel", "Violation"]

PINS = ("cke", "cs_n", "ras_n", "cas_n", "we_n", "ba", "a", "dqm", "dq_o", "dq_oe")
Pins = namedtuple("Pins", PINS)


class Violation(namedtuple("Violation", "ns rule text")):
    """A broken rule: when, which, and how."""

    def __str__(self):
        return f"at {self.ns:.1f} ns, {self.rule}: {self.text}"


class _Bank:
    def __init__(self):
        self.row = None
        self.activated = self.precharged = self.written = None  # edges; `written`: of the last word


class SdramModel:
    """A chip.

    Parameters
    ----------
    chip : SdramChip, its figures.
    clock_hz : frequency of `edge`.
    seed : of what the memory holds at first, and of what floats on the bus.

    Members
    -------
    violations : [Violation].
    commands : name -> how often.
    """

    def __init__(self, chip, clock_hz, *, seed=1):
        self.chip, self.clock_hz = chip, clock_hz
        self.violations, self.commands = [], {}
        self._rng = random.Random(seed)
        self._rows = {}
        self._banks = [_Bank() for _ in range(chip.banks)]
        self._now = 0
        self._started = self._owed_since = None  # edges: mode set first; oldest refresh that is owed
        self._precharged_all, self._start_refreshes = False, 0
        self._activated = self._refreshed = self._mode_set = None
        self._latency, self._length = None, 1
        self._out = {}  # edge at which it is sampled -> (word, bank)
        self._masks = {}  # edge -> DQM of reads
        self._burst = None  # of a write: [bank, row, column, index]
        self._drove = False
        self._awake = True
        self._due = deque()

    # Memory -------------------------------------------------------------------------------------------------------

    def _row(self, bank, row):
        key = bank, row
        if key not in self._rows:
            self._rows[key] = bytearray(random.Random(repr(key)).randbytes(self.chip.columns * 2))
        return self._rows[key]

    def _place(self, address):
        word, low = divmod(address, 2)
        word, column = divmod(word, self.chip.columns)
        row, bank = divmod(word, self.chip.banks)
        return bank, row, column * 2 + low

    def read(self, address, length):
        """Bytes, by the controller's map: word, column, bank, row from the lowest bit."""
        places = map(self._place, range(address, address + length))
        return bytes(self._row(bank, row)[place] for bank, row, place in places)

    def write(self, address, content):
        """Put bytes there, past the pins."""
        for i, value in enumerate(content):
            bank, row, place = self._place(address + i)
            self._row(bank, row)[place] = value

    # Rules --------------------------------------------------------------------------------------------------------

    def _ns(self, edges):
        return edges * 1e9 / self.clock_hz

    def _blame(self, rule, text):
        self.violations.append(Violation(self._ns(self._now), rule, text))

    def _least(self, rule, what, since, ns, cycles=1):
        """`what` comes at least `ns` and `cycles` after edge `since`."""
        if since is None:
            return
        passed = self._now - since
        if passed * 10**9 < ns * self.clock_hz or passed < cycles:
            after = f"after {passed} cycles ({self._ns(passed):.1f} ns)"
            self._blame(rule, f"{what} {after}, {ns:g} ns and {cycles} cycles needed")

    def _ready(self, what):
        """Rules about what every command but a no-operation waits for."""
        chip = self.chip
        self._least("tRFC", f"{what} follows REFRESH", self._refreshed, chip.trfc)
        self._least("tMRD", f"{what} follows MODE", self._mode_set, chip.tmrd, chip.tmrd_cycles)
        if self._now * 10**3 < chip.powerup_us * self.clock_hz / 10**3:
            self._blame("power-up", f"{what} after {self._ns(self._now) / 1e3:.2f} us, {chip.powerup_us:g} us needed")

    def _all_idle(self, what):
        for number, bank in enumerate(self._banks):
            if bank.row is not None:
                self._blame("bank", f"{what} while bank {number} has row {bank.row} open")
            self._least("tRP", f"{what} follows PRECHARGE of bank {number}", bank.precharged, self.chip.trp)

    # Commands -----------------------------------------------------------------------------------------------------

    def _activate(self, pins):
        chip, bank, what = self.chip, self._banks[pins.ba], f"ACTIVATE of bank {pins.ba}"
        if self._started is None:
            self._blame("start", f"{what} before the mode is set")
        if bank.row is not None:
            self._blame("bank", f"{what}, which has row {bank.row} open")
        self._least("tRP", f"{what} follows its PRECHARGE", bank.precharged, chip.trp)
        self._least("tRC", f"{what} follows its ACTIVATE", bank.activated, chip.trc)
        self._least("tRRD", f"{what} follows another", self._activated, chip.trrd, chip.trrd_cycles)
        if pins.a >= chip.rows:
            self._blame("row", f"{what}: there is no row {pins.a}")
        bank.row, bank.activated, self._activated = pins.a % chip.rows, self._now, self._now

    def _column(self, pins, what):
        """The bank of a READ or WRITE, or None if it has no row."""
        bank = self._banks[pins.ba]
        if bank.row is None:
            self._blame("bank", f"{what} to bank {pins.ba}, which has no row open")
            return None
        self._least("tRCD", f"{what} follows ACTIVATE of bank {pins.ba}", bank.activated, self.chip.trcd)
        if pins.a >> 10:
            self._blame("command", f"{what} with A10 high: this model knows no auto-precharge")
        elif pins.a >= self.chip.columns:
            self._blame("column", f"{what}: there is no column {pins.a}")
        return bank

    def _cut(self, bank=None):
        """Reads (of this bank) end here: what would be sampled from CAS latency on does not come."""
        first = self._now + self._latency
        gone = [edge for edge, (_, own) in self._out.items() if edge >= first and bank in (None, own)]
        for edge in gone:
            del self._out[edge]
        return len(gone)

    def _read(self, pins):
        bank = self._column(pins, "READ")
        self._burst = None
        if bank is None:
            return
        self._cut()
        row, base = self._row(pins.ba, bank.row), pins.a & -self._length
        for i in range(self._length):
            place = 2 * ((base | (pins.a + i) % self._length) % self.chip.columns)
            self._out[self._now + self._latency + i] = int.from_bytes(row[place : place + 2], "little"), pins.ba

    def _write(self, pins):
        bank = self._column(pins, "WRITE")
        if bank is None:
            return
        self._cut()
        self._burst = [pins.ba, bank.row, pins.a, 0]

    def _precharge(self, pins):
        numbers = range(self.chip.banks) if pins.a >> 10 & 1 else [pins.ba]
        self._precharged_all |= len(numbers) == self.chip.banks
        for number in numbers:
            bank = self._banks[number]
            if bank.row is None:
                continue
            what = f"PRECHARGE of bank {number}"
            self._least("tRAS", f"{what} follows its ACTIVATE", bank.activated, self.chip.tras)
            self._least("tWR", f"{what} follows its last word", bank.written, self.chip.twr, self.chip.twr_cycles)
            if (after := self._ns(self._now - bank.activated)) > self.chip.tras_max:
                self._blame("tRAS", f"{what} after {after:.0f} ns, {self.chip.tras_max:g} ns at most")
            if self._burst is not None and self._burst[0] == number:
                self._blame("burst", f"{what} in the middle of a WRITE to it")
                self._burst = None
            if lost := self._cut(number):
                self._blame("burst", f"{what} cuts {lost} words off a READ of it")
            bank.row, bank.precharged = None, self._now

    def _refresh(self, pins):
        self._all_idle("REFRESH")
        self._start_refreshes += 1
        self._refreshed = self._now
        if self._started is not None:
            self._due.popleft()
            self._due.append(self._now)
            self._owed_since += self.chip.refresh_us * self.clock_hz / 1e6 / self.chip.refreshes

    def _mode(self, pins):
        self._all_idle("MODE")
        if not self._precharged_all:
            self._blame("start", "MODE before PRECHARGE of all banks")
        if self._start_refreshes < self.chip.startup_refreshes:
            self._blame("start", f"MODE after {self._start_refreshes} refreshes, {self.chip.startup_refreshes} needed")
        length, self._latency = pins.a & 7, pins.a >> 4 & 7
        limit = dict(self.chip.cas).get(self._latency)
        if length > 3 or pins.a >> 3 & 1 or pins.a >> 7 or pins.ba:
            mode = f"MODE {pins.ba:02b} {pins.a:013b}"
            self._blame("command", f"{mode}: this model knows sequential bursts of 1 to 8 words")
        if limit is None or limit < self.clock_hz:
            self._blame("CAS", f"CAS latency {self._latency} at {self.clock_hz / 1e6:g} MHz")
            self._latency = self._latency if limit else 3
        self._length, self._mode_set = 1 << (length & 3), self._now
        if self._started is None:
            self._started = self._owed_since = self._now
            self._due.extend([self._now] * self.chip.refreshes)

    _COMMANDS = {
        0b011: _activate, 0b101: _read, 0b100: _write, 0b010: _precharge, 0b001: _refresh, 0b000: _mode,
    }  # fmt: skip
    _NAMES = {0b011: "ACTIVATE", 0b101: "READ", 0b100: "WRITE", 0b010: "PRECHARGE", 0b001: "REFRESH", 0b000: "MODE"}

    def edge(self, pins):
        """A rising edge.

        Returns
        -------
        dq : what the data pins show at the next edge; noise where the chip does not drive.
        """
        drives = self._out.pop(self._now, None) is not None
        if pins.dq_oe and (drives or self._drove):
            self._blame("DQ", "the controller drives while the chip drives, or lets go of the bus")
        self._drove = drives
        if pins.cke and not self._awake:
            self._blame("CKE", "raised after it had fallen")
        if not pins.cke and self._started is not None:
            self._awake = False
            self._blame("CKE", "low")
        self._masks[self._now + 2] = pins.dqm
        self._masks.pop(self._now, None)
        code = pins.ras_n << 2 | pins.cas_n << 1 | pins.we_n
        if pins.cke and not pins.cs_n and code != 0b111:
            self._command(pins, code)
        self._store(pins)
        if self._started is not None:
            self._check_refresh()
        self._now += 1
        return self._show()

    def _command(self, pins, code):
        name = self._NAMES.get(code)
        if name is None:
            self._blame("command", "BURST STOP: this model does not know it")
            return
        self.commands[name] = self.commands.get(name, 0) + 1
        self._ready(name)
        if name in ("READ", "WRITE") and self._latency is None:
            self._blame("start", f"{name} before the mode is set")
            return
        self._COMMANDS[code](self, pins)

    def _store(self, pins):
        """A word of a WRITE."""
        if self._burst is None:
            return
        number, row, column, index = self._burst
        place = 2 * ((column & -self._length | (column + index) % self._length) % self.chip.columns)
        if not pins.dq_oe and pins.dqm != 0b11:
            self._blame("DQ", f"nothing drives word {index} of a WRITE to bank {number}")
        for i in range(2):
            if not pins.dqm >> i & 1:
                self._row(number, row)[place + i] = pins.dq_o >> 8 * i & 0xFF
        self._banks[number].written = self._now
        self._burst = [number, row, column, index + 1] if index + 1 < self._length else None

    def _check_refresh(self):
        interval = self.chip.refresh_us * self.clock_hz / 1e6 / self.chip.refreshes
        if self._now - self._owed_since > (POSTPONED + 1) * interval:
            self._blame("tREFI", f"more than {POSTPONED} refreshes are owed")
            self._owed_since = self._now
        if self._now - self._due[0] > self.chip.refresh_us * self.clock_hz / 1e6:
            self._blame("tREF", f"a row was not refreshed for {self._ns(self._now - self._due[0]) / 1e3:.1f} us")
            self._due[0] = self._now

    def _show(self):
        noise = self._rng.randrange(1 << 16)
        if self._now not in self._out:
            return noise
        mask = self._masks.get(self._now, 0)
        floats = 0xFF * (mask & 1) | 0xFF00 * (mask >> 1)
        return self._out[self._now][0] & ~floats | noise & floats
