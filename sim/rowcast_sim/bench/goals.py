"""What the benchmarks hold their figures against, as data.  The goal of a layer stands with it: `zoo.layers.LAYERS`."""

from dataclasses import dataclass

__all__ = [
    "AREA", "BATCHES", "FPGA", "Goal", "INSTRUCTION_SHARE", "MAPPER", "NETWORKS", "NetworkGoal", "RESNET8", "SPEED", "SURVEY",
    "VARIANTS", "layer_goal",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound for one figure: the `most` or the `least` that it may be.

    Parameters
    ----------
    name : what is measured, as tables say it.
    unit : of the figure, or "%" for a share, which is kept as a fraction.
    most, least : one of them.
    """

    name: str
    unit: str = ""
    most: float | None = None
    least: float | None = None

    def __post_init__(self):
        if (self.most is None) == (self.least is None):
            raise ValueError(f"a goal must have one of most and least, not most={self.most!r}, least={self.least!r}")

    @property
    def bound(self):
        """The number itself."""
        return self.least if self.most is None else self.most

    def met(self, value):
        """Whether a figure is good enough."""
        return value >= self.least if self.most is None else value <= self.most

    def show(self, value):
        """A figure in the goal's unit."""
        if self.unit == "%":
            return f"{100 * value:.1f}%"
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
        return f"{number} {self.unit}".rstrip()

    def __str__(self):
        return f"{'at least' if self.most is None else 'at most'} {self.show(self.bound)}"

    def shortfall(self, value):
        """What to say of a figure that is not good enough; None for one that is."""
        return None if self.met(value) else f"{self.name}: {self.show(value)}, goal {self}"


def layer_goal(spec):
    """The goal of a layer of the zoo: utilisation, or for a memory-bound one the share of the memory's bound."""
    what = "share of the memory bound" if spec.memory_bound else "utilisation"
    return Goal(name=f"{spec.name}, {what}", unit="%", least=spec.goal)


# Of the bytes that all measured layers together move to and from memory.
INSTRUCTION_SHARE = Goal(name="instructions in the bytes of memory", unit="%", most=0.02)

# LUT4 counts every LUT4, 2 for a CCU2C (a carry cell of two), 4 for a TRELLIS_DPR16X4 (distributed memory).
AREA = {
    "lut_per_mac": Goal(name="array, LUT4 per MAC", most=90.0),
    "lut": Goal(name="accelerator, LUT4", most=26000),
    "multipliers": Goal(name="accelerator, MULT18X18D", most=156),
    "block_rams": Goal(name="accelerator, DP16KD", most=208),
    "ram_to_multiplier": Goal(name="paths from a block RAM into a multiplier", most=0),
    "multiplier_to_ram": Goal(name="paths from a multiplier into a block RAM", most=0),
}

SPEED = {
    "rate": Goal(name="compiled RTL of base on a VGG-16 layer", unit="million MACs/s", least=15.0),
    "base": Goal(name="emission of base", unit="s", most=10.0),
    "large": Goal(name="emission of large", unit="s", most=40.0),
    "large_bytes": Goal(name="Verilog of large", unit="bytes", most=3_000_000),
}


@dataclass(frozen=True, kw_only=True)
class NetworkGoal:
    """What a network is to reach.

    Parameters
    ----------
    network, preset, batch : of the zoo, of the hardware, images at a time.
    total : key of `networks.figures.Figures.totals`.
    goal : of the utilisation, or with the unit "bytes" of what goes to and from memory for an image.
    """

    network: str
    preset: str = "base"
    batch: int = 1
    total: str
    goal: Goal


def _network(network, total, least, *, preset="base", batch=1):
    names = {"whole": "whole network", "conv": "CONV layers", "pointwise": "pointwise layers"}
    goal = Goal(name=f"{names[total]}, utilisation", unit="%", least=least)
    return NetworkGoal(network=network, preset=preset, batch=batch, total=total, goal=goal)


def _dram(network, batch, most):
    goal = Goal(name="CONV layers, DRAM bytes an image", unit="bytes", most=most)
    return NetworkGoal(network=network, batch=batch, total="conv", goal=goal)


NETWORKS = (
    _network("alexnet", "conv", 0.93, batch=4),
    _network("vgg16", "conv", 0.96, batch=3),
    _network("googlenet", "whole", 0.88),
    _network("resnet50", "whole", 0.90),
    _network("overfeat-fast", "conv", 0.92),
    _network("mobilenet-v1", "whole", 0.78),
    _network("mobilenet-v1", "pointwise", 0.90),
    _dram("alexnet", 4, 1_700_000),
    _dram("vgg16", 3, 45_000_000),
    _network("alexnet", "conv", 0.82, preset="large", batch=4),
    _network("resnet50", "whole", 0.75, preset="large"),
)
# Images at a time where nobody says otherwise: as in the figures that others published.
BATCHES = {"alexnet": 4, "vgg16": 3}

# The networks that the survey compares, and their larger or later variants, by the zoo's names.
SURVEY = ("lenet5", "alexnet", "overfeat-fast", "vgg16", "googlenet", "resnet50", "mobilenet-v1")
VARIANTS = ("vgg19", "overfeat-accurate", "inception-v3", "resnet152")

# Core seconds, on preset base.
MAPPER = {
    "compiled": Goal(name="ResNet-50 compiled", unit="s", most=60.0),
    "predicted": Goal(name="the survey's networks predicted, together", unit="s", most=20.0),
}

# ResNet-8 of MLPerf Tiny on 36 MACs, a memory of 4 bytes a cycle.
RESNET8 = Goal(name="ResNet-8 on 36 MACs, CONV layers", unit="cycles", most=400_000)

# board: figure -> Goal.  A figure is one of: mhz, lut_share, gops, macs, and images a second of a network by its name.
FPGA = {
    "ulx3s-85f": {
        "macs": Goal(name="MACs a cycle", least=128),
        "mhz": Goal(name="Fmax", unit="MHz", least=100.0),
        "lut_share": Goal(name="LUTs used", unit="%", most=0.40),
        "gops": Goal(name="GOPS", unit="GOPS", least=25.0),
        "ic_resnet8": Goal(name="ResNet-8", unit="images/s", least=600.0),
    },
    "ulx3s-85f-192": {"macs": Goal(name="MACs a cycle", least=192)},
    "ulx3s-25f": {"macs": Goal(name="MACs a cycle", least=16), "mhz": Goal(name="Fmax", unit="MHz", least=80.0)},
    "icebreaker": {"macs": Goal(name="MACs a cycle", least=8), "mhz": Goal(name="Fmax", unit="MHz", least=20.0)},
    "tangnano9k": {"macs": Goal(name="MACs a cycle", least=8)},
}
