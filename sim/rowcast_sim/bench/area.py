"""`rowcast bench area`: synthesis for ECP5, counted by block, and a look for a slow path."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rowcast import Accelerator
from rowcast.array_core import PEArray
from rowcast.config import PRESETS, preset
from rowcast.emit import verilog

from ..synthesis import synthesise
from .goals import AREA
from .netlist import cells_by_module, count_cells, luts, paths
from .output import Table, deliver, outputs, verdict

__all__ = ["Block", "area", "blocks", "figures", "multiplier_cost"]

TOP = "rowcast"
PATHS = ("ram_to_multiplier", "multiplier_to_ram")  # figures that have a goal for every preset
_RESOURCES = {"flip_flops": "TRELLIS_FF", "multipliers": "MULT18X18D", "block_rams": "DP16KD"}
_LEAST = 0.01  # share of the accelerator's LUTs or block RAMs below which a block has no row of its own


# Figures --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """What one block is made of; `number` equal ones stand together.

    Members: name (path from the top), depth, number, lut, flip_flops, multipliers, block_rams (of all `number`).
    """

    name: str
    depth: int
    number: int
    lut: int
    flip_flops: int
    multipliers: int
    block_rams: int


def blocks(modules, top=TOP, *, deepest=3):
    """The blocks of a netlist with hierarchy, in depth-first order, the top first; small ones are left out."""
    totals = cells_by_module(modules)
    all_luts, all_rams = luts(totals[top]), totals[top]["DP16KD"]
    found = []

    def visit(kind, names, depth):
        cells, number = totals[kind], len(names)
        lut, rams = luts(cells) * number, cells["DP16KD"] * number
        if lut < _LEAST * all_luts and (not rams or rams < _LEAST * all_rams):
            return
        name = names[0] if number == 1 else f"{number} x {_common(names)}"
        others = {member: cells[cell] * number for member, cell in _RESOURCES.items()}
        found.append(Block(name, depth, number, lut, **others))
        if depth == deepest:
            return
        inner = {}
        for cell, content in modules[kind]["cells"].items():
            if content["type"] in totals:
                inner.setdefault(content["type"], []).append(cell)
        for inner_kind, inner_names in inner.items():
            visit(inner_kind, inner_names, depth + 1)

    visit(top, [top], 0)
    return found


def _common(names):
    """What equal instances are called: their name without the numbers at the end."""
    stems = sorted({re.sub(r"[\d_]+$", "", name) for name in names})
    return "/".join(stems)


def figures(config, *, flat, array):
    """The figures that have goals in `goals.AREA`, and the paths that should not be.

    Parameters
    ----------
    flat, array : flat modules of the accelerator and of the array alone.
    """
    cells = count_cells(flat)
    into_multiplier = paths(flat, "DP16KD", "MULT18X18D")
    into_ram = paths(flat, "MULT18X18D", "DP16KD")
    values = {
        "lut_per_mac": luts(count_cells(array)) / config.num_macs,
        "lut": luts(cells),
        "multipliers": cells["MULT18X18D"],
        "block_rams": cells["DP16KD"],
        "ram_to_multiplier": len(into_multiplier),
        "multiplier_to_ram": len(into_ram),
    }
    return values, [str(path) for path in into_multiplier + into_ram]


def multiplier_cost(found, lanes):
    """(LUT4, flip-flops) of a multiplier made of LUTs: what a PE with such ones has more than another; None without them."""
    pes = [block for block in found if re.search(r"\bpe\b", block.name)]
    with_luts = next((block for block in pes if not block.multipliers), None)
    others = next((block for block in pes if block.multipliers), None)
    if with_luts is None or others is None:
        return None
    return tuple(
        (getattr(with_luts, kind) / with_luts.number - getattr(others, kind) / others.number) / lanes for kind in ("lut", "flip_flops")
    )


def tables(values, found, cells, *, goals=AREA, cost=None):
    """Figures with their goals, if they have one; what a multiplier made of LUTs costs; then the blocks."""
    shown = Table("Figures", ("figure", "reached", "goal"))
    for key, goal in AREA.items():
        met = key not in goals or goal.met(values[key])
        shown.add(goal.name, verdict(goal.show(values[key]), met), str(goal) if key in goals else "")
    shown.add("accelerator, flip-flops", f"{cells['TRELLIS_FF']:,}", "")
    if cost:
        shown.add("a multiplier of LUTs, LUT4 and flip-flops more", f"{cost[0]:.1f}, {cost[1]:.1f}", "")
    by_block = Table(
        "Blocks",
        ("block", "LUT4", "flip-flops", "MULT18X18D", "DP16KD"),
        note="Each module synthesised for itself, so the sum is above that of the accelerator as one; blocks of less "
        f"than {100 * _LEAST:.0f}% of the LUT4 and of the block RAMs are left out.",
    )
    for block in found:
        by_block.add(
            "\u00a0\u00a0" * block.depth + block.name,
            *(f"{number:,}" for number in (block.lut, block.flip_flops, block.multipliers, block.block_rams)),
        )  # fmt: skip
    return [shown, by_block]


@contextmanager
def _tasks(*names):
    """Progress lines that know their time; yields a function of (name, text) that sets one."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        lines = {name: progress.add_task(name, total=1) for name in names}

        def say(name, text, *, done=False):
            progress.update(lines[name], description=f"{name}: {text}", completed=1 if done else 0)

        yield say


