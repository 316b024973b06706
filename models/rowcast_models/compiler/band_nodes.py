"""Pairs of convolutions that are done in bands of rows: which they are, and their lowering."""

import math
from dataclasses import replace

from .. import graph as g
from .array_nodes import PATIENCE
from .bands import band_steps, plan_bands
from .convolution import ConvJob
from .flow import Flow
from .mapping import MappingError, find_mapping
from .placement import Value, nhwc
from .posts import bypass, settings
from .settings import Place
from .shapes import conv_shape
from .weave import Work

__all__ = ["BandNodes"]

GIVE = 0.05  # part of the pair's cycles that it may take more than one after the other, so that its tensor stays in the buffer


class BandNodes:
    """Convolutions whose ofmap stays in the buffer, row by row, until the next one has read it; for the compiler."""

    def find_pairs(self, joined):
        """`joined` with {tensor: [convolution that reads it, what is done with that]} of tensors that pass through memory."""
        found, taken = {}, set()
        for first in sorted(self.graph.nodes, key=lambda node: -math.prod(self.graph.tensors[node.output].shape)):
            second = self.partner(first)
            if second is not None and not taken & {first.name, second.name}:
                found[first.output] = [second, *joined.get(second.output, ())]
                taken |= {first.name, second.name}
        return {**{name: nodes for name, nodes in joined.items() if not any(nodes == pair[1:] for pair in found.values())}, **found}

    def partner(self, first):
        """The convolution that could be done with this one, without the tensor between them passing through memory; or None."""
        users = self.graph.consumers(first.output)
        return users[0] if len(users) == 1 and self.can_pair(first, *users) else None

    def can_pair(self, first, second):
        """Whether two nodes are convolutions that could be done in bands."""
        name = first.output
        if not isinstance(first, g.Conv) or not isinstance(second, g.Conv):
            return False
        if name in self.outside or {name, second.output} & set(self.homes):
            return False
        large = 2 * self.words(nhwc(self.graph.tensors[name].shape)) > self.config.act_words
        wide = all(node.groups == 1 and node.weights.shape[1] * node.weights.shape[2] > 1 for node in (first, second))
        weights = sum(node.weights.size for node in (first, second))
        return large and wide and weights <= self.config.filter_buffer_words * self.config.lanes

    def part(self, first):
        """The nodes of a pair go apart after all; the second one may be done with the one behind it then."""
        second, *pools = self.joined.pop(first.output)
        if pools:
            self.joined[second.output] = pools
        number, third = self.graph.nodes.index(second), self.partner(second)
        self.left = dict(sorted({**self.left, number: second}.items()))
        if third in self.left.values() and not isinstance(self.joined.get(third.output, [None])[0], g.Conv):
            self.left = {number: node for number, node in self.left.items() if node is not third}
            self.joined[second.output] = [third, *self.joined.pop(third.output, ())]

    def banded(self, first):
        """The Work of a pair that begins with this node; None if it does not, or if its nodes are to go apart.

        Raises
        ------
        MappingError
            Nodes that are at work now take the room that it needs, and will not be long.
        """
        second, *pools = self.joined.get(first.output, (None,))
        if not isinstance(second, g.Conv):
            return None
        top, pair = self.top, _Pair(self, first, second, pools)
        try:
            return self.work_of(pair)
        except MappingError:
            self.top = top  # the memory that the tries were given
            cycles = (self.graph.macs(first) + self.graph.macs(second)) // self.config.num_macs
            if self.claims and self.unfinished() <= PATIENCE * cycles and self.would_fit(pair):
                raise
            self.part(first)
            return None

    def would_fit(self, pair):
        """Whether there would be room for a pair if no other node were at work."""
        claims, top, self.claims = self.claims, self.top, {}
        try:
            return any(self.fits(pair, *target) for target in self.targets(pair.output, pair.layout))
        finally:
            self.claims, self.top = claims, top

    def fits(self, pair, place, room):
        """Whether a pair has room for its result at this place, and the rest of it there."""
        try:
            self.bands(pair, place, room)
        except MappingError:
            return False
        return True

    def bands(self, pair, place, room):
        """The Bands of a pair whose result is at this place, in a gap of activation memory."""
        one, two = pair.shapes[0], pair.second_at(place)
        resident = {"input_resident": pair.source.place.act is not None, "output_resident": place.act is not None}
        vector, (start, size) = self.vector_work(pair.first), self.shared_room(room, pair.first)
        bands = plan_bands(self.config, (one, two), pair.middle[0], (start, size), self.memory, vector=vector, **resident)
        self.worth_it(bands, (one, two), pair.middle[0], size, resident)
        return bands

    def work_of(self, pair):
        """Two convolutions in bands, with the pooling of the second one's results if there is one."""

        def attempt(place, room):
            bands = self.bands(pair, place, room)
            text = f"in bands of {bands.laps[0].end} rows with {pair.second.name}"
            steps = band_steps(self.b, bands, lambda *args: pair.job(bands, place, *args))
            return Work(steps, text, bands.cycles, (room[0], bands.end), array=True)

        work = self.settle(pair.output, pair.layout, attempt)
        for node in (pair.first, pair.second) if pair.pools else (pair.first,):
            self.values[node.output] = Value(nhwc(self.graph.tensors[node.output].shape), Place(), -1)
        self.progress.begin(pair.output)
        return work

    def worth_it(self, bands, shapes, images, room, resident):
        """Nothing if bands are worth their cycles; else a MappingError."""
        one, two = (replace(shape, n=images) for shape in shapes)
        apart = [
            find_mapping(one, self.config, room=room, memory=self.memory, input_resident=resident["input_resident"])[2],
            find_mapping(two, self.config, room=room, memory=self.memory, output_resident=resident["output_resident"])[2],
        ]
        cycles, words = (sum(getattr(cost, name) for cost in apart) for name in ("cycles", "words"))
        lost, spared = bands.cycles - cycles, (words - bands.words) // self.config.dram_words
        if lost > GIVE * cycles or lost > self.memory.price * spared:
            raise MappingError("one after the other they are faster")


