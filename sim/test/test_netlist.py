"""The netlist that Yosys makes, with its cells' models, in place of the Verilog: for ECP5 and iCE40, and with a fault."""

import random
import re

import numpy as np
import pytest
from rowcast.config import Config, preset
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.bench.after_synthesis import GateRun, shortfalls, tables
from rowcast_sim.cells import cell_models
from rowcast_sim.gates import gate_model, netlist_text, sample_graph
from rowcast_sim.machine import RtlBackend
from rowcast_sim.results import compare
from rowcast_sim.tools import ToolError
from rowcast_sim.verilated import Model, SimulationError, Timing

# The smallest of everything: synthesis and compilation are what takes long.
LEAST = Config(
    rows=1, columns=1, lanes=4, filter_words=32, ifmap_words=32, psum_pixels=8, act_words=1024, act_banks=1,
    filter_buffer_words=256, param_channels=16, dram_bytes=4, queue_depth=8, burst_beats=8, outstanding_reads=1,
    counter_width=32, lut_pes=1,
)  # fmt: skip
MICRO = preset("micro")  # fits an iCE40UP5K
GRAPHS = {config: sample_graph(size=8, channels=3, filters=8, vector=not config.compact) for config in (LEAST, MICRO)}
LIMIT = {LEAST: 20_000, MICRO: 100_000}  # cycles: twice as many as it takes, or more
FAULTS = 4
LUT = re.compile(r"^  LUT4 #\(\n    \.INIT\(16'h(\w+)\)\n  \) (\S+) ", re.MULTILINE)
# A LUT that has the complement of its INIT when the simulation is started with its number.
CHANGING = """
module changing_lut(input A, B, C, D, output Z);
  parameter INIT = 16'h0, WHICH = 0;
  reg [31:0] fault;
  initial if (!$value$plusargs("fault=%d", fault)) fault = 0;
  assign Z = fault == WHICH ? ~INIT[{D, C, B, A}] : INIT[{D, C, B, A}];
endmodule
"""


def changeable(netlist, seed):
    """The netlist with `FAULTS` of its LUTs, of the datapath, changeable by `+fault=1` and so on."""
    found = [match for match in LUT.finditer(netlist) if re.match(r"\\engine\.(array|post)\.", match[2])]
    chosen = random.Random(seed).sample(found, FAULTS)
    for number, match in enumerate(chosen, start=1):
        init = f"  changing_lut #(\n    .INIT(16'h{match[1]}), .WHICH({number})\n  ) {match[2]} "
        netlist = netlist.replace(match[0], init)
    return netlist + CHANGING, [match[2] for match in chosen]


def differences(gates, config, *, start):
    """What a model makes otherwise than the golden, after all tensors have been compared."""
    graph = GRAPHS[config]
    program = compile_graph(graph, config, keep_all=True)
    inputs = {"ifmap": np.random.default_rng(start).integers(-128, 128, graph.tensors["ifmap"].shape, np.int8)}
    model = Model(gates.program, start=start, arguments=gates.arguments)
    with RtlBackend(program, model=model, timing=Timing(latency=9, stall_percent=20, seed=start)) as backend:
        tensors = backend.run(inputs, limit=LIMIT[config]).tensors
    assert set(tensors) == set(graph.tensors)
    return compare(tensors, evaluate(graph, inputs))


@pytest.fixture(scope="module")
def ecp5():
    """The model, and the names of the LUTs that can be changed."""
    netlist, names = changeable(netlist_text(LEAST, "ecp5"), seed=1)
    return gate_model(netlist, "ecp5", quiet=True), names


def test_ecp5(ecp5):
    """Every tensor, from several sets of random initial values, with stalls."""
    for start in (1, 2, 3):
        assert not differences(ecp5[0], LEAST, start=start), f"start {start}"


@pytest.mark.parametrize("fault", range(1, FAULTS + 1))
def test_one_wrong_lut_is_found(ecp5, fault):
    gates, names = ecp5
    try:
        found = differences(Model(gates.program, arguments=[f"+fault={fault}"]), LEAST, start=1)
    except SimulationError:
        return  # it stops, or never ends
    assert found, f"{names[fault - 1]} is not in the way of any value"


def test_ice40():
    gates = gate_model(netlist_text(MICRO, "ice40"), "ice40", quiet=True)
    for start in (1, 2, 3):
        assert not differences(gates, MICRO, start=start), f"start {start}"


def test_initial_contents_are_refused():
    cell = "  SB_RAM40_4K #(\n    .INIT_3(256'h{})\n  ) ram (\n  );\n"
    assert "module SB_RAM40_4K" in cell_models("ice40", cell.format("00x0"))
    with pytest.raises(ToolError, match=r"contents at first \(INIT_3\)"):
        cell_models("ice40", cell.format("0100"))


def test_report():
    run = GateRun(2, (("conv", 100, 100), ("pool", 50, 51)), ("conv",), ("tensor 'pool': 1 of 4",), 0.5)
    assert shortfalls([run]) == ["start 2: tensor 'pool': 1 of 4", "start 2: pool takes 51 cycles, on the RTL 50"]
    layers, tensors = (table.markdown() for table in tables([run], LEAST))
    assert "| conv | 100 | 100 |" in layers and "| pool | 50 | 51 ! |" in layers
    assert "| 2 | 1: conv | 1 ! | 0.5 |" in tensors
