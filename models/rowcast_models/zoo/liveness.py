"""Whether a network's tensors carry something: how many values are cut off, and whether any tensor is constant."""

from dataclasses import dataclass

import numpy as np

__all__ = ["MOST_SATURATED", "Liveness", "liveness", "saturation"]

MOST_SATURATED = 0.01  # share of a tensor's values that may be at the ends of its range


@dataclass(frozen=True)
class Liveness:
    """Of all tensors of a run.

    Members
    -------
    worst : name of the tensor with the largest share of saturated values; share : that share.
    constant : names of tensors with one value only.
    """

    worst: str
    share: float
    constant: tuple

    @property
    def alive(self):
        """Whether no tensor is cut off or constant."""
        return self.share <= MOST_SATURATED and not self.constant


def saturation(array, zero_point):
    """Share of int8 values at the ends of their range; -128 is no end where it stands for 0, as after a ReLU."""
    high, low = np.count_nonzero(array == 127), np.count_nonzero(array == -128)
    return (high + (low if zero_point != -128 else 0)) / array.size


def liveness(graph, tensors):
    """The Liveness of a graph's tensors, int8 by name."""
    shares = {name: saturation(array, graph.tensors[name].zero_point) for name, array in tensors.items()}
    worst = max(shares, key=shares.get)
    constant = tuple(name for name, array in tensors.items() if array.min() == array.max())
    return Liveness(worst, shares[worst], constant)