class _Pair:
    """What is known of a pair before it has its places.

    Members
    -------
    source : Value of the input; middle : layout of the tensor between the two; output, layout : name and layout of the result.
    shapes : ConvShapes of one image; weights, params, posts, pads : of both.
    """

    def __init__(self, compiler, first, second, pools):
        tensors, lanes = compiler.graph.tensors, compiler.config.lanes
        self.first, self.second, self.pools = first, second, pools
        self.source, self.output, self.progress = compiler.values[first.inputs[0]], compiler.result(first), compiler.progress
        self.middle, made = (nhwc(tensors[node.output].shape) for node in (first, second))
        self.layout = nhwc(tensors[self.output].shape)
        self.shapes, self.weights, self.params = [], [], []
        reads = (first, self.source.layout, self.middle, self.source.rows), (second, self.middle, made, None)
        for node, before, after, rows in reads:
            shape, filters = conv_shape(node, (1, *before[1:]), (1, *after[1:]), lanes, rows)
            self.shapes.append(shape)
            self.weights.append(filters)
            self.params.append(compiler.parameters(node, after[3], shape))
        self.posts = [settings(first.post), settings(second.post)]
        self.pads = [tensors[node.inputs[0]].zero_point for node in (first, second)]

    def second_at(self, place):
        """ConvShape of the second convolution with its results at this place, pooled."""
        return replace(self.shapes[1], pitch=place.pitch, pool=tuple(self.pools[0].window) if self.pools else ())

    def job(self, bands, place, which, lap, shape, mapping, tiling, room, shared):
        """The ConvJob of one of the convolutions (0 or 1) for a lap; `place` is the result's."""
        ring = Place(act=bands.ring - lap.low * self.middle[2] * self.shapes[0].out_pitch)
        if which == 0:
            before, one = math.prod(self.source.layout[1:3]), self.shapes[0]
            places = self.source.place.moved(lap.n * one.h * one.w * one.in_pitch), ring
            flow = Flow(self.progress, self.first.inputs, "", read_before=lap.n * before)
            pixels = before, math.prod(self.middle[1:3])
        else:
            results = math.prod(shape.results)
            places = ring, place.moved(lap.n * results * shape.out_pitch)
            flow = Flow(self.progress, ("",), self.output, made_before=lap.n * results)
            pixels = math.prod(self.middle[1:3]), results
        pool = bypass(self.pools[0]) if which and self.pools else None
        return ConvJob(
            shape, mapping, tiling, self.weights[which], self.params[which], self.posts[which], self.pads[which], *places, room, flow,
            *pixels, pool, shared,
        )  # fmt: skip
