"""What all nodes have, and the checks that several kinds share."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .tensor import GraphError, frozen

__all__ = ["NO_PADDING", "Node", "check_entries", "check_padding", "check_pair", "window_size"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """What all nodes have.  A subclass checks what it can in `_check`, and the rest when the graph asks for its shape.

    Parameters
    ----------
    name : unique in the graph, for messages and reports.
    inputs : names of the tensors it takes.
    output : name of the tensor it makes.
    """

    name: str
    inputs: tuple
    output: str

    num_inputs: ClassVar[int | None] = 1

    def __post_init__(self):
        object.__setattr__(self, "inputs", tuple(self.inputs))
        if self.num_inputs is not None and len(self.inputs) != self.num_inputs:
            self._fail(f"inputs must name {self.num_inputs} tensors, not {self.inputs!r}")
        try:
            self._check()
        except GraphError as error:
            self._fail(error)

    def infer_shape(self, *inputs):
        """The output's shape for these input `Tensor`s.

        Raises
        ------
        GraphError
            The node cannot take such inputs.
        """
        try:
            return self._infer_shape(*inputs)
        except GraphError as error:
            self._fail(error)

    def macs(self, *shapes):
        """Multiply-accumulates for input shapes and then the output's shape; those on padding count."""
        return 0

    def _fail(self, message):
        raise GraphError(f"node {self.name!r} ({type(self).__name__}): {message}") from None

    def _freeze(self, name, dtype, ndim, length=None):
        array = frozen(getattr(self, name), dtype, name, ndim)
        if length is not None and len(array) != length:
            raise GraphError(f"{name} must have {length} entries, not {len(array)}")
        object.__setattr__(self, name, array)

    def _check(self):
        """Refuse fields that cannot be evaluated, freeze arrays."""

    def _infer_shape(self, tensor):
        return tensor.shape


NO_PADDING = ((0, 0), (0, 0))


def check_pair(name, pair):
    if len(pair) != 2 or min(pair) < 1:
        raise GraphError(f"{name} must be two integers from 1, not {pair!r}")


def check_padding(padding):
    if np.shape(padding) != (2, 2) or np.min(padding) < 0:
        raise GraphError(f"padding must be ((top, bottom), (left, right)) from 0, not {padding!r}")


def window_size(tensor, kernel, stride, dilation, padding):
    """(E, F) of a window that slides over an ifmap."""
    if len(tensor.shape) != 4:
        raise GraphError(f"input {tensor.name!r} must be (N, H, W, C), not {tensor.shape}")
    sizes = tuple(
        (size + sum(pads) - (taps - 1) * spread - 1) // step + 1
        for size, pads, taps, spread, step in zip(tensor.shape[1:3], padding, kernel, dilation, stride)
    )
    if min(sizes) < 1:
        raise GraphError(
            f"a window of {tuple(kernel)} with dilation {dilation} and padding {padding} does not fit "
            f"input {tensor.name!r} {tensor.shape}"
        )
    return sizes


def check_entries(post, allowed):
    if len(post.multiplier) not in allowed:
        raise GraphError(
            f"post.multiplier must have {' or '.join(map(str, allowed))} entries, not {len(post.multiplier)}"
        )
