"""`rowcast bench fpga`: boards placed and routed, and what networks reach on them."""

from dataclasses import dataclass

import click
import numpy as np
from rowcast.boards import BOARDS
from rowcast.boards.board import Board
from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import CompileError, compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.load import load_model
from rowcast_models.zoo import digits, lenet5, to_int8

from ..bitstream.command import default_folder, progress_lines
from ..bitstream.flow import Bitstream, Flow
from ..check import check_hardware
from ..machine import RtlBackend
from ..results import compare
from ..runner import Runner, compile_network
from ..verilated import Timing
from .goals import FPGA
from .output import Table, deliver, outputs, verdict
from .tiny import ABSENT, FOLDER, MODELS

__all__ = ["TIMINGS", "fpga", "measure_network"]

# How the boards' memories answer the accelerator, reads and writes together.  The SDRAM's figures are those of the controller's own
# test (hw/test/test_sdram.py): 2 bytes a cycle, less what refreshes, new rows and turns of the bus take.
TIMINGS = {
    "sdram": Timing(latency=24, bytes_per_cycle=1.8, duplex="half"),
    "spram": Timing(latency=3, bytes_per_cycle=8, duplex="half"),
    "onchip": Timing(latency=3, bytes_per_cycle=8, duplex="half"),
}
LENET5 = "lenet5"
NAMES = {LENET5: "LeNet-5", **MODELS}


@dataclass(frozen=True)
class Speed:
    """One network on one board: cycles of an image on the RTL, bytes of its program, and whether every tensor was right; cycles 0: does not fit."""

    cycles: int
    size: int
    equal: bool


def measure_network(name, board, config):
    """A `Speed`: the first input on the RTL of the configuration, with the board's memory."""
    timing = TIMINGS[board.memory]
    memory = Memory(latency=timing.latency)
    if name == LENET5:
        return _measure_lenet5(config, timing, memory, board.memory_bytes)
    network = load_model(FOLDER / f"{name}.tflite")
    try:
        programs = compile_network(network, config, memory=memory)
    except CompileError:
        return Speed(0, 0, True)  # `micro` has no vector unit
    size = max(program.size for program in programs)
    if size > board.memory_bytes:
        return Speed(0, size, True)
    with Runner(network, config=config, programs=programs, timing=timing, quiet=True) as machine:
        result = machine.run(np.load(FOLDER / f"{name}.npz")["x"][:1])
    return Speed(result.cycles, size, not check_hardware(result, "rtl").failed)


def _measure_lenet5(config, timing, memory, room):
    images, _ = digits()
    inputs, graph = to_int8(images[:1]), lenet5()
    program = compile_graph(graph, config, memory=memory)
    if program.size > room:
        return Speed(0, program.size, True)
    golden = evaluate(graph, {"image": inputs})
    with RtlBackend(program, timing=timing, quiet=True) as machine:
        run = machine.run({"image": inputs})
    return Speed(run.cycles, program.size, not compare(run.tensors, {name: golden[name] for name in golden if name != "image"}))


@dataclass(frozen=True)
class Figures:
    """One board: its Board, configuration, `Bitstream` (None: it does not fit, `reason` says why), and a `Speed` of each network."""

    board: Board
    config: object
    made: Bitstream | None
    speeds: dict
    reason: str = ""

    def values(self):
        """The figures that goals are for."""
        best, device = self.made.best, self.board.device
        lut = best.used.get(LUT_CELLS[device.family], 0)
        found = {
            "macs": self.config.num_macs, "mhz": best.mhz, "lut_share": lut / device.lut,
            "gops": 2 * self.config.num_macs * best.mhz / 1000,
        }  # fmt: skip
        return found | {name: best.mhz * 1e6 / speed.cycles for name, speed in self.speeds.items() if speed.cycles}


# What nextpnr calls a LUT and a flip-flop: an iCE40's logic cell has both.
LUT_CELLS = {"ecp5": "TRELLIS_COMB", "ice40": "ICESTORM_LC", "gowin": "LUT4"}
FLIP_FLOP_CELLS = {"ecp5": "TRELLIS_FF", "ice40": "ICESTORM_LC", "gowin": "DFF"}


