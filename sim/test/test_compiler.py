"""Programs on the functional machine against the golden: every tensor, over configurations, in several orders of units."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast_models import graph as g
from rowcast_models.compiler.network import CompileError, compile_graph
from rowcast_models.compiler.program import pack, unpack
from rowcast_models.compiler.tokens import Op, TokenOverflow, synchronise
from rowcast_models.compiler.vector import parts
from rowcast_models.cycles import predict
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.functional import Deadlock, FunctionalMachine

sys.path.insert(0, str(Path(__file__).parent))

from corners import CORNERS  # noqa: E402
from networks import ODD, check_functional, convolution, everything, inputs_of, random_convolution, single  # noqa: E402
from rowcast import isa  # noqa: E402

BASE = preset("base")
CONFIGS = {
    "base": BASE,
    "tiny": preset("tiny"),
    "small": preset("small"),
    "noc 2": BASE.replace(noc_words=2, dram_bytes=16),
    "noc 4": BASE.replace(rows=2, columns=5, lanes=4, noc_words=4, act_words=4096),
    "3x3x4": BASE.replace(rows=3, columns=3, lanes=4, dram_bytes=4),
    "wide memory": BASE.replace(lanes=4, dram_bytes=16, rows=2, columns=2, act_words=4096),
    "small memories": BASE.replace(act_words=1024, filter_buffer_words=1024),
    "lanes 16": BASE.replace(rows=2, columns=2, lanes=16, dram_bytes=16),
}


def check(graph, config, seed, inputs=None, *, orders=2):
    """Every tensor, on random inputs of this seed or given ones."""
    inputs = inputs_of(graph, np.random.default_rng(seed)) if inputs is None else inputs
    return check_functional(graph, config, inputs, orders=orders)


@pytest.mark.parametrize("seed", range(24))
def test_random_convolutions(seed):
    config = list(CONFIGS.values())[seed % len(CONFIGS)]
    check(random_convolution(np.random.default_rng(seed)), config, seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_node(name):
    rng = np.random.default_rng(7)
    check(everything(rng, (2, 13, 11, 3)), CONFIGS[name], 7)


@pytest.mark.parametrize("name", CONFIGS)
def test_transfers_of_nodes(name):
    """What the nodes move adds up to what the whole program does, instructions included."""
    graph = everything(np.random.default_rng(7), (2, 13, 11, 3))
    for keep_all in (False, True):
        program = compile_graph(graph, CONFIGS[name], keep_all=keep_all)
        counters = predict(program.instructions, program.config).counters
        read, written = np.sum(list(program.transfers.values()), 0)
        fetched = -read % program.config.dram_bytes  # the last beat of the instructions
        assert read + fetched == counters["read_beats"] * program.config.dram_bytes
        assert written == counters["write_beats"] * program.config.dram_bytes
        assert set(program.transfers) <= {"", *(layer.name for layer in program.layers)}


@pytest.mark.parametrize("number, name", enumerate(CORNERS))
def test_corners(number, name):
    """Each on two configurations; what they reach on `networks.ODD` is shown in test_rtl."""
    corner = CORNERS[name](np.random.default_rng(8))
    other = ("tiny", "small", "noc 2", "wide memory", "lanes 16", "noc 4")[number % 6]
    for config in (CONFIGS["small memories"].replace(act_words=2048), CONFIGS[other]):
        check(corner.graph, config, 8, corner.inputs, orders=1)


@pytest.mark.parametrize("seed", range(16))
def test_turns_of_several_words(seed):
    """Pools, sums and selections of pixels of any number of words, in boxes or not, side by side or in others' parts."""
    rng = np.random.default_rng(seed)
    config = (CONFIGS["noc 4"], CONFIGS["noc 2"].replace(columns=3), BASE.replace(columns=8, noc_words=4))[seed % 3]
    config = config.replace(act_words=int(rng.choice([1024, 4096])))
    n, height, width = int(rng.integers(1, 3)), *(int(size) for size in rng.integers(3, 10, 2))
    channels = int(rng.integers(1, 12)) * config.lanes - int(rng.integers(config.lanes))
    table = [rng.integers(-90000, 90000, 256) for _ in range(2)]

    def pool(kind, name, source, output):
        """Of the same size as its input or smaller."""
        window, stride = rng.integers(1, 4, 2), rng.integers(1, 3, 2)
        pad = [(int(size) // 2, int(size) - 1 - int(size) // 2) if rng.integers(2) else (0, 0) for size in window]
        return kind(name=name, inputs=(source,), output=output, window=tuple(map(int, window)),
                    stride=tuple(map(int, stride)), padding=tuple(pad))  # fmt: skip

    nodes = [
        g.MaxPool(name="same", inputs=("x",), output="a", window=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1))),
        pool(g.MaxPool, "max", "x", "b"),
        pool(g.AveragePool, "average", "x", "c"),
        g.Elementwise(
            name="add", kind="add", inputs=("x", "a"), output="d", table_a=table[0], table_b=table[1],
            post=g.Requantisation(mode="tflite", multiplier=[1 << 30], shift=[9], zero_point=3),
        ),
        g.Resize(
            name="resize", inputs=("d",), output="e", rows=rng.integers(0, height, 5), columns=np.arange(2 * width) // 2
        ),
        g.Resize(name="cut", inputs=("d",), output="f", rows=np.arange(1, height), columns=np.arange(2, width)),
        g.Concat(name="join", inputs=("a", "d"), output="g", tables=(None, None)),
    ]
    tensors = [g.Tensor("x", (n, height, width, channels)), *(g.Tensor(node.output) for node in nodes)]
    outputs = list("bcefg")
    check(g.Graph(name="turns", tensors=tensors, inputs=["x"], outputs=outputs, nodes=nodes), config, seed)


