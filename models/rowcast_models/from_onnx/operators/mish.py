"""Mish."""

from . import _unary

__all__ = ["OPERATOR"]

OPERATOR = _unary.kind("Mish", share=_unary.CLOSE)
