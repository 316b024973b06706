"""A whole graph to a program: which tensors stay in the buffer, which pass through memory, and one lowering a node."""

import itertools
import math
from dataclasses import replace

import numpy as np
from rowcast.isa import IsaError, PostMode, PostSource

from .. import graph as g
from ..golden.requantise import encode_params, quantise_multiplier_average
from .builder import Builder
from .chain import ChainJob, chain_box, chain_steps
from .compact import check_program, unsupported, without_vector_unit
from .convolution import ConvJob, convolution_steps
from .flow import Flow, Progress, in_turn
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
from .resize import ResizeJob, resize_steps
from .settings import Place, PostSettings
from .shapes import channel_sum_shape, conv_shape, in_parts
from .tokens import synchronise
from .vector import VectorError, VectorJob, lower_vector, vector_steps
from .weave import VECTORS, Misfit, Task, Weaver, Work, at_once

__all__ = ["CompileError", "compile_graph"]

MAX_IMAGE = 1 << 31  # bytes: what 32-bit word addresses and common boards can hold
MAX_SELECTION = 1 << 24  # weights of 0 and 1 that move the elements of a tensor
MAX_WINDOW = 1 << 14  # pixels of which the vector unit makes exact sums
BYPASS = PostSettings(PostMode.BYPASS, 0, -128, 127)  # bytes as they are
AHEAD = 12  # nodes: how far behind the first one that has to wait others may begin
WORD_CYCLES = 3  # of a word of a table, a sum or an addition, with its share of the memory bus
CHAIN = 6  # part of the activation memory that a normalisation over channels gets: so many make the whole
WORSE = 1.06  # a node of the array rather waits for others to end than take so much longer
ARRAY = (g.ChannelSum, g.Conv, g.FullyConnected)
LIGHT = (g.ChannelSum,)
VECTOR = (g.MaxPool, g.AveragePool, g.Elementwise, g.Table)


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
    if config.compact:
        graph = without_vector_unit(graph)
        for node in graph.nodes:
            if problem := unsupported(node):
                raise CompileError(f"node {node.name!r} ({type(node).__name__}): {problem}")
    excluded, apart = set(), set()
    while True:
        compiler = _Compiler(graph, config, memory or Memory(), keep_all, progress, excluded, apart)
        try:
            return compiler.run()
        except _Spill as spill:  # a resident tensor is in the way: keep it in memory and start over
            excluded.add(spill.name)
        except _Apart as parted:  # the other way round
            apart.add(parted.name)


class _Spill(Exception):
    def __init__(self, name):
        self.name = name


class _Apart(Exception):
    """A convolution finds no mapping together with the pooling of its results."""

    def __init__(self, name):
        self.name = name


