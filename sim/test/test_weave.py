"""Several nodes at work at once: programs of graphs with branches against the golden, in random order."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast.isa import PostMode, PostSource
from rowcast_models import graph as g
from rowcast_models.compiler.builder import Builder
from rowcast_models.compiler.settings import Place, PostSettings
from rowcast_models.compiler.vector import VectorJob, lower_vector

sys.path.insert(0, str(Path(__file__).parent))
from networks import check_functional, choose, convolution, inputs_of, requantisation  # noqa: E402

# Small scratchpads: a pass has several chunks, and a layer several passes, between which others find a place.
SMALL = preset("base").replace(
    rows=2, columns=2, filter_words=256, ifmap_words=256, psum_pixels=32, act_words=4096, filter_buffer_words=2048,
    param_channels=128,
)  # fmt: skip
CONFIGS = {
    "small": SMALL,
    "few parameters": SMALL.replace(lanes=4, param_channels=16, queue_depth=8),
    "4 words": SMALL.replace(columns=5, noc_words=4, dram_bytes=32),
    "through memory": SMALL.replace(noc_words=2, dram_bytes=16, act_words=2048),
}
KINDS = (
    "conv", "conv", "depthwise", "pool", "pool", "average", "add", "max", "table", "sum", "concat", "reshape", "select",
)  # fmt: skip


def branches(rng):
    """A random graph whose nodes take any of the last few tensors."""
    channels = int(rng.integers(2, 6)) * 8 - 3 * int(rng.integers(2))
    shape = (int(rng.integers(1, 3)), *(int(size) for size in rng.integers(3, 7, 2)), channels)
    tensors, nodes, shapes = [g.Tensor("x", shape, 5)], [], {"x": shape}
    for number in range(int(rng.integers(5, 10))):
        name, source = f"t{number}", str(rng.choice(list(shapes)[-5:]))
        node = random_node(rng, name, source, shapes)
        shapes[name] = node.infer_shape(*(g.Tensor(i, shapes[i]) for i in node.inputs))
        nodes.append(node)
        tensors.append(g.Tensor(name, None, int(rng.integers(-9, 9))))
    used = {name for node in nodes for name in node.inputs}
    outputs = [node.output for node in nodes if node.output not in used or rng.random() < 0.2]
    return g.Graph(name="branches", tensors=tensors, inputs=("x",), outputs=outputs, nodes=nodes)


def random_node(rng, name, source, shapes):
    """One node that takes `source`, and perhaps others of its shape."""
    n, h, w, c = shape = shapes[source]
    fields = {"name": name, "inputs": (source,), "output": name}
    alike = [other for other in shapes if shapes[other] == shape]
    kind = rng.choice(KINDS)
    kernel = tuple(int(min(3, size)) for size in (h, w))
    same = tuple(((size - 1) // 2, size // 2) for size in kernel)
    if kind in ("conv", "depthwise"):
        filters, groups = (c, c) if kind == "depthwise" else (int(rng.choice([c, 24, 13])), 1)
        return convolution(rng, name=name, source=source, output=name, channels=c, filters=filters, kernel=kernel, padding=same,
                           groups=groups, table=bool(rng.integers(2)))  # fmt: skip
    if kind == "pool":
        return g.MaxPool(**fields, window=kernel, stride=(1, 1), padding=same)
    if kind == "average":
        return g.AveragePool(**fields, window=kernel, stride=(2, 1), padding=same)
    if kind == "add":
        tables = [rng.integers(-90000, 90000, 256) for _ in range(2)]
        post = g.Requantisation(mode="tflite", multiplier=[1 << 30], shift=[9], zero_point=3)
        return g.Elementwise(**fields | {"inputs": (source, str(rng.choice(alike)))}, kind="add", table_a=tables[0],
                             table_b=tables[1], post=post)  # fmt: skip
    if kind == "max":
        return g.Elementwise(**fields | {"inputs": (str(rng.choice(alike)), source)}, kind="max")
    if kind == "table":
        return g.Table(**fields, table=rng.integers(-128, 128, 256))
    if kind == "sum":
        return g.ChannelSum(**fields, before=int(rng.integers(4)), after=2, post=requantisation(rng, 1, 0.2))
    if kind == "reshape":
        return g.Reshape(**fields, shape=(1, h * w, c))
    if kind == "select":
        return g.Select(**fields, channels=np.arange(c))
    near = [other for other in shapes if shapes[other][:3] == shape[:3]]
    parts = (source, *(str(part) for part in rng.choice(near, int(rng.integers(1, 3)))))
    tables = tuple(rng.integers(-128, 128, 256) if rng.random() < 0.3 else None for _ in parts)
    return g.Concat(**fields | {"inputs": parts}, tables=tables)


def runs_within_passes(program):
    """Runs of the vector unit that stand between the chunks of a pass of the array."""
    found, missing, more = 0, 0, False
    for instruction in program.instructions:
        if instruction.name == "COMPUTE_RUN":
            missing, more = missing + instruction["chunks"], not instruction["last"]
        elif instruction.name == "FILTER_RUN":
            missing -= instruction["chunks"]
        elif instruction.name == "IFMAP_RUN" and instruction["vector"]:
            found += more or missing > 0
    assert missing == 0
    return found


def check(graph, config, rng, *, keep_all, orders=1):
    """Every tensor that the program keeps, on random inputs."""
    return check_functional(graph, config, inputs_of(graph, rng), keep_all=keep_all, orders=orders)


def test_random_branches():
    within = dict.fromkeys(CONFIGS, 0)
    for seed in range(16):
        rng = np.random.default_rng(seed)
        name = list(CONFIGS)[seed % len(CONFIGS)]
        program = check(branches(rng), CONFIGS[name], rng, keep_all=bool(seed // len(CONFIGS) % 2))
        within[name] += runs_within_passes(program)
    assert sum(within.values()) > 0, within


@pytest.mark.parametrize("name", CONFIGS)
def test_branches_beside_a_deep_convolution(name, monkeypatch):
    """Tables, pools and additions of one branch, and what comes behind the convolution itself, go between its chunks.

    Its passes are large, since chunks of small ones end before the vector unit could do anything.
    """
    rng = np.random.default_rng(3)
    choose(monkeypatch, rng, lambda mapping, tiling: len(mapping.chunks) > 1 and mapping.y.largest * mapping.x.largest >= 8)
    same = ((1, 1), (1, 1))
    add = {"kind": "add", "table_a": rng.integers(-90000, 90000, 256), "table_b": rng.integers(-90000, 90000, 256)}
    post = g.Requantisation(mode="tflite", multiplier=[1 << 30], shift=[9], zero_point=3)
    nodes = [
        convolution(rng, name="deep", source="x", output="a", channels=48, filters=48, kernel=(3, 3), padding=same),
        g.MaxPool(name="pool", inputs=("x",), output="b", window=(3, 3), stride=(1, 1), padding=same),
        g.Table(name="table", inputs=("b",), output="c", table=rng.integers(-128, 128, 256)),
        g.Elementwise(name="twice", inputs=("c", "c"), output="d", post=post, **add),
        g.ChannelSum(name="sum", inputs=("x",), output="e", before=2, after=2, post=requantisation(rng, 1, 0.2)),
        g.Elementwise(name="add", inputs=("a", "d"), output="f", post=post, **add),
        g.Concat(name="join", inputs=("f", "e", "x"), output="y", tables=(None, None, None)),
    ]
    images = 1 if name == "few parameters" else 2
    tensors = [g.Tensor("x", (images, 7, 6, 48), -4), *(g.Tensor(node.output) for node in nodes)]
    graph = g.Graph(name="deep", tensors=tensors, inputs=["x"], outputs=["y", "b"], nodes=nodes)
    assert runs_within_passes(check(graph, CONFIGS[name], rng, keep_all=True)) > 4


def behind_x(shape, nodes):
    """A graph of nodes behind input x; the last one's tensor is the output."""
    tensors = [g.Tensor("x", shape, -4), *(g.Tensor(node.output) for node in nodes)]
    return g.Graph(name="nodes", tensors=tensors, inputs=["x"], outputs=[nodes[-1].output], nodes=nodes)


