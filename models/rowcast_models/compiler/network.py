"""A whole graph to a program: which tensors stay in the buffer, which pass through memory, and one lowering a node."""

from dataclasses import replace

import numpy as np
from rowcast.isa import IsaError, PostMode, PostSource

from .. import graph as g
from ..golden.requantise import encode_params, quantise_multiplier_average
from .builder import Builder
from .convolution import ConvJob, Place, PostSettings, lower_convolution
from .geometry import ConvShape, ceil_div
from .layout import (
    concat_parts,
    is_identity,
    pad_shape,
    place_of_part,
    reshape_positions,
    select_shape,
    selected_words,
)
from .mapping import MappingError, Memory, find_mapping
from .padding import fold_padding
from .placement import Placement, Value, nhwc
from .program import ALIGN, Layer, Program, TensorPlace, pack
from .resize import ResizeJob, lower_resize
from .shapes import conv_shape, in_parts
from .tokens import synchronise
from .vector import VectorError, VectorJob, lower_vector

__all__ = ["CompileError", "compile_graph"]

MAX_IMAGE = 1 << 31  # bytes: what 32-bit word addresses and common boards can hold
MAX_SELECTION = 1 << 24  # weights of 0 and 1 that move the elements of a tensor
MAX_WINDOW = 1 << 14  # pixels of which the vector unit makes exact sums
BYPASS = PostSettings(PostMode.BYPASS, 0, -128, 127)  # bytes as they are


class CompileError(ValueError):
    """A graph that cannot be mapped: names the node, what is in the way, and what would work."""


def compile_graph(graph, config, *, memory=None, keep_all=False, progress=None):
    """Compile a graph for a configuration.

    Parameters
    ----------
    memory : the Memory that the mapper plans for.
    keep_all : store every tensor to memory, so that all can be compared; else only the graph's outputs and what
        does not fit the buffer.
    progress : called with (node number, number of nodes, node name).

    Raises
    ------
    CompileError
        A node that does not fit, or an image too large.
    """
    graph = fold_padding(graph, keep_all=keep_all)
    excluded = set()
    while True:
        compiler = _Compiler(graph, config, memory or Memory(), keep_all, progress, excluded)
        try:
            return compiler.run()
        except _Spill as spill:  # a resident tensor is in the way: keep it in memory and start over
            excluded.add(spill.name)


class _Spill(Exception):
    def __init__(self, name):
        self.name = name


