"""What a configuration will take of a device, before anything is synthesised.

Block RAMs and multipliers are counted: every memory and every multiplier of the design is known.  LUTs are a sum over the blocks, with
what synthesis was measured to make of each (`rowcast bench area` shows them).
"""

from dataclasses import dataclass
from math import ceil

from .board import BoardError

__all__ = ["Estimate", "check_fits", "estimate"]

_ROOM = 1.0  # share of a device's LUTs up to which nextpnr can be expected to find a placement


@dataclass(frozen=True)
class Estimate:
    """What a system takes: 4-input LUTs, multipliers and block RAMs of the device's kind."""

    lut: int
    multipliers: int
    block_rams: int


def estimate(board, config):
    """The `Estimate` of a board's system with this configuration."""
    family = board.device.family
    memories = _memories(config)
    if board.memory == "onchip":
        memories.append((board.memory_bytes // config.dram_bytes, 8 * config.dram_bytes))
    if board.ram_style != "distributed":
        memories += [(256, 8)] + [(32, 9 * config.dram_bytes), (32, 8 * config.dram_bytes + 4)] * (board.memory == "sdram")
    rams = sum(_block_rams(family, depth, width) for depth, width in memories)
    return Estimate(_luts(board, config), _multipliers(family, config), rams)


def check_fits(board, config, *, refuse=True):
    """The `Estimate`; with `refuse` only if the device has that much.

    Raises
    ------
    BoardError
        It has not; the message names every resource that is short.
    """
    found, device = estimate(board, config), board.device
    short = [
        f"{getattr(found, name):,} {text} of {getattr(device, name):,}"
        for name, text in (("lut", "LUTs"), ("multipliers", "multipliers"), ("block_rams", "block RAMs"))
        if getattr(found, name) > _ROOM * getattr(device, name)
    ]
    if short and refuse:
        raise BoardError(
            f"the configuration is too large for {board.title}: by estimate it takes {', '.join(short)}; "
            f"the board's own is preset {board.preset}; --force tries nevertheless"
        )
    return found


def _memories(config):
    """(words, bits) of every memory that block RAM is for."""
    scratchpad = config.word_bits * config.noc_words
    memories = [
        *[(config.filter_words // config.noc_words, scratchpad)] * config.num_pes,
        *[(config.ifmap_words // config.noc_words, scratchpad)] * config.num_pes,
        *[(config.psum_pixels * config.lanes, 32)] * config.num_pes,
        *[(config.act_words // config.act_banks, config.word_bits)] * config.act_banks,
        *[(config.filter_buffer_words // config.filter_banks, config.word_bits)] * config.filter_banks,
    ]
    if config.compact:  # parameters, table, the queues of instructions
        return [*memories, (config.param_channels, 80), (256, 8), (256, 16)]
    return [*memories, *[(config.param_channels, 72), (256, 32), (256, 32)] * config.columns]


def _block_rams(family, words, bits):
    """Block RAMs of one memory with a read and a write port."""
    shapes = ((256, 16), (512, 8), (1024, 4), (2048, 2)) if family == "ice40" else ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
    return min(ceil(words / depth) * ceil(bits / width) for depth, width in shapes)


def _multipliers(family, config):
    """Multipliers of the array and of the requantisers."""
    if config.compact:
        return config.lanes
    return (config.num_pes - config.lut_pes) * config.lanes + 5 * config.columns


def _luts(board, config):
    """LUTs of the accelerator's blocks, of the host bridge and of the memory's controller."""
    if config.compact:
        return 3400
    lanes = config.lanes
    around = 900 + 1100 * (board.memory == "sdram") + 1700 * (board.ram_style == "distributed")
    array = config.num_pes * 66 * lanes + config.lut_pes * lanes * 72
    columns = config.columns * (650 + 75 * lanes)
    return round(7250 + array + columns + config.act_banks * 130 * config.noc_words + around)
