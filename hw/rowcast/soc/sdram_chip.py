"""SDR SDRAM chips of 16 bits as data, and their timing in cycles of a clock.  Free of Amaranth."""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction

__all__ = [
    "AS4C32M16SB_7", "IS42S16160G_7", "POSTPONED", "SdramChip", "SdramTiming", "ULX3S", "W9825G6KH_6", "WORD_BYTES",
    "sdram_timing",
]  # fmt: skip

WORD_BYTES = 2
POSTPONED = 8  # refreshes that may be owed at a time


@dataclass(frozen=True, kw_only=True)
class SdramChip:
    """Geometry and timing of a chip; the names are JEDEC's (JESD21-C, 3.11.5).

    Parameters
    ----------
    name, source : of the part, and where the figures stand.
    banks, rows, columns : powers of two; a column is a word of 16 bits.
    trcd, trp, tras, trc, trfc, twr, trrd, tmrd : least times in ns.
    twr_cycles, trrd_cycles, tmrd_cycles : least cycles of the same, where the data sheet gives those.
    tras_max : longest time in ns that a row stays open.
    cas : (CAS latency, highest clock in Hz) of every latency.
    refreshes, refresh_us : so many refreshes in so much time reach every row.
    powerup_us : wait before the first command.
    startup_refreshes : refreshes before the mode is set.

    Raises
    ------
    ValueError
        A field is outside its range.
    """

    name: str
    source: str
    banks: int = 4
    rows: int = 8192
    columns: int = 512
    trcd: float
    trp: float
    tras: float
    trc: float
    trfc: float
    twr: float
    trrd: float
    tmrd: float
    twr_cycles: int = 1
    trrd_cycles: int = 1
    tmrd_cycles: int = 2
    tras_max: float = 100_000
    cas: tuple[tuple[int, int], ...]
    refreshes: int = 8192
    refresh_us: float = 64_000
    powerup_us: float = 200
    startup_refreshes: int = 8

    def __post_init__(self):
        for name, low, high in (("banks", 2, 4), ("rows", 2048, 8192), ("columns", 256, 1024)):
            value = getattr(self, name)
            if not low <= value <= high or value & (value - 1):
                raise ValueError(f"{self.name}: {name} must be a power of two from {low} to {high}, not {value!r}")
        times = ("trcd", "trp", "tras", "trc", "trfc", "twr", "trrd", "tmrd", "tras_max", "refresh_us", "powerup_us")
        counts = ("twr_cycles", "trrd_cycles", "tmrd_cycles", "refreshes", "startup_refreshes")
        for name in (*times, *counts):
            if not getattr(self, name) > 0:
                raise ValueError(f"{self.name}: {name} must be more than 0, not {getattr(self, name)!r}")
        if not self.cas or any(latency not in (2, 3) or clock <= 0 for latency, clock in self.cas):
            raise ValueError(
                f"{self.name}: cas must be pairs of a latency (2 or 3) and its highest clock, not {self.cas!r}"
            )

    @property
    def size(self):
        """Bytes."""
        return self.banks * self.rows * self.columns * WORD_BYTES

    def replace(self, **changes):
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


IS42S16160G_7 = SdramChip(
    name="IS42S16160G-7", source="ISSI IS42S83200G, IS42S16160G data sheet, AC electrical characteristics",
    trcd=15, trp=15, tras=37, trc=60, trfc=60, twr=14, trrd=14, tmrd=14, twr_cycles=2,
    cas=((2, 133_000_000), (3, 143_000_000)),
)  # fmt: skip

W9825G6KH_6 = SdramChip(
    name="W9825G6KH-6", source="Winbond W9825G6KH data sheet, 9.5 AC characteristics",
    trcd=15, trp=15, tras=42, trc=60, trfc=60, twr=12, trrd=12, tmrd=12, twr_cycles=2, trrd_cycles=2,
    cas=((2, 133_000_000), (3, 166_000_000)),
)  # fmt: skip

# 64 MB, on some ULX3S.
AS4C32M16SB_7 = SdramChip(
    name="AS4C32M16SB-7", source="Alliance Memory AS4C32M16SB data sheet, AC characteristics", columns=1024,
    trcd=21, trp=21, tras=42, trc=63, trfc=63, twr=14, trrd=14, tmrd=14, twr_cycles=2, trrd_cycles=2,
    cas=((2, 100_000_000), (3, 143_000_000)),
)  # fmt: skip


