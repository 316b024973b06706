"""The benchmarks' figures, goals, tables and netlist walks, without a long run."""

import dataclasses
import json
import subprocess
import sys
from collections import Counter

import click
import pytest
from click.testing import CliRunner
from rowcast.config import preset
from rowcast.registers import CAUSES, COUNTERS
from rowcast_models.zoo import NETWORKS
from rowcast_models.zoo.layers import LAYERS
from rowcast_sim.bench import bench
from rowcast_sim.bench.area import PATHS, Block, blocks, figures, multiplier_cost
from rowcast_sim.bench.area import tables as area_tables
from rowcast_sim.bench.goals import AREA, BATCHES, MAPPER, RESNET8, SPEED, SURVEY, VARIANTS, Goal, layer_goal
from rowcast_sim.bench.graph_run import GraphRun, LayerRun, run_graph
from rowcast_sim.bench.layers import LayerFigures, bounds, select, shortfalls, tables, total_share
from rowcast_sim.bench.mapper import BLOCK, block_tables, reached
from rowcast_sim.bench.mapper import Figures as MapperFigures
from rowcast_sim.bench.mapper import measure as measure_network
from rowcast_sim.bench.mapper import shortfalls as mapper_shortfalls
from rowcast_sim.bench.mapper import tables as mapper_tables
from rowcast_sim.bench.netlist import cells_by_module, count_cells, luts, paths
from rowcast_sim.bench.output import Stopwatch, Table, deliver, outputs, verdict
from rowcast_sim.bench.speed import Emission
from rowcast_sim.bench.speed import figures as speed_figures
from rowcast_sim.bench.speed import tables as speed_tables
from rowcast_sim.bench.tiny import RESNET8_CONFIG, resnet8_cycles, resnet8_table
from rowcast_sim.synthesis import synthesise
from rowcast_sim.tools import ToolError

# Goals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal, good, bad, text", [
    (Goal(name="x", unit="s", most=10), 10, 11, "x: 11 s, goal at most 10 s"),
    (Goal(name="x", unit="%", least=0.9), 0.9, 0.85, "x: 85.0%, goal at least 90.0%"),
    (Goal(name="x", most=26000), 1, 26001, "x: 26,001, goal at most 26,000"),
])  # fmt: skip
def test_goal(goal, good, bad, text):
    assert goal.met(good) and goal.shortfall(good) is None
    assert not goal.met(bad) and goal.shortfall(bad) == text


@pytest.mark.parametrize("bad", [{}, {"most": 1, "least": 1}])
def test_goal_has_one_bound(bad):
    with pytest.raises(ValueError, match="must have one of most and least"):
        Goal(name="x", **bad)


def test_every_layer_has_a_goal():
    for spec in LAYERS:
        assert 0 < spec.goal < 1, spec.name
        assert spec.name in layer_goal(spec).name


# Layers ---------------------------------------------------------------------------------------------------------------


def counters(**some):
    return {**dict.fromkeys(COUNTERS, 0), **some}


def layer(spec, *, cycles=1000, macs=115_200, difference="", **some):
    base = preset("base")
    return LayerFigures(
        name=spec.name, mapping="", macs=macs, cycles=cycles, predicted=990,
        utilisation=macs / (cycles * base.num_macs),
        bounds=bounds(counters(**some), macs, base, "half"),
        causes={**dict.fromkeys(CAUSES, 0), "computing": 900, "load": cycles - 900},
        instruction_bytes=160, memory_bytes=16_000, seconds=0.5, core_seconds=0.25, difference=difference,
    )  # fmt: skip


def spec_named(name):
    (spec,) = select([name])
    return spec


def test_bounds():
    base = preset("base")
    run = counters(read_beats=70, write_beats=30, filter_flits=50, ifmap_flits=60, psums=40)
    half = bounds(run, 1281, base, "half")
    assert half == {"multipliers": 11, "memory": 100, "filter bus": 50, "ifmap bus": 60, "drain": 40}
    assert bounds(run, 1280, base, "full") == {**half, "multipliers": 10, "memory": 70}


