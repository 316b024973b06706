"""The one configuration of an accelerator: frozen, validated, free of Amaranth."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

__all__ = ["Config", "ConfigError", "PRESETS", "preset"]


class ConfigError(ValueError):
    """A configuration that cannot work: names the field, its value, what is allowed and what it clashes with."""


def _is_power_of_two(value):
    return value > 0 and value & (value - 1) == 0


# field: (lowest, highest, must be a power of two)
_RANGES = {
    "rows": (1, 32, False),
    "columns": (1, 32, False),
    "lanes": (4, 16, True),
    "filter_words": (32, 4096, True),
    "ifmap_words": (32, 4096, True),
    "psum_pixels": (4, 512, True),
    "act_words": (256, 1 << 19, True),
    "act_banks": (1, 16, True),
    "filter_buffer_words": (64, 1 << 20, True),
    "param_channels": (16, 4096, True),
    "noc_words": (1, 4, True),
    "dram_bytes": (4, 64, True),
    "address_width": (16, 64, False),
    "queue_depth": (8, 64, True),
    "burst_beats": (4, 256, True),
    "outstanding_reads": (1, 16, True),
    "counter_width": (32, 64, False),
    "lut_pes": (0, 1024, False),
    "compact": (0, 1, False),
    "coordinate_width": (6, 14, False),
    "requantise_bits": (1, 4, True),
}
# What a compact configuration must be: it has one PE, one word in a cycle everywhere, and no vector unit.
_COMPACT = {"rows": 1, "columns": 1, "noc_words": 1, "act_banks": 1}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that shapes the hardware.  The default is preset ``base``.

    Parameters
    ----------
    rows, columns : PEs in the array.
    lanes : MACs in a PE, channels in a word, bytes in a word.
    filter_words, ifmap_words : words in a PE's filter and ifmap scratchpads, both halves together.
    psum_pixels : pixels in a PE's psum scratchpad, both halves together; a pixel is `lanes` psums of 32 bits.
    act_words, act_banks : words in the activation memory of the global buffer, and its banks (interleaved by word).
    filter_buffer_words : words in the filter memory of the global buffer.
    param_channels : output channels whose bias, multiplier and shift are on chip at a time.
    noc_words : words that the filter and the ifmap network carry in a cycle, and the vector unit takes.
    dram_bytes : bytes in a beat of the memory bus; at least `lanes`.
    address_width : bits of a memory address.
    queue_depth : instructions that wait before each unit.
    burst_beats : longest AXI burst.
    outstanding_reads : AXI read bursts of LOAD under way at once; the instruction fetch has up to four of its own.
    counter_width : bits of the performance counters.
    lut_pes : PEs whose multipliers are LUTs, for a device with too few multipliers: the last ones, row by row.
    compact : 1: the smallest hardware, for devices such as the iCE40UP5K: one PE, and units that do one thing after the
        other (`rowcast.compact`).  It runs convolutions and fully connected layers with TFLite's rounding and tables, and
        average pooling; it has no vector unit, no rounding of ONNX, no counters, no windows, and no
        checks of addresses: it trusts the compiler.
    coordinate_width : compact: bits of the rows and columns of an ifmap.
    requantise_bits : compact: bits of a multiplier that are worked off in a cycle; a result takes 36 / this and about 8.

    Raises
    ------
    ConfigError
        A field is outside its range, or two fields clash.
    """

    rows: int = 4
    columns: int = 4
    lanes: int = 8
    filter_words: int = 512
    ifmap_words: int = 512
    psum_pixels: int = 128
    act_words: int = 16384
    act_banks: int = 8
    filter_buffer_words: int = 8192
    param_channels: int = 512
    noc_words: int = 1
    dram_bytes: int = 8
    address_width: int = 32
    queue_depth: int = 16
    burst_beats: int = 32
    outstanding_reads: int = 8
    counter_width: int = 40
    lut_pes: int = 0
    compact: int = 0
    coordinate_width: int = 14
    requantise_bits: int = 2

    def __post_init__(self):
        for name, (low, high, power) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(f"{name} must be an integer, not {value!r}")
            if not low <= value <= high or (power and not _is_power_of_two(value)):
                kind = "a power of two" if power else "an integer"
                raise ConfigError(f"{name} must be {kind} from {low} to {high}, not {value}")
        if self.compact:
            self._check_compact()
        elif self.address_width < 20:
            raise ConfigError(f"address_width must be at least 20, not {self.address_width}, unless compact is 1")
        if self.dram_bytes < self.lanes:
            raise ConfigError(
                f"dram_bytes ({self.dram_bytes}) must be at least lanes ({self.lanes}): a beat carries whole words"
            )
        if self.dram_words > self.act_banks:
            raise ConfigError(
                f"act_banks ({self.act_banks}) must be at least dram_bytes / lanes ({self.dram_words}): "
                "the words of a beat go to different banks"
            )
        if self.noc_words > self.act_banks:
            raise ConfigError(
                f"act_banks ({self.act_banks}) must be at least noc_words ({self.noc_words}): "
                "the words of a network cycle come from different banks"
            )
        if self.burst_beats * self.dram_bytes > 4096:
            raise ConfigError(
                f"burst_beats ({self.burst_beats}) x dram_bytes ({self.dram_bytes}) must be at most 4096: "
                "an AXI burst stays inside 4 KiB"
            )
        if self.lut_pes > self.num_pes:
            raise ConfigError(
                f"lut_pes ({self.lut_pes}) must be at most rows x columns ({self.num_pes}), the number of PEs"
            )
        if self.filter_words // 2 < 2 * self.lanes:
            raise ConfigError(
                f"filter_words ({self.filter_words}) must be at least 4 x lanes ({4 * self.lanes})"
            )

    def _check_compact(self):
        if self.lanes > 8:
            raise ConfigError(f"compact needs lanes of 4 or 8, not {self.lanes}")
        needed = _COMPACT | {"dram_bytes": self.lanes}
        for name, value in needed.items():
            if getattr(self, name) != value:
                raise ConfigError(f"compact needs {name}={value}, not {getattr(self, name)}: one PE, and a word in a cycle")
        if self.lut_pes:
            raise ConfigError(f"compact needs lut_pes=0, not {self.lut_pes}: its one PE has the device's multipliers")
        if self.param_channels < 64:
            raise ConfigError(f"compact needs param_channels of at least 64, not {self.param_channels}")

    # Derived figures --------------------------------------------------------------------------------------------

    @property
    def num_pes(self):
        """PEs in the array."""
        return self.rows * self.columns

    @property
    def num_macs(self):
        """Multipliers in the array: MACs a cycle at most."""
        return self.num_pes * self.lanes

    @property
    def word_bits(self):
        """Bits in a word."""
        return self.lanes * 8

    @property
    def dram_words(self):
        """Words in a beat of the memory bus."""
        return self.dram_bytes // self.lanes

    @property
    def vector_words(self):
        """Words of a network cycle that the vector unit takes: a power of two, at most a word a column."""
        return min(self.noc_words, 1 << self.columns.bit_length() - 1)

    @property
    def filter_banks(self):
        """Banks of the filter memory: enough for a beat and for a network cycle."""
        return max(self.noc_words, self.dram_words)

    @property
    def acc_width(self):
        """Bits of a lane accumulator: 16 for a product of int8, and the logarithm of the longest dot product of one chunk."""
        return 16 + (self.filter_words // 2 - 1).bit_length()

    @property
    def tag_width(self):
        """Bits of a row or column tag: any PE of the array can have an ID of its own on one level."""
        return max(1, (self.num_pes - 1).bit_length())

    def compact_widths(self):
        """Bits that a compact configuration keeps of what its instructions have, by name.

        act, filter : word addresses of the two memories of the global buffer; buffer: of any memory on chip.
        dram : addresses of beats.
        words : words of a row in a transfer, less one; rows: rows of a transfer.
        half : counts of words in half a scratchpad; offset: byte addresses in half the ifmap scratchpad.
        pixels : counts of pixels in half the psum scratchpad; psum: addresses of psums.
        chunks : chunks of an instruction.
        coordinate : rows and columns of an ifmap; place: coordinates in it, signed, with room for padding.
        slot : parameter slots.
        """

        def bits(values):
            return (values - 1).bit_length()

        act, filters = bits(self.act_words), bits(self.filter_buffer_words)
        buffer = max(act, filters, bits((4 * self.param_channels + 256) * 4 // self.lanes))
        return {
            "act": act,
            "filter": filters,
            "buffer": buffer,
            "dram": self.address_width - bits(self.dram_bytes),
            "words": buffer,
            "rows": act + 1,
            "half": bits(max(self.filter_words, self.ifmap_words)),
            "offset": bits(self.ifmap_words * self.lanes) - 1,
            "pixels": bits(self.psum_pixels),
            "psum": bits(self.psum_pixels * self.lanes),
            "chunks": 12,
            "coordinate": self.coordinate_width,
            "place": self.coordinate_width + 2,
            "slot": bits(self.param_channels // self.lanes),
        }

    @property
    def token_width(self):
        """Bits of a counter of tokens."""
        return 4 if self.compact else 6

    @property
    def drain_writers(self):
        """Write ports through which the post-processors reach the activation memory: one for each `lanes` columns."""
        return -(-self.columns // self.lanes)

    def to_dict(self):
        """The fields as a plain dict."""
        return dataclasses.asdict(self)

    def digest(self):
        """32 bits that differ between configurations: the hardware shows them in a register, programs carry them."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    def replace(self, **changes):
        """A copy with some fields changed.

        Raises
        ------
        ConfigError
            No such field, or the result is not valid.
        """
        for name in changes:
            if name not in _RANGES:
                raise ConfigError(f"there is no field {name!r}; fields are: {', '.join(_RANGES)}")
        return dataclasses.replace(self, **changes)


PRESETS = {
    # 8 MACs for an iCE40UP5K: one PE, everything small.
    "tiny": Config(
        rows=1, columns=1, lanes=8, filter_words=256, ifmap_words=256, psum_pixels=32, act_words=4096, act_banks=1,
        filter_buffer_words=1024, param_channels=64, dram_bytes=8, queue_depth=8, burst_beats=16, outstanding_reads=2,
        counter_width=32,
    ),
    # 8 MACs for an iCE40UP5K with memory, bridge and all: see `compact` for what it leaves out.
    "micro": Config(
        rows=1, columns=1, lanes=8, filter_words=256, ifmap_words=256, psum_pixels=32, act_words=512, act_banks=1,
        filter_buffer_words=256, param_channels=64, dram_bytes=8, address_width=17, queue_depth=8, burst_beats=16,
        outstanding_reads=1, counter_width=32, compact=1, coordinate_width=8, requantise_bits=4,
    ),
    # 16 MACs for an ECP5-25F.
    "small": Config(
        rows=2, columns=1, lanes=8, psum_pixels=64, act_words=4096, act_banks=2, filter_buffer_words=2048, param_channels=256,
        outstanding_reads=4,
    ),
    # 128 MACs for an ECP5-85F.
    "base": Config(),
    # 192 MACs for an ECP5-85F, which has 156 multipliers: 20 go to the requantisers, 128 to the array, and 64 are LUTs.
    # Of its 208 block RAMs 120 go to the array (5 a PE, 6 with more pixels), 32 to each memory, 16 to the post-processors.
    "wide": Config(rows=6, columns=4, psum_pixels=64, act_words=8192, lut_pes=8),
    # 1024 MACs.
    "large": Config(
        rows=8, columns=16, lanes=8, act_words=65536, act_banks=16, filter_buffer_words=32768, param_channels=1024,
        noc_words=4, dram_bytes=32, outstanding_reads=16,
    ),
}  # fmt: skip


def preset(name):
    """The preset of this name.

    Raises
    ------
    ConfigError
        There is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}; presets are: {', '.join(PRESETS)}")
    return PRESETS[name]
