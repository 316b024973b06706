"""Nodes that are done together: poolings in the passes of a convolution, normalisations over channels box by box."""

from dataclasses import replace

import numpy as np

from .. import graph as g
from .chain import SETS, ChainJob, chain_box, chain_steps
from .channel_sums import split_box, sum_parts
from .convolution import ConvJob
from .flow import Flow
from .mapping import find_mapping
from .placement import Value, nhwc
from .posts import BYPASS, bypass, settings
from .rows import Pooling, pooled_plan, pooled_steps
from .settings import Place
from .shapes import channel_sum_shape
from .vector import TURNS
from .weave import Work

__all__ = ["JoinedNodes"]

CHAIN = 1 / 6  # part of the activation memory that a normalisation over channels gets
WIDE_CHAIN = 0.35  # the same if a flit has several words: its passes are short, so there should be few of them
POOLED_CHAIN = 0.4  # and one with the pooling of its results
TOGETHER_CHAIN = 0.41  # and one of which whole rows go together


class JoinedNodes:
    """Which nodes are done together, and their lowering, for the compiler."""

    def find_pools(self, apart):
        """{tensor: [node]} of poolings that are done in the passes of the convolution that makes their input.

        They spare a large tensor its ways to memory and back, if windows lie side by side and nothing else reads it.
        """
        found = {}
        for node in self.graph.nodes:
            if not isinstance(node, g.MaxPool):
                continue
            (name,) = node.inputs
            made_by, (_, e, f, _) = self.graph.producer(name), nhwc(self.graph.tensors[name].shape)
            layout = nhwc(self.graph.tensors[name].shape)
            if (
                isinstance(made_by, g.Conv) and made_by.groups == 1 and node.output not in apart and name not in self.outside
                and len(self.graph.consumers(name)) == 1 and not {name, node.output} & set(self.homes)
                and tuple(node.window) == tuple(node.stride) and not np.any(node.padding)
                and not (e % node.window[0] or f % node.window[1]) and 2 * self.words(layout) > self.config.act_words
                and max(f // node.window[1], *node.window) <= TURNS
            ):  # fmt: skip
                found[name] = [node]
        return found

    def find_chains(self, apart):
        """{squares: [sums, product]} of normalisations over channels whose parts are done together, box by box.

        A pooling of the product joins them if the product would pass through memory.
        """
        found = {}
        for sums in self.graph.nodes:
            if not isinstance(sums, g.ChannelSum) or nhwc(self.graph.tensors[sums.output].shape)[3] % self.config.lanes:
                continue
            squares, users = self.graph.producer(sums.inputs[0]), self.graph.consumers(sums.output)
            if not isinstance(squares, g.Table) or len(users) != 1 or len(self.graph.consumers(squares.output)) != 1:
                continue
            (product,), names = users, {squares.output, sums.output}
            if (
                isinstance(product, g.Elementwise) and product.kind == "mul"
                and set(product.inputs) == {*squares.inputs, sums.output} and product.output not in apart
                and not names & self.outside and not {*names, product.output} & set(self.homes)
                and not isinstance(self.graph.producer(squares.inputs[0]), g.Reshape)
            ):  # fmt: skip
                found[squares.output] = [sums, product, *self.pooling_of(product, apart)]
        return found

    def pooling_of(self, product, apart):
        """[node] of a pooling that is done with a normalisation, or []."""
        users, name = self.graph.consumers(product.output), product.output
        if len(users) != 1 or not isinstance(users[0], g.MaxPool) or users[0].output in apart or name in self.outside:
            return []
        (pool,) = users
        touching = all(stride <= window for stride, window in zip(pool.stride, pool.window, strict=True))
        inside = not (pool.padding[0][0] or pool.padding[1][0])
        large = 2 * self.words(nhwc(self.graph.tensors[name].shape)) > self.config.act_words
        return [pool] if touching and inside and large and pool.output not in self.homes else []

    def chain_words(self, node):
        """Words of activation memory for a normalisation that begins with this node."""
        part = POOLED_CHAIN if self.is_pooled(node) else WIDE_CHAIN if self.config.noc_words > 1 else CHAIN
        return int(self.config.act_words * part)

    def is_pooled(self, node):
        """Whether a normalisation begins with this node that is done with its pooling."""
        return isinstance(node, g.Table) and isinstance(self.joined.get(node.output, [None])[-1], g.MaxPool)

    def chain(self, squares, sums, product, *pools):
        """A normalisation over channels, box by box, with the pooling of its results if there is one."""
        config, source, lanes = self.config, self.values[squares.inputs[0]], self.config.lanes
        n, h, w, c = source.layout
        pixels, words, output = n * h * w, c // lanes, self.result(squares)
        for node in (squares, sums, *([product] if pools else ())):
            self.values[node.output] = Value(source.layout, Place(), -1)
        layout = nhwc(self.graph.tensors[output].shape) if pools else source.layout

        def attempt(place, room):
            end, together, pooling = sum(room), 1, None
            rooms = [min(room[1], words) for words in (self.chain_words(squares), int(config.act_words * TOGETHER_CHAIN))]
            room = room[0], rooms[0]
            if pools:
                pool = pools[0]
                pooling = Pooling(n, h, w, *layout[1:3], tuple(pool.window), tuple(pool.stride), bypass(pool))
                box, together, lines, used = pooled_plan(config, pooling, words, *rooms, place, source.place)
                # At the end of the gap: what begins beside it finds the rest in one piece when the node before has ended.
                start = max(room[0], (end - used) // self.step * self.step)
                pooling, room = replace(pooling, lines=lines), (start, used)
            else:
                box = chain_box(config, pixels, words, room[1], source.place)
            box, parts = self.sums_of_box(sums, box, words)
            post, more = self.operands(product)
            job = ChainJob(
                source.place, place, pixels, words, box, replace(BYPASS, table=np.asarray(squares.table)),
                parts, post, more["params"], more["tables"], product.inputs[0] == sums.output, room,
                Flow(self.progress, squares.inputs, output), together if pools else SETS, together,
            )  # fmt: skip
            steps = pooled_steps(self.b, job, pooling) if pools else chain_steps(self.b, job)
            return Work(steps, "vector unit and array", 0, (room[0], sum(room)), more["params"])

        work = self.settle(output, layout, attempt)
        self.progress.begin(output)
        return work

    def sums_of_box(self, sums, box, words):
        """(pixels of a box, at most so many; ConvJobs of the sums over its channels)."""
        config = self.config
        shape, weights = channel_sum_shape(sums.before, sums.after, (1, 1, box, words * config.lanes), config.lanes)
        if config.noc_words > 1 and config.dram_words > 1 and (split := split_box(config, box, words)):
            left, right = shape.pad[1], shape.s - 1 - shape.pad[1]
            parts = sum_parts(config, split, words, weights, left, right)
            if parts:
                return split.box, tuple(
                    self.sum_job(sums, *part, Place(act=result)) for *part, result in parts
                )
        mapping, tiling, _ = find_mapping(
            shape, config, room=0, memory=self.memory, input_resident=True, output_resident=True, few=True
        )
        return box, (self.sum_job(sums, shape, mapping, tiling, weights, Place(act=0)),)

    def sum_job(self, sums, shape, mapping, tiling, weights, target):
        """ConvJob of sums over channels with these weights."""
        params, pad = self.sum_parameters(sums, weights)
        return ConvJob(shape, mapping, tiling, weights, params, settings(sums.post), pad, Place(act=0), target, (0, 0))
