"""Any mapping that fits is right, not only the one that the mapper likes best: random ones on the functional machine."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast.isa import Space
from rowcast_models import graph as g
from rowcast_models.compiler import array_nodes, pieces
from rowcast_models.compiler.convolution import ConvLowering
from rowcast_models.compiler.ring import Ring
from rowcast_models.compiler.tiling import filter_words, filters_loaded, num_rounds, num_tiles

sys.path.insert(0, str(Path(__file__).parent))

from networks import check_functional, choose, convolution, inputs_of, random_convolution, single  # noqa: E402

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


@pytest.mark.parametrize("seed", range(24))
def test_any_mapping(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    choose(monkeypatch, rng, lambda mapping, tiling: True)
    check(random_convolution(rng), list(CONFIGS.values())[seed % len(CONFIGS)], seed, orders=1)


def batch(rng, images, size, *, stride=1, channels=12, filters=20, table=False):
    """Two convolutions, one after the other, on several images, with a table behind the first one, too, if asked for."""
    first = convolution(rng, name="a", source="x", output="a", channels=channels, filters=filters, kernel=(3, 3), stride=(stride,) * 2,
                        padding=((1, 1), (1, 1)))  # fmt: skip
    nodes = [first, convolution(rng, name="b", source="a", output="b", channels=filters, filters=9, kernel=(2, 3))]
    tensors = [g.Tensor("x", (images, size, size + 1, channels), -3), g.Tensor("a"), g.Tensor("b")]
    if table:
        nodes.insert(1, g.Table(name="t", inputs=("a",), output="t", table=rng.integers(-128, 128, 256)))
        tensors.append(g.Tensor("t"))
    return g.Graph(name="batch", tensors=tensors, inputs=["x"], outputs=["b", "t"][: 1 + table], nodes=nodes)


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


@pytest.mark.parametrize("seed", range(8))
def test_lines(monkeypatch, seed):
    """PEs that are numbered row by row, so that groups go on in the next row."""
    rng = np.random.default_rng(seed)
    taken = choose(monkeypatch, rng, lambda mapping, tiling: mapping.lined)
    rows, columns, noc = ((2, 8, 1), (4, 8, 2), (8, 16, 4), (3, 7, 1))[seed % 4]
    config = BASE.replace(rows=rows, columns=columns, noc_words=noc, dram_bytes=32, act_words=4096)
    filters = config.lanes * {16: 3, 32: 5, 128: 12, 21: 5}[config.num_pes] - int(rng.integers(8))
    check(batch(rng, 2, 14 * (1 + seed // 4), filters=filters, stride=1 + seed // 4), config, seed, orders=2)
    lined = [mapping for mapping, _ in taken if mapping.lined]
    assert lined and any(mapping.column_filters * mapping.column_groups < config.num_pes for mapping in lined)


@pytest.mark.parametrize("seed", range(8))
def test_filters_stay_from_tile_to_tile(monkeypatch, seed):
    """Rounds forwards and backwards in turn: as many filters as fit are not loaded again, as the mapper thinks."""
    rng, used = np.random.default_rng(seed), []
    steps = ConvLowering.steps
    config = CONFIGS["wide memory"].replace(act_words=512, filter_buffer_words=1024, dram_bytes=4 + 4 * (seed % 2))

    def recorded(lowering):
        used.append((lowering.shape, lowering.map, lowering.job.tiling))
        return steps(lowering)

    def equal_chunks(mapping, tiling):
        rows = {(chunk.r, chunk.words) for chunk in mapping.chunks}
        return len(rows) == 1 and tiling.kept == len(mapping.chunks) and not tiling.whole and 12 % mapping.filters == 0

    monkeypatch.setattr(ConvLowering, "steps", recorded)
    monkeypatch.setattr(array_nodes, "cut_layer", lambda piece, *_: [piece])
    choose(monkeypatch, rng, equal_chunks)
    node = convolution(rng, name="conv", source="x", output="y", channels=32, filters=48, kernel=(3, 3), padding=((1, 1), (1, 1)))
    graph = g.Graph(
        name="tiles", tensors=[g.Tensor("x", (1 + seed % 2, 12, 12, 32), -3), g.Tensor("y")], inputs=["x"], outputs=["y"], nodes=[node]
    )
    program = check_functional(graph, config, inputs_of(graph, rng), keep_all=False, orders=2)
    (shape, mapping, tiling) = used[-1]
    assert equal_chunks(mapping, tiling) and num_tiles(shape, mapping, tiling) > 1
    loads = [op.instruction for op in program.ops if op.instruction.name == "LOAD" and op.instruction["space"] == Space.FILTER]
    loaded = sum(load["words"] * load["rows"] for load in loads)
    every_tile = num_tiles(shape, mapping, tiling) * num_rounds(shape, mapping) * filter_words(shape, mapping, config)
    assert loaded == filters_loaded(shape, mapping, tiling, config) < every_tile


@pytest.mark.parametrize("seed", range(9))
def test_groups_on_wide_memory(monkeypatch, seed):
    """Passes that make a part of the filters of several groups: each group's results keep their place in a beat."""
    rng = np.random.default_rng(seed)
    config = [BASE.replace(dram_bytes=16), BASE.replace(dram_bytes=32), CONFIGS["wide memory"]][seed % 3]
    groups, lanes = 2 + 2 * (seed // 3 % 2), config.lanes
    out_words = int(rng.integers(3, 6))
    taken = choose(monkeypatch, rng, lambda mapping, tiling: mapping.units > 1 and mapping.filters < out_words)
    kernel = [(1, 1), (2, 3)][seed % 2]
    graph = single(rng, (1 + seed % 2, 3, 7, 8 * groups), filters=groups * out_words * lanes, kernel=kernel, groups=groups)
    check_functional(graph, config, inputs_of(graph, rng), keep_all=False, orders=2)
    assert any(mapping.units > 1 and mapping.filters < out_words for mapping, _ in taken)


def test_oldest_place():
    """A block goes where what is overwritten was used longest ago, never over what is kept."""
    ring = Ring(40, 1)
    for key in "abcd":
        ring.take(key, 10)
    assert [ring.find(key) for key in "bad"] == [10, 0, 30]  # c is the oldest now
    ring.oldest(10)
    assert ring.take("e", 10) == 20 and ring.find("c") is None
    ring.oldest(12, kept="b")  # a is older than d and e, but there it would reach into b, which stays
    assert ring.take("f", 12, "b") == 20 and ring.find("b") == 10
    ring.rest()
    ring.oldest(10)
    assert ring.take("g", 10) == 0  # all is equally old: one behind the other, from the start again


@pytest.mark.parametrize("seed", range(16))
def test_two_pieces(monkeypatch, seed):
    """Layers cut in any of the possible ways: by rows, by columns of a single row, by filters."""
    rng, made = np.random.default_rng(seed), []
    choose(monkeypatch, rng, lambda mapping, tiling: True)

    def cut(one, config, best):
        choices = list(pieces.cuts(one.shape, best))
        made.append(choices[rng.integers(len(choices))]() if choices else [one])
        return made[-1]

    monkeypatch.setattr(array_nodes, "cut_layer", cut)
    config = list(CONFIGS.values())[seed % len(CONFIGS)].replace(act_words=4096)
    if seed % 4 == 3:
        node = convolution(rng, name="conv", source="x", output="y", channels=20, filters=40, kernel=(1, 1))
        tensors = [g.Tensor("x", (1, 5, 7, 20), -3), g.Tensor("y")]
        graph = g.Graph(name="points", tensors=tensors, inputs=["x"], outputs=["y"], nodes=[node])
    else:
        graph = batch(rng, 1 + seed % 4, 9, filters=40, stride=1 + seed // 8, table=True)
    check_functional(graph, config, inputs_of(graph, rng), keep_all=bool(seed % 2), orders=2)
    assert any(len(parts) == 2 for parts in made)


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_several_images_in_pieces(monkeypatch, seed):
    """What follows must not take an image for complete before the second piece has made its last rows."""
    rng = np.random.default_rng(seed)
    choose(monkeypatch, rng, lambda mapping, tiling: (mapping.images > 1) == (seed == 3))
    made = []

    def cut(one, config, best):
        made.extend(next(pieces.cuts(one.shape, best))())
        return made[-2:]

    monkeypatch.setattr(array_nodes, "cut_layer", cut)
    nodes = [
        convolution(rng, name="conv", source="x", output="a", channels=12, filters=20, kernel=(3, 3), padding=((1, 1), (1, 1))),
        g.MaxPool(name="pool", inputs=("a",), output="y", window=(3, 3), stride=(2, 2)),
    ]
    tensors = [g.Tensor("x", (4, 13, 9, 12), -3), g.Tensor("a"), g.Tensor("y")]
    graph = g.Graph(name="images", tensors=tensors, inputs=["x"], outputs=["y"], nodes=nodes)
    config = list(CONFIGS.values())[seed].replace(act_words=4096)
    check_functional(graph, config, inputs_of(graph, rng), keep_all=False, orders=2)
    assert made[0].last == (made[0].mapping.images == 4) and made[1].last
