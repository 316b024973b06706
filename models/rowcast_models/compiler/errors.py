"""What a graph that cannot be compiled raises."""

__all__ = ["CompileError"]


class CompileError(ValueError):
    """A graph that cannot be mapped: names the node, what is in the way, and what would work."""
