"""Nodes of the array: convolutions, fully connected layers, sums over channels."""

import itertools
import math
from dataclasses import replace

import numpy as np

from .. import graph as g
from ..golden.requantise import encode_params
from .convolution import ConvJob, convolution_steps
from .flow import Flow, in_turn
from .geometry import ConvShape, ceil_div
from .mapping import MappingError, find_mapping
from .pieces import Piece, cut_layer
from .placement import Value, nhwc
from .posts import bypass, settings
from .settings import Place
from .shapes import channel_sum_shape, conv_shape, in_parts
from .vector_nodes import VECTOR, share
from .weave import Work

__all__ = ["AHEAD", "ARRAY", "LIGHT", "PATIENCE", "ArrayNodes"]

AHEAD = 12  # nodes: how far behind the first one that has to wait others may begin
WORD_CYCLES = 3  # of a word of a table, a sum or an addition, with its share of the memory bus
WORSE = 1.06  # a node of the array rather waits for others to end than take so much longer
CHAIN_CYCLES = 8  # of a word of a normalisation over channels, if the array does nothing else
PATIENCE = 0.1  # part of its own cycles that it waits, at most, so as to move less
MOVES = 1.2  # times the words: so many more that it waits
ARRAY = (g.ChannelSum, g.Conv, g.FullyConnected)
LIGHT = (g.ChannelSum,)


