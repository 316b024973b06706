"""A whole graph to a program: which tensors stay in the buffer, which pass through memory, and one lowering a node."""

from dataclasses import replace

import numpy as np
from rowcast.isa import IsaError

from .. import graph as g
from .array_nodes import AHEAD, ARRAY, LIGHT, ArrayNodes
from .band_nodes import BandNodes
from .builder import Builder
from .compact import check_program, unsupported, without_vector_unit
from .errors import CompileError
from .flow import Flow, Progress
from .geometry import ceil_div
from .input_rows import input_rows
from .joined import JoinedNodes
from .layout import is_identity, reshape_positions
from .mapping import MappingError, Memory
from .moving_nodes import MovingNodes
from .padding import fold_padding
from .placement import Placement, Value, nhwc
from .program import ALIGN, Layer, Program, TensorPlace, pack, transfers
from .settings import Place
from .tokens import synchronise
from .vector import VectorError
from .vector_nodes import VECTOR, VectorNodes
from .weave import VECTORS, Misfit, Task, Weaver, Work, at_once

__all__ = ["CompileError", "compile_graph"]

MAX_IMAGE = 1 << 31  # bytes: what 32-bit word addresses and common boards can hold
MAX_SELECTION = 1 << 24  # weights of 0 and 1 that move the elements of a tensor


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
    """Joined nodes do not fit the buffer together: the last of them is done apart."""

    def __init__(self, name):
        self.name = name


class _Compiler(BandNodes, JoinedNodes, ArrayNodes, VectorNodes, MovingNodes, Placement):
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
        self.joined = {}
        if not (keep_all or config.compact):
            self.joined = self.find_pairs({**self.find_pools(apart), **self.find_chains(apart)})
        inside = {node.name for nodes in self.joined.values() for node in nodes}
        # Nodes that have not begun, by number.
        self.left = {number: node for number, node in enumerate(graph.nodes) if node.name not in inside}
        self.unlucky = None  # numbers of the tasks that left no room for a node

    # Nodes --------------------------------------------------------------------------------------------------------------

    def run(self):
        for name in self.graph.inputs:
            self.place_input(name, input_rows(self.graph, name, self.config, self.memory, self.joined))
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
            node = self.left.get(number)
            if node is None:  # it is done with an earlier one now
                continue
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
                raise _Apart(self.result(node)) from error
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
        self.weaver.add(Task(number, node, work, self.b))

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
            with self.b.working_for(task.node.name):
                self.b.store(value.place.dram, value.place.act, self.words(value.layout))
        joined = self.joined.get(task.node.output, ())
        macs = self.graph.macs(task.node) + sum(map(self.graph.macs, joined))  # their cycles are all this node's
        self.held.append(Layer(task.node.name, type(task.node).__name__, macs, task.work.mapping, task.work.estimate))
        if task.work.array:  # what ended during its time is shown behind it
            self.held.insert(0, self.held.pop())
        for node in joined:
            self.held.append(Layer(node.name, type(node).__name__, 0, f"with {task.node.name}", 0))
        if self.weaver.array is None:
            for layer in self.held:
                self.layers.append(layer)
                self.b.mark()
            self.held.clear()

    def perform(self, node, layout, work):
        """Emit a node's work at once; nothing else is at work."""
        with self.b.working_for(node.name):
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

    def through_home(self, node, post):
        """The settings of a node whose result goes into a concatenation in another scale: its table is the last."""
        table = self.homes[node.output].table if node.output in self.homes else None
        if table is None:
            return post
        return replace(post, table=table if post.table is None else np.asarray(table)[np.asarray(post.table, np.int64) + 128])

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
                tensors[name] = TensorPlace(shape, value.layout, address, value.place.pitch, value.rows)
        end = self.top + shift
        if end * lanes > MAX_IMAGE:
            raise CompileError(f"the network needs {end * lanes:,} bytes of memory, more than {MAX_IMAGE:,}")
        program = Program(
            config, [op.instruction for op in self.b.ops], bytes(self.b.constants), tensors, tuple(self.graph.inputs),
            tuple(self.graph.outputs), tuple(self.layers), (base, end), self.b.ops, transfers(self.b.ops, config),
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
