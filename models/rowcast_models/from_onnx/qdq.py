"""Finds what a quantised graph means: DequantizeLinear, a float operator, QuantizeLinear are one operator on bytes."""

from dataclasses import dataclass

__all__ = ["Fused", "fuse"]

# Operators of one input that may stand between the operator and QuantizeLinear.
UNARY = (
    "Abs", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Neg",
    "Relu", "Round", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
)  # fmt: skip


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
