"""`rowcast bench zoo`: the zoo's networks: what they are, whether they are alive, and that ONNX Runtime agrees."""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.load import load_model
from rowcast_models.zoo import NETWORKS
from rowcast_models.zoo.liveness import MOST_SATURATED, liveness

from ..check import check_reference
from .output import Table, deliver, outputs, verdict

__all__ = ["NAMES", "Figures", "measure", "zoo"]

NAMES = tuple(name for name, network in NETWORKS.items() if network.seeded)


@dataclass(frozen=True)
class Figures:
    """One network.

    Members
    -------
    layers, weights, macs : of the definition; macs an image.
    saturated, worst, constant : of the integer graph's tensors, see `zoo.liveness.Liveness`.
    operators, equal : that were compared with the runtime on its own tensors, and those that agree as they should.
    tensors, same : of the whole graph, from the image on, that the runtime shows, and those that are the same bytes.
    differs : the first tensor that is not, or ""; furthest : largest difference of the network's output, in steps.
    build, golden : seconds, the golden's an image.
    """

    name: str
    layers: int
    weights: int
    macs: int
    saturated: float
    worst: str
    constant: tuple
    operators: int
    equal: int
    tensors: int
    same: int
    differs: str
    furthest: int
    build: float
    golden: float
    first: str = ""


def measure(name, *, images, seed):
    """Build it, export it, run the file on ONNX Runtime, compare."""
    from rowcast_models.reference import ort

    entry = NETWORKS[name]
    definition = entry.definition
    start = time.perf_counter()
    graph = entry.build(batch=images)
    build = time.perf_counter() - start
    x = entry.inputs(images, seed=seed)
    start = time.perf_counter()
    tensors = evaluate(graph, {graph.inputs[0]: x})
    golden = time.perf_counter() - start
    alive = liveness(graph, tensors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.onnx")
        entry.export(path)
        network = load_model(path, batch=images)
        inputs = {definition.image.name: x.transpose(0, 3, 1, 2)}
        check = check_reference(network, path, inputs, runtime="onnx")
        reference = ort.run(path, inputs)
    values = network.stages[0].from_graph(tensors)
    shown = [layer.name for layer in definition.layers if layer.name in reference]
    other = [name for name in shown if not np.array_equal(values[name], reference[name])]
    got, want = (made[definition.output.name].reshape(images, -1).astype(int) for made in (values, reference))
    return Figures(
        name=name, layers=len(definition.layers), weights=definition.weights, macs=definition.macs,
        saturated=alive.share, worst=alive.worst, constant=alive.constant, operators=check.compared, equal=check.equal,
        tensors=len(shown), same=len(shown) - len(other), differs=next(iter(other), ""),
        furthest=int(np.abs(got - want).max()), build=build, golden=golden / images, first=check.first,
    )  # fmt: skip


def tables(found):
    """A row a network."""
    size = Table("Networks", (
        "network", "layers", "weights", "MACs an image", "worst saturation", "of", "constant tensors", "build, s",
        "golden, s an image",
    ))  # fmt: skip
    runtime = Table("Against ONNX Runtime", (
        "network", "operators equal", "tensors the same", "the first other", "output differs by",
    ))  # fmt: skip
    for each in found:
        size.add(
            each.name, f"{each.layers}", f"{each.weights:,}", f"{each.macs:,}",
            verdict(f"{100 * each.saturated:.2f}%", each.saturated <= MOST_SATURATED), each.worst,
            verdict(f"{len(each.constant)}", not each.constant), f"{each.build:.1f}", f"{each.golden:.1f}",
        )  # fmt: skip
        runtime.add(
            each.name, verdict(f"{each.equal} of {each.operators}", each.equal == each.operators),
            f"{each.same} of {each.tensors}", each.differs, f"{each.furthest}",
        )  # fmt: skip
    return [size, runtime]


def shortfalls(found):
    """What is wrong, a line each."""
    lines = [
        f"{each.name}: {each.worst} saturates on {100 * each.saturated:.2f}% of its values"
        for each in found if each.saturated > MOST_SATURATED
    ]  # fmt: skip
    lines += [f"{each.name}: constant: {', '.join(each.constant)}" for each in found if each.constant]
    lines += [f"{each.name}: {each.first}" for each in found if each.equal < each.operators]
    return lines


TEXT = (
    "Made by `rowcast bench zoo`, images of seed {seed}: each network is exported as a quantised ONNX model (`rowcast "
    "export`), which ONNX Runtime runs. Operators are fed with the runtime's own tensors and may differ by 1 where the "
    "runtime computes in float ([operators.md](operators.md)); \"tensors the same\" is the integer graph from the "
    "image on, where such differences, of LRN and average pooling, go on to all that follows. Saturation is the largest "
    "share of a tensor's values at the ends of int8, but for the zeros of a ReLU. Weights and MACs are those of "
    "convolutions and fully connected layers."
)


@click.command()
@click.option("--network", "names", multiple=True, type=click.Choice(NAMES), help="One of them; can be repeated [all].")
@click.option("--images", default=2, show_default=True, type=click.IntRange(1), help="Seeded images.")
@click.option("--seed", default=1000, show_default=True, type=click.IntRange(0), help="Of the images.")
@outputs
def zoo(names, images, seed, json_file, markdown_file, check):
    """The zoo's networks with seeded weights: size, liveness, and every tensor against ONNX Runtime.

    All of them take about five minutes.
    """
    found = []
    for name in names or NAMES:
        Console(stderr=True).print(f"{name} ...", highlight=False)
        found.append(measure(name, images=images, seed=seed))
    wrong = shortfalls(found)
    figures = {"networks": [asdict(each) for each in found]}
    deliver("Networks of the zoo", TEXT.format(seed=seed), tables(found), figures, wrong, json_file=json_file,
            markdown_file=markdown_file, check=check, failed=bool(wrong))  # fmt: skip
