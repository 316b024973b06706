"""Single layers of well-known networks as graphs with seeded random weights: for benchmarks."""

from dataclasses import dataclass

import numpy as np

from .. import graph as g
from ..golden.requantise import quantise_multiplier_tflite

__all__ = ["LAYERS", "LayerSpec", "layer_graph"]


@dataclass(frozen=True)
class LayerSpec:
    """A convolution (h = w = r = 1: fully connected) in the survey's letters; padding on all sides.

    goal : utilisation that the base preset is built to reach, or share of the memory's bound for `memory_bound` layers.
    """

    name: str
    c: int
    m: int
    h: int
    r: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    goal: float = 0.0
    memory_bound: bool = False


LAYERS = (
    LayerSpec("AlexNet CONV1", 3, 96, 227, 11, 4, goal=0.85),
    LayerSpec("AlexNet CONV2", 96, 256, 27, 5, pad=2, groups=2, goal=0.90),
    LayerSpec("AlexNet CONV3", 256, 384, 13, 3, pad=1, goal=0.90),
    LayerSpec("AlexNet CONV4", 384, 384, 13, 3, pad=1, groups=2, goal=0.90),
    LayerSpec("AlexNet CONV5", 384, 256, 13, 3, pad=1, groups=2, goal=0.90),
    LayerSpec("VGG-16 CONV1_1", 3, 64, 224, 3, pad=1, goal=0.60),
    LayerSpec("VGG-16 CONV3_2", 256, 256, 56, 3, pad=1, goal=0.95),
    LayerSpec("VGG-16 CONV4_2", 512, 512, 28, 3, pad=1, goal=0.95),
    LayerSpec("VGG-16 CONV5_1", 512, 512, 14, 3, pad=1, goal=0.92),
    LayerSpec("ResNet-50 1x1 64-256", 64, 256, 56, 1, goal=0.75),
    LayerSpec("ResNet-50 1x1 512-2048", 512, 2048, 7, 1, goal=0.80),
    LayerSpec("ResNet-50 3x3 256-256", 256, 256, 14, 3, pad=1, goal=0.92),
    LayerSpec("ResNet-8 3x3 16-16", 16, 16, 32, 3, pad=1, goal=0.87),
    LayerSpec("ResNet-8 3x3 32-32", 32, 32, 16, 3, pad=1, goal=0.87),
    LayerSpec("ResNet-8 3x3 64-64", 64, 64, 8, 3, pad=1, goal=0.87),
    LayerSpec("depthwise 128 at 14x14", 128, 128, 14, 3, pad=1, groups=128, goal=0.25),
    LayerSpec("depthwise 64 at 48x48", 64, 64, 48, 3, pad=1, groups=64, goal=0.25),
    LayerSpec("FC 4096-1000", 4096, 1000, 1, 1, goal=0.90, memory_bound=True),
)


def layer_graph(spec, *, seed=1, batch=1):
    """The layer as a graph with random weights, scaled so that its results fill int8."""
    rng = np.random.default_rng(seed)
    k = spec.r * spec.r * spec.c // spec.groups
    # Random int8 weights and inputs: the sum has a deviation of about 73 x 73 x sqrt(k).
    pairs = [quantise_multiplier_tflite(rng.uniform(0.7, 1.4) * 45 / (73 * 73 * np.sqrt(k))) for _ in range(spec.m)]
    multiplier, shift = zip(*pairs, strict=True)
    post = g.Requantisation(mode="tflite", multiplier=multiplier, shift=shift, zero_point=-4)
    node = g.Conv(
        name=spec.name, inputs=("ifmap",), output="ofmap",
        weights=rng.integers(-127, 128, (spec.m, spec.r, spec.r, spec.c // spec.groups)),
        bias=rng.integers(-1000, 1000, spec.m), post=post, stride=(spec.stride,) * 2,
        padding=((spec.pad,) * 2,) * 2, groups=spec.groups,
    )  # fmt: skip
    tensors = [g.Tensor("ifmap", (batch, spec.h, spec.h, spec.c), 7), g.Tensor("ofmap", None, -4)]
    return g.Graph(name=spec.name, tensors=tensors, inputs=["ifmap"], outputs=["ofmap"], nodes=[node])