def test_select():
    assert select([]) == list(LAYERS)
    assert [spec.name for spec in select(["conv1_1", "fc"])] == ["VGG-16 CONV1_1", "FC 4096-1000"]
    with pytest.raises(ValueError, match="no layer has 'CONV9' in its name; layers are: AlexNet CONV1, "):
        select(["CONV9"])


def test_layer_figures():
    spec = spec_named("VGG-16 CONV3_2")
    result = layer(spec, read_beats=300, write_beats=20, psums=10)
    assert result.limit == "multipliers" and result.bounds["multipliers"] == 900
    assert result.utilisation == 0.9 and result.rate == 115_200 * 4 and result.instruction_share == 0.01
    assert result.reached(spec) == 0.9
    assert result.reached(spec_named("FC")) == result.memory_share == 0.32


def test_layer_shortfalls():
    vgg, alexnet, fc = spec_named("VGG-16 CONV3_2"), spec_named("AlexNet CONV3"), spec_named("FC")
    assert shortfalls([alexnet], [layer(alexnet)]) == []  # 0.90 of 0.90
    assert shortfalls([vgg], [layer(vgg)]) == ["VGG-16 CONV3_2, utilisation: 90.0%, goal at least 95.0%"]
    assert shortfalls([fc], [layer(fc, read_beats=950)]) == []
    assert shortfalls([fc], [layer(fc, read_beats=890)]) == [
        "FC 4096-1000, share of the memory bound: 89.0%, goal at least 90.0%"
    ]
    wrong = layer(alexnet, difference="tensor 'ofmap': 1 of 2 elements differ")
    assert shortfalls([alexnet], [wrong]) == [
        "AlexNet CONV3 DIFFERS from the golden: tensor 'ofmap': 1 of 2 elements differ"
    ]


def test_instruction_share_is_of_all_layers():
    spec = spec_named("AlexNet CONV3")
    many = LayerFigures(**{**vars(layer(spec)), "instruction_bytes": 4800})
    assert total_share([layer(spec), many]) == 4960 / 32_000
    assert any("instructions" in line for line in shortfalls([spec] * 2, [layer(spec), many]))


def test_layer_tables():
    vgg, fc = spec_named("VGG-16 CONV3_2"), spec_named("FC")
    specs, results = [vgg, fc], [layer(vgg), layer(fc, read_beats=950)]
    reached, limits, spent = (table.markdown() for table in tables(specs, results, preset("base")))
    assert "| VGG-16 CONV3_2 | 0.1 M | 1,000 | 90.0% ! | 95.0% | 0.5 M |" in reached
    assert "| FC 4096-1000 | 0.1 M | 1,000 | 95.0%* | 90.0%* | 0.5 M |" in reached
    assert "| FC 4096-1000 | memory | 950 | 1,000 (1.05 x) | 990 | -1.0% |" in limits
    assert "| layer | computing | load | instruction bytes |" in spent
    assert "| VGG-16 CONV3_2 | 90.0% | 10.0% | 1.0% |" in spent
    wrong = tables([vgg], [layer(vgg, difference="x")], preset("base"))[0].markdown()
    assert "DIFFERS !" in wrong


# Netlists -------------------------------------------------------------------------------------------------------------