def test_parts_of_rows_of_words():
    """As few turns as possible, unless a run more or small turns are cheaper."""
    def sizes(words, rows, most=4, cycles=lambda words: 2):
        found = parts(words, rows, most, cycles)
        assert [part.first for part in found] == [0, *(part.turns * part.words for part in found[:-1])]
        return [(part.turns, part.words) for part in found]

    assert sizes(8, 1) == [(2, 4)]
    assert sizes(6, 1) == [(2, 3)]
    assert sizes(13, 1) == [(13, 1)]
    assert sizes(13, 100) == [(3, 4), (1, 1)]
    assert sizes(3, 1) == [(1, 3)]
    assert sizes(3, 1, cycles=lambda words: 1 << (words - 1).bit_length()) == [(3, 1)]
    assert sizes(7, 9, most=1) == [(7, 1)]
    assert sizes(4 * 4095, 1) == [(4095, 4)]
    assert sizes(4 * 4000 + 1, 1) == [(4000, 4), (1, 1)]  # no loop of the feeder has more turns


def test_tiny_layers():
    """Fewer pixels and channels than PEs, in all the ways: a part of the array stands still."""
    rng = np.random.default_rng(4)
    for rows, columns in ((4, 4), (3, 5), (2, 1)):
        config = BASE.replace(rows=rows, columns=columns, lanes=4)
        for e, f, channels in ((1, 1, 1), (1, 2, 3), (2, 1, 9), (3, 2, 5), (1, 5, 2)):
            check(single(rng, (2, e + 1, f + 1, 6), filters=channels, kernel=(2, 2)), config, 4, orders=1)


# 2 x 1 PEs of 4 lanes and 4 parameter slots: two passes' parameters just fit, but not from every place in the ring.
FEW_PARAMETERS = BASE.replace(lanes=4, param_channels=16)


@pytest.mark.parametrize("rows, columns", [(2, 1), (1, 2), (2, 2), (4, 4)])
def test_few_parameters(rows, columns):
    rng = np.random.default_rng(3)
    nodes = [
        g.AveragePool(name="pool", inputs=("x",), output="a", window=(2, 2), stride=(1, 1), padding=((0, 1), (0, 1))),
        convolution(rng, name="conv", source="a", output="y", channels=20, filters=40, kernel=(2, 2)),
        convolution(rng, name="wide", source="y", output="z", channels=40, filters=150, kernel=(3, 3)),
    ]
    tensors = [g.Tensor("x", (1, 5, 5, 20)), g.Tensor("a"), g.Tensor("y"), g.Tensor("z")]
    graph = g.Graph(name="few", tensors=tensors, inputs=["x"], outputs=["z"], nodes=nodes)
    check(graph, FEW_PARAMETERS.replace(rows=rows, columns=columns), 3, orders=1)


