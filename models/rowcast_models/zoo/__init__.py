"""Networks to run: integer graphs, and the real inputs that belong to them."""

from .lenet5 import DATA, digits, lenet5, to_int8
from .registry import NETWORKS, ZooNetwork

__all__ = ["DATA", "NETWORKS", "ZooNetwork", "digits", "lenet5", "to_int8"]