def cell(kind, inputs=(), outputs=(), **parameters):
    """A cell whose inputs and outputs are {port: bit}."""
    inputs, outputs = dict(inputs), dict(outputs)
    return {
        "type": kind,
        "parameters": parameters,
        "port_directions": {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")},
        "connections": {port: [bit] for port, bit in {**inputs, **outputs}.items()},
    }


def netlist(**cells):
    return {"cells": cells}


def ram(read, write=1, **parameters):
    return cell("DP16KD", {"ADA0": 90, "DIA0": write}, {"DOB0": read}, **parameters)


def multiplier(a, p, **parameters):
    return cell("MULT18X18D", {"A0": a, "B0": 99}, {"P0": p}, **parameters)


def walk(start, end, **cells):
    return [str(path) for path in paths(netlist(**cells), start, end)]


INTO_MULTIPLIER = ("DP16KD", "MULT18X18D")
INTO_RAM = ("MULT18X18D", "DP16KD")


def test_path_into_multiplier():
    logic = cell("LUT4", {"A": 10, "B": 2}, {"Z": 11})
    carry = cell("CCU2C", {"A0": 11}, {"S0": 12, "COUT": 13})
    assert walk(*INTO_MULTIPLIER, ram=ram(10), mult=multiplier(10, 20)) == ["ram -> mult"]
    assert walk(*INTO_MULTIPLIER, ram=ram(10), lut=logic, add=carry, mult=multiplier(12, 20)) == [
        "ram -> lut -> add -> mult"
    ]
    assert walk(*INTO_MULTIPLIER, ram=ram(10), lut=logic, add=carry, mult=multiplier(14, 20)) == []


def test_path_through_distributed_memory():
    read = cell("TRELLIS_DPR16X4", {"RAD": 10}, {"DO": 11})
    written = cell("TRELLIS_DPR16X4", {"WAD": 10, "DI": 10, "RAD": 3}, {"DO": 11})
    assert walk(*INTO_MULTIPLIER, ram=ram(10), read=read, mult=multiplier(11, 20)) == ["ram -> read -> mult"]
    assert walk(*INTO_MULTIPLIER, ram=ram(10), written=written, mult=multiplier(11, 20)) == []


def test_flip_flop_cuts_a_path():
    register = cell("TRELLIS_FF", {"DI": 10}, {"Q": 11})
    assert walk(*INTO_MULTIPLIER, ram=ram(10), register=register, mult=multiplier(11, 20)) == []
    assert walk(*INTO_RAM, register=register, mult=multiplier(30, 10), ram=ram(40, write=11)) == []


def test_registers_inside_cells_cut_a_path():
    both = {"REG_INPUTA_CLK": "CLK0", "REG_INPUTB_CLK": "CLK0"}
    assert walk(*INTO_MULTIPLIER, ram=ram(10, REGMODE_B="OUTREG"), mult=multiplier(10, 20)) == []
    assert walk(*INTO_MULTIPLIER, ram=ram(10, REGMODE_A="OUTREG"), mult=multiplier(10, 20)) == ["ram -> mult"]
    one = {"REG_INPUTA_CLK": "CLK0", "REG_INPUTB_CLK": "NONE"}
    second = {"after": multiplier(20, 21)}
    assert walk(*INTO_MULTIPLIER, ram=ram(10), mult=multiplier(10, 20, **one), **second) == [
        "ram -> mult", "ram -> mult -> after"
    ]  # fmt: skip
    assert walk(*INTO_RAM, mult=multiplier(10, 20, **both), ram=ram(40, write=20)) == []
    assert walk(*INTO_RAM, mult=multiplier(10, 20, REG_OUTPUT_CLK="CLK0"), ram=ram(40, write=20)) == []


def test_path_into_ram():
    logic = cell("LUT4", {"A": 20}, {"Z": 21})
    assert walk(*INTO_RAM, mult=multiplier(10, 20), lut=logic, ram=ram(40, write=21)) == ["mult -> lut -> ram"]
    # A block RAM is not a way through.
    assert walk(*INTO_RAM, mult=multiplier(10, 20), one=ram(40, write=20), two=ram(41, write=40)) == ["mult -> one"]


def test_constants_are_not_a_path():
    assert walk(*INTO_MULTIPLIER, ram=ram("x"), mult=multiplier("x", 20)) == []


def test_loop_ends():
    around = {"one": cell("LUT4", {"A": 10, "B": 12}, {"Z": 11}), "two": cell("LUT4", {"A": 11}, {"Z": 12})}
    assert walk(*INTO_MULTIPLIER, ram=ram(10), **around, mult=multiplier(12, 20)) == ["ram -> one -> two -> mult"]


def test_unknown_cell():
    with pytest.raises(ValueError, match="not known whether a path leads through a cell of type 'ALU54B'"):
        walk(*INTO_MULTIPLIER, alu=cell("ALU54B", {"A0": 1}, {"R0": 2}))


def hierarchy():
    """A top with 20 LUT4 and two PEs of 40 LUT4 and 1 CCU2C and a block RAM, and a small one."""
    pe = {f"lut{i}": cell("LUT4") for i in range(40)} | {"add": cell("CCU2C"), "ram": cell("DP16KD")}
    top = {f"lut{i}": cell("LUT4") for i in range(20)}
    top |= {"pe0_0": cell("pe"), "pe0_1": cell("pe"), "tiny": cell("tiny")}
    return {
        "rowcast": netlist(**top), "pe": netlist(**pe), "tiny": netlist(lut=cell("LUT4")),
        "LUT4": {"attributes": {"blackbox": "1"}, "cells": {}},
    }  # fmt: skip


def test_cells_by_module():
    totals = cells_by_module(hierarchy())
    assert set(totals) == {"rowcast", "pe", "tiny"}
    assert totals["rowcast"] == {"LUT4": 101, "CCU2C": 2, "DP16KD": 2}
    assert luts(totals["rowcast"]) == 105
    assert luts(count_cells(netlist(a=cell("TRELLIS_DPR16X4"), b=cell("TRELLIS_FF"), c=cell("L6MUX21")))) == 4


def test_blocks():
    assert blocks(hierarchy()) == [
        Block("rowcast", 0, 1, 105, 0, 0, 2),
        Block("2 x pe", 1, 2, 84, 0, 0, 2),
    ]
    assert len(blocks(hierarchy(), deepest=0)) == 1


def test_area_figures():
    flat = netlist(ram=ram(10), lut=cell("LUT4", {"A": 10}, {"Z": 11}), mult=multiplier(11, 20), two=ram(40, write=20))
    values, broken = figures(preset("tiny"), flat=flat, array=netlist(**{f"lut{i}": cell("LUT4") for i in range(720)}))
    assert values == {
        "lut_per_mac": 90.0, "lut": 1, "multipliers": 1, "block_rams": 2, "ram_to_multiplier": 1,
        "multiplier_to_ram": 1,
    }  # fmt: skip
    assert broken == ["ram -> lut -> mult", "mult -> two"]
    assert set(values) == set(AREA)
    shown, by_block = area_tables(values, blocks(hierarchy()), count_cells(flat))
    assert "| array, LUT4 per MAC | 90.0 | at most 90.0 |" in shown.markdown()
    assert "| paths from a block RAM into a multiplier | 1 ! | at most 0 |" in shown.markdown()
    assert "2 x pe | 84 | 0 | 0 | 2 |" in by_block.markdown()


def test_area_of_multipliers_in_luts():
    """What they cost is the difference of two kinds of PEs; sizes without a goal are no misses."""
    plain, of_luts = Block("16 x pe", 3, 16, 1600, 3200, 128, 96), Block("8 x pe", 3, 8, 5408, 4160, 0, 48)
    assert multiplier_cost([plain, of_luts], 8) == ((676 - 100) / 8, (520 - 200) / 8)
    assert multiplier_cost([plain], 8) is None
    values = {"lut_per_mac": 99.0, "lut": 30000, "multipliers": 148, "block_rams": 200, "ram_to_multiplier": 0, "multiplier_to_ram": 1}
    cells = Counter(TRELLIS_FF=5)
    shown, _ = area_tables(values, [plain, of_luts], cells, goals={key: AREA[key] for key in PATHS}, cost=(72.0, 40.0))
    text = shown.markdown()
    assert "| array, LUT4 per MAC | 99.0 |  |" in text and "| 72.0, 40.0 |  |" in text
    assert "| paths from a multiplier into a block RAM | 1 ! | at most 0 |" in text


VERILOG = """
module top(input clk, input [8:0] address, input [7:0] data, input write, output reg [15:0] product);
  reg [7:0] memory [511:0];
  reg [7:0] word, register;
  always @(posedge clk) begin
    if (write) memory[address] <= data;
    word <= memory[address];
    register <= word;
    product <= {word} * {2{data[3:0]}};
  end
endmodule
"""


@pytest.mark.parametrize("operand, number", [("word", 1), ("register", 0)])
def test_synthesis(tmp_path, monkeypatch, operand, number):
    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path))
    text, steps = VERILOG.replace("{word}", operand), []
    netlist = synthesise(text, top="top", progress=steps.append)
    module = netlist.modules["top"]
    cells = count_cells(module)
    assert (cells["DP16KD"], cells["MULT18X18D"]) == (1, 1), cells
    assert len(paths(module, *INTO_MULTIPLIER)) == number
    assert len(steps) > 10
    steps.clear()
    assert "DP16KD #(" in netlist.verilog()
    assert synthesise(text, top="top", progress=steps.append) == netlist
    assert not steps, "made again"


