"""`rowcast bench topologies`: the networks that the package onnx carries, with random weights, against ONNX Runtime."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import numpy_helper
from rich.console import Console
from rowcast.config import preset
from rowcast_models.frontend.network import run_operator
from rowcast_models.load import load_model
from rowcast_models.quantise import prepare, quantise

from ..check import check_hardware
from ..runner import Runner
from .output import Table, deliver, outputs, verdict

__all__ = ["Figures", "measure", "seeded", "topologies"]

FOLDER = Path(onnx.__path__[0], "backend", "test", "data", "light")
NAMES = ("squeezenet", "shufflenet", "inception_v1", "inception_v2", "resnet50", "densenet121", "bvlc_alexnet", "zfnet512", "vgg19")
ON_RTL = ("squeezenet", "shufflenet")


def seeded(name, seed):
    """The topology (ModelProto) with random weights in place of its constant ones: He's deviation for weights, batch norm near 1."""
    proto, rng = prepare(FOLDER / f"light_{name}.onnx"), np.random.default_rng(seed)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        for place, source in enumerate(node.input[1:], 1):
            if node.op_type not in ("Conv", "Gemm", "MatMul", "BatchNormalization") or source not in tensors:
                continue
            shape = tuple(tensors[source].dims)
            if node.op_type == "BatchNormalization":
                made = rng.uniform(0.5, 1.5, shape) if place in (1, 4) else rng.normal(0, 0.2, shape)
            elif place == 1:
                made = rng.normal(0, np.sqrt(2 / (np.prod(shape[1:]) if node.op_type == "Conv" else max(shape))), shape)
            else:
                made = rng.normal(0, 0.05, shape)
            tensors[source].CopyFrom(numpy_helper.from_array(made.astype(np.float32), source))
    return proto


@dataclass(frozen=True)
class Figures:
    """One network.

    Members
    -------
    operators : that were compared with the runtime, each fed with its own tensors; wrong : values that differ, of those that may
        (by 1), and others; graph : whether the integer graph gives the runtime's output; top1 : inputs whose class is equal.
    rtl : tensors of the RTL that equal the graph's and all of them, or None; cycles : of the RTL.
    """

    name: str
    operators: int
    allowed: int
    wrong: int
    values: int
    inputs: int
    top1: int
    whole: int
    rtl: tuple | None = None
    cycles: int = 0
    macs: int = 0


def measure(name, *, inputs, seed, config, rtl):
    """Quantise, import, compare."""
    from rowcast_models.reference import ort

    proto, rng = seeded(name, seed), np.random.default_rng(seed + 1)
    source = proto.graph.input[0].name
    x = rng.normal(0, 1, (inputs, 3, 224, 224)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.onnx")
        quantise(proto, {source: x[:2]}, path)
        network = load_model(path)
        reference = ort.run(path, {source: x[:1]})
        allowed, wrong, values, operators = _operators(network, reference)
        top1 = whole = 0
        (target,) = network.model.outputs
        for item in x:
            want = ort.run(path, {source: item[None]})[target].reshape(-1)
            got = network.run({source: item[None]})[target].reshape(-1)
            top1 += int(want.argmax() == got.argmax())
            whole += int(np.array_equal(want, got))
        found = None, 0, 0
        if rtl:
            with Runner(network, config=config, keep_all=True, quiet=True) as machine:
                result = machine.run({source: x[:1]})
            check = check_hardware(result, "rtl")
            macs = sum(stage.stage.graph.macs() for stage in result.parts[0])
            found = (check.equal, check.compared), result.cycles, macs
    return Figures(name, operators, allowed, wrong, values, inputs, top1, whole, *found)


def _operators(network, reference):
    """Every operator's golden, fed with the runtime's inputs of it: (allowed, wrong, values, operators)."""
    allowed = wrong = values = operators = 0
    known = dict(reference)
    for op in network.model.operators:
        for name, got in run_operator(network.model, network.kinds, op, known).items():
            if name not in reference:
                known[name] = got
                continue
            want = reference[name]
            operators, values = operators + 1, values + got.size
            if network.kinds[op.kind].share >= 1:  # float, on the host
                continue
            differs = got != want
            small = differs & (np.abs(got.astype(np.float64) - want) <= 1) & bool(network.kinds[op.kind].share)
            allowed, wrong = allowed + int(small.sum()), wrong + int((differs & ~small).sum())
    return allowed, wrong, values, operators


def table(found):
    """A row a network."""
    made = Table(
        "Networks", ("network", "operators equal", "values", "differ by 1, as stated", "differ otherwise", "whole outputs equal", "top-1 equal",
                     "RTL = graph, tensors", "cycles", "utilisation"),
    )  # fmt: skip
    for each in found:
        rtl = verdict(f"{each.rtl[0]} of {each.rtl[1]}", each.rtl[0] == each.rtl[1]) if each.rtl else ""
        share = f"{100 * each.macs / each.cycles / 128:.1f}%" if each.cycles else ""
        made.add(
            each.name, str(each.operators), f"{each.values:,}", str(each.allowed), verdict(str(each.wrong), each.wrong == 0),
            f"{each.whole} of {each.inputs}", verdict(f"{each.top1} of {each.inputs}", each.top1 == each.inputs), rtl,
            f"{each.cycles:,}" if each.cycles else "", share,
        )  # fmt: skip
    return made


@click.command()
@click.option("--network", "names", multiple=True, type=click.Choice(NAMES), help="One of them; can be repeated [all].")
@click.option("--inputs", default=20, show_default=True, type=click.IntRange(1), help="Random inputs.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@outputs
def topologies(names, inputs, seed, json_file, markdown_file, check):
    """Nine ImageNet networks, random weights, quantised by ONNX Runtime, compared with it at every tensor.

    SqueezeNet and ShuffleNet also run whole on the RTL of preset base.  All nine take about ten minutes.
    """
    found = []
    for name in names or NAMES:
        Console(stderr=True).print(f"{name} ...", highlight=False)
        found.append(measure(name, inputs=inputs, seed=seed, config=preset("base"), rtl=name in ON_RTL))
    failed = any(each.wrong or (each.rtl and each.rtl[0] != each.rtl[1]) for each in found)
    shortfalls = [f"{each.name}: {each.wrong} values differ" for each in found if each.wrong]
    shortfalls += [f"{each.name}: top-1 differs" for each in found if each.top1 != each.inputs]
    figures = {"networks": [{key: getattr(each, key) for key in each.__dataclass_fields__} for each in found]}
    text = (
        f"Made by `rowcast bench topologies`, seed {seed}: the networks that the package onnx carries without weights, with random ones, quantised by "
        "ONNX Runtime to int8 QOperators. Every operator is fed with the runtime's own tensors of one input; whole outputs and classes are the "
        "integer graph's, from the image on. Softmax runs on the host."
    )
    deliver("Networks against ONNX Runtime", text, [table(found)], figures, shortfalls, json_file=json_file,
            markdown_file=markdown_file, check=check, failed=failed)  # fmt: skip
