"""Log."""

from . import _unary

__all__ = ["OPERATOR"]

OPERATOR = _unary.kind("Log", share=_unary.CLOSE)