@click.command()
@click.option("--preset", "preset_name", type=click.Choice(list(PRESETS)), default="base", show_default=True)
@outputs
def area(preset_name, **files):
    """Synthesise for ECP5: LUTs, multipliers and block RAMs by block, and no slow path.

    Takes minutes, once for the same Verilog.
    """
    config = preset(preset_name)
    work = {
        "array": (PEArray, f"{TOP}_array", True),
        "accelerator": (Accelerator, TOP, True),
        "accelerator by block": (Accelerator, TOP, False),
    }
    with _tasks(*work) as say:
        texts = {}
        for name, (component, top, _) in work.items():
            say(name, "to Verilog")
            same = next((texts[other] for other in texts if work[other][:2] == (component, top)), None)
            texts[name] = same or verilog(component(config), config, name=top)

        def one(name):
            _, top, flat = work[name]
            netlist = synthesise(texts[name], top=top, flat=flat, progress=lambda step: say(name, step))
            say(name, "done", done=True)
            return netlist.modules

        with ThreadPoolExecutor(2) as pool:
            array, flat, by_block = pool.map(one, work)
    flat = flat[TOP]
    values, broken = figures(config, flat=flat, array=array[f"{TOP}_array"])
    found, cells = blocks(by_block), count_cells(flat)
    # The sizes aimed at are those of base; no preset may have slow paths.
    goals = AREA if preset_name == "base" else {key: goal for key, goal in AREA.items() if key in PATHS}
    lines = [line for key, goal in goals.items() if (line := goal.shortfall(values[key]))]
    cost = multiplier_cost(found, config.lanes)
    deliver(
        f"Area of preset {preset_name}",
        f"Made by `rowcast bench area --preset {preset_name}`: `synth_ecp5` of Yosys, pyosys "
        f"{metadata.version('pyosys')}. LUT4 counts 2 for a CCU2C and 4 for a TRELLIS_DPR16X4. The paths are those of "
        "the flat netlist that lead from a block RAM's output into a multiplier, or from one into a block RAM, "
        "without a flip-flop.",
        tables(values, found, cells, goals=goals, cost=cost),
        {
            "preset": preset_name, "config": config.to_dict(), "figures": values, "cells": dict(cells),
            "array_cells": dict(count_cells(array[f"{TOP}_array"])), "blocks": [vars(block) for block in found],
            "paths": broken, "lut_multiplier": cost,
        },
        lines + broken[:10],
        **files,
    )  # fmt: skip