class ArrayNodes:
    """Lowerings of the array's nodes, for the compiler."""

    def lower_conv(self, node, layout):
        if work := self.banded(node):
            return work
        source = self.values[node.inputs[0]]
        shape, weights = conv_shape(node, source.layout, layout, self.config.lanes, source.rows)
        return self.convolution(node, layout, source, shape, weights)

    def lower_channelsum(self, node, layout):
        source, lanes = self.values[node.inputs[0]], self.config.lanes
        channels = layout[3]
        if channels % lanes:  # the last word has bytes that must not count: dense filters of 0 and 1
            distance = np.arange(channels)[None, :] - np.arange(channels)[:, None]
            band = (distance >= -node.before) & (distance <= node.after)
            dense = g.Conv(
                name=node.name, inputs=node.inputs, output=node.output, weights=band[:, None, None, :],
                bias=np.zeros(channels, np.int64), post=node.post,
            )  # fmt: skip
            return self.lower_conv(dense, layout)
        shape, weights = channel_sum_shape(node.before, node.after, source.layout, lanes)
        params, zero_point = self.sum_parameters(node, weights)
        return self.array(node, layout, source, shape, weights, params, self.through_home(node, settings(node.post)), zero_point)

    def sum_parameters(self, node, weights):
        """(parameters, zero point of the input) of sums over neighbouring channels with these weights."""
        zero_point, post = self.graph.tensors[node.inputs[0]].zero_point, node.post
        sums = weights.astype(np.int64).sum((0, 1, 3, 4, 5))
        return encode_params(-zero_point * sums, post.multiplier, post.shift, post.post_mode)[None], zero_point

    def lower_fullyconnected(self, node, layout):
        source, lanes = self.values[node.inputs[0]], self.config.lanes
        n, h, w, c = source.layout
        m, words = layout[3], ceil_div(c, lanes)
        full = np.zeros((ceil_div(m, lanes) * lanes, h * w, words * lanes), node.weights.dtype)
        full[:m, :, :c] = np.asarray(node.weights).reshape(m, h * w, c)
        channels = h * w * words * lanes if h * w > 1 else c
        full = full.reshape(1, full.shape[0], 1, 1, -1)[..., :channels]
        shape = ConvShape(
            1, 1, n, 1, n, 1, 1, (1, 1), (1, 1), (0, 0), 1, h * w * words, ceil_div(m, lanes), channels, False, False
        )
        return self.convolution(node, layout, source, *in_parts(shape, full))

    def convolution(self, node, layout, source, shape, weights):
        zero_point = self.graph.tensors[node.inputs[0]].zero_point
        params = self.parameters(node, layout[3], shape)
        return self.array(node, layout, source, shape, weights, params, self.through_home(node, settings(node.post)), zero_point)

    def parameters(self, node, m, shape):
        """Parameters of a convolution of m channels (uint32 [units, channels of a unit, 4]); the zero point is in the biases."""
        zero_point, post, lanes = self.graph.tensors[node.inputs[0]].zero_point, node.post, self.config.lanes
        sums = np.asarray(node.weights, np.int64).reshape(m, -1).sum(1)
        bias = (np.asarray(node.bias, np.int64) - zero_point * sums + 2**31) % 2**32 - 2**31
        params = np.zeros((shape.units * shape.out_words * lanes, 4), np.uint32)
        params[:m] = encode_params(bias, post.multiplier, post.shift, post.post_mode)
        return params.reshape(shape.units, shape.out_words * lanes, 4)

    def array(self, node, layout, source, shape, weights, params, post, pad):
        """The array's work for a node: mapping, tiling and lowering, at the first place that fits."""

        pool = next(iter(self.joined.get(node.output, ())), None)
        output = self.result(node)
        if pool is not None:
            self.values[node.output] = Value(layout, Place(), -1)
            shape, layout = replace(shape, pool=tuple(pool.window)), nhwc(self.graph.tensors[output].shape)

        def attempt(place, room):
            placed = replace(shape, pitch=place.pitch)
            given, (mapping, tiling, cost) = self.best_room(placed, room, source, place, node)
            jobs = 1
            if self.can_be_apart(placed, source):
                single = replace(placed, units=1, spread=placed.in_pitch, pitch=placed.out_pitch)
                other, (*choice, one) = self.best_room(single, room, source, place, node)
                faster = one.cycles * shape.units <= cost.cycles * (1 + self.memory.slack)
                if faster and one.words * shape.units < cost.words:
                    jobs, placed, given, (mapping, tiling), cost = shape.units, single, other, choice, one
            pieces = [Piece(placed, mapping, tiling, cost)]
            if jobs == 1:
                choose = self.chooser(source, place, node)
                pieces = cut_layer(pieces[0], self.config, lambda part: choose(part, given[1]))
            start, lanes = given[0], self.config.lanes
            size = min(given[1], max(ceil_div(piece.tiling.room, self.step) * self.step for piece in pieces))
            pixels, made = (math.prod(layout[:3]) for layout in (source.layout, layout))
            each, work = weights.shape[1] // jobs, []
            for i in range(jobs):
                for piece in pieces:
                    units, words = slice(i * each, (i + 1) * each), piece.shape.out_words
                    filters = slice(piece.first * lanes, (piece.first + words) * lanes)
                    last = piece.last and i == jobs - 1
                    work.append(ConvJob(
                        piece.shape, piece.mapping, piece.tiling, weights[:, units, filters], params[units, filters], post, pad,
                        source.place.moved(i * shape.in_words), place.moved(i * shape.out_words + piece.first), (start, size),
                        Flow(self.progress, node.inputs, output if last else ""), pixels, made, bypass(pool) if pool else None,
                    ))  # fmt: skip
            claim = (start, start + size) if size else None
            steps, light = in_turn(convolution_steps(self.b, job) for job in work), isinstance(node, LIGHT)
            text = " then ".join(describe(piece.mapping) for piece in pieces)
            return Work(steps, text, jobs * sum(piece.cost.cycles for piece in pieces), claim, array=True, light=light)

        work = self.settle(output, layout, attempt)
        if pool is not None:
            self.progress.begin(output)
        return work

    def can_be_apart(self, shape, source):
        """Whether the groups of a convolution can go one after the other: then each has the buffer for its own channels."""
        groups = shape.units > 1 and not shape.depthwise and not shape.pool and source.place.act is None
        return groups and not source.place.pitch and shape.in_words % self.step == shape.in_pitch % self.step == 0

    def best_room(self, shape, room, source, place, node):
        """The part of a gap that a node of the array gets, and its mapping, tiling and cost there.

        Raises
        ------
        MappingError
            It does not fit, or would be much faster if nodes that are at work now had ended.
        """

        output, choose = self.result(node), self.chooser(source, place, node)

        def mapping(size):
            return choose(shape, size)

        claims, self.claims = self.claims, {}
        taken = [] if place.act is None else [(place.act, place.act + self.words(nhwc(self.graph.tensors[output].shape)))]
        free = max(size for _, size in self.gaps(taken))
        self.claims = claims
        least = mapping(free)[2].cycles
        given = self.shared_room(room, node)
        try:
            found = mapping(given[1])
        except MappingError:
            found = None
        if found is None or found[2].cycles > WORSE * least:
            given, found = room, mapping(room[1])
        if found[2].cycles > WORSE * least and claims:
            raise MappingError("other nodes take the room that it needs to be fast")
        if claims and (wait := self.unfinished()) <= PATIENCE * least:
            alone = mapping(self.shared_room((0, free), node)[1])[2]
            spared = max(0, found[2].words - alone.words) // self.step
            if found[2].words > MOVES * alone.words and wait <= self.memory.price * spared + max(0, found[2].cycles - alone.cycles):
                raise MappingError("other nodes take the room that it needs to move little")
        return given, found

    def chooser(self, source, place, node):
        """find_mapping of a ConvShape in so many words, for this node."""
        vector, late = self.vector_work(node), self.still_at_work(node)

        def choose(shape, size):
            return find_mapping(
                shape, self.config, room=size, memory=self.memory,
                input_resident=source.place.act is not None, output_resident=place.act is not None,
                vector=vector, late=late,
            )  # fmt: skip

        return choose

    def still_at_work(self, node):
        """Cycles, roughly, until the vector unit has made all of a node's input."""
        return self.unfinished() if node.inputs[0] in self.progress.done else 0

    def unfinished(self):
        """Cycles, roughly, that the vector unit still needs for all it is at work on."""
        cycles = 0
        for task in self.weaver.tasks:
            if task.work.array:
                continue
            name = self.result(task.node)
            if name in self.progress.done:
                n, h, w, _ = nhwc(self.graph.tensors[name].shape)
                rest = 1 - self.progress.of(name) / (n * h * w)
                layout = nhwc(self.graph.tensors[task.node.output].shape)  # the joined nodes' work is that on their first
                reads = math.prod(task.node.window) if isinstance(task.node, g.MaxPool | g.AveragePool) else WORD_CYCLES
                if task.node.output in self.joined:  # its parts wait for each other, however many words a turn has
                    reads = CHAIN_CYCLES * self.config.vector_words
                cycles += int(self.words(layout) * reads * rest) // self.config.vector_words
        return cycles

    def vector_work(self, node):
        """Cycles, roughly, of the vector unit's and the light work that can be done while a node of the array is at work."""
        made, cycles = {self.result(node)}, 0
        for other in itertools.islice(self.left.values(), AHEAD):
            if isinstance(other, VECTOR + LIGHT) and made & set(other.inputs) and all(
                name in made or name in self.begun for name in other.inputs
            ):  # fmt: skip
                made.add(self.result(other))
                words = self.words(nhwc(self.graph.tensors[other.output].shape))
                reads = math.prod(other.window) if isinstance(other, g.MaxPool | g.AveragePool) else WORD_CYCLES
                cycles += words * reads * (1 + len(self.joined.get(other.output, ()))) // self.config.vector_words
        return cycles

    def shared_room(self, room, node):
        """(first word, words) that a node of the array gets of a gap: some is left to the vector unit if it has work."""
        start, size = room
        there, kept = self.begun | {self.result(node)}, 0
        if isinstance(node, LIGHT):
            return start, min(size, self.config.act_words // share(node))
        for other in itertools.islice(self.left.values(), AHEAD):
            if isinstance(other, VECTOR + LIGHT) and other is not node and all(name in there for name in other.inputs):
                there.add(self.result(other))
                joined = other.output in self.joined
                kept += self.chain_words(other) if joined else self.config.act_words // share(other)
        # A normalisation with its pooling leaves its place to the next one.
        ends = {task.number for task in self.weaver.vectors if self.is_pooled(task.node)}
        kept -= sum(high - low for number, (low, high) in self.claims.items() if number in ends)
        return start, size - min(max(kept, 0), size // 2)


def describe(mapping):
    """A mapping in a few words, for reports."""
    row = f"rows {mapping.row_filters}f" + (f"x{mapping.row_groups}{mapping.row_kind}" if mapping.row_groups > 1 else "")
    column = f"{mapping.column_filters}f"
    column += f"x{mapping.column_groups}{mapping.column_kind}" if mapping.column_groups > 1 else ""
    tags = f"PEs in line {column}" if mapping.lined else f"{row}, columns {column}"
    return f"{tags}, patch {mapping.y.largest}x{mapping.x.largest}, {len(mapping.chunks)} chunks"
