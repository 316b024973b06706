"""Inputs as rows of bytes: what a host writes, which inputs have them, and convolutions over them on the functional machine."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rowcast import preset
from rowcast_models import graph as g
from rowcast_models.compiler import band_nodes, input_rows
from rowcast_models.compiler.geometry import cut_axis
from rowcast_models.compiler.mapping import Cost
from rowcast_models.compiler.network import compile_graph
from rowcast_models.compiler.program import Rows, pack, unpack
from rowcast_sim.compile_command import _tensor

sys.path.insert(0, str(Path(__file__).parent))

from networks import check_functional, convolution, inputs_of, single  # noqa: E402

BASE = preset("base")
CONFIGS = (
    BASE, preset("small"), BASE.replace(noc_words=2, dram_bytes=16), BASE.replace(rows=3, columns=5, noc_words=4, dram_bytes=32),
    BASE.replace(rows=3, columns=3, lanes=4, dram_bytes=4), BASE.replace(lanes=16, rows=2, columns=2, dram_bytes=16),
    BASE.replace(act_words=1024, filter_buffer_words=1024),
)  # fmt: skip


@pytest.fixture
def always(monkeypatch):
    """Rows of bytes wherever they can be, whatever they cost."""
    monkeypatch.setattr(input_rows, "find_mapping", lambda *args, **keywords: (None, None, Cost(0, 0, 0, 0)))


@pytest.mark.parametrize("seed", range(28))
def test_convolutions(seed, always):
    """Of every pixel of less than a word, stride and padding, in words of 4, 8 and 16 bytes."""
    rng = np.random.default_rng(seed)
    config = CONFIGS[seed % len(CONFIGS)]
    channels = int(rng.integers(1, int(config.lanes / input_rows.SPARED) + 1))
    kernel = (int(rng.integers(1, 8)), int(rng.integers(2, 8)))
    shape = (int(rng.integers(1, 4)), int(rng.integers(9, 40)), int(rng.integers(9, 40)), channels)
    graph = single(
        rng, shape, filters=int(rng.integers(1, 40)), kernel=kernel, padding=tuple(map(tuple, rng.integers(0, 4, (2, 2)).tolist())),
        stride=tuple(rng.integers(1, 5, 2).tolist()), dilation=tuple(rng.integers(1, 3, 2).tolist()) if max(kernel) < 4 else (1, 1),
    )  # fmt: skip
    program = check_functional(graph, config, inputs_of(graph, rng), orders=2)
    assert program.tensors["x"].rows is not None


def test_two_convolutions_in_bands(always, monkeypatch):
    """The first one of a pair reads rows of bytes, image by image."""
    monkeypatch.setattr(band_nodes.BandNodes, "worth_it", lambda *_: None)
    rng = np.random.default_rng(3)
    same = ((1, 1), (1, 1))
    nodes = [
        convolution(rng, name="one", source="x", output="a", channels=3, filters=16, kernel=(3, 3), padding=same),
        convolution(rng, name="two", source="a", output="y", channels=16, filters=16, kernel=(3, 3), padding=same),
    ]
    tensors = [g.Tensor("x", (3, 30, 18, 3), 11), g.Tensor("a"), g.Tensor("y")]
    graph = g.Graph(name="pair", tensors=tensors, inputs=["x"], outputs=["y"], nodes=nodes)
    program = check_functional(graph, BASE.replace(act_words=512), inputs_of(graph, rng), keep_all=False, orders=2)
    assert program.tensors["x"].rows is not None and "in bands" in program.layers[0].mapping


@pytest.mark.parametrize("name", ["base", "small", "large"])
def test_an_image_takes_three_bytes_a_pixel(name):
    """The first layer of ResNet-50, with nothing forced."""
    graph = single(np.random.default_rng(0), (1, 224, 224, 3), filters=64, kernel=(7, 7), padding=((3, 3), (3, 3)), stride=(2, 2))
    program = compile_graph(graph, preset(name))
    assert program.tensors["x"].rows == Rows(-(-229 * 3 // 8), 3, graph.tensors["x"].zero_point)
    assert program.span("x")[1] == 224 * program.tensors["x"].rows.words * 8 < 0.4 * 224 * 224 * 8


def test_inputs_that_others_want_stand_in_words(always):
    rng = np.random.default_rng(0)
    conv = convolution(rng, name="c", source="x", output="y", channels=3, filters=8, kernel=(3, 3))
    pool = g.MaxPool(name="p", inputs=("x",), output="z", window=(2, 2), stride=(2, 2))
    tensors = [g.Tensor("x", (1, 8, 8, 3)), g.Tensor("y"), g.Tensor("z")]
    both = g.Graph(name="both", tensors=tensors, inputs=["x"], outputs=["y", "z"], nodes=[conv, pool])
    seen = g.Graph(name="seen", tensors=tensors[:2], inputs=["x"], outputs=["y", "x"], nodes=[conv])
    graphs = [
        both, seen, single(rng, (1, 9, 9, 6), filters=8, kernel=(3, 3)), single(rng, (1, 9, 9, 3), filters=8, kernel=(1, 1)),
        single(rng, (1, 9, 9, 4), filters=8, kernel=(3, 3), groups=2), single(rng, (1, 1, 99, 3), filters=8, kernel=(1, 3)),
    ]  # fmt: skip
    for graph in graphs:
        assert check_functional(graph, BASE, inputs_of(graph, rng)).tensors["x"].rows is None


def test_pack_and_unpack():
    values, rows = np.random.default_rng(3).integers(-128, 128, (2, 3, 5, 3)).astype(np.int8), Rows(4, 2, -7)
    data = pack(values, 8, rows)
    assert data.shape == (2, 3, 32)
    line = data.view(np.int8)[1, 2]
    assert line[:6].tolist() == [-7] * 6 and line[6:21].tolist() == values[1, 2].reshape(-1).tolist() and set(line[21:]) == {-7}
    np.testing.assert_array_equal(unpack(data.reshape(-1), values.shape, 8, rows), values)


@pytest.mark.parametrize("channels", [3, 6])
def test_the_memory_map_says_where_bytes_go(channels, always):
    """A host that reads nothing else writes what `Program.image` does."""
    rng = np.random.default_rng(1)
    graph = single(rng, (2, 9, 11, channels), filters=8, kernel=(3, 3), padding=((1, 1), (2, 1)))
    program, values = compile_graph(graph, BASE), inputs_of(graph, rng)["x"]
    entry = _tensor(program, SimpleNamespace(graph=graph), "x")
    n, h, w, c = entry["layout_nhwc"]
    if entry["rows"]:
        lines = np.full((n * h, entry["rows"]["bytes"]), entry["rows"]["pad"], np.int8)
        first = entry["rows"]["first"]
        lines[:, first : first + w * c] = values.reshape(n * h, w * c)
    else:
        lines = np.zeros((n * h * w, BASE.lanes), np.int8)
        lines[:, :c] = values.reshape(-1, c)
    assert (entry["rows"] is None) == (channels == 6)
    written = program.image({"x": values})[entry["offset"] :][: entry["bytes"]]
    np.testing.assert_array_equal(lines.reshape(-1).view(np.uint8), written)


def test_patches_begin_on_the_grid():
    """Spans cover the axis, and so do the patches of each; all begin at multiples of the grid."""
    found = 0
    for length in (8, 13, 28, 55, 112):
        for grid in (1, 2, 4, 8):
            for groups in (1, 2, 3, 4):
                for pieces in range(1, length + 1):
                    axis = cut_axis(length, pieces, groups, grid)
                    if axis is None:
                        continue
                    made = set()
                    for span in axis.spans:
                        starts = [span.start + i * span.step for i in range(groups)]
                        assert not any(start % grid for start in starts)
                        assert starts[-1] + span.patch == span.start + span.size
                        for start in starts:
                            made |= set(range(start, start + span.patch))
                    assert made == set(range(length))
                    found += 1
    assert found > 1000
