"""Any mapping that fits is right, not only the one that the mapper likes best: random ones on the functional machine."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast_models import graph as g
from rowcast_models.compiler import mapping as mapper
from rowcast_models.compiler import array_nodes

sys.path.insert(0, str(Path(__file__).parent))

from networks import check_functional, convolution, inputs_of, random_convolution  # noqa: E402

BASE = preset("base")
CONFIGS = {
    "base": BASE,
    "small": preset("small"),
    "noc 2": BASE.replace(noc_words=2, dram_bytes=16),
    "3x3x4": BASE.replace(rows=3, columns=3, lanes=4, dram_bytes=4),
    "wide memory": BASE.replace(lanes=4, dram_bytes=16, rows=2, columns=2),
    "lanes 16": BASE.replace(rows=2, columns=2, lanes=16, dram_bytes=16),
}


def check(graph, config, seed, *, orders):
    """Every tensor, on random inputs of this seed."""
    check_functional(graph, config, inputs_of(graph, np.random.default_rng(seed)), orders=orders)


def choose(monkeypatch, rng, wanted):
    """Let the compiler take a random one of the mappings and tilings that are `wanted`, or of all if there is none."""
    taken = []

    def find(shape, config, *, room, memory=None, vector=0, late=0, **resident):
        found = [
            (mapping, tiling) for mapping in mapper.candidates(shape, config)
            for tiling in mapper.plan_tilings(shape, mapping, config, room, **resident)
        ]  # fmt: skip
        if not found:
            raise mapper.MappingError("nothing fits")
        best = [pair for pair in found if wanted(*pair)] or found
        mapping, tiling = best[rng.integers(len(best))]
        taken.append((mapping, tiling))
        cost = mapper.estimate(shape, mapping, tiling, config, memory or mapper.Memory(), **resident)
        return mapping, tiling, cost

    monkeypatch.setattr(array_nodes, "find_mapping", find)
    return taken


@pytest.mark.parametrize("seed", range(24))
def test_any_mapping(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    choose(monkeypatch, rng, lambda mapping, tiling: True)
    check(random_convolution(rng), list(CONFIGS.values())[seed % len(CONFIGS)], seed, orders=1)


def batch(rng, images, size, *, stride=1, channels=12, filters=20):
    """Two convolutions, one after the other, on several images."""
    first = convolution(rng, name="a", source="x", output="a", channels=channels, filters=filters, kernel=(3, 3), stride=(stride,) * 2,
                        padding=((1, 1), (1, 1)))  # fmt: skip
    nodes = [first, convolution(rng, name="b", source="a", output="b", channels=filters, filters=9, kernel=(2, 3))]
    tensors = [g.Tensor("x", (images, size, size + 1, channels), -3), g.Tensor("a"), g.Tensor("b")]
    return g.Graph(name="batch", tensors=tensors, inputs=["x"], outputs=["b"], nodes=nodes)


@pytest.mark.parametrize("seed", range(8))
def test_images_side_by_side(monkeypatch, seed):
    """Groups of PEs that take images: 2 or 4 of them in a pass."""
    rng = np.random.default_rng(seed)
    taken = choose(monkeypatch, rng, lambda mapping, tiling: mapping.images > 1)
    config = [CONFIGS["base"], CONFIGS["noc 2"], CONFIGS["small"], CONFIGS["wide memory"]][seed % 4].replace(act_words=4096)
    check(batch(rng, 4, int(rng.integers(5, 12)), stride=1 + seed % 2), config, seed, orders=2)
    assert any(mapping.images > 1 for mapping, _ in taken)


@pytest.mark.parametrize("seed", range(6))
def test_one_buffer(monkeypatch, seed):
    """Tiles that wait for each other."""
    rng = np.random.default_rng(seed)
    taken = choose(monkeypatch, rng, lambda mapping, tiling: tiling.buffers == 1)
    config = [CONFIGS["base"], CONFIGS["noc 2"], CONFIGS["lanes 16"]][seed % 3].replace(act_words=512)
    check(batch(rng, 2, 14), config, seed, orders=2)
    assert any(tiling.buffers == 1 for _, tiling in taken)


@pytest.mark.parametrize("seed", range(12))
def test_packed_windows(monkeypatch, seed):
    """Flits of several words that carry neighbouring pixels: of one word or three, any stride, whole rows of a window."""
    rng = np.random.default_rng(seed)
    choose(monkeypatch, rng, lambda mapping, tiling: True)
    config = BASE.replace(noc_words=(2, 4)[seed % 2], dram_bytes=32)
    channels = (3, 8, 20)[seed % 3]
    node = convolution(rng, name="conv", source="x", output="y", channels=channels, filters=20, kernel=((3, 5), (2, 2), (1, 1))[seed // 4],
                       stride=(1 + seed % 2, 1 + seed // 2 % 2), dilation=(1, 1 + seed // 3 % 2))  # fmt: skip
    tensors = [g.Tensor("x", (2, 11, 14, channels), -3), g.Tensor("y")]
    graph = g.Graph(name="packed", tensors=tensors, inputs=["x"], outputs=["y"], nodes=[node])
    check(graph, config, seed, orders=1)
