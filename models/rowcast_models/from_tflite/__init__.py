"""TensorFlow Lite models: `read` makes a Model of a file, `kinds` are the operators it can have."""

import functools

from ..frontend import load_kinds
from .reader import read, tensor_names

__all__ = ["kinds", "read", "tensor_names"]


@functools.cache
def kinds():
    """OperatorKind by kind."""
    from . import operators

    return load_kinds(operators)
