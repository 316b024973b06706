"""The integer graph: what the compiler maps and the golden evaluates.  Every node has exact integer semantics.

All tensors are int8, NHWC ([N, H, W, C]) or [N, C]; N, the batch, is free.  A node holds everything that its result
depends on (weights, multipliers, tables) but the zero points of the tensors it takes.  Nodes name tensors; the graph
has the tensors, checks every node against them, and infers the shapes that are left out:

>>> pool = MaxPool(name="pool", inputs=("image",), output="small", window=(2, 2), stride=(2, 2))
>>> tensors = [Tensor("image", (1, 8, 8, 4), zero_point=-128), Tensor("small", zero_point=-128)]
>>> graph = Graph(name="example", tensors=tensors, inputs=("image",), outputs=("small",), nodes=(pool,))
>>> graph.tensors["small"].shape
(1, 4, 4, 4)
"""

from .convolution import Conv, FullyConnected
from .elementwise import Elementwise, Table, tflite_add, tflite_mul
from .layout import Concat, Constant, Pad, Reshape, Resize, Select
from .network import Graph
from .node import Node
from .pooling import AveragePool, ChannelSum, MaxPool
from .tensor import GraphError, Requantisation, Tensor

__all__ = [
    "AveragePool", "ChannelSum", "Concat", "Constant", "Conv", "Elementwise", "FullyConnected", "Graph", "GraphError",
    "MaxPool", "Node", "Pad", "Requantisation", "Reshape", "Resize", "Select", "Table", "Tensor", "tflite_add", "tflite_mul",
]  # fmt: skip
