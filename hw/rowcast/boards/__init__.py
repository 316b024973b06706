"""Boards that people own, and how the system on chip is put onto them.  `BOARDS` is free of Amaranth; `top` and `platforms` are not."""

from .board import DEVICES, Board, BoardError, Device

__all__ = ["BOARDS", "Board", "BoardError", "DEVICES", "Device", "board"]

_MB = 1 << 20

BOARDS = {
    made.name: made
    for made in (
        Board("ulx3s-85f", "ULX3S with LFE5U-85F", DEVICES["LFE5U-85F"], "base", "sdram", 32 * _MB, 25e6, 100e6, 1_000_000, "distributed"),
        Board("ulx3s-25f", "ULX3S with LFE5U-25F", DEVICES["LFE5U-25F"], "small", "sdram", 32 * _MB, 25e6, 80e6, 1_000_000),
        Board("icebreaker", "iCEBreaker", DEVICES["iCE40UP5K"], "micro", "spram", 131_072, 12e6, 21e6, 500_000),
        Board("tangnano9k", "Tang Nano 9K", DEVICES["GW1NR-9C"], "micro", "onchip", 16_384, 27e6, 27e6, 500_000),
    )
}


def board(name):
    """The board of this name.

    Raises
    ------
    BoardError
        There is no such board.
    """
    if name not in BOARDS:
        raise BoardError(f"there is no board {name!r}; boards are: {', '.join(BOARDS)}")
    return BOARDS[name]
