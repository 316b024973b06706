"""Nodes that are done together: poolings in the passes of a convolution, normalisations over channels box by box."""

import math
from dataclasses import replace

import numpy as np

from .. import graph as g
from .array_nodes import CHAIN
from .chain import ChainJob, chain_box, chain_steps
from .convolution import ConvJob
from .flow import Flow
from .mapping import find_mapping
from .placement import Value, nhwc
from .posts import BYPASS, settings
from .settings import Place
from .weave import Work

__all__ = ["JoinedNodes"]


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
                isinstance(made_by, g.Conv) and made_by.groups == 1 and name not in apart and name not in self.outside
                and len(self.graph.consumers(name)) == 1 and not {name, node.output} & set(self.homes)
                and tuple(node.window) == tuple(node.stride) and not np.any(node.padding)
                and not (e % node.window[0] or f % node.window[1]) and 2 * self.words(layout) > self.config.act_words
            ):  # fmt: skip
                found[name] = [node]
        return found

    def find_chains(self, apart):
        """{squares: [sums, product]} of normalisations over channels whose parts are done together, box by box."""
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
                and set(product.inputs) == {*squares.inputs, sums.output} and squares.output not in apart
                and not names & self.outside and not {*names, product.output} & set(self.homes)
                and not isinstance(self.graph.producer(squares.inputs[0]), g.Reshape)
            ):  # fmt: skip
                found[squares.output] = [sums, product]
        return found

    def chain(self, squares, sums, product, layout):
        """A normalisation over channels, box by box."""
        config, source, lanes = self.config, self.values[squares.inputs[0]], self.config.lanes
        pixels, words = math.prod(layout[:3]), layout[3] // lanes
        for node in (squares, sums):
            self.values[node.output] = Value(layout, Place(), -1)

        def attempt(place, room):
            room = room[0], min(room[1], config.act_words // CHAIN)
            box = chain_box(config, pixels, words, room[1])
            shape, weights, params, pad = self.channel_sum(sums, (1, 1, box, layout[3]))
            mapping, tiling, _ = find_mapping(
                shape, config, room=0, memory=self.memory, input_resident=True, output_resident=True, few=True
            )
            post, more = self.operands(product)
            job = ChainJob(
                source.place, place, pixels, words, box, replace(BYPASS, table=np.asarray(squares.table)),
                ConvJob(shape, mapping, tiling, weights, params, settings(sums.post), pad, Place(), Place(), (0, 0)),
                post, more["params"], more["tables"], product.inputs[0] == sums.output, room,
                Flow(self.progress, squares.inputs, product.output),
            )  # fmt: skip
            return Work(chain_steps(self.b, job), "vector unit and array", 0, (room[0], sum(room)), more["params"])

        work = self.settle(product.output, layout, attempt)
        self.progress.begin(product.output)
        return work
