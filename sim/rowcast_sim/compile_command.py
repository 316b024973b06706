"""`rowcast compile`: what a host needs to run a model on the accelerator, in one folder."""

import json
from pathlib import Path

import numpy as np

from rowcast_models.frontend import GraphStage
from rowcast_models.load import lower_model

from . import report
from .files import staged_folder
from .placement import print_placement
from .run_model import read_network
from .runner import compile_network

__all__ = ["compile_model", "print_compiled"]


def compile_model(path, folder, config, *, batch=None, runtime=None):
    """Compile a model and write its images, memory map and report; returns (Network, programs, paths).

    Everything is written, or nothing.
    """
    model, _ = read_network(path, runtime)
    network = lower_model(model, batch=batch)
    nodes = sum(len(stage.graph.nodes) for stage in network.stages if isinstance(stage, GraphStage))
    with report.progress_bar(f"Compiling {model.name}", nodes) as step:
        note = lambda done, total, name: step(int(done > 0), note=name)  # noqa: E731
        programs = compile_network(network, config, progress=note)
    with staged_folder(folder) as stage:
        for number, program in enumerate(programs):
            (stage / _image_name(number)).write_bytes(program.image().tobytes())
        (stage / "map.json").write_text(json.dumps(memory_map(network, programs), indent=2) + "\n")
        (stage / "report.txt").write_text(_report(network, programs))
        names = sorted(each.name for each in stage.iterdir())
    return network, programs, [Path(folder, name) for name in names]


def _image_name(number):
    return f"program{number}.bin"


def memory_map(network, programs):
    """What a host driver reads: for each image its regions and tensors, in bytes from its start.

    A tensor is NHWC, pixel by pixel, each padded to a word (or `pixel_words` apart, if that is not 0).  An input with `rows`
    is N x H rows of `rows.bytes`: W x C values from byte `rows.first` on, and all other bytes are `rows.pad`.
    """
    stages, number = [], 0
    for stage in network.stages:
        if not isinstance(stage, GraphStage):
            stages.append({"on": "host", "operators": [{"name": op.name, "kind": op.kind} for op in stage.operators]})
            continue
        program = programs[number]
        low, high = (program.data_offset + word * program.config.lanes for word in program.writable)
        stages.append({
            "on": "accelerator", "image": _image_name(number), "bytes": program.size, "digest": program.config.digest(),
            "instructions": len(program.instructions), "data_offset": program.data_offset, "writable": [low, high],
            "inputs": {name: _tensor(program, stage, name) for name in program.inputs},
            "outputs": {name: _tensor(program, stage, name) for name in program.outputs},
        })  # fmt: skip
        number += 1
    model = network.model
    values = {name: _value(model.values[name]) for name in (*model.inputs, *model.outputs)}
    return {"model": model.name, "inputs": list(model.inputs), "outputs": list(model.outputs), "values": values, "stages": stages}


def _tensor(program, stage, name):
    """A tensor in an image: where it is, and what its bytes mean."""
    place, tensor = program.tensors[name], stage.graph.tensors[name]
    offset, size = program.span(name)
    rows = place.rows and {
        "bytes": place.rows.words * program.config.lanes, "first": place.rows.left * place.layout[3], "pad": place.rows.pad,
    }  # fmt: skip
    return {
        "offset": offset, "bytes": size, "layout_nhwc": list(place.layout), "pixel_words": place.pitch, "rows": rows,
        "type": "int8", "zero_point": tensor.zero_point, "scale": tensor.scale,
    }  # fmt: skip


def _value(value):
    """A value of the model, in its own type and axes."""
    made = {"shape": list(value.shape), "type": str(np.dtype(value.dtype))}
    if value.quantisation is not None:
        made["scale"] = [float(scale) for scale in value.quantisation.scale]
        made["zero_point"] = value.quantisation.zero_point.tolist()
    return made


def _report(network, programs):
    """The layers of each image as text."""
    lines = [f"{network.model.name}, {network.batch} at a time"]
    for number, program in enumerate(programs):
        lines += ["", f"{_image_name(number)}: {program.size:,} bytes, {len(program.instructions):,} instructions"]
        lines.append(f"{'layer':40} {'kind':16} {'MACs':>14} {'estimate':>12}  mapping")
        for layer in program.layers:
            cycles = f"{layer.estimate:,}" if layer.estimate else "-"
            lines.append(f"{report.short(layer.name, 40):40} {layer.kind:16} {layer.macs:14,} {cycles:>12}  {layer.mapping}")
    if network.host_operators:
        lines += ["", "On the host:", *(f"  {op.kind} {op.name}" for op in network.host_operators)]
    return "\n".join(lines) + "\n"


def print_compiled(console, made):
    """What was written, and what runs where."""
    network, programs, paths = made
    print_placement(console, network)
    report.sentence(console, f"Written to {paths[0].parent}:")
    table = report.table("file", "bytes", "what", numbers=("bytes",))
    about = {"map.json": "memory map: where inputs and outputs lie, and what they mean", "report.txt": "layers and mappings"}
    for path in paths:
        table.add_row(path.name, report.num(path.stat().st_size), about.get(path.name, "instructions, weights, room for tensors"))
    console.print(table)
