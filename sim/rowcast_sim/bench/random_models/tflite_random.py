"""Random small int8 TensorFlow Lite models: every operator of the front end, branches, several inputs and outputs."""

import numpy as np

from .tflite_writer import Writer

__all__ = ["random_model"]

MAX_SIZE = 12  # rows and columns of an input
MAX_FEATURES = 4096  # elements of a value, so that a model takes milliseconds
NONE, RELU, RELU_N1, RELU6 = range(4)  # fused activations
SAME, VALID = range(2)

FUNCTIONS = {  # kind: (options, fields, scale and zero point of the result, or what its scale is near to)
    "RELU": (None, {}, None),
    "RELU6": (None, {}, None),
    "RELU_N1_TO_1": (None, {}, None),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": 0.1}, None),
    "HARD_SWISH": (None, {}, None),
    "QUANTIZE": (None, {}, None),
    "LOGISTIC": (None, {}, (1 / 256, -128)),
    "TANH": (None, {}, (1 / 128, 0)),
}


class _Generator:
    """Grows a model operator by operator; `values` are the tensors [1, H, W, C] that have been made, `ends` other outputs."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.writer, self.values, self.ends = Writer(self.rng), [], []

    # Choices ----------------------------------------------------------------------------------------------------------

    def below(self, high, low=0):
        """An integer from low to high - 1."""
        return int(self.rng.integers(low, high))

    def zero_point(self):
        """Often an end or the middle, as quantisers have it; else any."""
        return int(self.rng.choice((-128, 127, 0))) if self.below(3) == 0 else self.below(128, -128)

    def activation(self):
        """A fused activation; rather none, since most clip much."""
        return int(self.rng.choice((NONE, NONE, NONE, RELU, RELU6, RELU_N1)))

    def made(self, shape, about, *, zero_point=None):
        """A new value, its scale over three powers of two near `about`."""
        scale = float(np.float32(about * 2.0 ** self.rng.uniform(-1.5, 1.5)))
        return self.keep(self.writer.tensor(shape, scale=scale, zero_point=self.zero_point() if zero_point is None else zero_point))

    def like(self, x, shape):
        """A new value with another's scale and zero point."""
        return self.keep(self.writer.like(x, shape))

    def keep(self, index):
        self.values.append(index)
        return index

    def shape(self, x):
        return list(self.writer.tensors[x].shape)

    def other(self, x, *, broadcast):
        """Another value of the shape, or one that is broadcast to it; x itself if there is none."""
        n, h, w, c = self.shape(x)
        shapes = [[n, h, w, c], *([[n, 1, 1, c]] if broadcast else [])]
        return int(self.rng.choice([value for value in self.values if self.shape(value) in shapes]))

    def window(self, x, kernel, dilation=(1, 1)):
        """(fields of the options, (E, F)) of a random window over x."""
        strides, padding = [self.below(4, 1), self.below(4, 1)], self.below(2)
        spans = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        sizes = self.shape(x)[1:3]
        made = [-(-(n if padding == SAME else n - span) // s) for n, span, s in zip(sizes, spans, strides, strict=True)]
        return {"padding": padding, "strideH": strides[0], "strideW": strides[1]}, made

    # Operators: each takes a value and adds what it makes, or does nothing where it does not fit -------------------------

    def convolution(self, x, *, depthwise=False):
        n, _, _, channels = self.shape(x)
        kernel, dilation = [self.below(5, 1), self.below(5, 1)], [self.below(3, 1), self.below(3, 1)]
        fields, made = self.window(x, kernel, dilation)
        if min(made) < 1:
            return
        groups = int(self.rng.choice([g for g in range(1, channels + 1) if channels % g == 0])) if self.below(4) == 0 else 1
        depth = 1 if depthwise else channels // groups
        filters = channels * self.below(4, 1) if depthwise else groups * self.below(12 if groups == 1 else 3, 1)
        shape = [1, *kernel, filters] if depthwise else [filters, *kernel, depth]
        w = self.writer.filters(shape, axis=3 if depthwise else 0, per_channel=bool(self.below(3)))
        b = self.writer.tensor([filters], dtype=np.int32, data=self.rng.integers(-3000, 3000, filters))  # LiteRT wants one
        y = self.made([n, *made, filters], self.sum_scale(x, w, kernel[0] * kernel[1] * depth))
        fields |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1], "fusedActivationFunction": self.activation()}
        if depthwise:
            fields["depthMultiplier"] = filters // channels
        kind, options = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
        self.writer.operator(kind, [x, w, b], [y], options, **fields)

    def depthwise(self, x):
        self.convolution(x, depthwise=True)

    def sum_scale(self, x, weights, products):
        """The scale for which a sum of so many products has a deviation of some tens of steps."""
        return self.writer.scale(x) * float(np.mean(self.writer.tensors[weights].quantization.scale)) * 90 * products**0.5

    def pool(self, x, kind):
        n, height, width, channels = self.shape(x)
        kernel = [self.below(min(height, 4) + 1, 1), self.below(min(width, 4) + 1, 1)]
        fields, made = self.window(x, kernel)
        y = self.like(x, [n, *made, channels])
        self.writer.operator(kind, [x], [y], "Pool2DOptions", filterHeight=kernel[0], filterWidth=kernel[1],
                             fusedActivationFunction=self.activation(), **fields)  # fmt: skip

    def max_pool(self, x):
        self.pool(x, "MAX_POOL_2D")

    def average_pool(self, x):
        self.pool(x, "AVERAGE_POOL_2D")

    def mean(self, x):
        n, height, width, channels = self.shape(x)
        axes = [[1, 2], [1], [2]][self.below(3)]
        shape = [n, 1 if 1 in axes else height, 1 if 2 in axes else width, channels]
        self.writer.operator("MEAN", [x, self.writer.numbers(axes)], [self.made(shape, self.writer.scale(x) / 3)], "ReducerOptions",
                             keepDims=True)  # fmt: skip

    def two(self, x, kind, about):
        y = self.other(x, broadcast=True)
        operands = [x, y] if self.below(2) else [y, x]
        scales = self.writer.scale(x), self.writer.scale(y)
        self.writer.operator(kind, operands, [self.made(self.shape(x), about(*scales))], f"{kind.title()}Options",
                             fusedActivationFunction=self.activation())  # fmt: skip

    def add(self, x):
        self.two(x, "ADD", lambda a, b: max(a, b) * 1.5)

    def sub(self, x):
        self.two(x, "SUB", lambda a, b: max(a, b) * 1.5)

    def mul(self, x):
        self.two(x, "MUL", lambda a, b: a * b * 64)

    def same_scale(self, x, value):
        """A value in the scale of x, quantised anew if it has another."""
        pairs = [(self.writer.scale(each), self.writer.zero_point(each)) for each in (x, value)]
        if pairs[0] == pairs[1]:
            return value
        made = self.like(x, self.shape(value))
        self.writer.operator("QUANTIZE", [value], [made])
        return made

    def extreme(self, x):
        other = self.same_scale(x, self.other(x, broadcast=False))
        kind = ("MAXIMUM", "MINIMUM")[self.below(2)]
        self.writer.operator(kind, [x, other], [self.like(x, self.shape(x))], "MaximumMinimumOptions")

    def concatenation(self, x):
        n, height, width, _ = self.shape(x)
        fitting = [value for value in self.values if self.shape(value)[1:3] == [height, width]]
        parts = [x, *(self.same_scale(x, fitting[self.below(len(fitting))]) for _ in range(self.below(3)))]
        y = self.like(x, [n, height, width, sum(self.shape(part)[3] for part in parts)])
        self.writer.operator("CONCATENATION", parts, [y], "ConcatenationOptions", axis=3 if self.below(2) else -1)

    def function(self, x):
        kind = list(FUNCTIONS)[self.below(len(FUNCTIONS))]
        options, fields, fixed = FUNCTIONS[kind]
        if fixed:
            y = self.keep(self.writer.tensor(self.shape(x), scale=fixed[0], zero_point=fixed[1]))
        else:
            y = self.made(self.shape(x), self.writer.scale(x))
        self.writer.operator(kind, [x], [y], options, **fields)

    def prelu(self, x):
        shape = [1, 1, self.shape(x)[3] if self.below(2) else 1]
        alpha = self.writer.tensor(shape, data=self.rng.integers(-128, 128, shape), scale=0.01)
        self.writer.operator("PRELU", [x, alpha], [self.made(self.shape(x), self.writer.scale(x))])

    def pad(self, x):
        paddings = [[0, 0], *([self.below(3), self.below(3)] for _ in range(2)), [0, 0]]
        y = self.like(x, [size + sum(pair) for size, pair in zip(self.shape(x), paddings, strict=True)])
        if self.below(2):
            self.writer.operator("PAD", [x, self.writer.numbers(paddings)], [y], "PadOptions")
        else:
            value = self.writer.like(x, [1], data=[self.zero_point()])
            self.writer.operator("PADV2", [x, self.writer.numbers(paddings), value], [y], "PadV2Options")

    def resize(self, x):
        n, _, _, channels = self.shape(x)
        rows, columns = self.below(MAX_SIZE + 4, 1), self.below(MAX_SIZE + 4, 1)
        corners = bool(self.below(2))
        self.writer.operator(
            "RESIZE_NEAREST_NEIGHBOR", [x, self.writer.numbers([rows, columns])], [self.like(x, [n, rows, columns, channels])],
            "ResizeNearestNeighborOptions", alignCorners=corners, halfPixelCenters=not corners and bool(self.below(2)),
        )  # fmt: skip

    def shuffle(self, x):
        """Channels of groups in turn, by two RESHAPEs and a TRANSPOSE."""
        n, height, width, channels = self.shape(x)
        groups = int(self.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        split, turned = [n, height, width, groups, channels // groups], [n, height, width, channels // groups, groups]
        a, b = self.writer.like(x, split), self.writer.like(x, turned)
        self.writer.operator("RESHAPE", [x], [a], "ReshapeOptions", newShape=split)
        self.writer.operator("TRANSPOSE", [a, self.writer.numbers([0, 1, 2, 4, 3])], [b], "TransposeOptions")
        self.writer.operator("RESHAPE", [b], [self.like(x, self.shape(x))], "ReshapeOptions", newShape=self.shape(x))

    def reshape(self, x):
        """Rows and columns changed about: their elements keep their order."""
        n, height, width, channels = self.shape(x)
        pixels = height * width
        rows = int(self.rng.choice([h for h in range(1, pixels + 1) if pixels % h == 0]))
        shape = [n, rows, pixels // rows, channels]
        self.writer.operator("RESHAPE", [x], [self.like(x, shape)], "ReshapeOptions", newShape=shape)

    def classes(self, x):
        """The end of a network: flattened, fully connected, perhaps with SOFTMAX."""
        features, filters = int(np.prod(self.shape(x)[1:])), self.below(12, 1)
        flat = self.writer.like(x, [1, features])
        self.writer.operator("RESHAPE", [x], [flat], "ReshapeOptions", newShape=[1, features])
        w = self.writer.filters([filters, features], per_channel=bool(self.below(2)))
        y = self.writer.tensor([1, filters], scale=self.sum_scale(flat, w, features), zero_point=self.zero_point())
        bias = self.writer.tensor([filters], dtype=np.int32, data=self.rng.integers(-3000, 3000, filters)) if self.below(3) else -1
        self.writer.operator("FULLY_CONNECTED", [flat, w, bias], [y], "FullyConnectedOptions",
                             fusedActivationFunction=self.activation())  # fmt: skip
        self.ends.append(y)
        if self.below(2):
            z = self.writer.tensor([1, filters], scale=1 / 256, zero_point=-128)
            self.writer.operator("SOFTMAX", [y], [z], "SoftmaxOptions", beta=1.0)
            self.ends.append(z)

    # Models -----------------------------------------------------------------------------------------------------------

    def model(self, length):
        """(the file's bytes, inputs) of a model of about `length` operators; every value that nothing takes is an output."""
        for _ in range(self.below(3, 1)):
            self.made([1, self.below(MAX_SIZE, 1), self.below(MAX_SIZE, 1), self.below(10, 1)], 2.0 ** self.rng.uniform(-12, 4))
        inputs = list(self.values)
        choices = [
            self.max_pool, self.average_pool, self.mean, self.add, self.sub, self.mul, self.extreme, self.concatenation, self.prelu,
            self.pad, self.resize, self.shuffle, self.reshape, *[self.function] * 3, *[self.depthwise] * 2, *[self.convolution] * 4,
        ]  # fmt: skip
        for _ in range(length):
            small = [value for value in self.values if np.prod(self.shape(value)) <= MAX_FEATURES]
            # Rather the latest, so that the model is deep.
            choices[self.below(len(choices))](small[-1] if self.below(2) else small[self.below(len(small))])
        if self.below(3) == 0 and np.prod(self.shape(self.values[-1])) <= 400:
            self.classes(self.values[-1])
        taken = {index for operator in self.writer.operators for index in operator.inputs}
        inputs = [index for index in inputs if index in taken]
        first = {index for operator in self.writer.operators for index in operator.outputs}
        outputs = [index for index in [*self.values, *self.ends] if index not in taken and index in first]
        return (self.writer.data(inputs, outputs), inputs) if outputs else None


def random_model(seed, length=5):
    """(bytes of a .tflite file, Writer, its inputs) of a seed; another operator is added until there is one.

    Parameters
    ----------
    length : operators, about.
    """
    for more in range(100):
        generator = _Generator((seed, length, more))
        made = generator.model(length + more)
        if made is not None:
            return made[0], generator.writer, made[1]
    raise AssertionError(f"seed {seed} makes no model of {length} operators")
