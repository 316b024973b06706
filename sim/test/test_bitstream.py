"""The flow from a board to its bitstream: which tools, what is refused, which seed is kept; the tools themselves are stood in for."""

import json
import sys

import pytest
from click.testing import CliRunner
from rowcast.boards import BOARDS, BoardError, board
from rowcast.boards.estimate import check_fits
from rowcast.config import preset
from rowcast_sim.bitstream import flow as flow_module
from rowcast_sim.bitstream import toolchain
from rowcast_sim.bitstream.flow import Flow
from rowcast_sim.bitstream.toolchain import PYPI, TOOLS, Tool, find_tool, run_tool
from rowcast_sim.cli import main
from rowcast_sim.tools import ToolError

# A nextpnr whose Fmax depends on the seed and that counts its placements, a packer that copies, a Yosys that counts how often it ran.
PLACER = """
import json, sys
options = dict(zip(sys.argv[1:], sys.argv[2:]))
if "--no-route" in sys.argv:
    with open("placements", "a") as file:
        file.write(options["--seed"])
    open(options["--write"], "w").write("placed with seed " + options["--seed"])
    sys.exit()
if "fails" in open("top.lpf").read():
    sys.exit("ERROR: cut off")
mhz = {"1": 90.0, "2": 104.5, "3": 97.0}[options["--seed"]]
clock = float(options["--freq"])
report = {"fmax": {"$glbnet$clk": {"achieved": mhz, "constraint": clock}, "slow": {"achieved": 300.0, "constraint": 25.0}},
          "utilization": {"TRELLIS_COMB": {"used": 30, "available": 100}, "DP16KD": {"used": 208, "available": 208}}}
json.dump(report, open(options["--report"], "w"))
open(options["--textcfg"], "w").write(open(options["--json"]).read())
print("Info: Packing ...")
"""
PACKER = "import sys; open(sys.argv[3], 'w').write(open(sys.argv[2]).read())"
YOSYS = """
open("top.json", "w").write('{"modules": {}}')
with open("runs", "a") as file:
    file.write("x")
"""


@pytest.fixture
def tools(monkeypatch):
    texts = {"yosys": YOSYS, "nextpnr-ecp5": PLACER, "ecppack": PACKER}
    monkeypatch.setattr(flow_module, "find_tool", lambda name: Tool(name, (sys.executable, "-c", texts[name]), "1", PYPI))


def test_best_of_seeds(tools, tmp_path):
    chosen = board("ulx3s-25f")
    steps = []
    made = Flow(chosen, chosen.config, tmp_path, clock_hz=100e6, say=lambda *step: steps.append(step)).build(3)
    assert [placement.mhz for placement in made.placements] == [90.0, 104.5, 97.0]
    assert made.best.seed == 2 and made.best.met and made.median_mhz == 97.0
    assert made.path.name == "rowcast-ulx3s-25f.bit" and made.path.read_text() == "placed with seed 2"
    assert made.best.used["DP16KD"] == made.best.available["DP16KD"] == 208
    assert ("seed 2", "104.5 MHz") in steps
    # All is found again, even if fewer seeds are asked for, but not for another configuration.
    again = Flow(chosen, chosen.config, tmp_path, clock_hz=100e6).build(1)
    assert (tmp_path / "runs").read_text() == "x" and (tmp_path / "placements").read_text() == "123"
    assert again.best.seed == 2 and len(again.placements) == 3
    other = Flow(chosen, chosen.config.replace(queue_depth=8), tmp_path, clock_hz=100e6).build(1)
    assert (tmp_path / "runs").read_text() == "xx" and (tmp_path / "placements").read_text() == "1231"
    assert len(other.placements) == 1


def test_placement_survives_its_routing(tools, tmp_path):
    """A routing that was cut off is begun again from the placement that it had."""
    chosen = board("ulx3s-25f")
    flow = Flow(chosen, chosen.config, tmp_path, clock_hz=100e6)
    flow.prepare()
    flow.synthesise()
    pins = tmp_path / "top.lpf"
    text = pins.read_text()
    pins.write_text(text + "# fails")
    with pytest.raises(ToolError, match="cut off"):
        flow.place(1)
    assert not list(tmp_path.glob("*.config"))
    pins.write_text(text)
    assert flow.place(1).mhz == 90.0
    assert (tmp_path / "placements").read_text() == "1" and not list(tmp_path.glob("*.placed.json"))


def test_missed_clock_marks_the_bitstream(tools, tmp_path):
    run = CliRunner().invoke(
        main, ["bitstream", "--board", "ulx3s-25f", "--clock", "100", "--seeds", "1", "-o", str(tmp_path)], standalone_mode=False
    )
    assert run.return_value == 1  # the exit status
    assert "100 MHz is not reached" in run.output and "Fmax 90.0 MHz" in run.output
    assert (tmp_path / "rowcast-ulx3s-25f.misses-100MHz.bit").exists()
    figures = json.loads((tmp_path / "bitstream.json").read_text())
    assert figures["best_mhz"] == 90.0 and not figures["met"]


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_room_for_its_preset(name):
    chosen = board(name)
    found = check_fits(chosen, chosen.config)
    assert 0 < found.lut <= chosen.device.lut and 0 < found.multipliers <= chosen.device.multipliers
    assert 0 < found.block_rams <= chosen.device.block_rams


def test_too_large_is_refused_before_any_tool(monkeypatch, tmp_path):
    monkeypatch.setattr(flow_module, "find_tool", lambda name: pytest.fail("a tool was looked for"))
    with pytest.raises(BoardError, match=r"too large for ULX3S with LFE5U-25F: .* multipliers of 28, 213 block RAMs of 56"):
        check_fits(board("ulx3s-25f"), preset("base"))
    run = CliRunner().invoke(main, ["bitstream", "--board", "icebreaker", "--preset", "base", "-o", str(tmp_path / "out")])
    assert run.exit_code == 2 and "too large for iCEBreaker" in run.output and not (tmp_path / "out").exists()


def test_unknown_board():
    run = CliRunner().invoke(main, ["bitstream", "--board", "arty"])
    assert run.exit_code == 2 and "boards are: ulx3s-85f" in run.output


@pytest.mark.parametrize("name", TOOLS)
def test_missing_tool_names_its_package(monkeypatch, name):
    monkeypatch.setattr(toolchain, "_exists", lambda module: False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=f"{name} is missing: pip install {TOOLS[name][1]}"):
        find_tool(name)


def test_native_tools_first(monkeypatch, tmp_path):
    (tmp_path / "icepack").write_text("#!/bin/sh\n")
    (tmp_path / "icepack").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_tool("icepack").command == (str(tmp_path / "icepack"),)


def test_failure_shows_the_tools_own_error(tmp_path):
    code = "print('Info: Packing'); print('ERROR: Unable to place cell x'); raise SystemExit(3)"
    tool = Tool("nextpnr-ecp5", (sys.executable, "-c", code), "1", PYPI)
    with pytest.raises(ToolError, match=r"nextpnr-ecp5 failed: ERROR: Unable to place cell x \(log: .*place.log\)"):
        run_tool(tool, [], folder=tmp_path, log=tmp_path / "place.log")
    assert "Info: Packing" in (tmp_path / "place.log").read_text()
