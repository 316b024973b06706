"""Pairs of convolutions that are done in bands of rows: which they are, and their lowering."""

import math
from dataclasses import replace

from .. import graph as g
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
        for first in self.graph.nodes:
            (second, *more) = [*self.graph.consumers(first.output), None]
            if not isinstance(second, g.Conv) or more != [None] or first.name in taken or not self.can_pair(first, second):
                continue
            found[first.output] = [second, *joined.get(second.output, ())]
            taken |= {first.name, second.name}
        return {**{name: nodes for name, nodes in joined.items() if not any(nodes == pair[1:] for pair in found.values())}, **found}

    def can_pair(self, first, second):
        """Whether a tensor between two convolutions could go from one to the other without passing through memory."""
        name = first.output
        if not isinstance(first, g.Conv) or name in self.outside or {name, second.output} & set(self.homes):
            return False
        large = 2 * self.words(nhwc(self.graph.tensors[name].shape)) > self.config.act_words
        wide = all(node.groups == 1 and node.weights.shape[1] * node.weights.shape[2] > 1 for node in (first, second))
        weights = sum(node.weights.size for node in (first, second))
        return large and wide and weights <= self.config.filter_buffer_words * self.config.lanes

    def part(self, first):
        """The nodes of a pair go apart after all."""
        second, *pools = self.joined.pop(first.output)
        if pools:
            self.joined[second.output] = pools
        number = self.graph.nodes.index(second)
        self.left = dict(sorted({**self.left, number: second}.items()))

    def banded(self, first):
        """The Work of a pair that begins with this node; None if it does not, or if its nodes are to go apart."""
        second, *pools = self.joined.get(first.output, (None,))
        if not isinstance(second, g.Conv):
            return None
        top = self.top
        try:
            return self.pair(first, second, *pools)
        except MappingError:
            self.top = top  # the memory that the tries were given
            self.part(first)
            return None

    def pair(self, first, second, *pools):
        """Two convolutions in bands, with the pooling of the second one's results if there is one."""
        source, lanes = self.values[first.inputs[0]], self.config.lanes
        middle, made = (nhwc(self.graph.tensors[node.output].shape) for node in (first, second))
        images, output = middle[0], self.result(first)
        layout = nhwc(self.graph.tensors[output].shape)
        shapes, weights, params = [], [], []
        for node, before, after in ((first, source.layout, middle), (second, middle, made)):
            shape, filters = conv_shape(node, (1, *before[1:]), (1, *after[1:]), lanes)
            shapes.append(shape)
            weights.append(filters)
            params.append(self.parameters(node, after[3], shape))
        posts = [settings(first.post), settings(second.post)]
        pads = [self.graph.tensors[node.inputs[0]].zero_point for node in (first, second)]

        def attempt(place, room):
            one = shapes[0]
            two = replace(shapes[1], pitch=place.pitch, pool=tuple(pools[0].window) if pools else ())
            resident = {"input_resident": source.place.act is not None, "output_resident": place.act is not None}
            vector, given = self.vector_work(first), self.shared_room(room, first)
            bands = plan_bands(self.config, (one, two), images, given, self.memory, vector=vector, **resident)
            self.worth_it(bands, (one, two), images, given[1], resident)
            line, results = middle[2] * one.out_pitch, math.prod(two.results)

            def job(which, lap, shape, mapping, tiling, space, shared):
                ring = Place(act=bands.ring - lap.low * line)
                if which == 0:
                    before = math.prod(source.layout[1:3])
                    places = source.place.moved(lap.n * before * one.in_pitch), ring
                    flow = Flow(self.progress, first.inputs, "", read_before=lap.n * before)
                    pixels = before, math.prod(middle[1:3])
                else:
                    places = ring, place.moved(lap.n * results * two.out_pitch)
                    flow = Flow(self.progress, ("",), output, made_before=lap.n * results)
                    pixels = math.prod(middle[1:3]), results
                return ConvJob(
                    shape, mapping, tiling, weights[which], params[which], posts[which], pads[which], *places, space, flow, *pixels,
                    bypass(pools[0]) if which and pools else None, shared,
                )  # fmt: skip

            text = f"in bands of {bands.laps[0].end} rows with {second.name}"
            return Work(band_steps(self.b, bands, job), text, bands.cycles, (room[0], bands.end), array=True)

        work = self.settle(output, layout, attempt)
        for node in (first, second) if pools else (first,):
            self.values[node.output] = Value(nhwc(self.graph.tensors[node.output].shape), Place(), -1)
        self.progress.begin(output)
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
