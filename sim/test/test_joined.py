"""Nodes that are done together: poolings in the passes of a convolution, normalisations over channels box by box."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast_models import graph as g
from rowcast_models.compiler import joined, network
from rowcast_models.compiler.channel_sums import sum_parts
from rowcast_models.compiler.network import compile_graph
from rowcast_models.compiler.rows import pooled_steps
from rowcast_models.compiler.vector import VectorError

sys.path.insert(0, str(Path(__file__).parent))

from networks import check_functional, convolution, inputs_of, requantisation  # noqa: E402

BASE = preset("base")
CONFIGS = {
    "base": BASE.replace(act_words=512),
    "noc 2": BASE.replace(noc_words=2, dram_bytes=16, act_words=512),
    "small": preset("small").replace(act_words=512),
    "3x3x4": BASE.replace(rows=3, columns=3, lanes=4, dram_bytes=4, act_words=512),
    "wide memory": BASE.replace(lanes=4, dram_bytes=16, rows=2, columns=2, act_words=512),
    "noc 4": BASE.replace(noc_words=4, dram_bytes=32, act_words=1024),
}


def graph_of(shape, nodes, outputs):
    """A graph of nodes behind input x."""
    tensors = [g.Tensor("x", shape, -3), *(g.Tensor(node.output) for node in nodes)]
    return g.Graph(name="joined", tensors=tensors, inputs=["x"], outputs=outputs, nodes=nodes)


def layers(program):
    """How each node was done, by name."""
    return {layer.name: layer.mapping for layer in program.layers}


def pooled(rng, *, images, more):
    """A convolution and a pooling whose windows lie side by side; with `more`, another convolution behind them."""
    window = [(2, 2), (2, 2), (2, 1), (1, 2), (3, 3)][rng.integers(5)]
    kernel = [(3, 3), (1, 1), (2, 3)][rng.integers(3)]
    channels, filters = int(rng.integers(3, 30)), int(rng.integers(30, 70))
    e, f = (size * int(rng.integers(4, 8)) for size in window)
    same = kernel == (3, 3)
    image = (e, f) if same else (e + kernel[0] - 1, f + kernel[1] - 1)
    nodes = [
        convolution(rng, name="conv", source="x", output="a", channels=channels, filters=filters, kernel=kernel,
                    padding=((1, 1), (1, 1)) if same else ((0, 0), (0, 0)), table=bool(rng.integers(2))),
        g.MaxPool(name="pool", inputs=("a",), output="p", window=window, stride=window, low=-100),
    ]  # fmt: skip
    if more:
        nodes.append(convolution(rng, name="next", source="p", output="b", channels=filters, filters=9, kernel=(2, 2)))
    return graph_of((images, *image, channels), nodes, [nodes[-1].output])


@pytest.mark.parametrize("name", CONFIGS)
def test_pooling_in_passes(name):
    """Maxima of each pass instead of its results, in memory or where they stay."""
    found = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = pooled(rng, images=1 + seed % 3, more=seed % 2 == 0)
        program = check_functional(graph, CONFIGS[name], inputs_of(graph, rng), keep_all=False, orders=2)
        found += layers(program)["pool"] == "with conv"
        assert "a" not in program.tensors or layers(program)["pool"] != "with conv"
    assert found > 2


def test_pooling_apart():
    """A tensor that others want, too, and windows that overlap."""
    rng = np.random.default_rng(1)
    conv = convolution(rng, name="conv", source="x", output="a", channels=8, filters=64, kernel=(3, 3))
    for stride, outputs in (((2, 2), ["p", "a"]), ((1, 2), ["p"])):
        pool = g.MaxPool(name="pool", inputs=("a",), output="p", window=(2, 2), stride=stride)
        graph = graph_of((1, 12, 12, 8), [conv, pool], outputs)
        program = check_functional(graph, CONFIGS["base"], inputs_of(graph, rng), keep_all=False)
        assert layers(program)["pool"] == "vector unit"


def normalised(rng, shape, *, channels, swapped, before, window=(3, 3), stride=(2, 2), beyond=0):
    """A convolution, a normalisation over its channels, a pooling whose windows reach so far beyond it, a convolution."""
    tables = [rng.integers(-3000, 3000, 256) for _ in range(2)]
    post = g.Requantisation(mode="tflite", multiplier=[1 << 30], shift=[14], zero_point=3)
    nodes = [
        convolution(rng, name="conv", source="x", output="a", channels=shape[3], filters=channels, kernel=(3, 3)),
        g.Table(name="squares", inputs=("a",), output="q", table=rng.integers(-128, 128, 256)),
        g.ChannelSum(name="sums", inputs=("q",), output="s", before=before, after=2, post=requantisation(rng, 1, 0.2)),
        g.Elementwise(name="product", inputs=("s", "a") if swapped else ("a", "s"), output="n", kind="mul",
                      table_a=tables[0], table_b=tables[1], post=post),
        g.MaxPool(name="pool", inputs=("n",), output="p", window=window, stride=stride, high=90,
                  padding=((0, beyond), (0, beyond))),
        convolution(rng, name="next", source="p", output="y", channels=channels, filters=20, kernel=(2, 2)),
    ]  # fmt: skip
    return graph_of(shape, nodes, ["y"])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("act_words", [1024, 4096])
def test_normalisation_in_boxes(monkeypatch, name, act_words):
    """From memory and from the buffer; boxes that do not divide the tensor; windows that go from pixel to pixel where flits are wide."""
    split = []
    monkeypatch.setattr(joined, "sum_parts", lambda *arguments: split.append(sum_parts(*arguments)) or split[-1])
    config = CONFIGS[name].replace(act_words=act_words)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        graph = normalised(
            rng, (2, 11, 9, 5), channels=config.lanes * int(rng.integers(3, 8)), swapped=bool(seed), before=3 * seed
        )
        program = check_functional(graph, config, inputs_of(graph, rng), keep_all=False, orders=2)
        assert layers(program)["product"] == layers(program)["sums"] == "with squares"
        assert any(split) == (config.noc_words > 1)
        check_functional(graph, config, inputs_of(graph, rng), keep_all=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_normalisation_with_pooling(name):
    """Windows that touch or overlap, that end before the last row or beyond it; several images, boxes that are parts of rows."""
    found = 0
    for seed in range(4):
        rng = np.random.default_rng(seed + 10)
        height, width = (int(size) for size in rng.integers(2, 4, 2))
        stride = int(rng.integers(max(1, height - 1), height + 1)), int(rng.integers(1, width + 1))
        words, image = int(rng.integers(3, 7)), tuple(int(size) for size in rng.integers(11, 17, 2))
        config = CONFIGS[name].replace(act_words=[1024, 2048][seed % 2])
        graph = normalised(
            rng, (1 + seed % 2, *image, 5), channels=config.lanes * words, swapped=bool(seed % 2), before=2,
            window=(height, width), stride=stride, beyond=int(seed > 1),
        )  # fmt: skip
        program = check_functional(graph, config, inputs_of(graph, rng), keep_all=False, orders=2)
        found += layers(program)["pool"] == "with squares"
        assert "n" not in program.tensors or layers(program)["pool"] != "with squares"
    assert found > 1


def test_whole_rows_go_together(monkeypatch):
    """Two by two as far as they are there; an odd number of them in all."""
    jobs = []
    monkeypatch.setattr(joined, "pooled_steps", lambda builder, job, pooling: jobs.append(job) or pooled_steps(builder, job, pooling))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        graph = normalised(rng, (3, 11, 13 + seed, 5), channels=40, swapped=bool(seed % 2), before=2)
        check_functional(graph, BASE.replace(act_words=2048), inputs_of(graph, rng), keep_all=False, orders=3)
    assert [job.together for job in jobs] == [2] * 4


def test_a_normalisation_stays_inside_its_gap(monkeypatch):
    """Wherever the gap begins and ends, on a memory of several words a beat."""
    found, real = [], network._Compiler.settle

    class Done(Exception):
        pass

    def tight(self, name, layout, attempt):
        for place, (low, size) in list(self.targets(name, layout)):
            for first in range(low, low + 4):
                for words in range(size - 8, size // 4, -3):
                    try:
                        work = attempt(place, (first, words))
                    except VectorError:
                        break
                    assert first <= work.claim[0] < work.claim[1] <= first + words
                    found.append(work.claim)
        raise Done

    config = CONFIGS["wide memory"].replace(act_words=1024)
    graph = normalised(np.random.default_rng(0), (2, 11, 14, 5), channels=12, swapped=False, before=2)

    def once(self, name, layout, attempt):
        return tight(self, name, layout, attempt) if name == "p" else real(self, name, layout, attempt)

    monkeypatch.setattr(network._Compiler, "settle", once)
    with pytest.raises(Done):
        compile_graph(graph, config)
    assert len(found) > 50


def test_normalisation_with_pooling_apart():
    """A product that others want, too; windows with rows between them, or with padding before them."""
    rng = np.random.default_rng(3)
    for window, stride, padding, outputs in (
        ((3, 3), (2, 2), ((0, 0), (0, 0)), ["y", "n"]), ((1, 2), (2, 2), ((0, 0), (0, 0)), ["y"]),
        ((3, 3), (2, 2), ((1, 0), (0, 0)), ["y"]),
    ):  # fmt: skip
        graph = normalised(rng, (1, 12, 13, 5), channels=24, swapped=False, before=2, window=window, stride=stride)
        nodes = [*graph.nodes]
        nodes[4] = replace(nodes[4], padding=padding)
        graph = graph_of((1, 12, 13, 5), nodes, outputs)
        program = check_functional(graph, BASE.replace(act_words=512), inputs_of(graph, rng), keep_all=False)
        assert layers(program)["pool"] == "vector unit" and layers(program)["sums"] == "with squares"


def test_normalisation_apart():
    """Squares that others want, too."""
    rng = np.random.default_rng(2)
    graph = normalised(rng, (1, 9, 9, 5), channels=24, swapped=False, before=2)
    graph = graph_of((1, 9, 9, 5), graph.nodes, ["y", "q"])
    program = check_functional(graph, BASE, inputs_of(graph, rng), keep_all=False)
    assert layers(program)["product"] == "vector unit"
