"""One board's bitstream: Verilog, synthesis, placement and routing for several seeds, packing."""

import hashlib
import json
import re
import shutil
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rowcast.boards.clocks import pll_setting
from rowcast.cell_registers import VERSION, fold_registers

from .toolchain import find_tool, run_tool

__all__ = ["Bitstream", "Flow", "Placement"]

NAME = "top"
_MHZ = 1e6
# family: place and route, its device's options, packer, and the names of the files between them
_PLACERS = {"ecp5": ("nextpnr-ecp5", "ecppack"), "ice40": ("nextpnr-ice40", "icepack"), "gowin": ("nextpnr-himbaechel", "gowin_pack")}
_ENDINGS = {"ecp5": "bit", "ice40": "bin", "gowin": "fs"}
_STAGES = (
    (r"Packing", "packing"), (r"Running main analytical placer|Running Static placer", "placing"), (r"simulated annealing", "refining the placement"),
    (r"Routing (globals|global)", "routing clocks"), (r"(?i)setting up routing", "routing"), (r"Critical path report", "timing"),
)  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """One placed and routed design.

    Members: seed, mhz (Fmax of the system's clock), clock_mhz (that it has to reach), used and available (cells by nextpnr's names), stem (of its files).
    """

    seed: int
    mhz: float
    clock_mhz: float
    used: dict
    available: dict
    stem: str

    @property
    def met(self):
        """Whether the clock that the bitstream sets up is reached."""
        return self.mhz >= self.clock_mhz


@dataclass(frozen=True)
class Bitstream:
    """What a build made: the bitstream's path, the best placement, all of them, and the tools that made it."""

    path: Path
    best: Placement
    placements: tuple
    tools: tuple = field(default=())

    @property
    def median_mhz(self):
        """Median Fmax of the seeds."""
        return statistics.median(placement.mhz for placement in self.placements)


