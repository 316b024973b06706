"""A whole graph to a program: which tensors stay in the buffer, which pass through memory, and one lowering a node."""

from dataclasses import dataclass, replace

import numpy as np

from rowcast.isa import IsaError, PostMode, PostSource

from .. import graph as g
from ..golden.requantise import encode_params, quantise_multiplier_average
from .builder import Builder
from .convolution import ConvJob, Place, PostSettings, lower_convolution
from .geometry import ConvShape, ceil_div
from .mapping import MappingError, Memory, find_mapping
from .program import ALIGN, Layer, Program, TensorPlace
from .tokens import synchronise
from .vector import VectorError, VectorJob, lower_vector

__all__ = ["CompileError", "compile_graph", "conv_shape"]

MAX_IMAGE = 1 << 31  # bytes: what 32-bit word addresses and common boards can hold


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


@dataclass
class _Value:
    """A tensor while compiling: NHWC layout, its place, and the node after which it is not needed."""

    layout: tuple
    place: Place
    last_use: int


def conv_shape(node, layout, out_layout, lanes):
    """(ConvShape, weights int8 [units, out_words x lanes, R, S, channels]) of a Conv."""
    n, h, w, c = layout
    _, e, f, m = out_layout
    weights = np.asarray(node.weights, np.int8)
    _, r, s, per_group = weights.shape
    words_in, words_out = ceil_div(c, lanes), ceil_div(m, lanes)
    groups = node.groups
    depthwise = groups == c == m and groups > 1
    if depthwise:
        units, in_words, out_words, channels = words_in, 1, 1, 1
        full = np.zeros((words_in * lanes, r, s, 1), np.int8)
        full[:m] = weights
    elif groups > 1 and per_group % lanes == 0 and (m // groups) % lanes == 0:
        units, in_words, out_words, channels = groups, per_group // lanes, m // groups // lanes, per_group
        full = weights
    else:
        units, in_words, out_words, channels = 1, words_in, words_out, c
        full = np.zeros((words_out * lanes, r, s, c), np.int8)
        each = m // groups
        for group in range(groups):  # groups that are not whole words become blocks of a dense filter
            full[group * each : (group + 1) * each, :, :, group * per_group : (group + 1) * per_group] = weights[
                group * each : (group + 1) * each
            ]
    full = full.reshape(units, out_words * lanes, r, s, channels)
    (top, bottom), (left, right) = node.padding
    stride, dilation = tuple(node.stride), tuple(node.dilation)
    if r == s == 1 and stride == (1, 1) and not (top or bottom or left or right):
        n, h, w, e, f = 1, 1, n * h * w, 1, n * e * f  # every pixel for itself: one long row
    padded = (
        top > 0 or left > 0
        or (e - 1) * stride[0] + (r - 1) * dilation[0] + 1 - top > h
        or (f - 1) * stride[1] + (s - 1) * dilation[1] + 1 - left > w
    )  # fmt: skip
    shape = ConvShape(
        n, h, w, e, f, r, s, stride, dilation, (top, left), units, in_words, out_words, channels, depthwise, padded
    )
    return shape, full


class _Compiler:
    def __init__(self, graph, config, memory, keep_all, progress, excluded):
        self.graph, self.config, self.memory = graph, config, memory
        self.keep_all, self.progress, self.excluded = keep_all, progress, excluded
        self.b = Builder(config)
        self.values, self.layers = {}, []
        self.top = 1 << 31  # tensors are placed above the constants; the base is settled at the end
        self.base = self.top
        self.step = config.dram_words

    # Memory -------------------------------------------------------------------------------------------------------------

    def words(self, layout):
        """Words of a tensor."""
        n, h, w, c = layout
        return n * h * w * ceil_div(c, self.config.lanes)

    def in_memory(self, layout):
        """Allocate memory for a tensor."""
        address = self.top
        self.top += ceil_div(self.words(layout), self.step) * self.step
        return address

    def gaps(self, extra=()):
        """Free (first word, words) of the activation memory."""
        taken = sorted(
            [(v.place.act, v.place.act + self.words(v.layout)) for v in self.live()] + list(extra)
        )  # fmt: skip
        free, at = [], 0
        for low, high in [*taken, (self.config.act_words, self.config.act_words)]:
            if low > at:
                free.append((at, low - at))
            at = max(at, high)
        return free or [(0, 0)]

    def live(self):
        """Resident tensors that are still needed, aliases once."""
        found = {}
        for value in self.values.values():
            if value.place.act is not None and value.last_use >= self.number:
                found[value.place.act] = value
        return found.values()

    # Nodes --------------------------------------------------------------------------------------------------------------

    def run(self):
        graph = self.graph
        last = {}
        for number, node in enumerate(graph.nodes):
            for name in node.inputs:
                last[name] = number
        outside = set(graph.outputs)
        for number, node in reversed(list(enumerate(graph.nodes))):
            if isinstance(node, g.Reshape):  # what an alias stands for lives as long as it, and leaves with it
                last[node.inputs[0]] = max(last[node.inputs[0]], last.get(node.output, number))
                if node.output in outside:
                    outside.add(node.inputs[0])
        self.last, self.outside = last, outside
        for name in graph.inputs:
            layout = nhwc(graph.tensors[name].shape)
            self.values[name] = _Value(layout, Place(dram=self.in_memory(layout)), last.get(name, -1))
        for self.number, node in enumerate(graph.nodes):
            if self.progress:
                self.progress(self.number, len(graph.nodes), node.name)
            try:
                self.node(node)
            except (MappingError, VectorError) as error:
                resident = [(self.words(v.layout), name) for name, v in self.values.items()
                            if v.place.act is not None and v.last_use >= self.number
                            and not isinstance(graph.producer(name), g.Reshape)]  # fmt: skip
                if resident:
                    raise _Spill(max(resident)[1]) from error
                raise CompileError(f"node {node.name!r}: {error}") from error
            except IsaError as error:
                raise CompileError(f"node {node.name!r} is too large for the instruction set: {error}") from error
        return self.finish()

    def node(self, node):
        if isinstance(node, g.Reshape):
            source, shape = self.values[node.inputs[0]], nhwc(self.graph.tensors[node.output].shape)
            layout = shape if self.same_words(shape, source.layout) else source.layout
            self.values[node.output] = replace(source, layout=layout, last_use=self.last.get(node.output, -1))
            return
        kind = type(node).__name__
        lower = getattr(self, f"lower_{kind.lower()}", None)
        if lower is None:
            raise CompileError(f"node {node.name!r}: no lowering of {kind}")
        layout = self.layout_of(node)
        mapping, estimate = lower(node, layout)
        self.layers.append(Layer(node.name, kind, self.graph.macs(node), mapping, estimate))
        self.b.layer += 1
        place = self.values[node.output].place
        if place.act is not None and place.dram is not None:
            self.b.store(place.dram, place.act, self.words(layout))

    def same_words(self, a, b):
        """Whether both layouts put the elements into the same words."""
        return a[3] == b[3] or not (a[3] % self.config.lanes or b[3] % self.config.lanes)

    def layout_of(self, node):
        """Layout of the node's result; refuses an input that a reshape has left in the words of another shape.

        Words hold channels, so a reshape that cuts them anew does not move anything: the tensor keeps the layout that it
        had.  Fully connected layers and tables take it as it is, others need the pixels that the graph sees.
        """
        layouts = [self.values[name].layout for name in node.inputs]
        if isinstance(node, g.Table | g.Elementwise):
            if any(layout != layouts[0] for layout in layouts):
                self.refuse(node, layouts)
            return layouts[0]
        seen = [nhwc(self.graph.tensors[name].shape) for name in node.inputs]
        if not isinstance(node, g.FullyConnected) and layouts != seen:
            self.refuse(node, layouts)
        return nhwc(self.graph.tensors[node.output].shape)

    def refuse(self, node, layouts):
        raise CompileError(
            f"node {node.name!r}: its inputs lie in memory as {', '.join(map(str, layouts))}, since a reshape before it "
            f"changes the number of channels; that works if both numbers are multiples of lanes ({self.config.lanes})"
        )

    def targets(self, node, layout):
        """Places for the node's result worth trying, best first: in the buffer, then in memory."""
        name = node.output
        outside = name in self.outside
        used = name in self.last
        words = ceil_div(self.words(layout), self.step) * self.step
        if used and name not in self.excluded and words * 2 <= self.config.act_words:
            for low, size in sorted(self.gaps(), key=lambda gap: gap[1]):
                start = ceil_div(low, self.step) * self.step
                if start + words <= low + size:
                    dram = self.in_memory(layout) if outside or self.keep_all else None
                    yield Place(start, dram), max(
                        self.gaps([(start, start + words)]), key=lambda gap: gap[1]
                    )
                    break
        yield Place(None, self.in_memory(layout)), max(self.gaps(), key=lambda gap: gap[1])

    def settle(self, node, layout, attempt):
        """Try the targets; `attempt(place, room)` returns what it returns for the first that fits."""
        error = None
        for place, room in self.targets(node, layout):
            try:
                result = attempt(place, room)
            except (MappingError, VectorError) as failed:
                error = failed
                continue
            self.values[node.output] = _Value(layout, place, self.last.get(node.output, -1))
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
        full = np.zeros((ceil_div(m, lanes) * lanes, h * w, words * lanes), np.int8)
        full[:m, :, :c] = np.asarray(node.weights, np.int8).reshape(m, h * w, c)
        channels = h * w * words * lanes if h * w > 1 else c
        full = full.reshape(1, full.shape[0], 1, 1, -1)[..., :channels]
        shape = ConvShape(
            1, 1, n, 1, n, 1, 1, (1, 1), (1, 1), (0, 0), 1, h * w * words, ceil_div(m, lanes), channels, False, False
        )
        return self.convolution(node, layout, source, shape, full)

    def convolution(self, node, layout, source, shape, weights):
        zero_point = self.graph.tensors[node.inputs[0]].zero_point
        post, lanes = node.post, self.config.lanes
        m = layout[3]
        sums = np.asarray(node.weights, np.int64).reshape(m, -1).sum(1)
        bias = (np.asarray(node.bias, np.int64) - zero_point * sums + 2**31) % 2**32 - 2**31
        params = np.zeros((shape.units * shape.out_words * lanes, 4), np.uint32)
        params[:m] = encode_params(bias, post.multiplier, post.shift, post.post_mode)
        params = params.reshape(shape.units, shape.out_words * lanes, 4)

        def attempt(place, room):
            mapping, tiling, cost = find_mapping(
                shape, self.config, room=room[1], memory=self.memory,
                input_resident=source.place.act is not None, output_resident=place.act is not None,
            )  # fmt: skip
            lower_convolution(
                self.b,
                ConvJob(shape, mapping, tiling, weights, params, settings(post), zero_point, source.place, place, room),
            )
            return describe(mapping), cost.cycles

        return self.settle(node, layout, attempt)

    # Vector operations --------------------------------------------------------------------------------------------------

    def vector(self, node, layout, source, names, post, **more):
        values = [self.values[name] for name in names]
        n, h, w, c = values[0].layout
        if more.get("window", (1, 1)) == more.get("stride", (1, 1)) == (1, 1):  # every word for itself
            size = (n * h, w, n * h, w)
            n, h, w, e, f = 1, *size
        else:
            e, f = layout[1:3]

        def attempt(place, room):
            job = VectorJob(
                source, tuple(v.place for v in values), place, n, h, w, ceil_div(c, self.config.lanes), e, f, post, room,
                **more,
            )  # fmt: skip
            lower_vector(self.b, job)
            return "vector unit", 0

        return self.settle(node, layout, attempt)

    def lower_maxpool(self, node, layout):
        return self.vector(
            node, layout, PostSource.MAX, node.inputs, bypass(node), window=tuple(node.window), stride=tuple(node.stride),
            pad=(node.padding[0][0], node.padding[1][0]),
        )  # fmt: skip

    def lower_averagepool(self, node, layout):
        most, lanes = node.window[0] * node.window[1], self.config.lanes
        pad = (node.padding[0][0], node.padding[1][0])
        n, h, w, _ = self.values[node.inputs[0]].layout
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
        post = PostSettings(PostMode.BYPASS, 0, -128, 127, np.asarray(node.table))
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
                shape = tuple(self.graph.tensors[name].shape)
                tensors[name] = TensorPlace(shape, value.layout, value.place.dram + shift)
        end = self.top + shift
        if end * lanes > MAX_IMAGE:
            raise CompileError(f"the network needs {end * lanes:,} bytes of memory, more than {MAX_IMAGE:,}")
        return Program(
            config, [op.instruction for op in self.b.ops], bytes(self.b.constants), tensors, tuple(self.graph.inputs),
            tuple(self.graph.outputs), tuple(self.layers), (base, end), self.b.ops,
        )  # fmt: skip


def nhwc(shape):
    """A graph's shape as NHWC: (N, C) is a 1 x 1 image."""
    return tuple(shape) if len(shape) == 4 else (shape[0], 1, 1, shape[1])


def settings(post):
    """POST_SET of a Requantisation."""
    return PostSettings(post.post_mode, int(post.zero_point), int(post.low), int(post.high), post.table)


def bypass(node):
    """POST_SET of an operation that keeps its input's scale."""
    return PostSettings(PostMode.BYPASS, 0, int(node.low), int(node.high), node.table)


def describe(mapping):
    """A mapping in a few words, for reports."""
    row = f"{mapping.row_filters}f" + (f"x{mapping.row_groups}{mapping.row_kind}" if mapping.row_groups > 1 else "")
    column = f"{mapping.column_filters}f"
    column += f"x{mapping.column_groups}{mapping.column_kind}" if mapping.column_groups > 1 else ""
    return f"rows {row}, columns {column}, patch {mapping.y.largest}x{mapping.x.largest}, {len(mapping.chunks)} chunks"


