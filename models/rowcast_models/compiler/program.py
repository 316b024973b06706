"""The program image: instructions, constants, and where every tensor lies in memory."""

from dataclasses import dataclass, field

import numpy as np

from rowcast import isa

from .geometry import ceil_div

__all__ = ["Layer", "Program", "Rows", "TensorPlace", "pack", "transfers", "unpack"]

ALIGN = 4096  # bytes: regions of the image start on their own pages


@dataclass(frozen=True)
class Rows:
    """Rows of an input whose pixels stand byte by byte: `left` pixels of padding, the row itself, padding up to `words` words.

    `pad`: the padding's bytes, int8.
    """

    words: int
    left: int
    pad: int


def pack(values, lanes, rows=None):
    """int8 [N, H, W, C] to words: uint8 [N, H, W, words x lanes], channels padded with zeros; [N, H, rows.words x lanes] in Rows."""
    if rows:
        n, h, w, c = values.shape
        made = np.full((n, h, rows.words * lanes), rows.pad, np.int8)
        made[..., rows.left * c : (rows.left + w) * c] = values.reshape(n, h, w * c)
        return made.view(np.uint8)
    pad = -values.shape[-1] % lanes
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, pad)]).astype(np.int8).view(np.uint8)


def unpack(data, shape, lanes, rows=None):
    """The tensor of this NHWC shape from its words' bytes."""
    n, h, w, c = shape
    if rows:
        data = data.view(np.int8).reshape(n, h, rows.words * lanes)[..., rows.left * c : (rows.left + w) * c]
        return np.ascontiguousarray(data).reshape(shape)
    words = ceil_div(c, lanes)
    return np.ascontiguousarray(data.view(np.int8).reshape(n, h, w, words * lanes)[..., :c])


def transfers(ops, config):
    """{node: (bytes read, bytes written)} of these operations: the beats of their rows, and the instructions themselves.

    Nodes that are done in one (a normalisation and its pooling) stand under the first one's name.
    """
    moved, strides = {}, {"LOAD": 0, "STORE": 0}
    for op in ops:
        i, size = op.instruction, 0
        if i.name in isa.SILENT:
            strides[i.name.removesuffix("_STRIDE")] = i["dram_stride"]
        elif i.name in strides:
            first = (i["dram"] + strides[i.name] * np.arange(i["rows"])) % config.dram_words
            size = int(((first + i["words"] - 1) // config.dram_words + 1).sum()) * config.dram_bytes
        read, written = moved.get(op.node, (0, 0))
        stored = size if i.name == "STORE" else 0
        moved[op.node] = read + isa.BYTES + size - stored, written + stored
    return moved


@dataclass(frozen=True)
class TensorPlace:
    """A tensor in memory: `layout` is NHWC, `shape` what the graph calls it, `address` counts words from DATA_BASE.

    `pitch`: words from one pixel to the next, 0 if there is nothing between them; `rows`: Rows of an input that has them.
    """

    shape: tuple
    layout: tuple
    address: int
    pitch: int = 0
    rows: Rows | None = None

    def words(self, lanes):
        """Words from its first to its last."""
        n, h, w, c = self.layout
        if self.rows:
            return n * h * self.rows.words
        pixel = ceil_div(c, lanes)
        return (n * h * w - 1) * (self.pitch or pixel) + pixel


@dataclass(frozen=True)
class Layer:
    """What reports say of a node: its name, kind, useful MACs, and the mapper's estimate of its cycles."""

    name: str
    kind: str
    macs: int
    mapping: str = ""
    estimate: int = 0


@dataclass
class Program:
    """A compiled network.

    Members
    -------
    instructions : in program order, END last.
    constants : bytes at the start of the data region.
    tensors : TensorPlace of every tensor that lies in memory.
    layers : Layer i + 1 is what MARK i + 1 completes.
    writable : first word and word after the last that STORE may write, from DATA_BASE.
    transfers : {node: (bytes read, bytes written)} by its LOADs and STOREs, in whole beats, and to fetch its instructions;
        "" has what is no node's.
    """

    config: object
    instructions: list
    constants: bytes
    tensors: dict
    inputs: tuple
    outputs: tuple
    layers: tuple
    writable: tuple
    ops: list = field(default_factory=list, repr=False)
    transfers: dict = field(default_factory=dict, repr=False)

    @property
    def code(self):
        """The instructions as bytes."""
        return b"".join(isa.encode(i) for i in self.instructions)

    @property
    def data_offset(self):
        """Byte offset of DATA_BASE from the start of the image."""
        return ceil_div(len(self.instructions) * isa.BYTES, ALIGN) * ALIGN

    @property
    def size(self):
        """Bytes of the whole image."""
        return self.data_offset + ceil_div(self.writable[1] * self.config.lanes, ALIGN) * ALIGN

    def image(self, inputs=None):
        """The memory image (uint8): code, constants, and these inputs (int8 NHWC by name)."""
        image = np.zeros(self.size, np.uint8)
        code = np.frombuffer(self.code, np.uint8)
        image[: len(code)] = code
        start = self.data_offset
        image[start : start + len(self.constants)] = np.frombuffer(self.constants, np.uint8)
        for name, values in (inputs or {}).items():
            offset, data = self.input_bytes(name, values)
            image[offset : offset + len(data)] = data
        return image

    def input_bytes(self, name, values):
        """(byte offset in the image, bytes) of an input tensor.

        Raises
        ------
        ValueError
            Unknown input, or a wrong shape or type.
        """
        if name not in self.inputs:
            raise ValueError(f"there is no input {name!r}; inputs are: {', '.join(self.inputs)}")
        place = self.tensors[name]
        values = np.asarray(values)
        if values.dtype != np.int8 or values.shape != tuple(place.shape):
            raise ValueError(
                f"input {name!r} must be int8 {list(place.shape)}, not {values.dtype} {list(values.shape)}"
            )
        data = pack(values.reshape(place.layout), self.config.lanes, place.rows).reshape(-1)
        return self.data_offset + place.address * self.config.lanes, data

    def span(self, name):
        """(byte offset in the image, bytes) of a tensor in memory."""
        place = self.tensors[name]
        lanes = self.config.lanes
        return self.data_offset + place.address * lanes, place.words(lanes) * lanes

    def tensor(self, name, data):
        """The tensor from the bytes of its span."""
        place, lanes = self.tensors[name], self.config.lanes
        data = np.asarray(data, np.uint8)
        pixel = ceil_div(place.layout[3], lanes) * lanes
        if place.pitch:
            pitch = place.pitch * lanes
            data = np.pad(data, (0, -len(data) % pitch)).reshape(-1, pitch)[:, :pixel]
        return unpack(np.ascontiguousarray(data), place.layout, lanes, place.rows).reshape(place.shape)