def test_output_registers(tmp_path, monkeypatch):
    """The flip-flops behind the block RAM are its own, in the JSON netlist and in the Verilog."""
    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path))
    text = VERILOG.replace("{word}", "register").replace("reg [7:0] memory", "(* no_rw_check *) reg [7:0] memory")
    text = text.replace("word <= memory[address]", "word <= memory[~address]")  # two ports
    plain, folded = (synthesise(text, top="top", output_registers=folds) for folds in (False, True))
    flops = [count_cells(netlist.modules["top"])["TRELLIS_FF"] for netlist in (plain, folded)]
    assert flops[0] - flops[1] == 8
    assert '.REGMODE_B("OUTREG")' in folded.verilog() and "OUTREG" not in plain.verilog()
    with pytest.raises(ValueError, match="output registers are moved into the block RAMs of ecp5, not of ice40"):
        synthesise(text, family="ice40", top="top", output_registers=True)


def test_synthesis_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path))
    with pytest.raises(ToolError, match="(?s)did not accept the design:.*syntax error"):
        synthesise("module top(; endmodule", top="top")
    assert not list((tmp_path / "synthesis").iterdir())


def test_synthesis_for_ice40(tmp_path, monkeypatch):
    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path))
    cells = count_cells(synthesise(VERILOG.replace("{word}", "register"), family="ice40", top="top").modules["top"])
    assert (cells["SB_RAM40_4K"], cells["SB_MAC16"]) == (1, 1), cells
    with pytest.raises(ValueError, match="there is no synthesis for 'xc7'; families are: ecp5, ice40"):
        synthesise("", family="xc7")


