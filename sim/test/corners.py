"""Small graphs, each made to reach one corner of the mapping or of the arithmetic; `proof` shows that it does.

`CORNERS` has a function for each: it takes a random generator and returns a `Corner`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from networks import convolution, inputs_of, requantisation, single
from rowcast.isa import Space
from rowcast_models import graph as g
from rowcast_models.golden.convolution import convolution as accumulate
from rowcast_models.golden.requantise import quantise_multiplier_onnx, quantise_multiplier_tflite

CORNERS = {}


@dataclass
class Corner:
    """A graph, inputs for it, and a proof.

    The proof is called with (program, inputs, golden tensors) and is true if the corner is reached on `networks.ODD`.
    """

    graph: g.Graph
    inputs: dict
    proof: Callable


def corner(function):
    """Put a function into CORNERS."""
    CORNERS[function.__name__] = function
    return function


def graph_of(inputs, nodes, zero_points=None, outputs=None):
    """A graph of these nodes; inputs are {name: shape}."""
    zero_points = zero_points or {}
    tensors = [g.Tensor(name, shape, zero_points.get(name, 0)) for name, shape in inputs.items()]
    tensors += [g.Tensor(node.output, None, zero_points.get(node.output, 0)) for node in nodes]
    outputs = outputs or [nodes[-1].output]
    return g.Graph(name="corner", tensors=tensors, inputs=list(inputs), outputs=outputs, nodes=nodes)


def always(program, inputs, golden):
    """Nothing to prove beyond the result."""
    return True


def instructions(program, name, **fields):
    """All instructions of a name with these fields."""
    return [i for i in program.instructions if i.name == name and all(i[key] == value for key, value in fields.items())]


def words(found):
    """Words that LOADs or STOREs move."""
    return sum(i["words"] * i["rows"] for i in found)


def words_of(program, name):
    """Words of a tensor."""
    return program.tensors[name].words(program.config.lanes)


def words_made(program):
    """Words that all PEs give to the post-processors and these keep."""
    valid, pixels, made = {}, 0, 0
    for i in program.instructions:
        if i.name == "POST_PE":
            valid[i["row"], i["column"]] = i["valid"]
        elif i.name == "POST_LOOP":
            pixels = i["count_x"] * i["count_y"]
        elif i.name == "POST_RUN":
            made += pixels * sum(keep for (row, _), keep in valid.items() if row < i["rows"])
    return made


# Rounding -------------------------------------------------------------------------------------------------------------


def rounded(rng, mode, **post):
    """A convolution whose scales are powers of two (ties everywhere), tiny, larger than 1 (left shifts), and 0."""
    scales = np.array([2.0**-6, 2.0**-7, 2.0**-9, 0.003, 0.0011, 2.0**-4, 1.0, 1.9, 7.5, 300.0, 1e-7, 0.0, 2.0**-11])
    if mode == "onnx":
        pairs = [quantise_multiplier_onnx(scale) for scale in scales]
    else:
        pairs = [quantise_multiplier_tflite(scale) for scale in scales]
    multiplier, shift = (np.array(column) for column in zip(*pairs, strict=True))
    if mode == "single":
        multiplier, shift = np.where(shift < -31, 0, multiplier), np.maximum(shift + 31, 0)
    node = g.Conv(
        name="conv", inputs=("x",), output="y", weights=rng.integers(-9, 10, (len(scales), 2, 2, 3)),
        bias=rng.integers(-300, 300, len(scales)),
        post=g.Requantisation(mode=mode, multiplier=multiplier, shift=shift, **{"zero_point": 3, **post}),
    )  # fmt: skip
    graph = graph_of({"x": (1, 24, 24, 3)}, [node], {"x": -5})

    def proof(program, inputs, golden):
        window = {"stride": (1, 1), "dilation": (1, 1), "padding": ((0, 0), (0, 0)), "groups": 1}
        acc = accumulate(inputs["x"], -5, node.weights, node.bias, **window)
        exact = acc * scales
        ties = exact[(exact % 1 == 0.5) & (np.abs(exact) < 100)]  # an even and an odd number on both sides of 0
        return set(np.sign(ties) * (ties % 2)) == {-1.5, -0.5, 0.5, 1.5} and len(np.unique(golden["y"])) > 10

    return Corner(graph, inputs_of(graph, rng), proof)


@corner
def round_tflite(rng):
    return rounded(rng, "tflite")


@corner
def round_onnx(rng):
    return rounded(rng, "onnx")


@corner
def round_single(rng):
    return rounded(rng, "single")


@corner
def clamp_and_far_zero_point(rng):
    return rounded(rng, "onnx", zero_point=-256, low=-128, high=-100, table=rng.integers(-128, 128, 256))


@corner
def clamp_and_far_zero_point_above(rng):
    return rounded(rng, "single", zero_point=255, low=-20, high=90)


@corner
def extremes(rng):
    """Weights and inputs at -128 and 127 only, the zero point at the other end, many chunks: the largest sums."""
    weights = rng.choice([-128, 127], (8, 3, 3, 70))
    weights[0], weights[1] = -128, 127
    bias = np.array([2**30, -(2**30), 0, 1, -1, 5, 2**20, -(2**20)])
    post = requantisation(rng, 8, 1e-7)
    node = g.Conv(name="conv", inputs=("x",), output="y", weights=weights, bias=bias, post=post)
    graph = graph_of({"x": (1, 6, 7, 70)}, [node], {"x": 127})
    x = rng.choice([-128, 127], (1, 6, 7, 70)).astype(np.int8)
    x[:, :4] = -128

    def proof(program, inputs, golden):
        return sum(i["chunks"] for i in instructions(program, "COMPUTE_RUN")) > len(instructions(program, "POST_RUN"))

    return Corner(graph, {"x": x}, proof)


# Mapping --------------------------------------------------------------------------------------------------------------


def convolution_corner(rng, shape, proof=always, **fields):
    graph = single(rng, shape, **fields)
    return Corner(graph, inputs_of(graph, rng), proof)


@corner
def tiles_along_y(rng):
    """Two images, neither fits: halo rows are loaded twice."""

    def proof(program, inputs, golden):
        return words(instructions(program, "LOAD", space=Space.ACT)) > words_of(program, "x") > program.config.act_words

    return convolution_corner(rng, (2, 39, 21, 21), proof, filters=7, kernel=(3, 3), padding=((1, 1), (1, 1)))


@corner
def tiles_along_x(rng):
    """A few rows do not fit: tiles are boxes."""

    def proof(program, inputs, golden):
        wide = max(i["words"] for i in instructions(program, "LOAD", space=Space.ACT))
        loaded = words(instructions(program, "LOAD", space=Space.ACT))
        return wide < words_of(program, "x") // 8 and loaded > words_of(program, "x")

    return convolution_corner(rng, (1, 16, 230, 21), proof, filters=5, kernel=(3, 3), stride=(2, 1))


def rows_of_bytes(program, inputs, golden):
    """The input's pixels stand byte by byte, with padding in front of them."""
    rows, (_, _, w, c) = program.tensors["x"].rows, program.tensors["x"].layout
    return rows is not None and rows.left > 0 and rows.words < w


