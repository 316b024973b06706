"""A system on chip with a fast UART, so that simulations are short."""

from rowcast.soc.system import OnChip, System

__all__ = ["BAUD", "CLOCK_HZ", "MEMORY", "QUIET", "SystemTop"]

CLOCK_HZ = 100_000_000  # as the testbenches' clock
BAUD = CLOCK_HZ // 4
MEMORY = 128 * 1024
TIMEOUT_MS = 0.02
QUIET = 2 * TIMEOUT_MS / 1000  # seconds


class SystemTop(System):
    """`System` with block RAM and 4 cycles a bit."""

    def __init__(self, config):
        super().__init__(config, OnChip(MEMORY), clock_hz=CLOCK_HZ, baud=BAUD, payload=256, timeout_ms=TIMEOUT_MS)