# Speed ----------------------------------------------------------------------------------------------------------------


def test_speed_figures():
    result = layer(spec_named("VGG-16 CONV5_1"), macs=3_000_000)  # 12 M a second
    emissions = [
        Emission("base", 30.0, 9.0, 700_000, 70, {"rowcast.v": 700_000}),
        Emission("large", 60.0, 41.0, 3_000_001, 80, {"rowcast.v": 3_000_001}),
    ]
    values = speed_figures(result, emissions)
    assert values == {"rate": 12.0, "base": 9.0, "large": 41.0, "large_bytes": 3_000_001}
    assert [key for key, goal in SPEED.items() if not goal.met(values[key])] == ["rate", "large", "large_bytes"]
    simulation, emission = (table.markdown() for table in speed_tables(result, emissions))
    assert "| 12.0 M ! | 15 M |" in simulation
    assert "| base | 30.0 | 9.0 | 10.0 s | 700,000 |  | 70 |" in emission
    assert "| large | 60.0 | 41.0 ! | 40.0 s | 3,000,001 ! | 3,000,000 bytes | 80 |" in emission


def test_stopwatch():
    with Stopwatch() as watch:
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert 0 < watch.core_seconds
    assert watch.seconds > 0


# Mapper ---------------------------------------------------------------------------------------------------------------


