"""Small random graphs, and an odd configuration, that tests of the compiler and of the simulators share."""

import copy

import numpy as np
from rowcast import preset
from rowcast_models import graph as g
from rowcast_models.compiler import array_nodes
from rowcast_models.compiler import mapping as mapper
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.golden.requantise import quantise_multiplier_tflite
from rowcast_sim.functional import FunctionalMachine

# Odd in everything that the mapping could take for granted: array size, words, network and memory widths.
ODD = preset("base").replace(
    rows=3, columns=2, lanes=4, dram_bytes=8, noc_words=2, act_words=4096, act_banks=4, filter_buffer_words=2048,
    queue_depth=8, outstanding_reads=2,
)  # fmt: skip


def requantisation(rng, channels, scale, *, table=False):
    """Per-channel multipliers around `scale`."""
    pairs = [quantise_multiplier_tflite(scale * rng.uniform(0.5, 2)) for _ in range(channels)]
    multiplier, shift = zip(*pairs, strict=True)
    return g.Requantisation(
        mode="tflite", multiplier=multiplier, shift=shift, zero_point=int(rng.integers(-20, 20)),
        table=rng.integers(-128, 128, 256) if table else None,
    )  # fmt: skip


def convolution(rng, *, name, source, output, channels, filters, kernel, groups=1, table=False, **more):
    """A Conv with random weights whose results fill int8."""
    weights = rng.integers(-127, 128, (filters, *kernel, channels // groups))
    scale = 1 / (140 * np.sqrt(weights[0].size))
    return g.Conv(
        name=name, inputs=(source,), output=output, weights=weights, bias=rng.integers(-5000, 5000, filters),
        post=requantisation(rng, filters, scale, table=table), groups=groups, **more,
    )  # fmt: skip


def single(rng, shape, **fields):
    """A graph of one convolution."""
    node = convolution(rng, name="conv", source="x", output="y", channels=shape[3], **fields)
    tensors = [g.Tensor("x", shape, int(rng.integers(-128, 128))), g.Tensor("y")]
    return g.Graph(name="single", tensors=tensors, inputs=["x"], outputs=["y"], nodes=[node])


def random_convolution(rng):
    """A graph of one convolution of a random kind: dense, depthwise, grouped, pointwise."""
    kind = rng.choice(["dense", "depthwise", "groups", "odd groups", "pointwise"])
    channels, filters, groups = int(rng.integers(1, 40)), int(rng.integers(1, 40)), 1
    if kind == "depthwise":
        groups = filters = channels
    elif kind == "groups":
        groups, channels, filters = 2, 16 * int(rng.integers(1, 3)), 16 * int(rng.integers(1, 4))
    elif kind == "odd groups":
        groups, channels, filters = 3, 3 * int(rng.integers(1, 6)), 3 * int(rng.integers(1, 6))
    kernel = (1, 1) if kind == "pointwise" else tuple(rng.integers(1, 6, 2).tolist())
    padding = ((0, 0), (0, 0)) if kind == "pointwise" else tuple(map(tuple, rng.integers(0, 2, (2, 2)).tolist()))
    dilation = tuple(rng.integers(1, 3, 2).tolist()) if max(kernel) < 4 else (1, 1)
    shape = (int(rng.integers(1, 3)), int(rng.integers(9, 18)), int(rng.integers(9, 18)), channels)
    return single(
        rng, shape, filters=filters, kernel=kernel, groups=groups, padding=padding, dilation=dilation,
        stride=tuple(rng.integers(1, 3, 2).tolist()), table=bool(rng.integers(0, 2)),
    )  # fmt: skip


def everything(rng, shape):
    """A graph with every kind of node."""
    n, h, w, c = shape
    tensors, nodes = [g.Tensor("x", shape, -7, 0.1)], []

    def add(node, zero_point, scale=0.1):
        nodes.append(node)
        tensors.append(g.Tensor(node.output, None, zero_point, scale))

    def tensor(name):
        return next(t for t in tensors if t.name == name)

    same = ((1, 1), (1, 1))
    add(convolution(rng, name="conv", source="x", output="a", channels=c, filters=24, kernel=(3, 3), padding=same,
                    table=True), 5)  # fmt: skip
    add(convolution(rng, name="depthwise", source="a", output="b", channels=24, filters=24, kernel=(3, 3),
                    padding=same, groups=24), 5, 0.13)  # fmt: skip
    add(g.tflite_add(name="add", a=tensor("a"), b=tensor("b"), output=g.Tensor("s", None, -3, 0.15)), -3, 0.15)
    add(g.MaxPool(name="max_pool", inputs=("s",), output="p", window=(3, 3), stride=(2, 2), padding=same), -3, 0.15)
    add(g.AveragePool(name="average", inputs=("p",), output="q", window=(3, 3), stride=(1, 1), padding=same,
                      table=rng.integers(-128, 128, 256)), -3, 0.15)  # fmt: skip
    add(g.tflite_mul(name="mul", a=tensor("p"), b=tensor("q"), output=g.Tensor("m", None, 2, 0.2)), 2, 0.2)
    add(g.Elementwise(name="maximum", inputs=("m", "q"), output="z", kind="max"), 2, 0.2)
    add(g.Table(name="table", inputs=("z",), output="t", table=rng.integers(-128, 128, 256)), 0)
    half = ((h + 1) // 2, (w + 1) // 2)
    add(g.AveragePool(name="global", inputs=("t",), output="u", window=half, stride=(1, 1)), 0)
    add(g.Reshape(name="flat", inputs=("u",), output="f"), 0)
    for name, source, size, filters in (("fc", "f", 24, 10), ("fc_image", "t", 24 * half[0] * half[1], 13)):
        weights = rng.integers(-127, 128, (filters, size))
        post = requantisation(rng, filters, 1 / (140 * np.sqrt(size)))
        add(g.FullyConnected(name=name, inputs=(source,), output=f"{name}_out", weights=weights,
                             bias=rng.integers(-99, 99, filters), post=post), 0)  # fmt: skip
    outputs = ["fc_out", "fc_image_out"]
    return g.Graph(name="everything", tensors=tensors, inputs=["x"], outputs=outputs, nodes=nodes)


def inputs_of(graph, rng):
    """Random inputs over the whole range."""
    return {name: rng.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs}


def check_functional(graph, config, inputs, *, keep_all=True, orders=1):
    """Compile, run on the functional machine in several orders of units; every tensor in memory equals the golden's."""
    want = evaluate(graph, inputs)
    program = compile_graph(graph, config, keep_all=keep_all)
    image = program.image(inputs)
    assert set(graph.tensors if keep_all else graph.outputs) <= set(program.tensors)
    for order in range(orders):
        memory = image[program.data_offset :].copy()
        FunctionalMachine(config, memory, seed=order).run(copy.deepcopy(program.instructions))
        for name in program.tensors:
            offset, size = program.span(name)
            got = program.tensor(name, memory[offset - program.data_offset :][:size])
            np.testing.assert_array_equal(got, want[name], f"tensor {name}, order {order}")
    return program


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