class _Compiler(Placement):
    """Goes through the graph node by node; `lower_<kind>` plans a node and returns its `Work`.

    Nodes of the array begin one after the other; those of the vector unit begin as soon as what makes their inputs has
    begun; `Weaver` decides which goes on.  All others begin when nothing else is at work, and are emitted at once.
    """

    def __init__(self, graph, config, memory, keep_all, progress, excluded, apart):
        super().__init__(graph, config, keep_all=keep_all, excluded=excluded)
        self.memory, self.report = memory, progress
        self.b = Builder(config)
        self.layers, self.held = [], []
        self.progress = Progress()
        self.weaver = Weaver(self.b, self.progress, self.retire)
        self.begun = set(graph.inputs)  # tensors whose place is known
        self.joined = {} if keep_all or config.compact else {**self.find_pools(apart), **self.find_chains(apart)}
        inside = {node.name for nodes in self.joined.values() for node in nodes}
        # Nodes that have not begun, by number.
        self.left = {number: node for number, node in enumerate(graph.nodes) if node.name not in inside}
        self.unlucky = None  # numbers of the tasks that left no room for a node

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

    # Nodes --------------------------------------------------------------------------------------------------------------

    def run(self):
        for name in self.graph.inputs:
            self.place_input(name)
        while self.left or self.weaver.tasks:
            try:
                begun = self.begin()
                self.first_unfinished()
                if not self.weaver.step() and not begun:
                    raise AssertionError(f"no node can go on: {[task.node.name for task in self.weaver.tasks]}")
            except Misfit as misfit:
                raise CompileError(
                    f"node {misfit.node.name!r} is too large for the instruction set: {misfit.error}"
                ) from misfit.error
            self.first_unfinished()
        return self.finish()

    def first_unfinished(self):
        self.number = min([*self.left, *(task.number for task in self.weaver.tasks)], default=len(self.graph.nodes))

    def begin(self):
        """Let nodes begin whose turn it is; returns whether any did."""
        found = False
        at_work = sorted(task.number for task in self.weaver.tasks)
        turn = True  # of the array: no earlier node of it waits
        for number in list(self.left)[:AHEAD]:
            node = self.left[number]
            vector = isinstance(node, VECTOR + LIGHT)
            if all(name in self.begun for name in node.inputs) and (turn or vector):
                if self.attempt(number, node, vector, at_work):
                    found = True
                    at_work = sorted(task.number for task in self.weaver.tasks)
                    continue
            turn = turn and vector
        return found

    def attempt(self, number, node, vector, at_work):
        """Let a node begin if it can; returns whether it did."""
        idle = not at_work
        if self.together(node):
            return self.join(number, node)
        free = isinstance(node, g.Reshape | g.Constant) or is_identity(self.graph, node)
        array = isinstance(node, ARRAY)
        if not free and not idle:
            if self.unlucky == (number, at_work) or not (array or vector) or self.must_move(node):
                return False
            if isinstance(node, LIGHT):
                busy = self.weaver.light is not None
            else:
                busy = self.weaver.array is not None if array else len(self.weaver.vectors) >= VECTORS
            if busy:
                return False
        if self.report:
            self.report(number, len(self.graph.nodes), node.name)
        try:
            self.start(number, node)
        except (MappingError, VectorError) as error:
            if not idle:
                self.unlucky = (number, at_work)
                return False
            if node.output in self.joined:
                raise _Apart(node.output) from error
            spilled = self.largest()
            if spilled is not None:
                raise _Spill(spilled) from error
            raise CompileError(f"node {node.name!r}: {error}") from error
        except IsaError as error:
            raise CompileError(f"node {node.name!r} is too large for the instruction set: {error}") from error
        return True

    def start(self, number, node):
        """A node begins: other names and constants are done at once."""
        if isinstance(node, g.Reshape):
            source, shape = self.values[node.inputs[0]], nhwc(self.graph.tensors[node.output].shape)
            layout = shape if self.same_words(shape, source.layout) else source.layout
            self.other_name(node, source, layout)
        elif is_identity(self.graph, node):
            source = self.values[node.inputs[0]]
            self.other_name(node, source, source.layout)
        elif isinstance(node, g.Constant):
            self.constant(node)
        else:
            lower = getattr(self, f"lower_{type(node).__name__.lower()}", None)
            if lower is None:
                raise CompileError(f"node {node.name!r}: no lowering of {type(node).__name__}")
            layout = self.layout_of(node)
            work = lower(node, layout)
            self.enter(number, node, work)
        self.left.pop(number, None)
        self.begun |= {node.output, *(other.output for other in self.joined.get(node.output, ()))}

    def other_name(self, node, source, layout):
        """A node whose result is its input under another name."""
        self.alias(node.output, source, layout)
        pixels = [n * h * w for n, h, w, _ in (source.layout, layout)]
        self.progress.alias(node.output, node.inputs, same_pixels=pixels[0] == pixels[1])

    def together(self, node):
        """Whether a node is a Concat whose parts are all made in their places."""
        if not isinstance(node, g.Concat) or any(name not in self.homes for name in node.inputs):
            return False
        return self.homes[node.inputs[0]].name == node.output

    def join(self, number, node):
        """Such a Concat: it ends when its parts are there."""
        self.progress.alias(node.output, node.inputs)
        self.enter(number, node, Work(at_once(len(node.inputs), lambda: None), "in place"))
        self.left.pop(number)
        self.begun.add(node.output)
        return True

    def enter(self, number, node, work):
        """A node's work begins."""
        if node.output not in self.progress.names:
            self.progress.begin(node.output)
        if work.claim:
            self.claims[number] = work.claim
        self.weaver.add(Task(number, node, work))

    def result(self, node):
        """The tensor that a node's work makes: its output, or that of the last node which is done with it."""
        return self.joined[node.output][-1].output if node.output in self.joined else node.output

    def retire(self, task):
        """A node's work has been emitted."""
        self.claims.pop(task.number, None)
        self.progress.done.pop(task.node.output, None)
        result = self.result(task.node)
        self.progress.done.pop(result, None)
        value = self.values[result]
        if value.place.act is not None and value.place.dram is not None and result not in self.homes:
            self.b.store(value.place.dram, value.place.act, self.words(value.layout))
        self.held.append(Layer(
            task.node.name, type(task.node).__name__, self.graph.macs(task.node), task.work.mapping, task.work.estimate
        ))  # fmt: skip
        if task.work.array:  # what ended during its time is shown behind it
            self.held.insert(0, self.held.pop())
        for node in self.joined.get(task.node.output, ()):
            self.held.append(Layer(node.name, type(node).__name__, self.graph.macs(node), f"with {task.node.name}", 0))
        if self.weaver.array is None:
            for layer in self.held:
                self.layers.append(layer)
                self.b.mark()
            self.held.clear()

    def perform(self, node, layout, work):
        """Emit a node's work at once; nothing else is at work."""
        for _ in work.steps:
            pass
        self.lowered(node, layout, work)

    def lowered(self, node, layout, work):
        """Note a node whose work was emitted at once, and store the result if it is wanted in memory, too."""
        self.layers.append(Layer(node.name, type(node).__name__, self.graph.macs(node), work.mapping, work.estimate))
        self.b.mark()
        place = self.values[node.output].place
        if place.act is not None and place.dram is not None and node.output not in self.homes:
            self.b.store(place.dram, place.act, self.words(layout))

    def flow(self, node):
        """Of a node's inputs and output."""
        return Flow(self.progress, node.inputs, node.output)

    def shared_room(self, room, node):
        """(first word, words) that a node of the array gets of a gap: some is left to the vector unit if it has work."""
        start, size = room
        there, kept = self.begun | {self.result(node)}, 0
        if isinstance(node, LIGHT):
            return start, min(size, self.config.act_words // share(node))
        for other in itertools.islice(self.left.values(), AHEAD):
            if isinstance(other, VECTOR + LIGHT) and other is not node and all(name in there for name in other.inputs):
                there.add(self.result(other))
                kept += self.config.act_words // (CHAIN if other.output in self.joined else share(other))
        return start, size - min(kept, size // 2)

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
        for name in self.must_move(node):
            self.cut_anew(node, name)
        layouts = [self.values[name].layout for name in node.inputs]
        if isinstance(node, g.Table | g.Elementwise) and node.output not in self.homes and len(set(layouts)) == 1:
            return layouts[0]
        return nhwc(self.graph.tensors[node.output].shape)

    def must_move(self, node):
        """Inputs that lie in the words of another shape than the node can take."""
        layouts = [self.values[name].layout for name in node.inputs]
        anywhere = isinstance(node, g.Table | g.Elementwise) and node.output not in self.homes
        if isinstance(node, g.FullyConnected) or anywhere and len(set(layouts)) == 1:
            return []
        return [
            name for name in dict.fromkeys(node.inputs)
            if self.values[name].layout != nhwc(self.graph.tensors[name].shape)
        ]  # fmt: skip

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
        work = self.select(made_by, layout, wide, channels, positions)
        self.aliases.discard(name)
        self.progress.names.pop(name, None)
        self.perform(made_by, layout, work)

    def settle(self, name, layout, attempt):
        """Try the targets of a tensor; `attempt(place, room)` returns the Work for the first that fits."""
        error = None
        for place, room in self.targets(name, layout):
            try:
                result = attempt(place, room)
            except (MappingError, VectorError) as failed:
                error = failed
                continue
            self.values[name] = Value(layout, place, self.last.get(name, -1))
            return result
        raise error

    # Convolutions -------------------------------------------------------------------------------------------------------

    def lower_conv(self, node, layout):
        source = self.values[node.inputs[0]]
        shape, weights = conv_shape(node, source.layout, layout, self.config.lanes)
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
        shape, weights, params, zero_point = self.channel_sum(node, source.layout)
        return self.array(node, layout, source, shape, weights, params, self.through_home(node, settings(node.post)), zero_point)

    def channel_sum(self, node, layout):
        """(ConvShape, weights, parameters, zero point) of sums over neighbouring channels of such a tensor."""
        shape, weights = channel_sum_shape(node.before, node.after, layout, self.config.lanes)
        zero_point, post = self.graph.tensors[node.inputs[0]].zero_point, node.post
        sums = weights.astype(np.int64).sum((0, 1, 3, 4, 5))
        params = encode_params(-zero_point * sums, post.multiplier, post.shift, post.post_mode)[None]
        return shape, weights, params, zero_point

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
            size = min(given[1], ceil_div(tiling.room, self.step) * self.step)
            pixels, made = (math.prod(layout[:3]) for layout in (source.layout, layout))
            each = weights.shape[1] // jobs
            work = [ConvJob(
                placed, mapping, tiling, weights[:, i * each : (i + 1) * each], params[i * each : (i + 1) * each], post, pad,
                source.place.moved(i * shape.in_words), place.moved(i * shape.out_words), (given[0], size),
                Flow(self.progress, node.inputs, output if i == jobs - 1 else ""), pixels, made,
                bypass(pool) if pool else None,
            ) for i in range(jobs)]  # fmt: skip
            claim = (given[0], given[0] + size) if size else None
            steps, light = in_turn(convolution_steps(self.b, job) for job in work), isinstance(node, LIGHT)
            return Work(steps, describe(mapping), cost.cycles * jobs, claim, array=True, light=light)

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

        vector, output, late = self.vector_work(node), self.result(node), self.still_at_work(node)

        def mapping(size):
            return find_mapping(
                shape, self.config, room=size, memory=self.memory,
                input_resident=source.place.act is not None, output_resident=place.act is not None,
                vector=vector, late=late,
            )  # fmt: skip

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
        return given, found

    def still_at_work(self, node):
        """Cycles, roughly, until the vector unit has made all of a node's input."""
        cycles = 0
        for task in self.weaver.vectors:
            name = self.result(task.node)
            if name in self.progress.done:
                n, h, w, _ = layout = nhwc(self.graph.tensors[name].shape)
                rest = 1 - self.progress.of(name) / (n * h * w)
                reads = math.prod(task.node.window) if isinstance(task.node, g.MaxPool | g.AveragePool) else WORD_CYCLES
                cycles += int(self.words(layout) * reads * rest) // self.config.vector_words
        return cycles if node.inputs[0] in self.progress.done else 0

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
            return self.chain(node, *self.joined[node.output], layout)
        post = replace(BYPASS, table=np.asarray(node.table))
        return self.vector(node, layout, PostSource.MAX, node.inputs, post)

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
        synchronise(self.b.ops, queue_depth=config.queue_depth, limit=(1 << config.token_width) - 1)
        tensors = {}
        for name, value in self.values.items():
            if value.place.dram is not None:
                if name not in self.graph.tensors or (name in self.homes and self.homes[name].table is not None):
                    continue  # parts with holes between them, and what passed a table on its way
                address = value.place.dram + shift * (value.place.dram >= self.base)
                shape = tuple(self.graph.tensors[name].shape)
                tensors[name] = TensorPlace(shape, value.layout, address, value.place.pitch)
        end = self.top + shift
        if end * lanes > MAX_IMAGE:
            raise CompileError(f"the network needs {end * lanes:,} bytes of memory, more than {MAX_IMAGE:,}")
        program = Program(
            config, [op.instruction for op in self.b.ops], bytes(self.b.constants), tensors, tuple(self.graph.inputs),
            tuple(self.graph.outputs), tuple(self.layers), (base, end), self.b.ops,
        )  # fmt: skip
        if config.compact:
            self.check_compact(program)
        return program

    def check_compact(self, program):
        """A compact configuration cuts what its fields do not hold: nothing may be cut."""
        if program.size > 1 << self.config.address_width:
            raise CompileError(
                f"the program and its tensors take {program.size:,} bytes, more than address_width="
                f"{self.config.address_width} reaches ({1 << self.config.address_width:,}): set it higher, or make the "
                "activation memory larger (act_words), which makes the program shorter"
            )
        if found := check_program(self.b.ops, self.config):
            op, problem = found
            node = self.layers[min(op.layer, len(self.layers) - 1)].name
            raise CompileError(f"node {node!r}: {problem}")


def settings(post):
    """POST_SET of a Requantisation."""
    return PostSettings(post.post_mode, int(post.zero_point), int(post.low), int(post.high), post.table)


def share(node):
    """Which part of the activation memory a node of the vector unit gets: so many make the whole."""
    return 6 if isinstance(node, g.MaxPool | g.AveragePool) else 8


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