def network(name, **some):
    figures = MapperFigures(
        network=name, preset="base", batch=1, macs=115_200, instructions=2000, compiled=9.0, predicted=2.0,
        evaluated=1.0, cycles=1000, macs_a_cycle=128, tensors=7, nodes=7,
    )  # fmt: skip
    return dataclasses.replace(figures, **some)


def test_mapper_networks():
    assert set(SURVEY) | set(VARIANTS) == set(NETWORKS) and not set(SURVEY) & set(VARIANTS)
    assert set(BATCHES) <= set(SURVEY)


def test_mapper_goals():
    survey = [network(name) for name in SURVEY]
    assert reached(survey) == {"compiled": 9.0, "predicted": 14.0} and set(reached(survey)) == set(MAPPER)
    assert reached(survey[:-1]) == {"compiled": 9.0}
    assert reached([network("vgg19"), network("resnet50", preset="large")]) == {}
    slow = [*survey[:-2], network("resnet50", compiled=61.0, predicted=8.5), survey[-1]]
    assert mapper_shortfalls(survey, None) == []
    assert mapper_shortfalls(slow, None) == [
        "ResNet-50 compiled: 61.0 s, goal at most 60.0 s",
        "the survey's networks predicted, together: 20.5 s, goal at most 20.0 s",
    ]
    assert mapper_shortfalls([network("vgg19", tensors=6)], graph_run(difference="tensor 'x'")) == [
        "vgg19: 6 of 7 tensors", f"{BLOCK} DIFFERS from the golden: tensor 'x'"
    ]  # fmt: skip


def test_mapper_tables():
    goals, rows = (table.markdown() for table in mapper_tables([network("resnet50", compiled=61.0)]))
    assert "| ResNet-50 compiled | 61.0 ! | at most 60.0 s |" in goals and "together" not in goals
    assert "| resnet50 | 1 | 115,200 | 2,000 | 61.0 | 2.0 | 1,000 | 90.0% | 7 of 7 |" in rows
    assert len(mapper_tables([network("vgg19")])) == 1 and mapper_tables([]) == []


def test_mapper_measures():
    found = measure_network("lenet5", 2, "tiny")
    assert found.macs == 2 * NETWORKS["lenet5"].definition.macs and 0 < found.utilisation < 1
    assert found.tensors == found.nodes > 5
    assert found.compiled > 0 and found.predicted > 0 and found.instructions > 100


# A graph on the RTL ---------------------------------------------------------------------------------------------------


def graph_run(*, cycles=399_000, **some):
    def layer(name, kind, macs, cycles, predicted):
        return LayerRun(name=name, kind=kind, macs=macs, cycles=cycles, predicted=predicted, bound="MACs")

    layers = (
        layer("conv", "Conv", 12_500_992, cycles - 1, cycles + 999), layer("add", "Elementwise", 0, 1, 1),
        layer("pool", "AveragePool", 0, 0, 0), layer("fc", "FullyConnected", 640, 3000, 3000),
    )  # fmt: skip
    run = GraphRun(layers=layers, cycles=cycles + 3000, predicted=cycles + 4000, macs_a_cycle=36, compared=4, equal=4)
    return dataclasses.replace(run, **some)


def test_graph_on_rtl():
    entry = NETWORKS["lenet5"]
    graph = entry.build(batch=1)
    run = run_graph(graph, preset("tiny"), {graph.inputs[0]: entry.inputs(1)})
    assert run.compared == run.equal == len(graph.nodes) and not run.difference
    assert sum(layer.cycles for layer in run.layers) == run.cycles
    assert run.macs == entry.definition.macs
    assert abs(run.predicted - run.cycles) < 0.02 * run.cycles


