"""From a definition to what runs: its ONNX model, and the integer graph that the importer makes of it."""

import onnx

from ..frontend import GraphStage, import_model
from ..from_onnx import kinds, read
from .to_onnx import onnx_model

__all__ = ["build", "export", "network"]


def network(definition, *, batch=1, seed=0):
    """The frontend.Network of a `Definition` with seeded weights: one GraphStage, and every operator with its golden."""
    made = import_model(read(onnx_model(definition, seed=seed), name=definition.name), kinds(), batch=batch)
    if len(made.stages) != 1 or not isinstance(made.stages[0], GraphStage):
        hosted = ", ".join(f"{op.name} ({op.kind})" for op in made.host_operators)
        raise ValueError(f"{definition.name}: all layers must run on the accelerator, not {hosted} on the host")
    return made


def build(definition, *, batch=1, seed=0):
    """The integer graph of a `Definition`: input "image" int8 [N, H, W, C], every layer a tensor of its name."""
    return network(definition, batch=batch, seed=seed).stages[0].graph


def export(definition, path, *, seed=0):
    """Write a `Definition` with seeded weights as a quantised ONNX model, int8, in one file; it gives the graph's bytes.

    ONNX's first axis is the batch and is open; images are [N, C, H, W].
    """
    onnx.save(onnx_model(definition, seed=seed), path)
