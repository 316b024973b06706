"""The zoo's networks by name, with what a tool must know to feed them."""

from collections.abc import Callable
from dataclasses import dataclass

from .lenet5 import lenet5, to_int8

__all__ = ["NETWORKS", "ZooNetwork"]


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo.

    Parameters
    ----------
    title : what it is, in a line.
    build : called with `batch`, returns the integer graph: one input, whose first axis is the batch.
    image_shape : (H, W) of images, uint8 [N, H, W], that `to_input` takes; None if there is no such form.
    to_input : images to the int8 input of the graph.
    """

    title: str
    build: Callable
    image_shape: tuple | None = None
    to_input: Callable | None = None


NETWORKS = {
    "lenet5": ZooNetwork("LeNet-5 on handwritten digits", lenet5, (28, 28), to_int8),
}