def device_table(found):
    """Resources and frequencies."""
    table = Table(
        "Boards",
        ("board", "preset", "LUT", "flip-flops", "multipliers", "block RAMs", "Fmax, best", "median", "seeds", "clock", "MACs a cycle", "GOPS"),
        note="Used of available, as nextpnr counts; a logic cell of the iCE40 is a LUT and a flip-flop. Fmax in MHz, of the system's clock, by nextpnr. "
        "GOPS: 2 x MACs x best Fmax.",
    )  # fmt: skip
    for each in found:
        if each.made is None:
            table.add(each.board.title, each.board.preset, *[""] * 7, each.reason, each.config.num_macs, "")
            continue
        best, device, goals = each.made.best, each.board.device, FPGA.get(each.board.name, {})
        values = each.values()
        cells = {key: goal.met(values[key]) for key, goal in goals.items() if key in values}

        def share(cell):
            return f"{best.used.get(cell, 0):,} / {best.available.get(cell, 0):,}"

        table.add(
            each.board.title, each.board.preset, verdict(share(LUT_CELLS[device.family]), cells.get("lut_share", True)),
            share(FLIP_FLOP_CELLS[device.family]), share(device.multiplier_cell), share(device.block_ram_cell),
            verdict(f"{best.mhz:.1f}", cells.get("mhz", True)), f"{each.made.median_mhz:.1f}", len(each.made.placements),
            f"{best.clock_mhz:g}", verdict(str(each.config.num_macs), cells.get("macs", True)), verdict(f"{values['gops']:.1f}", cells.get("gops", True)),
        )  # fmt: skip
    return table


def network_table(found):
    """Images a second."""
    names = [name for name in NAMES if any(name in each.speeds for each in found)]
    table = Table(
        "Images a second", ("board", *(NAMES[name] for name in names)),
        note="Cycles of an image on the compiled RTL of the board's configuration, with a memory as fast as the board's, at the best Fmax; in brackets the cycles. "
        "Every tensor that the program stores equals the golden's. -: the program is larger than the memory, or the configuration lacks an operator.",
    )  # fmt: skip
    for each in found:
        cells = []
        for name in names:
            speed = each.speeds.get(name)
            if speed is None or each.made is None:
                cells.append("")
            elif not speed.cycles:
                cells.append(f"- ({speed.size:,} bytes)" if speed.size else "- (not supported)")
            else:
                goal, rate = FPGA.get(each.board.name, {}).get(name), each.made.best.mhz * 1e6 / speed.cycles
                cells.append(verdict(f"{rate:,.0f} ({speed.cycles:,})", speed.equal and (goal is None or goal.met(rate))))
        table.add(each.board.title, *cells)
    return table


@click.command()
@click.option("--board", "names", multiple=True, type=click.Choice(list(BOARDS)), help="Only this one; can be repeated.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Placements of each board.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Placements at a time: a gigabyte each for a large device.")
@outputs
def fpga(names, seeds, jobs, **files):
    """Boards placed and routed: resources, Fmax, and images a second.

    The large device takes about an hour a placement with nextpnr from PyPI. What was placed already is not placed again.
    """
    found, shortfalls, failed = [], [], False
    with progress_lines() as say:
        for name in names or BOARDS:
            board = BOARDS[name]
            config = board.config
            flow = Flow(board, config, default_folder(board), say=lambda step, text, name=name: say(f"{name}, {step}", text))
            made = flow.build(seeds, jobs=jobs)
            speeds = {}
            for network in NAMES:
                if network != LENET5 and not FOLDER.is_dir():
                    continue
                say(f"{name}, networks", NAMES[network])
                speeds[network] = measure_network(network, board, config)
            found.append(Figures(board, config, made, speeds))
    for each in found:
        values = each.values()
        for key, goal in FPGA.get(each.board.name, {}).items():
            if key in values and (line := goal.shortfall(values[key])):
                shortfalls.append(f"{each.board.title}: {line}")
        for network, speed in each.speeds.items():
            if not speed.equal:
                failed = True
                shortfalls.append(f"{each.board.title}: {NAMES[network]} DIFFERS from the golden")
    if not FOLDER.is_dir():
        shortfalls.append(f"{FOLDER} {ABSENT}")
    deliver(
        "Boards",
        f"Made by `rowcast bench fpga --seeds {seeds}`: {'; '.join(sorted({tool for each in found for tool in each.made.tools}))}. "
        "Whole systems: accelerator, host bridge, memory or its controller, clock and reset.",
        [device_table(found), network_table(found)],
        {
            "boards": [
                {
                    "board": each.board.name, "config": each.config.to_dict(), "values": each.values(), "used": each.made.best.used,
                    "available": each.made.best.available, "seeds": {p.seed: p.mhz for p in each.made.placements},
                    "cycles": {network: speed.cycles for network, speed in each.speeds.items()},
                }
                for each in found
            ]
        },
        shortfalls, failed=failed, **files,
    )  # fmt: skip
