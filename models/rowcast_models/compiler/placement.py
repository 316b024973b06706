"""Where every tensor lives, and how long: in activation memory, in memory, in its place in a concatenation."""

from dataclasses import dataclass, replace

from .. import graph as g
from .settings import Place
from .geometry import ceil_div
from .layout import concat_homes, is_identity, place_of_part

__all__ = ["Placement", "Value", "nhwc"]


@dataclass
class Value:
    """A tensor while compiling: NHWC layout, its place, the number of the node after which it is not needed; an input's Rows."""

    layout: tuple
    place: Place
    last_use: int
    rows: object = None


class Placement:
    """The tensors of a graph while its nodes are lowered one after the other.

    Parameters
    ----------
    graph, config : Graph, Config.
    keep_all : every tensor goes to memory, too.
    excluded : names of tensors that may not stay in activation memory.

    Members
    -------
    number : of the first node that is not complete.
    claims : (first word, word after the last) of the activation memory that each node at work uses, by number.
    values : Value by name, of tensors that have a place.
    homes : Home by name, of tensors that are made in their place in a concatenation.
    aliases : names of tensors that are others under another name.
    last : number of the last node that needs a tensor, by name; outside : tensors that must reach memory.
    top, base : memory addresses; tensors lie above the constants, whose end, `base`, is settled when all are known.
    """

    def __init__(self, graph, config, *, keep_all, excluded):
        self.graph, self.config, self.keep_all, self.excluded = graph, config, keep_all, excluded
        self.step = config.dram_words
        self.base = self.top = 1 << 31
        self.number = -1
        self.claims = {}
        self.values, self.aliases = {}, set()
        self.homes = concat_homes(graph, config.lanes, whole=keep_all)
        self.last = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
        self.outside = set(graph.outputs)
        for number, node in reversed(list(enumerate(graph.nodes))):
            # What an alias stands for lives as long as it, and leaves with it.
            if isinstance(node, g.Reshape) or is_identity(graph, node):
                (source,) = node.inputs
                self.last[source] = max(self.last[source], self.last.get(node.output, number))
                if node.output in self.outside:
                    self.outside.add(source)

    def place_input(self, name, rows):
        """An input of the graph, in these Rows or None: memory has it from the start."""
        layout = nhwc(self.graph.tensors[name].shape)
        words = layout[0] * layout[1] * rows.words if rows else self.words(layout)
        self.values[name] = Value(layout, Place(dram=self.in_memory(words)), self.last.get(name, -1), rows)

    def alias(self, name, source, layout):
        """A tensor that is another one under another name."""
        self.values[name] = replace(source, layout=layout, last_use=self.last.get(name, -1))
        self.aliases.add(name)

    def words(self, layout):
        """Words of a tensor."""
        n, h, w, c = layout
        return n * h * w * ceil_div(c, self.config.lanes)

    def in_memory(self, words):
        """Allocate memory for a tensor of so many words."""
        address = self.top
        self.top += ceil_div(words, self.step) * self.step
        return address

    def gaps(self, extra=()):
        """Free (first word, words) of the activation memory."""
        taken = sorted(
            [(v.place.act, v.place.act + self.words(v.layout)) for v in self.live()] + list(extra) + list(self.claims.values())
        )  # fmt: skip
        free, at = [], 0
        for low, high in [*taken, (self.config.act_words, self.config.act_words)]:
            if low > at:
                free.append((at, low - at))
            at = max(at, high)
        return free or [(0, 0)]

    def live(self):
        """Resident tensors that are still needed; some are parts of others, or the same under another name."""
        return [v for v in self.values.values() if v.place.act is not None and v.last_use >= self.number]

    def largest(self):
        """Name of the largest resident tensor that could be in memory instead, or None."""
        live = {id(value) for value in self.live()}
        movable = [
            (self.words(value.layout), name) for name, value in self.values.items()
            if id(value) in live and name not in self.homes and name not in self.aliases and name not in self.excluded
        ]  # fmt: skip
        return max(movable)[1] if movable else None

    def targets(self, name, layout):
        """Places for a tensor worth trying, best first: in the buffer, then in memory."""
        if name in self.homes:
            home = self.homes[name]
            parts = self.parts(home)
            yield place_of_part(parts.place, home.offset, home.pitch), max(self.gaps(), key=lambda gap: gap[1])
            return
        yield from self.free_places(name, layout)

    def parts(self, home):
        """The tensor in which the parts of a concatenation meet; room for it is found when the first is made."""
        name = home.name
        if name not in self.values:
            place, _ = next(self.free_places(name, home.layout))
            self.values[name] = Value(home.layout, place, self.last[name] if name in self.last else self.concat_at(home))
        return self.values[name]

    def concat_at(self, home):
        """Number of the node that joins the parts."""
        return next(i for i, node in enumerate(self.graph.nodes) if node.name == home.node)

    def free_places(self, name, layout):
        """Places for a tensor of its own."""
        outside = name in self.outside
        used = name in self.last or name not in self.graph.tensors
        words = ceil_div(self.words(layout), self.step) * self.step
        if used and name not in self.excluded and words * 2 <= self.config.act_words:
            for low, size in sorted(self.gaps(), key=lambda gap: gap[1]):
                start = ceil_div(low, self.step) * self.step
                if start + words <= low + size:
                    dram = self.in_memory(words) if outside or self.keep_all else None
                    yield Place(start, dram), max(
                        self.gaps([(start, start + words)]), key=lambda gap: gap[1]
                    )
                    break
        yield Place(None, self.in_memory(words)), max(self.gaps(), key=lambda gap: gap[1])


def nhwc(shape):
    """A graph's shape as NHWC: (N, C) is a 1 x 1 image."""
    return tuple(shape) if len(shape) == 4 else (shape[0], 1, 1, shape[1])