def test_block_tables():
    whole, layers = (table.markdown() for table in block_tables(graph_run(), "base"))
    assert "| Mixed_6b | 12,501,632 | 402,000 | 403,000 | +0.25% | 86.4% | 4 of 4 |" in whole
    assert "| conv | Conv | 12,500,992 | 398,999 | 399,999 | +0.25% | 87.0% | MACs |" in layers
    assert "| pool | AveragePool |  | 0 | 0 |  |  | MACs |" in layers
    wrong = block_tables(graph_run(equal=3, difference="x"), "base")[0].markdown()
    assert "| 3 of 4 ! |" in wrong


def test_resnet8_table():
    assert RESNET8_CONFIG.num_macs == 36 and RESNET8_CONFIG.dram_bytes == 4
    assert resnet8_cycles(graph_run()) == 399_000 and resnet8_cycles(graph_run(), predicted=True) == 400_000
    text = resnet8_table(graph_run()).markdown()
    assert "| 399,000 | at most 400,000 cycles | 87.0% | 4 of 4 |" in text
    assert "| Rowcast | RTL, all layers | 402,000 |  | 86.4% |  |" in text
    assert "| NNgen | 36 + 4 MACs, measured | 445,474 |  | 78.0% |  |" in text
    assert "| 400,001 ! |" in resnet8_table(graph_run(cycles=400_001)).markdown()
    assert RESNET8.shortfall(400_001) == "ResNet-8 on 36 MACs, CONV layers: 400,001 cycles, goal at most 400,000 cycles"


# Output ---------------------------------------------------------------------------------------------------------------


def command(lines, *, failed=False):
    """A benchmark that measured one figure."""

    @click.command()
    @outputs
    def run(**files):
        table = Table("Figures", ("what", "value"), note="A note.")
        table.add("a | b", verdict("3", not lines))
        deliver("Title", "Made so.", [table], {"value": 3}, lines, failed=failed, **files)

    return run


@pytest.mark.parametrize("lines, failed, options, status", [
    ([], False, [], 0), ([], False, ["--check"], 0), (["x: 3"], False, [], 0), (["x: 3"], False, ["--check"], 1),
    (["x DIFFERS"], True, [], 1),
])  # fmt: skip
def test_status(lines, failed, options, status):
    result = CliRunner().invoke(command(lines, failed=failed), options)
    assert result.exit_code == status, result.output
    assert all(line in result.output for line in lines)
    assert ("Every figure reaches its goal" in result.output) == (not lines)


def test_files(tmp_path):
    page, data = tmp_path / "docs" / "page.md", tmp_path / "figures.json"
    result = CliRunner().invoke(command(["x: 3"]), ["--json", str(data), "--markdown", str(page)])
    assert result.exit_code == 0, result.output
    assert json.loads(data.read_text()) == {"title": "Title", "value": 3, "shortfalls": ["x: 3"]}
    assert page.read_text() == (
        "# Title\n\nMade so.\n\n## Figures\n\n| what | value |\n|---|---:|\n| a \\| b | 3 ! |\n\nA note.\n\n"
        "## Falls short of its goal\n\n- x: 3\n"
    )


def test_table_checks_its_rows():
    with pytest.raises(ValueError, match="must have 2 cells, not 1"):
        Table("x", ("a", "b")).add("1")


def test_group():
    result = CliRunner().invoke(bench, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in ("layers", "area", "speed", "mapper"))
    result = CliRunner().invoke(bench, ["layers", "--layer", "CONV9"])
    assert result.exit_code == 2 and "no layer has 'CONV9' in its name" in result.output
    result = CliRunner().invoke(bench, ["mapper", "--network", "resnet18"])
    assert result.exit_code == 2 and "'asymmetric-block'" in result.output
