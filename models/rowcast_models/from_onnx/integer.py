"""Finds chains of ConvInteger or MatMulInteger, Cast, multiplications and additions of constants, QuantizeLinear: a convolution
or matrix product on bytes, spelled out."""

from dataclasses import dataclass

import numpy as np

from .qdq import UNARY

__all__ = ["Chain", "chains"]

_PRODUCTS = ("ConvInteger", "MatMulInteger")
_STEPS = ("Mul", "Add", "Sub", "Div")
_FLOAT = 1  # Cast's `to`


@dataclass(frozen=True, eq=False)
class Chain:
    """From bytes to bytes through 32-bit sums.

    Members
    -------
    node : ConvInteger or MatMulInteger; quantise : the QuantizeLinear node.
    steps : (kind, float32 constant [channels] or [1]) in order: "Mul", "Add", "Sub", "Div".
    then : unary nodes after them, in order.
    nodes : all between, Cast included.
    """

    node: object
    quantise: object
    steps: tuple
    then: tuple
    nodes: tuple


def chains(folded):
    """(Chain by the id of its QuantizeLinear node, ids of the nodes that are in one)."""
    producer = {name: node for node in folded.nodes for name in node.output if name}
    uses = {}
    for name in (*(name for node in folded.nodes for name in node.input), *folded.outputs):
        uses[name] = uses.get(name, 0) + 1
    found, gone = {}, set()
    for node in folded.nodes:
        chain = _chain(node, folded, producer, uses) if node.op_type == "QuantizeLinear" else None
        if chain is not None:
            found[id(node)] = chain
            gone.update(map(id, (chain.node, *chain.nodes)))
    return found, gone


def _chain(quantise, folded, producer, uses):
    """The Chain that ends here, or None; nothing else may need what is between."""
    steps, then, nodes = [], [], []
    name = quantise.input[0]
    while name in producer and uses[name] == 1:
        node = producer[name]
        nodes.append(node)
        if node.op_type in _PRODUCTS:
            channels = folded.shapes[name][1 if node.op_type == "ConvInteger" else -1]
            behind = len(folded.shapes[name]) - 2 if node.op_type == "ConvInteger" else 0
            flat = [(kind, _of_channels(array, channels, behind)) for kind, array in steps[::-1]]
            if nodes[-2:-1] and nodes[-2].op_type == "Cast" and all(array is not None for _, array in flat):
                return Chain(node, quantise, tuple(flat), tuple(then[::-1]), tuple(nodes[:-1]))
            return None
        if node.op_type == "Cast" and next(a.i for a in node.attribute if a.name == "to") == _FLOAT:
            name = node.input[0]
        elif node.op_type in _STEPS and (which := _constant_input(node, folded.constants)) is not None:
            steps.append((node.op_type, folded.constants[node.input[which]]))
            name = node.input[1 - which]
        elif node.op_type in UNARY and not steps and all(not each or each in folded.constants for each in node.input[1:]):
            then.append(node)
            name = node.input[0]
        else:
            return None
    return None


def _constant_input(node, constants):
    """Which input of two is a float constant, or None; what a constant is divided by or subtracted from is no step."""
    known = [which for which, name in enumerate(node.input) if name in constants]
    if len(known) != 1 or constants[node.input[known[0]]].dtype != np.float32:
        return None
    return None if known == [0] and node.op_type in ("Sub", "Div") else known[0]


def _of_channels(array, channels, behind):
    """The constant as [1] or [channels], if it differs between channels only, else None; `behind`: axes after theirs."""
    if array.size == 1:
        return array.reshape(1)
    shape = array.shape[len(array.shape) - behind :] if behind else ()
    if array.size == channels and all(size == 1 for size in shape) and array.ndim > behind and array.shape[array.ndim - behind - 1] == channels:
        return array.reshape(channels)
    return None
