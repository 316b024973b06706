"""Two convolutions in bands of rows: the tensor between them never leaves the buffer."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast_models import graph as g
from rowcast_models.compiler import band_nodes
from rowcast_models.compiler.bands import take_turns

sys.path.insert(0, str(Path(__file__).parent))

from networks import check_functional, convolution, inputs_of  # noqa: E402
from test_joined import graph_of, layers  # noqa: E402

BASE = preset("base")
CONFIGS = {
    "base": BASE.replace(act_words=512),
    "noc 2": BASE.replace(noc_words=2, dram_bytes=16, act_words=512),
    "3x3x4": BASE.replace(rows=3, columns=3, lanes=4, dram_bytes=4, act_words=1024),
    "wide memory": BASE.replace(lanes=4, dram_bytes=16, rows=2, columns=2, act_words=1024),
}


def pair(rng, *, images, kind):
    """Two convolutions with a large tensor between them; kind: what is before them, and behind."""
    kernels = [(3, 3), (2, 3), (1, 3), (5, 1), (3, 1)]
    one, two = kernels[rng.integers(5)], kernels[rng.integers(4)]
    strides = [(1, 1), (1, 1), (2, 1), (2, 2)]
    channels, middle, filters = (int(rng.integers(*span)) for span in ((1, 9), (8, 20), (4, 40)))
    pads = tuple((k // 2, k // 2) for k in one), tuple(map(tuple, rng.integers(0, 2, (2, 2)).tolist()))
    source, nodes = "x", []
    if kind == "behind":
        source, nodes = "w", [convolution(rng, name="before", source="x", output="w", channels=3, filters=channels, kernel=(1, 1))]
    stride = strides[rng.integers(4)]
    nodes += [
        convolution(rng, name="one", source=source, output="a", channels=channels, filters=middle, kernel=one, padding=pads[0],
                    table=bool(rng.integers(2))),
        convolution(rng, name="two", source="a", output="b", channels=middle, filters=filters, kernel=two, padding=pads[1],
                    stride=stride),
    ]  # fmt: skip
    height, width = int(rng.integers(20, 40)), int(rng.integers(12, 20))
    graph = graph_of((images, height, width, 3 if kind == "behind" else channels), nodes, ["b"])
    _, e, f, _ = graph.tensors["b"].shape
    if kind == "pooled" and not (e % 2 or f % 2):
        nodes.append(g.MaxPool(name="pool", inputs=("b",), output="p", window=(2, 2), stride=(2, 2), low=-90))
        graph = graph_of((images, height, width, channels), nodes, ["p"])
    return graph


@pytest.mark.parametrize("kind", ["alone", "pooled", "behind"])
@pytest.mark.parametrize("name", CONFIGS)
def test_bands(name, kind, monkeypatch):
    """Random kernels, strides, padding, laps and images."""
    monkeypatch.setattr(band_nodes.BandNodes, "worth_it", lambda *_: None)
    found = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        graph = pair(rng, images=1 + seed % 3, kind=kind)
        program = check_functional(graph, CONFIGS[name], inputs_of(graph, rng), keep_all=False, orders=2)
        banded = "in bands" in layers(program)["one"]
        found += banded
        assert banded == ("a" not in program.tensors)
    assert found >= 3


def test_turns():
    """A pass that overwrites waits for those that read; one that reads waits for those that write."""
    made = [[(0, 2), (2, 4)], [(0, 2), (2, 4)], [(0, 2)]]
    read = [[(0, 3), (1, 4)], [(0, 3), (2, 4)], [(0, 2)]]
    order = take_turns(made, read)
    flat = [[(lap, rows) for lap, spans in enumerate(side) for rows in spans] for side in (made, read)]
    at, ring = [0, 0], {}
    for which, need in order:
        lap, (low, high) = flat[which][at[which]]
        at[which] += 1
        for row in range(low, high):
            if which == 0:
                ring[row] = lap
            else:
                assert ring[row] == lap and need <= at[0]
    assert at == [5, 5]


def test_not_worth_it():
    """Where laps are so short that most rows would be made twice, the nodes go one after the other, pooling included."""
    rng = np.random.default_rng(3)
    nodes = [
        convolution(rng, name="one", source="x", output="a", channels=16, filters=16, kernel=(3, 3), padding=((1, 1), (1, 1))),
        convolution(rng, name="two", source="a", output="b", channels=16, filters=16, kernel=(3, 3), padding=((1, 1), (1, 1))),
        g.MaxPool(name="pool", inputs=("b",), output="p", window=(2, 2), stride=(2, 2)),
    ]  # fmt: skip
    graph = graph_of((1, 24, 24, 16), nodes, ["p"])
    program = check_functional(graph, BASE.replace(act_words=512), inputs_of(graph, rng), keep_all=False)
    assert "in bands" not in layers(program)["one"] and layers(program)["pool"] == "with two"
