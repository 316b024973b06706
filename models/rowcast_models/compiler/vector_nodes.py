"""Nodes of the vector unit: pooling, element-wise operations, tables."""

from dataclasses import replace

import numpy as np
from rowcast.isa import PostMode, PostSource

from .. import graph as g
from ..golden.requantise import encode_params, quantise_multiplier_average
from .errors import CompileError
from .geometry import ceil_div
from .posts import BYPASS, bypass, settings
from .vector import VectorError, VectorJob, vector_steps
from .weave import Work

__all__ = ["VECTOR", "VectorNodes", "share"]

MAX_WINDOW = 1 << 14  # pixels of which the vector unit makes exact sums
VECTOR = (g.MaxPool, g.AveragePool, g.Elementwise, g.Table)


class VectorNodes:
    """Lowerings of the vector unit's nodes, for the compiler."""

    def vector(self, node, layout, source, names, post, **more):
        values = [self.values[name] for name in names]
        post = self.through_home(node, post)
        layout_in = values[0].layout
        pixels = layout_in[0] * layout_in[1] * layout_in[2]

        def job(place, room):
            n, h, w, c = layout_in
            words = ceil_div(c, self.config.lanes)
            if is_flat(more):  # every word for itself
                n, (h, w, words) = 1, self.flat(n * h, w, words, len(values), room[1], cut=node.output not in self.homes)
                e, f = h, w
            else:
                e, f = layout[1:3]
            return VectorJob(
                source, tuple(v.place for v in values), place, n, h, w, words, e, f, post, room, **more,
                flow=self.flow(node), pixels=pixels if is_flat(more) else 0,
            )  # fmt: skip

        def attempt(place, room):
            part = (room[0], min(room[1], self.config.act_words // share(node)))
            try:
                steps = vector_steps(self.b, job(place, part))
            except VectorError:
                part = room
                steps = vector_steps(self.b, job(place, part))
            resident = place.act is not None and all(value.place.act is not None for value in values)
            claim = None if resident else (part[0], sum(part))
            return Work(steps, "vector unit", 0, claim, more.get("params"))

        return self.settle(node.output, layout, attempt)

    def flat(self, rows, pixels, words, tensors, room, *, cut=False):
        """(rows, pixels of a row, words of a pixel) of a tensor whose pixels are independent: rows that surely fit.

        `room`: words of activation memory; `cut`: the words of a pixel are independent, too.
        """
        room = room // 2 - (tensors + 3) * self.step
        if (tensors + 1) * pixels * (words + self.step) <= room:
            return rows, pixels, words
        if (tensors + 1) * (words + self.step) <= room or not cut:
            return rows * pixels, 1, words
        return rows * pixels * words, 1, 1

    def lower_maxpool(self, node, layout):
        return self.vector(
            node, layout, PostSource.MAX, node.inputs, bypass(node), window=tuple(node.window), stride=tuple(node.stride),
            pad=(node.padding[0][0], node.padding[1][0]),
        )  # fmt: skip

    def lower_averagepool(self, node, layout):
        most, lanes = node.window[0] * node.window[1], self.config.lanes
        if most > MAX_WINDOW:
            raise CompileError(
                f"node {node.name!r}: a window of {node.window[0]} x {node.window[1]} pixels; the vector unit adds up to "
                f"{MAX_WINDOW}"
            )
        pad = (node.padding[0][0], node.padding[1][0])
        _, h, w, _ = self.values[node.inputs[0]].layout
        whole = not any(pad) and (layout[1] - 1) * node.stride[0] + node.window[0] <= h
        whole = whole and (layout[2] - 1) * node.stride[1] + node.window[1] <= w
        counts = [most] if whole else list(range(1, most + 1))
        if ceil_div(len(counts), lanes) * lanes > self.config.param_channels:
            raise CompileError(
                f"node {node.name!r}: an average over {most} words needs param_channels >= {most}, "
                f"not {self.config.param_channels}"
            )
        if node.post is None:
            multiplier, shift = np.array([quantise_multiplier_average(count) for count in counts]).T
            bias, post = np.zeros(len(counts), np.int64), replace(bypass(node), mode=PostMode.SINGLE)
        else:
            entries = np.array(counts) - 1 if len(node.post.multiplier) > 1 else np.zeros(len(counts), int)
            multiplier, shift = node.post.multiplier[entries], node.post.shift[entries]
            bias = -np.array(counts) * self.graph.tensors[node.inputs[0]].zero_point
            post = settings(node.post)
        params = np.zeros((ceil_div(len(counts), lanes) * lanes, 4), np.uint32)
        params[: len(counts)] = encode_params(bias, multiplier, shift, post.mode)
        return self.vector(
            node, layout, PostSource.SUM, node.inputs, post, window=tuple(node.window), stride=tuple(node.stride),
            pad=pad, params=params, by_count=not whole,
        )  # fmt: skip

    def lower_elementwise(self, node, layout):
        if node.kind == "max":
            return self.vector(node, layout, PostSource.MAX, node.inputs, bypass(node))
        source = {"add": PostSource.ADD, "mul": PostSource.MUL}[node.kind]
        post, more = self.operands(node)
        return self.vector(node, layout, source, node.inputs, post, **more)

    def operands(self, node):
        """PostSettings, and the parameters and tables of an addition or a product."""
        post, lanes = node.post, self.config.lanes
        if node.kind == "mul" and any(np.any(table != table.astype(np.int16)) for table in (node.table_a, node.table_b)):
            raise CompileError(f"node {node.name!r}: factors must fit 16 bits: make table_a and table_b smaller")
        one = encode_params(0, post.multiplier, post.shift, post.post_mode)
        return settings(post), {"params": np.repeat(one, lanes, 0), "tables": (node.table_a, node.table_b)}

    def lower_table(self, node, layout):
        if node.output in self.joined:
            return self.chain(node, *self.joined[node.output])
        post = replace(BYPASS, table=np.asarray(node.table))
        return self.vector(node, layout, PostSource.MAX, node.inputs, post)


def share(node):
    """Which part of the activation memory a node of the vector unit gets: so many make the whole."""
    return 6 if isinstance(node, g.MaxPool | g.AveragePool) else 8


def is_flat(fields):
    """Whether an operation of the vector unit takes every pixel for itself."""
    return fields.get("window", (1, 1)) == fields.get("stride", (1, 1)) == (1, 1)
