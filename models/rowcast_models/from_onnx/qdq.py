"""Finds what a quantised graph means: DequantizeLinear, a float operator, QuantizeLinear are one operator on bytes."""

from collections import Counter
from dataclasses import dataclass

from onnx import helper

__all__ = ["Fused", "fuse", "raise_quantisation"]

# Operators of one input that may stand between the operator and QuantizeLinear.
UNARY = (
    "Abs", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log",
    "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh",
    "ThresholdedRelu",
)  # fmt: skip

# Operators that give the same bytes before and after quantisation: they move elements, or keep their order.
MOVING = ("Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True, eq=False)
class Fused:
    """A float operator between DequantizeLinear and QuantizeLinear nodes.

    Members
    -------
    node : the operator; then : unary nodes after it, in order.
    dequantise : for each of its inputs the DequantizeLinear node, or None where it is constant or absent.
    quantise : the QuantizeLinear node.
    """

    node: object
    then: tuple
    dequantise: tuple
    quantise: object

    @property
    def nodes(self):
        """The float nodes of it."""
        return (self.node, *self.then)


def raise_quantisation(folded):
    """Put QuantizeLinear before the float operators that only move elements, where none is: LRN, MaxPool, QuantizeLinear
    becomes LRN, QuantizeLinear, MaxPool.  Exact, as rounding keeps the order."""
    moved = True
    while moved:
        moved = False
        producer = {name: node for node in folded.nodes for name in node.output if name}
        uses = Counter(name for node in folded.nodes for name in node.input)
        uses.update(folded.outputs)
        for at, node in enumerate(folded.nodes):
            mover = producer.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
            if mover is None or mover.op_type not in MOVING or uses[node.input[0]] > 1 or any(mover.output[1:]):
                continue
            if mover.input[0] not in producer or _is_dequantise(producer[mover.input[0]]):
                continue
            _swap(folded, at, node, mover)
            moved = True
            break


def _swap(folded, at, quantise, mover):
    """Quantise what the mover takes instead of what it makes."""
    before, after = f"{mover.input[0]}/quantised", quantise.output[0]
    folded.shapes[before] = folded.shapes[mover.input[0]]
    folded.dtypes[before] = folded.dtypes[after]
    first = helper.make_node("QuantizeLinear", [mover.input[0], *quantise.input[1:]], [before], name=quantise.name)
    first.attribute.extend(quantise.attribute)
    second = helper.make_node(mover.op_type, [before, *mover.input[1:]], [after], name=mover.name)
    second.attribute.extend(mover.attribute)
    folded.nodes[at] = second
    folded.nodes[next(i for i, node in enumerate(folded.nodes) if node is mover)] = first


def fuse(folded):
    """(Fused by the id of its QuantizeLinear node, ids of nodes that are part of one and needed nowhere else)."""
    producer = {name: node for node in folded.nodes for name in node.output if name}
    consumers = {}
    for node in folded.nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    outputs = set(folded.outputs)
    found = {}
    for node in folded.nodes:
        if node.op_type == "QuantizeLinear" and node.input[0] in producer:
            fused = _behind(node, producer, folded.constants)
            if fused is not None:
                found[id(node)] = fused
    return found, _swallowed(folded.nodes, found, consumers, outputs)


def _behind(quantise, producer, constants):
    """The Fused in front of a QuantizeLinear node, or None."""
    chain, node = [], producer[quantise.input[0]]
    while _is_unary(node, constants) and node.input[0] in producer and not _is_dequantise(producer[node.input[0]]):
        chain.append(node)
        node = producer[node.input[0]]
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") or len(node.output) > 1 and any(node.output[1:]):
        return None
    sources = []
    for name in node.input:
        source = producer.get(name)
        if name and name not in constants and not _is_dequantise(source):
            return None
        sources.append(source if _is_dequantise(source) else None)
    if not any(sources):
        return None
    return Fused(node, tuple(chain[::-1]), tuple(sources), quantise)


def _is_dequantise(node):
    return node is not None and node.op_type == "DequantizeLinear"


def _is_unary(node, constants):
    return node.op_type in UNARY and all(not name or name in constants for name in node.input[1:])


def _swallowed(nodes, found, consumers, outputs):
    """Float and DequantizeLinear nodes all of whose consumers are in a Fused."""
    inside = {id(node) for fused in found.values() for node in fused.nodes}
    gone = set()
    for node in reversed(nodes):
        if id(node) not in inside and node.op_type != "DequantizeLinear":
            continue
        users = [user for name in node.output for user in consumers.get(name, [])]
        used = any(name in outputs for name in node.output)
        if not used and users and all(id(user) in gone or id(user) in found for user in users):
            gone.add(id(node))
    return gone