def _slowest(name, *chips):
    """A chip that all of these can stand for: the worst figure of each."""
    smallest = ("banks", "rows", "columns", "tras_max", "refresh_us")
    least = {name: min(getattr(chip, name) for chip in chips) for name in smallest}
    most = {
        field.name: max(getattr(chip, field.name) for chip in chips)
        for field in dataclasses.fields(SdramChip)
        if field.name not in (*least, "name", "source", "cas")
    }
    latencies = set.intersection(*({latency for latency, _ in chip.cas} for chip in chips))
    cas = tuple((latency, min(dict(chip.cas)[latency] for chip in chips)) for latency in sorted(latencies))
    return SdramChip(name=name, source="; ".join(chip.source for chip in chips), cas=cas, **least, **most)


# Any of the parts that the board was made with; of the 64 MB one, the lower half of every row.
ULX3S = _slowest("SDRAM of the ULX3S", IS42S16160G_7, W9825G6KH_6, AS4C32M16SB_7)


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """A chip's times in cycles of the clock, from command to command.

    Members
    -------
    cas, rcd, rp, rfc, wr, rrd, mrd : least cycles, as the names say.
    ras : from ACTIVATE to PRECHARGE: long enough that with `rp` after it tRC passes too.
    refresh : between the moments at which refreshes fall due.
    powerup : before the first command.
    """

    cas: int
    rcd: int
    rp: int
    ras: int
    rfc: int
    wr: int
    rrd: int
    mrd: int
    refresh: int
    powerup: int


def sdram_timing(chip, clock_hz, *, cas_latency=None):
    """SdramTiming of a chip at `clock_hz`.

    Parameters
    ----------
    cas_latency : None: the shortest that the clock allows.

    Raises
    ------
    ValueError
        The chip has no such CAS latency, or the clock is too fast or too slow for it.
    """
    if isinstance(clock_hz, bool) or not isinstance(clock_hz, int) or clock_hz <= 0:
        raise ValueError(f"clock_hz must be a positive integer, not {clock_hz!r}")
    choices = dict(chip.cas)
    if cas_latency is None:
        fitting = [latency for latency, limit in sorted(chip.cas) if clock_hz <= limit]
        if not fitting:
            raise ValueError(
                f"{chip.name} runs at up to {max(choices.values()) / 1e6:g} MHz, not at {clock_hz / 1e6:g} MHz: "
                "lower the clock"
            )
        cas_latency = fitting[0]
    elif cas_latency not in choices:
        raise ValueError(f"{chip.name} has CAS latencies {', '.join(map(str, sorted(choices)))}, not {cas_latency!r}")
    elif clock_hz > choices[cas_latency]:
        raise ValueError(
            f"{chip.name} runs at up to {choices[cas_latency] / 1e6:g} MHz with CAS latency {cas_latency}, not at "
            f"{clock_hz / 1e6:g} MHz: lower the clock or take a longer latency"
        )

    def cycles(ns, least=1):
        return max(least, -(-Fraction(ns) * clock_hz // 10**9))

    rp = cycles(chip.trp)
    # A refresh that is postponed to the utmost is still in time for its row.
    refresh = int(Fraction(chip.refresh_us) * clock_hz / 10**6 // (chip.refreshes + POSTPONED + 1))
    timing = SdramTiming(
        cas=cas_latency, rcd=cycles(chip.trcd), rp=rp, ras=max(cycles(chip.tras), cycles(chip.trc) - rp),
        rfc=cycles(chip.trfc), wr=cycles(chip.twr, chip.twr_cycles), rrd=cycles(chip.trrd, chip.trrd_cycles),
        mrd=cycles(chip.tmrd, chip.tmrd_cycles), refresh=refresh, powerup=cycles(Fraction(chip.powerup_us) * 1000),
    )  # fmt: skip
    if refresh < 100:
        least = -(-100 * (chip.refreshes + POSTPONED + 1) * 10**6 // Fraction(chip.refresh_us))
        raise ValueError(
            f"{chip.name} must be refreshed every {refresh} cycles at {clock_hz / 1e6:g} MHz, which leaves no time for "
            f"data: the clock must be at least {least / 1e6:.1f} MHz"
        )
    return timing
