"""Chips as data, their timing in cycles, and the model of a chip with commands given by hand."""

import pytest
from rowcast.config import Config
from rowcast.soc.sdram import ULX3S, AS4C32M16SB_7, IS42S16160G_7, SdramController, W9825G6KH_6
from rowcast.soc.sdram_chip import sdram_timing
from rowcast.soc.sdram_chunks import split_chunks
from sdram_model import Pins, SdramModel

MHZ = 1_000_000
CODES = {"none": 7, "active": 3, "read": 5, "write": 4, "precharge": 2, "refresh": 1, "mode": 0, "stop": 6}


def test_chips():
    assert IS42S16160G_7.size == W9825G6KH_6.size == ULX3S.size == 32 << 20 and AS4C32M16SB_7.size == 64 << 20
    assert (ULX3S.trcd, ULX3S.tras, ULX3S.columns, ULX3S.powerup_us) == (21, 42, 512, 200)
    assert ULX3S.cas == ((2, 100 * MHZ), (3, 143 * MHZ))
    for part in ("IS42S16160G", "W9825G6KH", "AS4C32M16SB"):
        assert part in ULX3S.source


@pytest.mark.parametrize(
    ("chip", "mhz", "expected"),
    [
        (ULX3S, 100, dict(cas=2, rcd=3, rp=3, ras=5, rfc=7, wr=2, rrd=2, mrd=2, refresh=780, powerup=20_000)),
        (ULX3S, 125, dict(cas=3, rcd=3, rp=3, ras=6, rfc=8, wr=2, rrd=2, mrd=2, refresh=975, powerup=25_000)),
        (W9825G6KH_6, 133, dict(cas=2, rcd=2, rp=2, ras=6, rfc=8, wr=2, rrd=2, mrd=2, refresh=1037, powerup=26_600)),
        (IS42S16160G_7, 143, dict(cas=3, rcd=3, rp=3, ras=6, rfc=9, wr=3, rrd=3, mrd=3, refresh=1115, powerup=28_600)),
    ],
)
def test_timing(chip, mhz, expected):
    timing = sdram_timing(chip, mhz * MHZ)
    assert vars(timing) == expected
    # eight refreshes late, and still every row in time
    assert (chip.refreshes + 8) * timing.refresh <= chip.refresh_us * mhz


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sdram_timing(ULX3S, 150 * MHZ), "runs at up to 143 MHz, not at 150 MHz: lower the clock"),
        (lambda: sdram_timing(ULX3S, 120 * MHZ, cas_latency=2), "up to 100 MHz with CAS latency 2, not at 120 MHz"),
        (lambda: sdram_timing(ULX3S, 100 * MHZ, cas_latency=4), "has CAS latencies 2, 3, not 4"),
        (lambda: sdram_timing(ULX3S, 8 * MHZ), "every 62 cycles at 8 MHz.*must be at least 12.8 MHz"),
        (lambda: sdram_timing(ULX3S, 1e8), "clock_hz must be a positive integer, not 100000000.0"),
        (lambda: ULX3S.replace(rows=5000), "rows must be a power of two from 2048 to 8192, not 5000"),
        (lambda: ULX3S.replace(columns=2048), "columns must be a power of two from 256 to 1024, not 2048"),
        (lambda: ULX3S.replace(trp=0), "trp must be more than 0, not 0"),
        (lambda: ULX3S.replace(cas=((4, 1),)), "cas must be pairs of a latency .2 or 3. and its highest clock"),
        (lambda: SdramController(Config(), ULX3S, clock_hz=10**8, io_delay=9), "io_delay must be from 0 to 8 cycles"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_least_clock():
    """The clock that the message names is enough."""
    assert sdram_timing(ULX3S, 12_815_000).refresh >= 100


def test_split_chunks():
    config = Config()
    assert split_chunks(config, address=0x1F8, beats=34) == [(0x1F8, 1), (0x200, 32), (0x300, 1)]
    assert split_chunks(config, address=0, beats=3) == [(0, 3)]


class Hand:
    """Commands by hand, at 100 MHz, for a chip that is started with CAS latency 2 and bursts of 4."""

    def __init__(self, **changes):
        self.chip = ULX3S.replace(powerup_us=0.01, startup_refreshes=1, **changes)
        self.model = SdramModel(self.chip, 100 * MHZ)
        self.shown = []
        self.wait(2)
        self.do("precharge", a=1 << 10)
        self.wait(2)
        self.do("refresh")
        self.wait(6)
        self.do("mode", a=0x22)
        self.wait(1)

    def do(self, command="none", *, ba=0, a=0, dq=None, dqm=0, cke=1):
        code = CODES[command]
        chosen = int(command == "none"), code >> 2, code >> 1 & 1, code & 1
        self.shown.append(self.model.edge(Pins(cke, *chosen, ba, a, dqm, dq or 0, int(dq is not None))))

    def wait(self, cycles):
        for _ in range(cycles):
            self.do()

    def write(self, words, *, ba=0, a=0, dqm=(0, 0, 0, 0)):
        for i, word in enumerate(words):
            self.do("none" if i else "write", ba=ba, a=a, dq=word, dqm=dqm[i])

    @property
    def rules(self):
        return [violation.rule for violation in self.model.violations]


def test_model_data():
    """Bursts wrap inside their words, DQM masks bytes, read data come CAS latency cycles later; no rule is broken."""
    hand = Hand()
    hand.do("active", a=5)
    hand.wait(2)
    hand.write([0x1111, 0x2222, 0x3333, 0x4444])
    hand.write([0xAAAA, 0xBBBB, 0xCCCC, 0xDDDD], a=1, dqm=(0, 1, 2, 3))
    hand.do("read", a=2)
    hand.wait(6)
    assert hand.shown[-6:-2] == [0xBB33, 0x44CC, 0x1111, 0xAAAA]  # the first is sampled two edges after the command's
    address = 5 * 4 * 1024
    assert hand.model.read(address, 8) == bytes.fromhex("1111 aaaa 33bb cc44")
    hand.model.write(address + 2, b"xy")
    hand.do("read", a=0)
    hand.wait(2)
    assert hand.shown[-1] == int.from_bytes(b"xy", "little")
    assert not hand.rules


def opened(hand, *, ba=0):
    hand.do("active", ba=ba)
    hand.wait(2)


def test_model_masked_read():
    """DQM masks a read two edges later."""
    hand = Hand()
    opened(hand)
    hand.do("read")
    hand.do(dqm=2)
    hand.wait(3)
    stored = hand.model.read(0, 8)
    shown = b"".join(word.to_bytes(2, "little") for word in hand.shown[-4:])
    assert shown[:3] == stored[:3] and shown[4:] == stored[4:] and shown[3] != stored[3]
    assert not hand.rules


def _read_then(*steps):
    def play(hand):
        opened(hand)
        hand.do("read")
        for step in steps:
            step(hand)

    return play


def _wait(cycles):
    return lambda hand: hand.wait(cycles)


def _write(*words):
    return lambda hand: hand.write(words)


# What is done, and the rules that it breaks.
DEEDS = {
    "write five cycles after a read": (_read_then(_wait(5), _write(1, 2, 3, 4)), ["DQ"]),
    "write six cycles after a read": (_read_then(_wait(6), _write(1, 2, 3, 4)), []),
    "write in a read": (_read_then(_wait(1), _write(1, 2, 3, 4)), ["DQ"] * 3),
    "precharge cuts a read": (_read_then(_wait(2), lambda hand: hand.do("precharge")), ["burst"]),
    "precharge after a read": (_read_then(_wait(3), lambda hand: hand.do("precharge")), []),
    "precharge in a write": (
        lambda hand: (opened(hand), hand.wait(3), hand.write([1, 2]), hand.do("precharge")), ["tWR", "burst"]
    ),
    "write that nothing drives": (lambda hand: (opened(hand), hand.do("write"), hand.wait(3)), ["DQ"] * 4),
    "masked write that nothing drives": (
        lambda hand: (opened(hand), hand.do("write", dqm=3), *(hand.do(dqm=3) for _ in range(3))), []
    ),
    "read of a closed bank": (lambda hand: hand.do("read", ba=2), ["bank"]),
    "write to a closed bank": (lambda hand: hand.do("write", ba=2), ["bank"]),
    "active in an open bank": (lambda hand: (opened(hand), hand.wait(6), hand.do("active")), ["bank"]),
    "refresh with an open bank": (lambda hand: (opened(hand), hand.do("refresh")), ["bank"]),
    "mode with an open bank": (lambda hand: (opened(hand), hand.do("mode", a=0x22)), ["bank"]),
    "a row held open": (lambda hand: (opened(hand), hand.wait(1200), hand.do("precharge")), ["tRAS"]),
    "auto-precharge": (lambda hand: (opened(hand), hand.do("read", a=1 << 10)), ["command"]),
    "no such column": (lambda hand: (opened(hand), hand.do("read", a=512)), ["column"]),
    "burst stop": (lambda hand: (opened(hand), hand.do("stop")), ["command"]),
    "full page": (lambda hand: hand.do("mode", a=0x27), ["command"]),
    "CAS latency 1": (lambda hand: hand.do("mode", a=0x12), ["CAS"]),
    "clock enable falls": (lambda hand: hand.do(cke=0), ["CKE"]),
    "active soon after mode": (lambda hand: (hand.do("mode", a=0x22), hand.do("active")), ["tMRD"]),
    "no refresh": (lambda hand: hand.wait(7040), ["tREFI"]),
    "active soon after another bank's": (lambda hand: (hand.do("active"), hand.do("active", ba=1)), ["tRRD"]),
}  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
def test_model_rules(deed):
    play, rules = DEEDS[deed]
    hand = Hand(tras_max=10_000)
    hand.wait(3)
    play(hand)
    assert hand.rules == rules


def test_model_start():
    """Power-up, precharge of all banks, refreshes, mode: each is missed."""
    chip = ULX3S.replace(powerup_us=0.1)
    model = SdramModel(chip, 100 * MHZ)
    pins = dict(cke=1, cs_n=0, ba=0, a=0, dqm=3, dq_o=0, dq_oe=0)
    model.edge(Pins(ras_n=0, cas_n=1, we_n=1, **pins))
    model.edge(Pins(ras_n=0, cas_n=0, we_n=0, **{**pins, "a": 0x22}))
    assert {violation.rule for violation in model.violations} == {"power-up", "start", "bank"}
    assert str(model.violations[0]) == "at 0.0 ns, power-up: ACTIVATE after 0.00 us, 0.1 us needed"