@corner
def rows_of_pixels_of_a_byte(rng):
    """Patches begin at every second column, and the last ones overlap."""
    return convolution_corner(rng, (2, 15, 23, 1), rows_of_bytes, filters=21, kernel=(3, 5), padding=((1, 0), (2, 2)), stride=(1, 2))


@corner
def rows_of_bytes_in_tiles(rng):
    """Some of the columns are loaded, from a word on."""

    def proof(program, inputs, golden):
        wide = max(i["words"] for i in instructions(program, "LOAD", space=Space.ACT))
        return rows_of_bytes(program, inputs, golden) and wide < program.tensors["x"].rows.words

    return convolution_corner(
        rng, (1, 40, 1100, 2), proof, filters=5, kernel=(7, 3), padding=((3, 3), (1, 1)), stride=(2, 2), dilation=(1, 2)
    )


@corner
def filters_of_each_pass(rng):
    """A round's filters do not fit the filter memory: they stream, and its ring wraps."""

    def proof(program, inputs, golden):
        once = 2 * 9 * 160
        loaded = words(instructions(program, "LOAD", space=Space.FILTER))
        return loaded >= 2 * once > 2 * program.config.filter_buffer_words

    return convolution_corner(rng, (1, 15, 14, 160), proof, filters=7, kernel=(3, 3), table=True)


@corner
def chunks_of_rows(rng):
    """K is cut between filter rows, with dilation and stride."""

    def proof(program, inputs, golden):
        rows = {i["count_r"] for i in instructions(program, "COMPUTE_LOOP_K")}
        return len(rows) > 1 and max(rows) > 1

    return convolution_corner(
        rng, (1, 21, 14, 20), proof, filters=9, kernel=(5, 4), dilation=(2, 2), stride=(1, 2), padding=((3, 2), (1, 4))
    )


@corner
def chunks_of_channels(rng):
    def proof(program, inputs, golden):
        return max(i["chunks"] for i in instructions(program, "COMPUTE_RUN")) > 1

    return convolution_corner(rng, (1, 7, 8, 121), proof, filters=9, kernel=(3, 3), padding=((1, 1), (1, 1)))


