"""Softplus."""

from . import _unary

__all__ = ["OPERATOR"]

OPERATOR = _unary.kind("Softplus", share=_unary.CLOSE)
