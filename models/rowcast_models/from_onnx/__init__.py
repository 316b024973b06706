"""ONNX models: `read` makes a Model of a file, `kinds` are the operators it can have."""

import functools

from ..frontend import load_kinds
from .reader import read

__all__ = ["kinds", "read"]


@functools.cache
def kinds():
    """OperatorKind by kind."""
    from . import operators

    return load_kinds(operators)
