"""Networks to run: integer graphs, and the inputs that belong to them.

`NETWORKS[name]` has everything of a network; `lenet5` is trained, the others have seeded weights:

    definition -> calibration (weights, scales) -> quantised ONNX model -> importer -> integer graph
"""

from .lenet5 import DATA, digits, lenet5, to_int8
from .registry import NETWORKS, ZooNetwork

__all__ = ["DATA", "NETWORKS", "ZooNetwork", "digits", "lenet5", "to_int8"]
