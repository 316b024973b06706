"""The graph: tensors and nodes, checked against each other."""

import dataclasses
from collections import Counter
from dataclasses import dataclass

from .tensor import GraphError

__all__ = ["Graph"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A network: tensors, and nodes in topological order.

    Parameters
    ----------
    name : of the network.
    tensors : every tensor that is an input or made by a node; shapes of made ones may be left out.
    inputs, outputs : names of tensors.
    nodes : each after the nodes whose outputs it takes.

    Members
    -------
    tensors : Tensor by name, with shapes, in the order of evaluation.

    Raises
    ------
    GraphError
        A name is used twice or not at all, a node takes a tensor that nothing before it makes, a shape is not the
        inferred one.
    """

    name: str
    tensors: dict
    inputs: tuple
    outputs: tuple
    nodes: tuple

    def __post_init__(self):
        for which in ("inputs", "outputs", "nodes"):
            object.__setattr__(self, which, tuple(getattr(self, which)))
        given = {}
        for tensor in self.tensors.values() if isinstance(self.tensors, dict) else self.tensors:
            if given.setdefault(tensor.name, tensor) is not tensor:
                self._fail(f"there are two tensors {tensor.name!r}")
        for name, count in Counter(node.name for node in self.nodes).items():
            if count > 1:
                self._fail(f"there are two nodes {name!r}")
        object.__setattr__(self, "tensors", self._infer(given))
        for name in self.outputs:
            if name not in self.tensors:
                self._fail(f"output {name!r} is made by no node")
        for name in given:
            if name not in self.tensors:
                self._fail(f"tensor {name!r} is neither an input nor made by a node")

    def _infer(self, given):
        """The tensors in the order of evaluation, with their shapes."""
        made = {}
        for name in self.inputs:
            if name not in given or given[name].shape is None:
                self._fail(f"input {name!r} must be among the tensors, with its shape")
            made[name] = given[name]
        for node in self.nodes:
            for name in node.inputs:
                if name not in made:
                    self._fail(f"node {node.name!r} takes {name!r}, which nothing before it makes")
            if node.output in made or node.output not in given:
                problem = "exists already" if node.output in made else "is not among the tensors"
                self._fail(f"node {node.name!r} makes {node.output!r}, which {problem}")
            tensor = given[node.output]
            shape = node.infer_shape(*(made[name] for name in node.inputs))
            if tensor.shape not in (None, shape):
                self._fail(f"node {node.name!r} makes {tensor.name!r} with shape {shape}, not {tensor.shape}")
            made[node.output] = dataclasses.replace(tensor, shape=shape)
        return made

    def _fail(self, message):
        raise GraphError(f"graph {self.name!r}: {message}")

    def macs(self, node=None):
        """Multiply-accumulates of one node, or of all, for the batch of the graph's inputs."""
        if node is None:
            return sum(self.macs(each) for each in self.nodes)
        return node.macs(*(self.tensors[name].shape for name in (*node.inputs, node.output)))

    def producer(self, name):
        """The node that makes the tensor of this name, or None for an input."""
        return next((node for node in self.nodes if node.output == name), None)

    def consumers(self, name):
        """The nodes that take the tensor of this name, in order."""
        return [node for node in self.nodes if name in node.inputs]
