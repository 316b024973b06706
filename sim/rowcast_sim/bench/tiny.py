"""`rowcast bench tiny`: the MLPerf Tiny models whole, on all their inputs, against their published outputs."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rowcast.config import preset
from rowcast_models.load import load_model

from .. import report
from ..check import check_hardware
from ..runner import Runner
from .goals import RESNET8, Goal
from .graph_run import LATENCY, run_graph
from .output import Table, deliver, outputs, verdict

__all__ = ["Figures", "RESNET8_CONFIG", "measure", "measure_resnet8", "resnet8_cycles", "resnet8_table", "tiny"]

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
# 3 x 3 PEs of 4 lanes, as many MACs as the other designs' figures for ResNet-8 have.
RESNET8_CONFIG = replace(preset("base"), rows=3, columns=3, lanes=4, dram_bytes=4)
OTHERS = (
    ("NNgen", "36 + 4 MACs, measured", 445_474),
    ("SCALE-Sim", "6 x 6 MACs, a model without hardware or stalls", 414_667),
)


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
    macs = sum(layer.macs for layer in program.layers)
    return Figures(name, len(data["x"]), macs, run.cycles, least, config.num_macs, equal, tuple(layers))


def measure_resnet8():
    """A GraphRun of ResNet-8 on `RESNET8_CONFIG`, the first image."""
    data, stage = np.load(FOLDER / "ic_resnet8.npz"), load_model(FOLDER / "ic_resnet8.tflite").stages[0]
    (name,) = stage.graph.inputs
    return run_graph(stage.graph, RESNET8_CONFIG, stage.to_graph({name: data["x"][:1]}))


def resnet8_cycles(run, *, predicted=False):
    """Cycles of the convolutions and additions: until the last convolution's results are in the buffer, and the MARK of
    an addition that is done later."""
    return run.cycles_of("Conv", "Elementwise", predicted=predicted)


def tables(found):
    """One table of the models, and one of each model's layers."""
    whole = Table(
        "Models",
        ("model", "inputs", "MACs", "cycles", "utilisation", "of the DRAM bound", "goal", "RTL = golden = published"),
        note="DRAM bound: weights, parameters, input and output once over the memory bus. Cycles of one inference; "
        "softmax is the host's.",
    )  # fmt: skip
    for each in found:
        which, goal = GOALS.get(each.name, ("", None))
        cells = {"utilisation": f"{100 * each.utilisation:.1f}%", "dram": f"{100 * each.dram:.1f}%"}
        if goal:
            cells[which] = verdict(cells[which], goal.met(getattr(each, which)))
        whole.add(
            MODELS[each.name], str(each.items), f"{each.macs:,}", f"{each.cycles:,}", cells["utilisation"],
            cells["dram"], f"{100 * goal.bound:.0f}% {goal.name}" if goal else "",
            verdict("yes" if each.equal else "no", each.equal),
        )  # fmt: skip
    made = [whole]
    for each in found:
        table = Table(
            MODELS[each.name], ("layer", "kind", "MACs", "cycles", "utilisation", "bound by"),
            note="Cycles from the end of the layer before to its own end: what is computed ahead counts for that "
            "layer.",
        )  # fmt: skip
        for name, kind, macs, cycles, bound in each.layers:
            share = f"{100 * macs / (cycles * each.macs_a_cycle):.1f}%" if macs and cycles else ""
            table.add(report.short(name), kind, f"{macs:,}" if macs else "", f"{cycles:,}", share, bound)
        made.append(table)
    return made


def resnet8_table(run):
    """ResNet-8 on 36 MACs beside what others take for it."""
    cycles, macs = resnet8_cycles(run), sum(layer.macs for layer in run.layers if layer.kind == "Conv")
    config = RESNET8_CONFIG
    table = Table(
        f"ResNet-8 on {config.num_macs} MACs", ("design", "what", "cycles", "goal", "utilisation", "tensors equal"),
        note="CONV layers: from the start until the results of the last one are in the buffer, with the additions that "
        "are done meanwhile; the last addition, pooling and the fully connected layer come after. Utilisation: of 36 "
        "MACs. Tensors: of a second run, of the program that stores every tensor. NNgen and SCALE-Sim stand as "
        "measured with their public packages (PyPI); they were not run again for this page.",
    )  # fmt: skip
    rtl = (
        f"RTL, {config.rows} x {config.columns} PEs of {config.lanes} lanes, memory of {config.dram_bytes} bytes a "
        f"cycle, {LATENCY} cycles of latency"
    )
    equal = verdict(f"{run.equal} of {run.compared}", not run.difference)
    predicted = resnet8_cycles(run, predicted=True)
    share = lambda macs, taken: f"{100 * run.utilisation(macs, taken):.1f}%"
    table.add("Rowcast", rtl, verdict(f"{cycles:,}", RESNET8.met(cycles)), RESNET8, share(macs, cycles), equal)
    table.add("Rowcast", "by the cycle model", f"{predicted:,}", "", share(macs, predicted), "")
    table.add("Rowcast", "RTL, all layers", f"{run.cycles:,}", "", share(run.macs, run.cycles), "")
    for design, what, taken in OTHERS:
        table.add(design, what, f"{taken:,}", "", share(macs, taken), "")
    return table


@click.command()
@click.option("--preset", "preset_name", default="base", show_default=True,
              type=click.Choice(["tiny", "small", "base"]))  # fmt: skip
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
    shortfalls = []
    for each in found if preset_name == "base" else ():
        which, goal = GOALS.get(each.name, ("", None))
        if goal and not goal.met(getattr(each, which)):
            shortfalls.append(f"{MODELS[each.name]}: {goal.show(getattr(each, which))} {goal.name}")
    shortfalls += [f"{MODELS[each.name]}: results differ" for each in found if not each.equal]
    Console(stderr=True).print(f"ResNet-8 on {RESNET8_CONFIG.num_macs} MACs ...", highlight=False)
    small = measure_resnet8()
    line = RESNET8.shortfall(resnet8_cycles(small))
    shortfalls += [line] if line else []
    shortfalls += [f"ResNet-8 on 36 MACs DIFFERS from the golden: {small.difference}"] if small.difference else []
    figures = {"preset": preset_name, "models": [
        {"name": each.name, "cycles": each.cycles, "macs": each.macs, "utilisation": each.utilisation,
         "dram": each.dram, "equal": each.equal}
        for each in found
    ], "resnet8": asdict(small) | {"conv_cycles": resnet8_cycles(small)}}  # fmt: skip
    text = (
        f"Made by `rowcast bench tiny`: preset {preset_name}, a memory of {config.dram_bytes} bytes a cycle and 30 "
        "cycles of latency. The models, their inputs and the published outputs of TensorFlow Lite Micro are those of "
        "MLPerf Tiny (github.com/mlcommons/tiny)."
    )
    whole, *layers = tables(found)
    deliver("MLPerf Tiny", text, [whole, resnet8_table(small), *layers], figures, shortfalls,
            failed=bool(small.difference) or not all(each.equal for each in found), json_file=json_file,
            markdown_file=markdown_file, check=check)  # fmt: skip
