"""How results are scaled, by node."""

from rowcast.isa import PostMode

from .settings import PostSettings

__all__ = ["BYPASS", "bypass", "settings"]

BYPASS = PostSettings(PostMode.BYPASS, 0, -128, 127)  # bytes as they are


def settings(post):
    """POST_SET of a Requantisation."""
    return PostSettings(post.post_mode, int(post.zero_point), int(post.low), int(post.high), post.table)


def bypass(node):
    """POST_SET of an operation that keeps its input's scale."""
    return PostSettings(PostMode.BYPASS, 0, int(node.low), int(node.high), node.table)