class Flow:
    """The tools for one board and configuration, in one folder.

    Synthesis is found again if the design is the same, and so is each seed's placement.

    Parameters
    ----------
    board : rowcast.boards.Board
    config : Config
    folder : where all files go; made if it is not there.
    clock_hz : frequency of the system [the board's].
    say : called with (step's name, text) as the work goes on.

    Raises
    ------
    ToolError
        A tool is missing or failed.
    BoardError, ClockError
        The board cannot do this.
    """

    def __init__(self, board, config, folder, *, clock_hz=None, memory=None, say=lambda step, text: None):
        self.board, self.config, self.say = board, config, say
        self.folder = Path(folder)
        board.check(config)
        self.clock_hz = clock_hz or board.clock_hz
        family = board.device.family
        self.setting = None
        if self.clock_hz != board.oscillator_hz:
            self.setting = pll_setting(family, board.oscillator_hz, self.clock_hz)
            self.clock_hz = self.setting.hz
        self.memory = memory
        placer, packer = _PLACERS[family]
        self.yosys, self.placer, self.packer = find_tool("yosys"), find_tool(placer), find_tool(packer)

    @property
    def family(self):
        """Family of the board's device."""
        return self.board.device.family

    @property
    def tools(self):
        """The tools that are used, as text."""
        return tuple(str(tool) for tool in (self.yosys, self.placer, self.packer))

    def build(self, seeds=1, *, jobs=1):
        """All steps; at least `seeds` placements, `jobs` of them at a time, of which the best becomes the bitstream.

        Placements of other seeds that the folder has already count, too.
        """
        self.prepare()
        self.synthesise()
        kept = (re.fullmatch(r"seed(\d+)", path.stem) for path in self.folder.glob("seed*.digest") if path.read_text() == self.digest)
        wanted = {*range(1, seeds + 1), *(int(found[1]) for found in kept if found)}
        with ThreadPoolExecutor(jobs) as pool:
            placements = list(pool.map(self.place, sorted(wanted)))
        best = max(placements, key=lambda placement: placement.mhz)
        return Bitstream(self.pack(best), best, tuple(placements), self.tools)

    # Steps ------------------------------------------------------------------------------------------------------------

    def prepare(self):
        """Verilog of the system, and the platform's netlist, script and constraints, as files."""
        from rowcast.boards.top import build_plan

        self.say("verilog", "writing the Verilog")
        plan = build_plan(self.board, self.config, setting=self.setting, clock_hz=self.clock_hz, memory=self.memory, name=NAME)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in plan.files.items():
            if not name.startswith("build_"):  # the tools are run from here
                data = content if isinstance(content, bytes) else content.encode()
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        versions = " ".join((*self.tools, f"registers {VERSION}"))
        self.digest = hashlib.sha256(plan.digest() + versions.encode()).hexdigest()[:16]

    def synthesise(self):
        """Yosys: `top.json`."""
        netlist, key = self.folder / self._netlist, self.folder / "synthesis.digest"
        if netlist.exists() and key.exists() and key.read_text() == self.digest:
            self.say("synthesis", "as before")
            return
        key.unlink(missing_ok=True)

        def on_line(line):
            if step := re.match(r"\d+\.(\d+)\. Executing (\w+) pass", line):
                self.say("synthesis", f"step {step[1]}, {step[2].lower()}")

        run_tool(self.yosys, [f"script {NAME}.ys"], folder=self.folder, log=self.folder / "synthesis.log", on_line=on_line)
        if self.family == "ecp5":
            modules = json.loads(netlist.read_text())
            rams, multipliers, flops = fold_registers(modules)
            self.say("synthesis", f"{flops} flip-flops became registers of {rams} block RAMs and {multipliers} multipliers")
            netlist.write_text(json.dumps(modules))
        key.write_text(self.digest)

    def place(self, seed):
        """Placement and routing with one seed; a clock that is not reached is no error here."""
        stem = f"seed{seed}"
        report, kept = self.folder / f"{stem}.json", self.folder / f"{stem}.digest"
        if not (report.exists() and kept.exists() and kept.read_text() == self.digest):
            kept.unlink(missing_ok=True)

            def on_line(line):
                for pattern, text in _STAGES:
                    if re.search(pattern, line):
                        self.say(f"seed {seed}", text)

            self._run_placer(stem, seed, ["--report", report.name], on_line)
            kept.write_text(self.digest)
        placement = self._read(report, seed, stem)
        self.say(f"seed {seed}", f"{placement.mhz:.1f} MHz")
        return placement

    def pack(self, placement):
        """The bitstream of a placement; one that misses its clock is marked so in its name."""
        self.say("packing", f"seed {placement.seed}")
        target = self.folder / f"{placement.stem}.{_ENDINGS[self.family]}"
        arguments = {
            "ecp5": ["--compress", f"{placement.stem}.config", target.name],
            "ice40": [f"{placement.stem}.asc", target.name],
            "gowin": ["-d", "GW1N-9C", "-o", target.name, "--sspi_as_gpio", "--mspi_as_gpio", f"{placement.stem}.pnr.json"],
        }[self.family]
        run_tool(self.packer, arguments, folder=self.folder, log=self.folder / "packing.log")
        mark = "" if placement.met else f".misses-{placement.clock_mhz:.0f}MHz"
        for old in self.folder.glob(f"rowcast-{self.board.name}*.{_ENDINGS[self.family]}"):
            old.unlink()
        path = self.folder / f"rowcast-{self.board.name}{mark}.{_ENDINGS[self.family]}"
        shutil.copyfile(target, path)
        return path

    # Inside -----------------------------------------------------------------------------------------------------------

    @property
    def _netlist(self):
        return f"{NAME}.syn.json" if self.family == "gowin" else f"{NAME}.json"

    def _run_placer(self, stem, seed, results, on_line):
        """nextpnr; for ECP5 in two steps, so that a placement of minutes survives if its routing of an hour is cut off."""
        shared = ["--seed", seed, "--freq", f"{self.clock_hz / _MHZ:.3f}", "--timing-allow-fail"]
        device, source, targets = self._placer_options(stem)
        if self.family == "ecp5":
            placed, key = self.folder / f"{stem}.placed.json", self.folder / f"{stem}.placed.digest"
            if not (placed.exists() and key.exists() and key.read_text() == self.digest):
                key.unlink(missing_ok=True)
                first = [*device, *self._placement, "--json", source, "--no-route", "--write", placed.name, *shared]
                run_tool(self.placer, first, folder=self.folder, log=self.folder / f"{stem}.placed.log", on_line=on_line)
                key.write_text(self.digest)
            second = [*device, "--json", placed.name, "--no-pack", "--no-place", *targets, *results, *shared]
            run_tool(self.placer, second, folder=self.folder, log=self.folder / f"{stem}.log", on_line=on_line)
            placed.unlink()
            key.unlink()
            return
        options = [*device, "--json", source, *targets, *results, *shared]
        run_tool(self.placer, options, folder=self.folder, log=self.folder / f"{stem}.log", on_line=on_line)

    @property
    def _placement(self):
        """nextpnr's placer: with all block RAMs in use its electrostatic one has shorter wires than the usual one, sooner."""
        return ["--placer", "static"] if self.board.device.name == "LFE5U-85F" else []

    def _placer_options(self, stem):
        """What names device and constraints to nextpnr, the netlist, and what names its results."""
        if self.family == "ecp5":
            size = re.fullmatch(r"LFE5U-(\d+)F", self.board.device.name)[1]
            size = {"85": "--85k", "45": "--45k", "25": "--25k", "12": "--12k"}[size]
            device = [size, "--package", "CABGA381", "--speed", "6", "--lpf", f"{NAME}.lpf"]
            return device, self._netlist, ["--textcfg", f"{stem}.config"]
        if self.family == "ice40":
            return ["--up5k", "--package", "sg48", "--pcf", f"{NAME}.pcf"], self._netlist, ["--asc", f"{stem}.asc"]
        device = ["--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C", "--vopt", f"cst={NAME}.cst"]
        return device, self._netlist, ["--write", f"{stem}.pnr.json"]

    def _read(self, report, seed, stem):
        """The placement that a report of nextpnr describes."""
        found = json.loads(report.read_text())
        clock = self.clock_hz / _MHZ
        reached = [entry["achieved"] for entry in found["fmax"].values() if entry["constraint"] > 0.9 * clock]
        if not reached:
            reached = [entry["achieved"] for entry in found["fmax"].values()]
        cells = found["utilization"]
        return Placement(
            seed, min(reached), clock,
            {name: entry["used"] for name, entry in cells.items()},
            {name: entry["available"] for name, entry in cells.items()}, stem,
        )  # fmt: skip