def test_reshaped_output_and_spilled_reshape():
    """An output that is another name of a tensor is in memory; a tensor that must leave the buffer is not its other name."""
    rng = np.random.default_rng(1)
    post = convolution(rng, name="p", source="p", output="p", channels=1, filters=4, kernel=(1, 1)).post
    nodes = [
        convolution(rng, name="c", source="x", output="a", channels=4, filters=16, kernel=(1, 1)),
        g.Reshape(name="r", inputs=("a",), output="z"),
        convolution(rng, name="d", source="w", output="b", channels=60, filters=4, kernel=(3, 3)),
        g.FullyConnected(name="f", inputs=("z",), output="y", weights=rng.integers(-9, 9, (4, 1024)), bias=np.zeros(4, int),
                         post=post),
        g.Reshape(name="o", inputs=("b",), output="flat"),
    ]  # fmt: skip
    tensors = [g.Tensor("x", (1, 8, 8, 4)), g.Tensor("w", (1, 9, 9, 60)), *(g.Tensor(n.output) for n in nodes)]
    graph = g.Graph(name="names", tensors=tensors, inputs=["x", "w"], outputs=["y", "flat"], nodes=nodes)
    program = compile_graph(graph, ODD.replace(act_words=512))
    assert {"y", "flat"} <= set(program.tensors)
    check(graph, ODD.replace(act_words=512), 1, orders=1)


def test_reshape_that_cuts_large_blocks_is_refused():
    rng = np.random.default_rng(1)
    nodes = [
        g.Reshape(name="r", inputs=("x",), output="a", shape=(1, 1, 63 * 67 * 6)),
        convolution(rng, name="conv", source="a", output="y", channels=63 * 67 * 6, filters=8, kernel=(1, 1)),
    ]
    tensors = [g.Tensor("x", (1, 63, 67, 6)), g.Tensor("a"), g.Tensor("y")]
    graph = g.Graph(name="cut", tensors=tensors, inputs=["x"], outputs=["y"], nodes=nodes)
    with pytest.raises(CompileError, match="node 'conv': its input 'a' lies in memory as .1, 63, 67, 6.*of lanes .8"):
        compile_graph(graph, BASE)


def test_factors_of_more_than_16_bits_are_refused():
    nodes = [g.Elementwise(name="mul", kind="mul", inputs=("x", "x"), output="y", table_a=np.arange(-128, 128) * 300,
                           table_b=np.arange(-128, 128),
                           post=g.Requantisation(mode="single", multiplier=[1 << 20], shift=[40]))]  # fmt: skip
    graph = g.Graph(name="m", tensors=[g.Tensor("x", (1, 4, 4, 8)), g.Tensor("y")], inputs=["x"], outputs=["y"], nodes=nodes)
    with pytest.raises(CompileError, match="node 'mul': factors must fit 16 bits"):
        compile_graph(graph, BASE)


@pytest.mark.parametrize("name", ["STORE", "FILTER_RUN"])
def test_missing_tokens_are_noticed(name):
    """Without the waits of one kind of instruction the machine finds an order that gives another result."""
    config = CONFIGS["small memories"]
    graph = single(np.random.default_rng(1), (1, 14, 14, 40), filters=40, kernel=(3, 3))
    inputs = inputs_of(graph, np.random.default_rng(1))
    want = evaluate(graph, inputs)["y"]
    program = compile_graph(graph, config)
    image = program.image(inputs)
    instructions = copy.deepcopy(program.instructions)
    for instruction in instructions:
        if instruction.name == name:
            instruction.wait = 0
    wrong = 0
    for order in range(10):
        memory = image[program.data_offset :].copy()
        FunctionalMachine(config, memory, seed=order).run(copy.deepcopy(instructions))
        offset, size = program.span("y")
        wrong += not np.array_equal(program.tensor("y", memory[offset - program.data_offset :][:size]), want)
    assert wrong


def test_deadlock_is_reported():
    config = BASE
    graph = single(np.random.default_rng(1), (1, 6, 6, 8), filters=8, kernel=(3, 3))
    program = compile_graph(graph, config)
    instructions = copy.deepcopy(program.instructions)
    next(i for i in instructions if i.name == "FILTER_RUN").wait |= 1 << isa.Unit.POST
    memory = program.image(inputs_of(graph, np.random.default_rng(1)))[program.data_offset :].copy()
    with pytest.raises(Deadlock, match="FILTER_RUN"):
        FunctionalMachine(config, memory).run(instructions)


