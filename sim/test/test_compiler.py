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
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.functional import Deadlock, FunctionalMachine

sys.path.insert(0, str(Path(__file__).parent))

from networks import everything, inputs_of, random_convolution, single  # noqa: E402
from rowcast import isa  # noqa: E402

BASE = preset("base")
CONFIGS = {
    "base": BASE,
    "tiny": preset("tiny"),
    "small": preset("small"),
    "noc 2": BASE.replace(noc_words=2, dram_bytes=16),
    "3x3x4": BASE.replace(rows=3, columns=3, lanes=4, dram_bytes=4),
    "wide memory": BASE.replace(lanes=4, dram_bytes=16, rows=2, columns=2, act_words=4096),
    "small memories": BASE.replace(act_words=1024, filter_buffer_words=1024),
    "lanes 16": BASE.replace(rows=2, columns=2, lanes=16, dram_bytes=16),
}


def check(graph, config, seed, *, orders=2):
    """Compile, run in several orders, compare every tensor."""
    inputs = inputs_of(graph, np.random.default_rng(seed))
    want = evaluate(graph, inputs)
    program = compile_graph(graph, config, keep_all=True)
    image = program.image(inputs)
    for order in range(orders):
        memory = image[program.data_offset :].copy()
        FunctionalMachine(config, memory, seed=order).run(copy.deepcopy(program.instructions))
        assert set(program.tensors) == set(graph.tensors)
        for name in program.tensors:
            offset, size = program.span(name)
            got = program.tensor(name, memory[offset - program.data_offset :][:size])
            np.testing.assert_array_equal(got, want[name], f"tensor {name}, seed {seed}, order {order}")
    return program


@pytest.mark.parametrize("seed", range(24))
def test_random_convolutions(seed):
    config = list(CONFIGS.values())[seed % len(CONFIGS)]
    check(random_convolution(np.random.default_rng(seed)), config, seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_node(name):
    rng = np.random.default_rng(7)
    check(everything(rng, (2, 13, 11, 3)), CONFIGS[name], 7)


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
    ops = [Op(isa.make("LOAD", words=1, rows=1), writes=[("act", i, i + 1)]) for i in range(70)]
    ops += [Op(isa.make("IFMAP_RUN"), reads=[("act", i, i + 1)]) for i in range(70)]
    with pytest.raises(TokenOverflow, match="LOAD could be more than 63 tokens ahead of IFMAP"):
        synchronise(ops, queue_depth=16)


def test_too_large_a_layer_is_named():
    node = single(np.random.default_rng(0), (1, 64, 200, 64), filters=8, kernel=(3, 3))
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
