"""The boards' platforms: pins and constraints from amaranth-boards (extra `fpga`)."""

from .board import BoardError

__all__ = ["make_platform"]


def make_platform(board):
    """A platform of the board, good for one build.

    Raises
    ------
    BoardError
        amaranth-boards is not installed.
    """
    try:
        if board.name == "ulx3s-85f":
            from amaranth_boards.ulx3s import ULX3S_85F_Platform as Platform
        elif board.name == "ulx3s-25f":
            from amaranth_boards.ulx3s import ULX3S_25F_Platform as Platform
        elif board.name == "icebreaker":
            from amaranth_boards.icebreaker import ICEBreakerPlatform as Platform
        else:
            from amaranth_boards.tang_nano_9k import TangNano9kPlatform as Platform
    except ModuleNotFoundError as error:
        raise BoardError("the boards' pins come from amaranth-boards: pip install 'rowcast[fpga]'") from error
    return Platform()
