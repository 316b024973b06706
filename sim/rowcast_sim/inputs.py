"""The inputs of a model from files: which array belongs to which input, and whether it can be used."""

from pathlib import Path

import numpy as np

from .errors import InputError
from .files import read_array, read_arrays

__all__ = ["read_inputs"]


def read_inputs(sources, model):
    """Arrays by input name from the texts of --input.

    Parameters
    ----------
    sources : texts: FILE.npy (a model with one input), NAME=FILE.npy, or FILE.npz (its arrays have the inputs' names;
        a single array needs none if the model has one input).
    model : `frontend.Model`.

    Raises
    ------
    InputError
        A file that holds no such array, an input that does not exist, is given twice, or has a NaN in it.
    OSError
        A file cannot be read.
    """
    found, origin = {}, {}
    for text in sources:
        for name, array, path in _arrays(text, model):
            if name not in model.inputs:
                raise InputError(f"{path}: there is no input {name!r}; inputs are: {_names(model)}")
            if name in found:
                raise InputError(f"{path}: input {name!r} is given twice, also in {origin[name]}")
            _finite(array, name, path)
            found[name], origin[name] = array, path
    return found


def _arrays(text, model):
    """(input name, array, path) of everything that one --input gives."""
    name, path = _split(text, model)
    if not Path(path).exists():  # says so better than what tries to read it
        raise InputError(f"{path}: No such file or directory")
    if not str(path).lower().endswith(".npz"):
        return [(name or _only(model, path), read_array(path), path)]
    arrays = read_arrays(path)
    if not arrays:
        raise InputError(f"{path}: there are no arrays in it")
    if name is not None or (len(arrays) == len(model.inputs) == 1):
        if len(arrays) > 1:
            raise InputError(f"{path}: input {name!r} needs one array, and there are {len(arrays)} in it: {', '.join(arrays)}")
        return [(name or model.inputs[0], *arrays.values(), path)]
    return [(entry, array, path) for entry, array in arrays.items()]


def _split(text, model):
    """(input name or None, path).  Names of tensors and of files can have a '=' in them."""
    for name in sorted(model.inputs, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    if "=" in text and not Path(text).exists():
        name, _, path = text.partition("=")
        raise InputError(f"--input {text}: there is no input {name!r}; inputs are: {_names(model)}")
    return None, text


def _only(model, path):
    if len(model.inputs) != 1:
        raise InputError(f"{path}: the model has {len(model.inputs)} inputs, say --input NAME={path}; they are: {_names(model)}")
    return model.inputs[0]


def _finite(array, name, path):
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{path}: input {name!r} has {array[at]} at {list(at)}: values must be finite")


def _names(model):
    return ", ".join(model.inputs)
