"""The whole accelerator in Amaranth's simulator, from one small convolution."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import preset
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.machine import AmaranthBackend
from rowcast_sim.pysim import EngineError
from rowcast_sim.results import compare
from rowcast_sim.verilated import SimulationStuck

sys.path.insert(0, str(Path(__file__).parent))

from networks import inputs_of, single  # noqa: E402

CONFIG = preset("tiny").replace(lanes=4, dram_bytes=4)


def problem():
    rng = np.random.default_rng(1)
    graph = single(rng, (1, 4, 4, 4), filters=4, kernel=(2, 2))
    return graph, inputs_of(graph, rng), compile_graph(graph, CONFIG)


def test_a_convolution():
    graph, inputs, program = problem()
    with AmaranthBackend(program) as backend:
        run = backend.run(inputs)
    assert "y" in run.tensors and not compare(run.tensors, evaluate(graph, inputs))
    assert run.cycles == sum(run.causes.values()) > 0


def test_the_engine_s_error_is_reported():
    _, inputs, program = problem()
    program.instructions = program.instructions[:-1]  # without END
    with AmaranthBackend(program) as backend, pytest.raises(EngineError, match="PROGRAM"):
        backend.run(inputs)


def test_the_cycle_limit_says_where_the_queues_stand():
    _, inputs, program = problem()
    with AmaranthBackend(program) as backend, pytest.raises(SimulationStuck, match="QUEUES"):
        backend.run(inputs, limit=50)
