"""What a board is: the device's resources, the memory, the clock, and the configuration that goes onto it.  Free of Amaranth."""

from dataclasses import dataclass

from ..config import Config, preset

__all__ = ["Board", "BoardError", "Device", "DEVICES"]


class BoardError(ValueError):
    """A board or a combination with one that does not exist: says which there are."""


@dataclass(frozen=True)
class Device:
    """An FPGA: what it has.

    Members: name, family ("ecp5", "ice40", "gowin"), lut (4-input LUTs), flip_flops, multipliers, block_rams (of `block_ram_bits`),
    spram_bytes (large memories of the iCE40UP), multiplier_cell and block_ram_cell (as nextpnr calls them).
    """

    name: str
    family: str
    lut: int
    flip_flops: int
    multipliers: int
    block_rams: int
    block_ram_bits: int
    multiplier_cell: str
    block_ram_cell: str
    spram_bytes: int = 0


DEVICES = {
    device.name: device
    for device in (
        Device("LFE5U-85F", "ecp5", 83_640, 83_640, 156, 208, 18_432, "MULT18X18D", "DP16KD"),
        Device("LFE5U-25F", "ecp5", 24_288, 24_288, 28, 56, 18_432, "MULT18X18D", "DP16KD"),
        Device("iCE40UP5K", "ice40", 5_280, 5_280, 8, 30, 4_096, "ICESTORM_DSP", "ICESTORM_RAM", spram_bytes=131_072),
        Device("GW1NR-9C", "gowin", 8_640, 6_480, 20, 26, 18_432, "MULT9X9", "BSRAM"),
    )
}


@dataclass(frozen=True)
class Board:
    """A board that people own.

    Members: name (as `--board` takes it), title, device, preset (name of the configuration that is made for it), memory (kind of the
    accelerator's memory: "sdram", "spram" or "onchip"), memory_bytes, oscillator_hz, clock_hz (of the system, by default), baud,
    ram_style (of the buffers around the accelerator: "distributed" where it takes all block RAM itself).
    """

    name: str
    title: str
    device: Device
    preset: str
    memory: str
    memory_bytes: int
    oscillator_hz: float
    clock_hz: float
    baud: int
    ram_style: str | None = None

    @property
    def config(self):
        """The configuration that is made for the board."""
        return preset(self.preset)

    def check(self, config: Config):
        """That the memory's bus can serve the configuration.

        Raises
        ------
        BoardError
            It cannot; the message names the field.
        """
        if self.memory == "spram" and config.dram_bytes != 8:
            raise BoardError(f"dram_bytes must be 8 on {self.title}: four memories of 16 bits; it is {config.dram_bytes}")
        if config.address_width > 32 and self.memory == "sdram":
            raise BoardError(f"address_width must be at most 32 on {self.title}, not {config.address_width}")