class _Compiler(Placement):
    """Goes through the graph node by node; `lower_<kind>` emits a node and returns (mapping in words, estimated cycles)."""

    def __init__(self, graph, config, memory, keep_all, progress, excluded):
        super().__init__(graph, config, keep_all=keep_all, excluded=excluded)
        self.memory, self.progress = memory, progress
        self.b = Builder(config)
        self.layers = []

    # Nodes --------------------------------------------------------------------------------------------------------------

    def run(self):
        graph = self.graph
        for name in graph.inputs:
            self.place_input(name)
        for self.number, node in enumerate(graph.nodes):
            if self.progress:
                self.progress(self.number, len(graph.nodes), node.name)
            try:
                self.node(node)
            except (MappingError, VectorError) as error:
                spilled = self.largest()
                if spilled is not None:
                    raise _Spill(spilled) from error
                raise CompileError(f"node {node.name!r}: {error}") from error
            except IsaError as error:
                raise CompileError(f"node {node.name!r} is too large for the instruction set: {error}") from error
        return self.finish()

    def node(self, node):
        if isinstance(node, g.Reshape):
            source, shape = self.values[node.inputs[0]], nhwc(self.graph.tensors[node.output].shape)
            layout = shape if self.same_words(shape, source.layout) else source.layout
            self.alias(node.output, source, layout)
            return
        if is_identity(self.graph, node):
            source = self.values[node.inputs[0]]
            self.alias(node.output, source, source.layout)
            return
        if isinstance(node, g.Constant):
            self.constant(node)
            return
        kind = type(node).__name__
        lower = getattr(self, f"lower_{kind.lower()}", None)
        if lower is None:
            raise CompileError(f"node {node.name!r}: no lowering of {kind}")
        layout = self.layout_of(node)
        self.lowered(node, layout, lower(node, layout))

    def lowered(self, node, layout, done):
        """Note what the lowering of a node returned, and store the result if it is wanted in memory, too."""
        mapping, estimate = done
        self.layers.append(Layer(node.name, type(node).__name__, self.graph.macs(node), mapping, estimate))
        self.b.layer += 1
        place = self.values[node.output].place
        if place.act is not None and place.dram is not None and node.output not in self.homes:
            self.b.store(place.dram, place.act, self.words(layout))

    def constant(self, node):
        """A tensor that lies in memory from the start, among the constants."""
        layout = nhwc(node.values.shape)
        words = pack(node.values.reshape(layout), self.config.lanes)
        self.values[node.output] = Value(layout, Place(dram=self.b.constant(words.tobytes())), self.last.get(node.output, -1))

    def same_words(self, a, b):
        """Whether both layouts put the elements into the same words."""
        return a[3] == b[3] or not (a[3] % self.config.lanes or b[3] % self.config.lanes)

    def layout_of(self, node):
        """Layout of the node's result.

        Words hold channels, so a reshape that cuts them anew does not move anything at first: the tensor keeps the layout
        that it had.  Fully connected layers, tables and element-wise nodes take it as it is; for others it is moved into
        the pixels that the graph sees.
        """
        layouts = [self.values[name].layout for name in node.inputs]
        anywhere = isinstance(node, g.Table | g.Elementwise) and node.output not in self.homes
        if anywhere and all(layout == layouts[0] for layout in layouts):
            return layouts[0]
        if not isinstance(node, g.FullyConnected):
            for name in dict.fromkeys(node.inputs):
                if self.values[name].layout != nhwc(self.graph.tensors[name].shape):
                    self.cut_anew(node, name)
        return nhwc(self.graph.tensors[node.output].shape)

    def cut_anew(self, node, name):
        """Move a tensor, which a reshape has left in the words of another shape, into words of its own; `node` wants it."""
        source, layout, lanes = self.values[name], nhwc(self.graph.tensors[name].shape), self.config.lanes
        together, positions = reshape_positions(source.layout[3], layout[3], lanes)
        channels = together * ceil_div(source.layout[3], lanes) * lanes
        if len(positions) * channels > MAX_SELECTION:
            raise CompileError(
                f"node {node.name!r}: its input {name!r} lies in memory as {source.layout}, since a reshape makes it "
                f"{layout}; that works if both numbers of channels are multiples of lanes ({lanes}), or if blocks of as many "
                f"elements as their least common multiple are not more than a few thousand"
            )
        pixels = source.layout[0] * source.layout[1] * source.layout[2] // together
        made_by = self.graph.producer(name)
        wide = replace(source, layout=(1, 1, pixels, channels))
        done = self.select(made_by, layout, wide, channels, positions)
        self.aliases.discard(name)
        self.lowered(made_by, layout, done)

    def settle(self, node, layout, attempt):
        """Try the targets; `attempt(place, room)` returns what it returns for the first that fits."""
        error = None
        for place, room in self.targets(node, layout):
            try:
                result = attempt(place, room)
            except (MappingError, VectorError) as failed:
                error = failed
                continue
            self.values[node.output] = Value(layout, place, self.last.get(node.output, -1))
            return result
        raise error

    # Convolutions -------------------------------------------------------------------------------------------------------

    def lower_conv(self, node, layout):
        source = self.values[node.inputs[0]]
        shape, weights = conv_shape(node, source.layout, layout, self.config.lanes)
        return self.convolution(node, layout, source, shape, weights)

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
        post, lanes = node.post, self.config.lanes
        m = layout[3]
        sums = np.asarray(node.weights, np.int64).reshape(m, -1).sum(1)
        bias = (np.asarray(node.bias, np.int64) - zero_point * sums + 2**31) % 2**32 - 2**31
        params = np.zeros((shape.units * shape.out_words * lanes, 4), np.uint32)
        params[:m] = encode_params(bias, post.multiplier, post.shift, post.post_mode)
        params = params.reshape(shape.units, shape.out_words * lanes, 4)

        post = self.through_home(node, settings(post))
        return self.array(node, layout, source, shape, weights, params, post, zero_point)

    def array(self, node, layout, source, shape, weights, params, post, pad):
        """The array's work for a node: mapping, tiling and lowering, at the first place that fits."""

        def attempt(place, room):
            placed = replace(shape, pitch=place.pitch)
            mapping, tiling, cost = find_mapping(
                placed, self.config, room=room[1], memory=self.memory,
                input_resident=source.place.act is not None, output_resident=place.act is not None,
            )  # fmt: skip
            lower_convolution(
                self.b, ConvJob(placed, mapping, tiling, weights, params, post, pad, source.place, place, room)
            )
            return describe(mapping), cost.cycles

        return self.settle(node, layout, attempt)

    def through_home(self, node, post):
        """The settings of a node whose result goes into a concatenation in another scale: its table is the last."""
        table = self.homes[node.output].table if node.output in self.homes else None
        if table is None:
            return post
        return replace(post, table=table if post.table is None else np.asarray(table)[np.asarray(post.table, np.int64) + 128])

    # Vector operations --------------------------------------------------------------------------------------------------

    def vector(self, node, layout, source, names, post, **more):
        values = [self.values[name] for name in names]
        post = self.through_home(node, post)
        n, h, w, c = values[0].layout
        words = ceil_div(c, self.config.lanes)
        if is_flat(more):  # every word for itself
            n, (h, w, words) = 1, self.flat(n * h, w, words, len(values), cut=node.output not in self.homes)
            e, f = h, w
        else:
            e, f = layout[1:3]

        def attempt(place, room):
            job = VectorJob(
                source, tuple(v.place for v in values), place, n, h, w, words, e, f, post, room, **more
            )  # fmt: skip
            lower_vector(self.b, job)
            return "vector unit", 0

        return self.settle(node, layout, attempt)

    def flat(self, rows, pixels, words, tensors, *, cut=False):
        """(rows, pixels of a row, words of a pixel) of a tensor whose pixels are independent: rows that surely fit.

        `cut`: the words of a pixel are independent, too.
        """
        room = max(size for _, size in self.gaps()) // 2 - (tensors + 1) * self.step
        if (tensors + 1) * pixels * (words + self.step) <= room:
            return rows, pixels, words
        if (tensors + 1) * (words + self.step) <= room or not cut:
            return rows * pixels, 1, words
        return rows * pixels * words, 1, 1

    # What only moves -----------------------------------------------------------------------------------------------------

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
            lower_resize(self.b, ResizeJob(
                (1, pixels, ceil_div(channels, self.config.lanes), 1), range(pixels), words, source.place,
                replace(place, pitch=0), post, room, place.pitch,
            ))  # fmt: skip
            return "vector unit", 0

        return self.settle(node, layout, attempt)

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
            lower_resize(self.b, ResizeJob(inside, node.rows, node.columns, source.place, place, post, room))
            return "vector unit", 0

        return self.settle(node, layout, attempt)

    def lower_concat(self, node, layout):
        """Copies the parts that were not made in their places, and squeezes out holes between them."""
        homes = concat_parts(self.graph, node, self.config.lanes)
        parts = self.parts(homes[0])
        for name, home in zip(node.inputs, homes, strict=True):
            if name not in self.homes:
                self.copy(name, home, parts)
        if homes[0].name == node.output:
            self.b.mark()
            return "in place", 0
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
        rows, pixels, words = self.flat(n * h, w, words, 1)
        place = place_of_part(parts.place, home.offset, home.pitch)
        room = max(self.gaps(), key=lambda gap: gap[1])
        post = replace(BYPASS, table=home.table)
        lower_vector(self.b, VectorJob(
            PostSource.MAX, (value.place,), place, 1, rows, pixels, words, rows, pixels, post, room
        ), mark=False)  # fmt: skip

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
        post, lanes = node.post, self.config.lanes
        if node.kind == "mul" and any(np.any(table != table.astype(np.int16)) for table in (node.table_a, node.table_b)):
            raise CompileError(f"node {node.name!r}: factors must fit 16 bits: make table_a and table_b smaller")
        one = encode_params(0, post.multiplier, post.shift, post.post_mode)
        return self.vector(
            node, layout, source, node.inputs, settings(post), params=np.repeat(one, lanes, 0),
            tables=(node.table_a, node.table_b),
        )  # fmt: skip

    def lower_table(self, node, layout):
        post = replace(BYPASS, table=np.asarray(node.table))
        return self.vector(node, layout, PostSource.MAX, node.inputs, post)

    # End ----------------------------------------------------------------------------------------------------------------

    def finish(self):
        """Settle addresses, insert tokens, make the program."""
        lanes, config = self.config.lanes, self.config
        base = ceil_div(ceil_div(len(self.b.constants), ALIGN) * ALIGN, lanes)
        shift = base - self.base
        for op in self.b.ops:
            fields = op.instruction.fields
            if fields.get("dram", 0) >= self.base:
                fields["dram"] += shift
        self.b.emit("END")
        synchronise(self.b.ops, queue_depth=config.queue_depth)
        tensors = {}
        for name, value in self.values.items():
            if value.place.dram is not None:
                if name not in self.graph.tensors or (name in self.homes and self.homes[name].table is not None):
                    continue  # parts with holes between them, and what passed a table on its way
                address = value.place.dram
                tensors[name] = TensorPlace(tuple(self.graph.tensors[name].shape), value.layout, address + shift * (address >= self.base), value.place.pitch)
        end = self.top + shift
        if end * lanes > MAX_IMAGE:
            raise CompileError(f"the network needs {end * lanes:,} bytes of memory, more than {MAX_IMAGE:,}")
        return Program(
            config, [op.instruction for op in self.b.ops], bytes(self.b.constants), tensors, tuple(self.graph.inputs),
            tuple(self.graph.outputs), tuple(self.layers), (base, end), self.b.ops,
        )  # fmt: skip


def settings(post):
    """POST_SET of a Requantisation."""
    return PostSettings(post.post_mode, int(post.zero_point), int(post.low), int(post.high), post.table)


def is_flat(fields):
    """Whether an operation of the vector unit takes every pixel for itself."""
    return fields.get("window", (1, 1)) == fields.get("stride", (1, 1)) == (1, 1)


def bypass(node):
    """POST_SET of an operation that keeps its input's scale."""
    return PostSettings(PostMode.BYPASS, 0, int(node.low), int(node.high), node.table)


def describe(mapping):
    """A mapping in a few words, for reports."""
    row = f"{mapping.row_filters}f" + (f"x{mapping.row_groups}{mapping.row_kind}" if mapping.row_groups > 1 else "")
    column = f"{mapping.column_filters}f"
    column += f"x{mapping.column_groups}{mapping.column_kind}" if mapping.column_groups > 1 else ""
    return f"rows {row}, columns {column}, patch {mapping.y.largest}x{mapping.x.largest}, {len(mapping.chunks)} chunks"