def test_token_counts_are_bounded():
    """Not each of many LOADs gets a token, but every read still waits for one that is late enough."""
    loads = [Op(isa.make("LOAD", words=1, rows=1), writes=[("act", i, i + 1)]) for i in range(70)]
    reads = [Op(isa.make("IFMAP_RUN"), reads=[("act", i, i + 1)]) for i in range(70)]
    synchronise([*loads, *reads], queue_depth=16)
    signals = [i for i, op in enumerate(loads) if op.instruction.signal]
    waits = [i for i, op in enumerate(reads) if op.instruction.wait]
    assert 1 < len(signals) == len(waits) <= 63
    for i in range(70):
        assert signals[sum(wait <= i for wait in waits) - 1] >= i


def test_a_stride_signals_nothing():
    """Where only some operations get a token, none does that is never complete; the functional machine would say so."""
    ops = []
    for i in range(70):
        ops.append(Op(isa.make("LOAD_STRIDE", dram_stride=i)))
        ops.append(Op(isa.make("LOAD", words=1, rows=1), writes=[("act", i, i + 1)]))
    ops.append(Op(isa.make("LOAD_STRIDE", dram_stride=1)))
    ops += [Op(isa.make("IFMAP_RUN"), reads=[("act", i, i + 1)]) for i in range(70)]
    synchronise(ops, queue_depth=16)
    assert 1 < sum(op.instruction.signal != 0 for op in ops) <= 63
    assert not any(op.instruction.signal for op in ops if op.instruction.name in isa.SILENT)
    stride = isa.make("STORE_STRIDE")
    stride.signal = 1
    with pytest.raises(ValueError, match="STORE_STRIDE.*signals, but is never complete"):
        FunctionalMachine(BASE, np.zeros(64, np.uint8)).run([stride, isa.make("END")])


def test_tokens_that_a_deep_queue_holds_are_refused():
    ops = []
    for i in range(70):
        ops.append(Op(isa.make("LOAD", words=1, rows=1), writes=[("act", i, i + 1)]))
        ops.append(Op(isa.make("IFMAP_RUN"), reads=[("act", i, i + 1)]))
    with pytest.raises(TokenOverflow, match="LOAD could be more than 63 tokens ahead of IFMAP"):
        synchronise(ops, queue_depth=64)


def test_too_large_a_layer_is_named():
    node = single(np.random.default_rng(0), (1, 16, 20, 400), filters=8, kernel=(3, 3))
    with pytest.raises(CompileError, match="node 'conv': 3x3 convolution .*act_words"):
        compile_graph(node, BASE.replace(act_words=256))


def test_too_wide_an_ifmap_is_named():
    graph = single(np.random.default_rng(0), (1, 9, 9000, 8), filters=8, kernel=(3, 3), padding=((1, 1), (1, 1)))
    with pytest.raises(CompileError, match="node 'conv' is too large for the instruction set: IFMAP_RUN.x must be"):
        compile_graph(graph, BASE.replace(act_words=1 << 17))


def test_pack_and_unpack():
    values = np.random.default_rng(3).integers(-128, 128, (2, 3, 5, 11)).astype(np.int8)
    data = pack(values, 8)
    assert data.shape == (2, 3, 5, 16) and not data[..., 11:].any()
    np.testing.assert_array_equal(unpack(data.reshape(-1), values.shape, 8), values)


def test_inputs_are_checked():
    program = compile_graph(single(np.random.default_rng(0), (1, 8, 8, 3), filters=8, kernel=(3, 3)), BASE)
    with pytest.raises(ValueError, match="no input 'z'; inputs are: x"):
        program.image({"z": np.zeros((1, 8, 8, 3), np.int8)})
    with pytest.raises(ValueError, match=r"input 'x' must be int8 \[1, 8, 8, 3\], not uint8 \[1, 8, 8, 3\]"):
        program.image({"x": np.zeros((1, 8, 8, 3), np.uint8)})


def test_a_node_without_lowering_is_named():
    class Strange(g.Table):
        pass

    graph = g.Graph(
        name="s", tensors=[g.Tensor("x", (1, 4, 4, 8)), g.Tensor("y")], inputs=["x"], outputs=["y"],
        nodes=[Strange(name="odd", inputs=("x",), output="y", table=np.zeros(256, np.int8))],
    )  # fmt: skip
    with pytest.raises(CompileError, match="node 'odd': no lowering of Strange"):
        compile_graph(graph, BASE)
