"""Gelu."""

from . import _unary

__all__ = ["OPERATOR"]

OPERATOR = _unary.kind("Gelu", share=_unary.CLOSE)