@corner
def pointwise_with_stride(rng):
    return convolution_corner(rng, (2, 13, 14, 30), filters=26, kernel=(1, 1), stride=(2, 2))


@corner
def groups_of_words(rng):
    """Groups are units: nothing is multiplied by the zeros of a dense filter."""

    def proof(program, inputs, golden):
        return max(i["count_c"] for i in instructions(program, "COMPUTE_LOOP_K")) == 8

    return convolution_corner(rng, (2, 9, 10, 24), proof, filters=36, kernel=(3, 2), groups=3, stride=(2, 1))


@corner
def depthwise_in_tiles(rng):
    def proof(program, inputs, golden):
        return words_of(program, "x") > program.config.act_words and instructions(program, "COMPUTE_RUN", depthwise=1)

    return convolution_corner(
        rng, (1, 40, 40, 15), proof, filters=15, kernel=(3, 3), groups=15, padding=((0, 1), (0, 1)), stride=(2, 2)
    )


@corner
def depthwise_multiplier(rng):
    return convolution_corner(rng, (1, 9, 9, 6), filters=12, kernel=(3, 3), groups=6, padding=((1, 1), (1, 1)))


@corner
def only_padding(rng):
    """Windows without a pixel of the ifmap."""
    return convolution_corner(rng, (2, 4, 5, 6), filters=7, kernel=(3, 3), padding=((5, 5), (4, 6)))


@corner
def one_row(rng):
    return convolution_corner(rng, (2, 1, 37, 9), filters=7, kernel=(3, 5), padding=((1, 1), (2, 2)))


@corner
def uneven_patches(rng):
    """Patches that overlap: their outputs are computed twice; a last round of filters that leaves PEs idle."""

    def proof(program, inputs, golden):
        return words_made(program) > words_of(program, "y")

    return convolution_corner(rng, (1, 17, 11, 3), proof, filters=29, kernel=(1, 2), padding=((0, 0), (0, 1)))


@corner
def parameters_wrap(rng):
    """More channels than there are parameters on chip, after a layer that leaves the ring at an odd place."""
    nodes = [
        g.AveragePool(name="pool", inputs=("x",), output="a", window=(2, 2), stride=(1, 1), padding=((0, 1), (0, 1))),
        convolution(rng, name="conv", source="a", output="y", channels=5, filters=1301, kernel=(1, 1)),
    ]
    graph = graph_of({"x": (1, 3, 3, 5)}, nodes, {"x": 9, "a": 9})

    def proof(program, inputs, golden):
        ring = 16 * program.config.param_channels // program.config.lanes  # words
        return words(instructions(program, "LOAD", space=Space.PARAM)) > 2 * ring

    return Corner(graph, inputs_of(graph, rng), proof)


@corner
def long_fully_connected(rng):
    weights = rng.integers(-127, 128, (37, 9 * 8 * 21))
    node = g.FullyConnected(name="fc", inputs=("x",), output="y", weights=weights, bias=rng.integers(-99, 99, 37),
                            post=requantisation(rng, 37, 1e-4))  # fmt: skip
    graph = graph_of({"x": (3, 9, 8, 21)}, [node], {"x": -77})

    def proof(program, inputs, golden):
        return max(i["chunks"] for i in instructions(program, "COMPUTE_RUN")) > 3

    return Corner(graph, inputs_of(graph, rng), proof)


# Vector unit ----------------------------------------------------------------------------------------------------------


@corner
def average_with_post(rng):
    """A multiplier for each number of pixels, the zero point left out of the padding, onnx rounding."""
    pairs = [quantise_multiplier_onnx(0.9 / count) for count in range(1, 13)]
    multiplier, shift = zip(*pairs, strict=True)
    post = g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift, zero_point=-30, low=-100,
                            table=rng.integers(-128, 128, 256))  # fmt: skip
    one = g.Requantisation(mode="tflite", multiplier=[quantise_multiplier_tflite(0.2)[0]],
                           shift=[quantise_multiplier_tflite(0.2)[1]], zero_point=11)  # fmt: skip
    nodes = [
        g.AveragePool(name="a", inputs=("x",), output="a", window=(3, 4), stride=(2, 1), padding=((2, 1), (3, 2)),
                      post=post),  # fmt: skip
        g.AveragePool(name="b", inputs=("a",), output="b", window=(2, 3), stride=(2, 3), post=one),
    ]
    graph = graph_of({"x": (2, 11, 12, 10)}, nodes, {"x": 50, "a": -30})
    return Corner(graph, inputs_of(graph, rng), lambda program, *_: instructions(program, "POST_RUN", by_count=1))


