"""Nodes that only move bytes: selection, padding, resizing, concatenation."""

from dataclasses import replace

import numpy as np
from rowcast.isa import PostSource

from .geometry import ceil_div
from .layout import concat_parts, pad_shape, place_of_part, select_shape, selected_words
from .placement import nhwc
from .posts import BYPASS
from .resize import ResizeJob, resize_steps
from .vector import VectorJob, lower_vector
from .weave import Work

__all__ = ["MovingNodes"]


class MovingNodes:
    """Lowerings of what only moves, for the compiler."""

    def lower_select(self, node, layout):
        source = self.values[node.inputs[0]]
        return self.select(node, layout, source, source.layout[3], node.channels)

    def select(self, node, layout, source, channels, positions):
        """Channels `positions` of a tensor of so many.

        Whole words are copied; others go through the array: weights of 0 and 1, sums as they are.
        """
        words = selected_words(positions, self.config.lanes)
        if words is not None:
            return self.select_words(node, layout, source, channels, words)
        shape, weights = select_shape(source.layout, channels, positions, self.config.lanes)
        return self.moved(node, layout, source, shape, weights, 0)

    def select_words(self, node, layout, source, channels, words):
        """Whole words of every pixel: pixels are rows here, and their words are picked as columns."""
        pixels = source.layout[0] * source.layout[1] * source.layout[2]
        post = self.through_home(node, BYPASS)

        def attempt(place, room):
            job = ResizeJob(
                (1, pixels, ceil_div(channels, self.config.lanes), 1), range(pixels), words, source.place,
                replace(place, pitch=0), post, room, place.pitch,
            )  # fmt: skip
            return Work(resize_steps(self.b, job), "vector unit", claim=(room[0], sum(room)))

        return self.settle(node.output, layout, attempt)

    def lower_pad(self, node, layout):
        source = self.values[node.inputs[0]]
        shape, weights = pad_shape(source.layout, layout, node.padding, self.config.lanes)
        return self.moved(node, layout, source, shape, weights, node.value)

    def moved(self, node, layout, source, shape, weights, pad):
        """Bytes through the array as they are."""
        params = np.zeros((shape.units, weights.shape[1], 4), np.uint32)
        post = self.through_home(node, BYPASS)
        return self.array(node, layout, source, shape, weights[None], params, post, pad)

    def lower_resize(self, node, layout):
        source = self.values[node.inputs[0]]
        n, h, w, c = source.layout
        inside = (n, h, w, ceil_div(c, self.config.lanes))
        post = self.through_home(node, BYPASS)

        def attempt(place, room):
            job = ResizeJob(inside, node.rows, node.columns, source.place, place, post, room)
            return Work(resize_steps(self.b, job), "vector unit", claim=(room[0], sum(room)))

        return self.settle(node.output, layout, attempt)

    def lower_concat(self, node, layout):
        """Copies the parts that were not made in their places, and squeezes out holes between them."""
        homes = concat_parts(self.graph, node, self.config.lanes)
        parts = self.parts(homes[0])
        for name, home in zip(node.inputs, homes, strict=True):
            if name not in self.homes:
                self.copy(name, home, parts)
        if homes[0].name == node.output:
            return Work(iter(()), "in place")
        if self.keep_all and parts.place.act is not None:
            self.b.store(parts.place.dram, parts.place.act, self.words(parts.layout))
        lanes = self.config.lanes
        widths = [nhwc(self.graph.tensors[name].shape)[3] for name in node.inputs]
        positions = np.concatenate([home.offset * lanes + np.arange(width) for home, width in zip(homes, widths)])
        return self.select(node, layout, parts, homes[0].layout[3], positions)

    def copy(self, name, home, parts):
        """One input of a concatenation into its place, through its table."""
        value = self.values[name]
        n, h, w, c = value.layout
        words = ceil_div(c, self.config.lanes)
        room = max(self.gaps(), key=lambda gap: gap[1])
        rows, pixels, words = self.flat(n * h, w, words, 1, room[1])
        place = place_of_part(parts.place, home.offset, home.pitch)
        post = replace(BYPASS, table=home.table)
        lower_vector(self.b, VectorJob(
            PostSource.MAX, (value.place,), place, 1, rows, pixels, words, rows, pixels, post, room
        ))  # fmt: skip
