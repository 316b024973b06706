"""`rowcast bench tiny`: the MLPerf Tiny models whole, on all their inputs, against their published outputs."""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rowcast.config import preset
from rowcast_models.load import load_model

from .. import report
from ..check import check_hardware
from ..runner import Runner
from .goals import Goal
from .output import Table, deliver, outputs, verdict

__all__ = ["Figures", "measure", "tiny"]

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "mlperf_tiny"
ABSENT = "is missing: the four int8 models of github.com/mlcommons/tiny, with inputs and published outputs as .npz"
MODELS = {
    "ic_resnet8": "ResNet-8, images", "kws_dscnn": "DS-CNN, keywords", "vww_mbv1": "MobileNetV1 0.25, persons",
    "ad_autoencoder": "autoencoder, sounds",
}  # fmt: skip
GOALS = {
    "ic_resnet8": ("utilisation", Goal(name="utilisation", unit="%", least=0.75)),
    "ad_autoencoder": ("dram", Goal(name="of the DRAM bound", unit="%", least=0.85)),
}


@dataclass(frozen=True)
class Figures:
    """One model.

    Members
    -------
    name : file; items : inputs run; macs, cycles : of one inference; least : cycles that the memory bus needs for
        weights, parameters, input and output, each once.
    equal : whether RTL = graph = published output for all items; layers : (name, kind, MACs, cycles, bound).
    """

    name: str
    items: int
    macs: int
    cycles: int
    least: int
    macs_a_cycle: int
    equal: bool
    layers: tuple

    @property
    def utilisation(self):
        """Useful MACs of those that the array could do."""
        return self.macs / (self.cycles * self.macs_a_cycle)

    @property
    def dram(self):
        """The memory bus's least cycles of those that it took."""
        return self.least / self.cycles


def measure(name, config):
    """Run a model on all its inputs on the RTL."""
    data = np.load(FOLDER / f"{name}.npz")
    network = load_model(FOLDER / f"{name}.tflite")
    with Runner(network, config=config, quiet=True) as machine:
        result = machine.run(data["x"])
    (output,) = result.outputs.values()
    part = result.parts[0][0]
    program, run = part.program, part.run
    equal = np.array_equal(output.reshape(data["y"].shape), data["y"]) and not check_hardware(result, "rtl").failed
    tensors = sum(program.span(each)[1] for each in (*program.inputs, *program.outputs))
    least = -(-(len(program.constants) + tensors) // config.dram_bytes)
    layers = []
    for layer, spent in zip(program.layers, run.layers, strict=True):
        share = layer.macs / max(spent.cycles * config.num_macs, 1)
        layers.append((layer.name, layer.kind, layer.macs, spent.cycles, report.bound(spent, share)))
    return Figures(
        name, len(data["x"]), sum(layer.macs for layer in program.layers), run.cycles, least, config.num_macs, equal, tuple(layers)
    )


def tables(found):
    """One table of the models, and one of each model's layers."""
    whole = Table(
        "Models", ("model", "inputs", "MACs", "cycles", "utilisation", "of the DRAM bound", "goal", "RTL = golden = published"),
        note="DRAM bound: weights, parameters, input and output once over the memory bus. Cycles of one inference; softmax is the host's.",
    )  # fmt: skip
    for each in found:
        which, goal = GOALS.get(each.name, ("", None))
        cells = {"utilisation": f"{100 * each.utilisation:.1f}%", "dram": f"{100 * each.dram:.1f}%"}
        if goal:
            cells[which] = verdict(cells[which], goal.met(getattr(each, which)))
        whole.add(
            MODELS[each.name], str(each.items), f"{each.macs:,}", f"{each.cycles:,}", cells["utilisation"], cells["dram"],
            f"{100 * goal.bound:.0f}% {goal.name}" if goal else "", verdict("yes" if each.equal else "no", each.equal),
        )  # fmt: skip
    made = [whole]
    for each in found:
        table = Table(MODELS[each.name], ("layer", "kind", "MACs", "cycles", "utilisation", "bound by"))
        for name, kind, macs, cycles, bound in each.layers:
            share = f"{100 * macs / (cycles * each.macs_a_cycle):.1f}%" if macs and cycles else ""
            table.add(report.short(name), kind, f"{macs:,}" if macs else "", f"{cycles:,}", share, bound)
        made.append(table)
    return made


@click.command()
@click.option("--preset", "preset_name", default="base", show_default=True, type=click.Choice(["tiny", "small", "base"]))
@outputs
def tiny(preset_name, json_file, markdown_file, check):
    """The four MLPerf Tiny models on the RTL: every input, every published output, cycles and bounds.

    Reads ../shared/data/mlperf_tiny, beside the repository.
    """
    if not FOLDER.is_dir():
        raise click.ClickException(f"{FOLDER} {ABSENT}")
    config, found = preset(preset_name), []
    for name in MODELS:
        Console(stderr=True).print(f"{MODELS[name]} ...", highlight=False)
        found.append(measure(name, config))
    shortfalls = [
        f"{MODELS[each.name]}: {GOALS[each.name][1].show(getattr(each, GOALS[each.name][0]))} {GOALS[each.name][1].name}"
        for each in found
        if preset_name == "base" and each.name in GOALS and not GOALS[each.name][1].met(getattr(each, GOALS[each.name][0]))
    ]
    failed = not all(each.equal for each in found)
    shortfalls += [f"{MODELS[each.name]}: results differ" for each in found if not each.equal]
    figures = {"preset": preset_name, "models": [
        {"name": each.name, "cycles": each.cycles, "macs": each.macs, "utilisation": each.utilisation, "dram": each.dram, "equal": each.equal}
        for each in found
    ]}  # fmt: skip
    text = (
        f"Made by `rowcast bench tiny`: preset {preset_name}, a memory of {config.dram_bytes} bytes a cycle and 30 cycles of latency. The models, "
        "their inputs and the published outputs of TensorFlow Lite Micro are those of MLPerf Tiny (github.com/mlcommons/tiny)."
    )
    deliver("MLPerf Tiny", text, tables(found), figures, shortfalls, json_file=json_file, markdown_file=markdown_file, check=check, failed=failed)
