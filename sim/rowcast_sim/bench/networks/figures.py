"""What a whole network took on the RTL: by layer, and in total."""

from dataclasses import asdict, dataclass
from math import sqrt

from rowcast.registers import CAUSES, COUNTERS

from ...verilated import LayerCycles

__all__ = ["CONV", "DEPTHWISE", "FC", "OTHER", "POINTWISE", "Figures", "LayerFigures", "Total", "buffer_bound", "lost", "tile_bound"]

CONV, FC, OTHER = "CONV", "FC", "other"
POINTWISE, DEPTHWISE = "pointwise", "depthwise"


@dataclass(frozen=True, kw_only=True)
class LayerFigures:
    """One layer, from the MARK before it to its own: 0 cycles if it was done meanwhile.

    Members
    -------
    name, kind : of the graph's node.
    group : CONV, FC or OTHER; form : "pointwise", "depthwise" or "" of a convolution.
    macs : of convolutions and fully connected layers.
    on_array : whether the PE array computes it.
    counters : by name (`registers.COUNTERS`); first : cycle in which it began.
    predicted : cycles by the cycle model.
    least_read, least_write : bytes of its inputs, weights and biases once, and of its output.
    buffer_bound : bytes to and from memory that a buffer of this size makes necessary, see `buffer_bound`.
    tile_bound : the same if sums stay in the PEs and activations and filters have memories of their own, see `tile_bound`.
    own : bytes that its own LOADs, STOREs and instructions move, whenever that is (`Program.transfers`).
    """

    name: str
    kind: str
    group: str
    form: str
    macs: int
    on_array: bool
    counters: dict
    first: int
    predicted: int
    least_read: int
    least_write: int
    buffer_bound: int
    tile_bound: int
    own: int

    @property
    def spent(self):
        """As `LayerCycles`."""
        return LayerCycles(self.counters, self.first)

    @property
    def hidden(self):
        """Whether the array worked for another layer in its cycles."""
        return not self.on_array and self.counters["mac_cycles"] > 0


@dataclass(frozen=True)
class Total:
    """The sum of some layers.

    Members
    -------
    name : of what.
    layers : how many, beside those that are `hidden` in them.
    macs, counters, predicted, least_read, least_write, buffer_bound, tile_bound, own : sums.
    """

    name: str
    layers: int
    macs: int
    counters: dict
    predicted: int
    least_read: int
    least_write: int
    buffer_bound: int
    tile_bound: int
    own: int

    @property
    def spent(self):
        """As `LayerCycles`."""
        return LayerCycles(self.counters)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One network on one configuration.

    Members
    -------
    network, title, preset, batch : what ran.
    digest : of what decides each cycle: program, inputs, hardware, tool, memory (`saved.digest_of`).
    pes, columns, lanes, dram_bytes : of the configuration.
    layers : LayerFigures in the program's order.
    instruction_bytes, program_bytes : of the instructions, and of the whole image.
    compared, equal : tensors that reached memory, and those that equal the golden.
    all_compared, all_equal : of a second run, which stores every tensor; None if there was none.
    difference : the first one, "" if there is none.
    kept : whether they were measured by an earlier invocation.
    """

    network: str
    title: str
    preset: str
    batch: int
    digest: str
    pes: int
    columns: int
    lanes: int
    dram_bytes: int
    layers: tuple
    instruction_bytes: int
    program_bytes: int
    compared: int
    equal: int
    all_compared: int | None = None
    all_equal: int | None = None
    difference: str = ""
    kept: bool = False

    @property
    def macs_a_cycle(self):
        """Of the whole array."""
        return self.pes * self.lanes

    @property
    def whole(self):
        """Total of all layers."""
        return _total("whole network", self.layers, self.layers)

    @property
    def conv(self):
        """Total of the convolutions and of what was done in their cycles."""
        mine = [layer for layer in self.layers if layer.group == CONV]
        return _total("CONV layers", mine, [*mine, *(layer for layer in self.layers if layer.hidden)])

    def totals(self):
        """Totals by key: whole, conv, fc, other, and where there are depthwise layers pointwise and depthwise."""
        found = {"whole": self.whole, "conv": self.conv}
        fc = [layer for layer in self.layers if layer.group == FC]
        if fc:
            found["fc"] = _total("FC layers", fc, fc)
        if any(layer.form == DEPTHWISE for layer in self.layers):
            for form in (POINTWISE, DEPTHWISE):
                mine = [layer for layer in self.layers if layer.form == form]
                found[form] = _total(f"{form} layers", mine, mine)
        other = [layer for layer in self.layers if layer.group == OTHER and not layer.hidden]
        if other:
            found["other"] = _total("pooling and others", other, other)
        return found

    def utilisation(self, total):
        """Useful MACs of those that the array could do in the cycles of a Total or a layer."""
        return total.macs / max(1, total.counters["cycles"] * self.macs_a_cycle)

    def dram(self, total):
        """Bytes to and from memory in the cycles of a Total."""
        return (total.counters["read_beats"] + total.counters["write_beats"]) * self.dram_bytes

    @property
    def failed(self):
        """Whether any tensor differs from the golden."""
        return self.equal < self.compared or (self.all_equal or 0) < (self.all_compared or 0)

    def to_dict(self):
        """For JSON."""
        data = asdict(self)
        del data["kept"]
        return data

    @classmethod
    def from_dict(cls, data):
        """Back; raises TypeError or KeyError for what is not such figures."""
        layers = tuple(LayerFigures(**layer) for layer in data["layers"])
        for layer in layers:
            if set(layer.counters) != set(COUNTERS):
                raise KeyError("counters")
        return cls(**{**data, "layers": layers}, kept=True)


def _total(name, layers, within):
    """MACs, bounds and own transfers of `layers`, counters of all layers `within` whose cycles they were computed."""
    counters = {counter: sum(layer.counters[counter] for layer in within) for counter in COUNTERS}
    sums = (sum(getattr(layer, field) for layer in layers) for field in ("least_read", "least_write", "buffer_bound", "tile_bound", "own"))
    return Total(name, len(layers), sum(layer.macs for layer in layers), counters,
                 sum(layer.predicted for layer in within), *sums)  # fmt: skip


def buffer_bound(macs, reuse, size, *, least):
    """Bytes between a memory and a buffer of `size` bytes for a convolution: 2 macs / sqrt(reuse x size), or `least`.

    least : bytes of its tensors and weights, each once.
    reuse : how often a window's stride uses an ifmap value, R x S / U^2 (Chen, Han and Wang, "Communication Lower Bound
    in Convolution Accelerators", HPCA 2020, theorem 2).
    """
    return max(least, int(2 * macs / sqrt(reuse * size)))


def tile_bound(ifmap, filters, act_bytes, filter_bytes):
    """Bytes of an ifmap and filters that pass from a memory to the PEs, if sums stay there until they are complete.

    What fits its memory passes once.  Others pass once for every part of the other one that fits its memory, but for what the memory
    still has of them at the end of a part, if the next one begins there.
    """

    def again(passing, memory, other, others):
        return max(0, passing - memory) * max(0, other / others - 1)

    return ifmap + filters + min(again(filters, filter_bytes, ifmap, act_bytes), again(ifmap, act_bytes, filters, filter_bytes))


def lost(spent):
    """Cycles by cause in which the array did not compute."""
    return {cause: spent.causes[cause] for cause in CAUSES if cause != "computing"}
