"""Erf."""

from . import _unary

__all__ = ["OPERATOR"]

OPERATOR = _unary.kind("Erf", share=_unary.CLOSE)