@corner
def average_ties(rng):
    """Windows of 2 and 4 pixels: half of all averages are ties."""
    nodes = [
        g.AveragePool(name="a", inputs=("x",), output="a", window=(1, 2), stride=(1, 2)),
        g.AveragePool(name="b", inputs=("a",), output="b", window=(2, 2), stride=(1, 1), padding=((1, 0), (0, 1)),
                      low=-50),  # fmt: skip
    ]
    graph = graph_of({"x": (3, 8, 8, 9)}, nodes)
    return Corner(graph, inputs_of(graph, rng), always)


@corner
def max_pools(rng):
    """A window of one pixel with a stride; one that hangs over; clamp and table; a tensor in several bands."""
    nodes = [
        g.MaxPool(name="a", inputs=("x",), output="a", window=(3, 5), stride=(2, 3), padding=((2, 2), (4, 3)), low=-9,
                  high=100, table=rng.integers(-128, 128, 256)),
        g.MaxPool(name="b", inputs=("a",), output="b", window=(1, 1), stride=(2, 2)),
        g.MaxPool(name="c", inputs=("a",), output="c", window=(1, 1), stride=(1, 1), high=3),
    ]  # fmt: skip
    graph = graph_of({"x": (2, 23, 24, 30)}, nodes, outputs=["b", "c"])
    x = inputs_of(graph, rng)["x"]
    x[:, :6, :6] = -128
    return Corner(graph, {"x": x}, lambda program, *_: words_of(program, "x") > program.config.act_words)


@corner
def elementwise_from_memory(rng):
    """Both operands and the result pass through memory in bands; every pair of bytes is there; a tensor with itself."""
    a, b = (values.astype(np.int8) for values in np.meshgrid(range(-128, 128), range(-128, 128)))
    shape = (2, 64, 16, 32)
    x, z = a.reshape(shape), b.reshape(shape)
    multiplier, shift = quantise_multiplier_onnx(2.0**-8)
    onnx = g.Requantisation(mode="onnx", multiplier=[multiplier], shift=[shift], zero_point=-4, high=110)
    centred = np.arange(-128, 128) - 17
    nodes = [
        g.Elementwise(name="mul", kind="mul", inputs=("x", "z"), output="m", table_a=centred, table_b=centred[::-1],
                      post=onnx),
        g.Elementwise(name="add", kind="add", inputs=("x", "z"), output="s", table_a=rng.integers(-(2**29), 2**29, 256),
                      table_b=rng.integers(-(2**29), 2**29, 256), post=requantisation(rng, 1, 1e-7, table=True)),
        g.Elementwise(name="max", kind="max", inputs=("x", "z"), output="l", low=-100,
                      table=rng.integers(-128, 128, 256)),
        g.tflite_add(name="twice", a=g.Tensor("x", shape, 0, 0.1), b=g.Tensor("x", shape, 0, 0.1),
                     output=g.Tensor("t", None, 0, 0.3)),
    ]  # fmt: skip
    graph = graph_of({"x": shape, "z": shape}, nodes, outputs=["m", "s", "l", "t"])
    return Corner(graph, {"x": x, "z": z}, lambda program, *_: words_of(program, "x") > program.config.act_words)


# Names of tensors -----------------------------------------------------------------------------------------------------


@corner
def reshapes(rng):
    """Flat and back, other pixels, a table on words that a reshape left padded, an output that is only another name."""
    nodes = [
        convolution(rng, name="conv", source="x", output="a", channels=6, filters=6, kernel=(3, 3)),
        g.Reshape(name="pixels", inputs=("a",), output="b", shape=(3, 12, 6)),
        convolution(rng, name="again", source="b", output="c", channels=6, filters=10, kernel=(2, 3)),
        g.Reshape(name="flat", inputs=("c",), output="d"),
        g.Table(name="table", inputs=("d",), output="e", table=rng.integers(-128, 128, 256)),
        g.FullyConnected(name="fc", inputs=("e",), output="f", weights=rng.integers(-99, 99, (96, 200)),
                         bias=rng.integers(-99, 99, 96), post=requantisation(rng, 96, 1e-3)),
        g.Reshape(name="words", inputs=("f",), output="h", shape=(2, 3, 16)),
        convolution(rng, name="last", source="h", output="i", channels=16, filters=5, kernel=(2, 2)),
        g.Reshape(name="name", inputs=("i",), output="y"),
    ]  # fmt: skip
    graph = graph_of({"x": (2, 8, 8, 6)}, nodes, {"x": 4, "a": 7, "b": 7, "f": -3, "h": -3})
    return Corner(graph, inputs_of(graph, rng), always)
