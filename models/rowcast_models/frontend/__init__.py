"""Models from outside, whatever their format: records, operators, and how they become integer graphs.

    file -> reader -> Model -> import_model -> Network (host stages and graphs) -> compiler
"""

from .model import Model, ModelError, Operator, Problem, Quantisation, Value
from .network import GraphStage, HostStage, Network, import_model
from .operator import OperatorKind, load_kinds

__all__ = [
    "GraphStage", "HostStage", "Model", "ModelError", "Network", "Operator", "OperatorKind", "Problem", "Quantisation",
    "Value", "import_model", "load_kinds",
]  # fmt: skip
