"""Published figures of other accelerators, to stand beside ours: as their authors gave them."""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]

EYERISS = "Chen et al., JSSC 52(1), 2017, tables V and VI: 168 MACs of 16 bits, measured on silicon"
NVDLA = "nvdla/hw, NVDLA_OpenSource_Performance.xlsx: 2048 MACs of 8 bits, analytic, 3x3 layers by Winograd"
VTA = "apache/tvm-vta, pull request 30: 256 MACs of 8 bits, RTL simulation, utilisation from its cycles"
GEMMINI = "ucb-bar/gemmini, pull requests 69 and 90: 256 MACs of 8 bits"
EYERISS_2 = "Chen et al., JETCAS 9(2), 2019: 384 MACs of 8 bits, MobileNet 0.5 at 128x128, of its own peak"


@dataclass(frozen=True)
class Published:
    """One figure.

    Members
    -------
    network : of the zoo; total : which of `Figures.totals` it stands beside.
    design, what, source : in words.
    utilisation : as a fraction, or None; dram : bytes to and from memory an image, or None.
    """

    network: str
    total: str
    design: str
    what: str
    source: str
    utilisation: float | None = None
    dram: float | None = None


PUBLISHED = (
    Published("alexnet", "conv", "Eyeriss", "batch 4, all cycles; DRAM compressed, 16 bits", EYERISS, 0.687, 3.85e6),
    Published("alexnet", "conv", "Eyeriss", "batch 4, processing alone", EYERISS, 0.766),
    Published("alexnet", "whole", "NVDLA", "FC batch 16, DRAM of 10 GB/s", NVDLA, 0.291),
    Published("alexnet", "whole", "NVDLA", "FC batch 16, SRAM of 4 MB", NVDLA, 0.441),
    Published("vgg16", "conv", "Eyeriss", "batch 3, all cycles; DRAM compressed, 16 bits", EYERISS, 0.318, 107.1e6),
    Published("vgg16", "conv", "Eyeriss", "batch 3, processing alone", EYERISS, 0.365),
    Published("googlenet", "whole", "NVDLA", "of all its MACs", NVDLA, 0.432),
    Published("googlenet", "whole", "NVDLA", "of those that the layers' shapes leave", NVDLA, 0.627),
    Published("resnet50", "whole", "NVDLA", "of all its MACs", NVDLA, 0.232),
    Published("resnet50", "whole", "NVDLA", "of those that the layers' shapes leave", NVDLA, 0.268),
    Published("resnet50", "whole", "VTA", "ResNet-50 v2 without its first and last layer", VTA, 0.704),
    Published("resnet50", "whole", "Gemmini", "batch 4", GEMMINI, 0.40),
    Published("resnet50", "whole", "Gemmini", "later", GEMMINI, 0.51),
    Published("mobilenet-v1", "whole", "Eyeriss v2", "MobileNet 0.5 at 128x128", EYERISS_2, 0.82),
)  # fmt: skip
