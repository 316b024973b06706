"""LiteRT with its reference kernels: every tensor of a TensorFlow Lite model."""

from pathlib import Path

import numpy as np

__all__ = ["MissingRuntime", "run"]


class MissingRuntime(ImportError):
    """The runtime is not installed; says how to install it."""


def _interpreter(data):
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise MissingRuntime("LiteRT is not installed: pip install 'rowcast[check]' (package ai-edge-litert)") from error
    return Interpreter(
        model_content=data,
        # The default, XNNPACK, rounds otherwise.
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )


def run(model, inputs):
    """Every tensor that the runtime computes.

    Parameters
    ----------
    model : path or bytes of a .tflite file.
    inputs : arrays by tensor name; their first axis counts items, of which as many are run at a time
        as the model takes.

    Returns
    -------
    dict : arrays by tensor name, items along the first axis; constants are left out.
    """
    data = bytes(model) if isinstance(model, (bytes, bytearray)) else Path(model).read_bytes()
    interpreter = _interpreter(data)
    interpreter.allocate_tensors()
    places = {detail["name"]: detail for detail in interpreter.get_input_details()}
    if set(inputs) != set(places):
        raise ValueError(f"inputs must be {sorted(places)}, not {sorted(inputs)}")
    batch = min(int(detail["shape"][0]) for detail in places.values())
    items = len(next(iter(inputs.values())))
    runs = []
    for start in range(0, items, batch):
        taken = np.arange(start, start + batch) % items  # the last run is filled up
        for name, array in inputs.items():
            interpreter.set_tensor(places[name]["index"], array[taken])
        interpreter.invoke()
        runs.append(_tensors(interpreter, data))
    joined = {name: np.concatenate([made[name] for made in runs]) for name in runs[0]}
    return {name: array[: len(array) * items // (batch * len(runs))] for name, array in joined.items()}


def _tensors(interpreter, data):
    """Copies of all tensors that are inputs or made by an operator, under the reader's names."""
    from ..from_tflite import tensor_names

    found = {}
    computed = {i for detail in interpreter._get_ops_details() for i in detail["outputs"]}
    computed |= {detail["index"] for detail in interpreter.get_input_details()}
    for index, name in enumerate(tensor_names(data)):
        if index in computed:
            found[name] = np.atleast_1d(interpreter.get_tensor(index)).copy()
    return found