@pytest.mark.parametrize("channels", [24, 21])
def test_a_sum_over_channels_is_a_part(channels):
    """Of a concatenation, alone or beside others."""
    rng = np.random.default_rng(4)
    for parts in (("s",), ("x", "s"), ("s", "t")):
        nodes = [
            g.ChannelSum(name="sum", inputs=("x",), output="s", before=3, after=2, post=requantisation(rng, 1, 0.2)),
            g.Table(name="table", inputs=("x",), output="t", table=rng.integers(-128, 128, 256)),
            g.Concat(name="join", inputs=parts, output="y", tables=(None,) * len(parts)),
        ]
        graph = behind_x((2, 5, 4, channels), nodes if "t" in parts else [nodes[0], nodes[2]])
        check(graph, SMALL, rng, keep_all=False)


def test_boxes_of_columns_of_a_tensor_in_the_buffer():
    """The result's box has fewer columns than the tensor: its rows lie apart, unlike those of the result."""
    rng = np.random.default_rng(5)
    nodes = [
        convolution(rng, name="conv", source="x", output="a", channels=8, filters=32, kernel=(1, 1)),
        g.MaxPool(name="pool", inputs=("a",), output="y", window=(2, 1), stride=(1, 1)),
    ]
    config = preset("base").replace(noc_words=2, dram_bytes=16, act_words=512)
    program = check(behind_x((1, 10, 6, 8), nodes), config, rng, keep_all=False)
    assert {i["words"] for i in program.instructions if i.name == "STORE"} == {3 * 4}


def test_boxes_stay_in_their_room():
    """Also where it does not begin with a beat of the memory."""
    builder = Builder(preset("base").replace(lanes=4, dram_bytes=32, act_words=8192))
    post, room = PostSettings(PostMode.BYPASS, 0, -128, 127), (1, 1024)
    source, target = Place(dram=0), Place(act=4096)
    lower_vector(builder, VectorJob(PostSource.MAX, (source,), target, 2, 13, 1, 126, 13, 1, post, room))
    loads = [op.instruction for op in builder.ops if op.instruction.name == "LOAD"]
    assert loads and max(i["buffer"] + i["words"] * i["rows"] for i in loads) <= sum(room)
