"""Random small quantised ONNX models, QOperator and QDQ, int8 and uint8."""

from dataclasses import dataclass

import numpy as np
from onnx import helper

from .onnx_writer import Writer

__all__ = ["FORMS", "random_model"]

# (form, type of activations and weights).
FORMS = (("qoperator", "int8"), ("qoperator", "uint8"), ("qdq", "uint8"), ("qdq", "int8"))
MAX_SIZE = 12  # rows and columns of an input
MAX_FEATURES = 4096  # elements of a value, so that a model takes milliseconds


@dataclass(frozen=True)
class _Value:
    """A value of bytes: its name, shape [1, C, H, W], scale and zero point."""

    name: str
    shape: tuple
    scale: float
    zero_point: int

    @property
    def quantisation(self):
        return {"scale": self.scale, "zero_point": self.zero_point}


class _Generator:
    """Grows a model operator by operator; `values` are those that have been made."""

    def __init__(self, seed, form, dtype):
        self.rng, self.form, self.dtype = np.random.default_rng(seed), form, np.dtype(dtype)
        self.writer, self.values, self.reals, self.count = Writer(self.rng, self.dtype), [], {}, 0
        self.limits = np.iinfo(self.dtype)

    # Choices ----------------------------------------------------------------------------------------------------------

    def below(self, high, low=0):
        """An integer from low to high - 1."""
        return int(self.rng.integers(low, high))

    def zero_point(self):
        """Often an end or the middle, as quantisers have it; else any."""
        ends = (self.limits.min, self.limits.max, (self.limits.min + self.limits.max + 1) // 2)
        return int(self.rng.choice(ends)) if self.below(3) == 0 else self.below(self.limits.max + 1, self.limits.min)

    def scale(self, about):
        """Near `about`, over three powers of two; now and then a power of two itself."""
        power = np.log2(about) + self.rng.uniform(-1.5, 1.5)
        return float(np.float32(2.0 ** (np.rint(power) if self.below(6) == 0 else power)))

    def name(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def made(self, name, shape, about, *, like=None, zero_point=None):
        """A new value; its scale and zero point are those of `like`, if given."""
        if like is not None:
            value = _Value(name, tuple(shape), like.scale, like.zero_point)
        else:
            value = _Value(name, tuple(shape), self.scale(about), self.zero_point() if zero_point is None else zero_point)
        self.values.append(value)
        return value

    # Nodes in both forms ----------------------------------------------------------------------------------------------

    def names(self, value):
        """Names of scale and zero point of a value."""
        return self.writer.scale(value.name, **value.quantisation)

    def operator(self, kind, operands, value, *, then=None, extra=(), weights=None, **attributes):
        """The node that makes `value`: QLinear<kind>, or <kind> between DequantizeLinear and QuantizeLinear.

        weights : (name, names of its scale and zero point, name of the bias or None, of the float bias in QDQ).
        """
        if self.form == "qoperator":
            inputs = [part for operand in operands for part in (operand.name, *self.names(operand))]
            inputs += [] if weights is None else [weights[0], *weights[1]]
            inputs += [*self.names(value), *([weights[2]] if weights and weights[2] else [])]
            if kind == "Concat":
                inputs = [*inputs[-2:], *inputs[:-2]]
            domain = "" if kind in ("Conv", "MatMul") else "com.microsoft"
            self.node(f"QLinear{kind}", inputs, value.name, domain=domain, **attributes)
            return
        reals = [self.real(operand) for operand in operands]
        if weights is not None:
            reals.append(self.dequantised(weights[0], weights[1], axis=0))
            reals += [self.dequantised(weights[2], weights[3], axis=0)] if weights[2] else []
        real = self.node(kind, [*reals, *extra], f"{value.name}_real", **attributes)
        if then:
            real = self.node(then, [real], f"{value.name}_then")
        self.writer.quantised(real, value.name, **value.quantisation)

    def real(self, value):
        """A float name for a value, its own for every use or the same: quantisers do both."""
        if value.name not in self.reals or self.below(2):
            self.count += 1
            output = f"{value.name}_real{self.count}"
            self.reals[value.name] = self.node("DequantizeLinear", [value.name, *self.names(value)], output)
        return self.reals[value.name]

    def dequantised(self, name, quantisation, **attributes):
        return self.node("DequantizeLinear", [name, *quantisation], f"{name}_real", **attributes)

    def node(self, kind, inputs, output, **attributes):
        self.writer.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node_{output}", **attributes))
        return output

    def weights(self, shape, x, *, axis=0):
        """Random weights with a bias, in both forms' terms, and the float32 scale of the widest filter."""
        name, filters = self.name("w"), shape[axis]
        channels = self.below(2) if axis == 0 and self.dtype == np.int8 else 0
        zero = 0 if self.dtype == np.int8 else self.below(256)
        array = self.rng.integers(self.limits.min, self.limits.max + 1, shape)
        scale = np.float32(2.0 ** self.rng.uniform(-9, -6, filters if channels else ()))
        constant = self.writer.constant
        quantisation = [constant(f"{name}_scale", scale), constant(f"{name}_zero", np.full(scale.shape, zero, self.dtype))]
        constant(name, array.astype(self.dtype))
        bias = bias_quantisation = None
        if axis == 0 and self.below(3):
            bias = constant(f"{name}_bias", self.rng.integers(-(1 << 12), 1 << 12, filters).astype(np.int32))
            unit = np.float32(x.scale) * scale
            bias_quantisation = [constant(f"{bias}_scale", unit), constant(f"{bias}_zero", np.zeros(unit.shape, np.int32))]
        return (name, quantisation, bias, bias_quantisation), float(scale.max())

    # Operators: each takes a value and adds what it makes, or does nothing where it does not fit -------------------------

    def conv(self, x):
        channels, *sizes = x.shape[1:]
        group = int(self.rng.choice([n for n in range(1, channels + 1) if channels % n == 0])) if self.below(2) else 1
        filters = group * self.below(9 if group == 1 else 3, 1)
        kernel, strides, dilations = ([self.below(high, 1) for _ in sizes] for high in (4, 3, 3))
        pads = [self.below(3) for _ in range(4)]
        shape = [1, filters, *self.windows(x, kernel, strides, pads, dilations)]
        if min(shape) < 1:
            return
        weights, scale = self.weights((filters, channels // group, *kernel), x)
        relu = self.form == "qdq" and self.below(3) == 0  # removed by the runtime: the zero point is the lowest byte
        taps = channels // group * kernel[0] * kernel[1]
        y = self.made(self.name("conv"), shape, x.scale * scale * 60 * taps**0.5, zero_point=self.limits.min if relu else None)
        self.operator("Conv", [x], y, weights=weights, then="Relu" if relu else None, kernel_shape=kernel, strides=strides,
                      pads=pads, dilations=dilations, group=group)  # fmt: skip

    def windows(self, x, kernel, strides, pads, dilations=(1, 1)):
        return [
            (size + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
            for i, size in enumerate(x.shape[2:])
        ]

    def pool(self, x, kind):
        kernel = [self.below(min(size, 3) + 1, 1) for size in x.shape[2:]]
        strides = [self.below(4, 1) for _ in kernel]
        pads = [self.below(taps) for taps in (*kernel, *kernel)]
        shape = [*x.shape[:2], *self.windows(x, kernel, strides, pads)]
        window = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        if kind == "MaxPool":
            y = self.made(self.name("max"), shape, 1, like=x)
            self.node("MaxPool", [x.name], y.name, **window)
        else:
            y = self.made(self.name("average"), shape, x.scale)
            self.operator("AveragePool", [x], y, **window)

    def max_pool(self, x):
        self.pool(x, "MaxPool")

    def average_pool(self, x):
        self.pool(x, "AveragePool")

    def global_average_pool(self, x):
        y = self.made(self.name("global"), (*x.shape[:2], 1, 1), x.scale / 4)
        self.operator("GlobalAveragePool", [x], y, **({"channels_last": 0} if self.form == "qoperator" else {}))

    def residual(self, x, kind, about):
        """Another value of the shape, or one that is broadcast to it; x itself if there is none."""
        fitting = [v for v in self.values if v.shape == x.shape or (v.shape[1] == x.shape[1] and v.shape[2:] == (1, 1))]
        other = fitting[self.below(len(fitting))]
        operands = [x, other] if self.below(2) else [other, x]
        self.operator(kind, operands, self.made(self.name(kind.lower()), x.shape, about(x, other)))

    def add(self, x):
        self.residual(x, "Add", lambda a, b: max(a.scale, b.scale) * 1.5)

    def mul(self, x):
        self.residual(x, "Mul", lambda a, b: a.scale * b.scale * 64)

    def concat(self, x):
        others = [v for v in self.values if v.shape[2:] == x.shape[2:]]
        parts = [x, *(others[self.below(len(others))] for _ in range(self.below(3, 1)))]
        shape = (1, sum(part.shape[1] for part in parts), *x.shape[2:])
        y = self.made(self.name("concat"), shape, max(part.scale for part in parts), like=x if self.below(3) == 0 else None)
        self.operator("Concat", parts, y, axis=1)

    def leaky_relu(self, x):
        alpha = float(np.float32(self.rng.uniform(0.01, 0.5)))
        self.operator("LeakyRelu", [x], self.made(self.name("leaky"), x.shape, x.scale), alpha=alpha)

    def sigmoid(self, x):
        self.operator("Sigmoid", [x], self.made(self.name("sigmoid"), x.shape, 1 / 256))

    def function(self, x):
        """A function of one value that only QDQ models have."""
        kind, attributes, about = (
            ("Relu", {}, x.scale), ("Elu", {"alpha": 1.25}, x.scale), ("Tanh", {}, 1 / 128), ("HardSwish", {}, x.scale),
            ("HardSigmoid", {}, 1 / 256), ("Neg", {}, x.scale), ("Abs", {}, x.scale), ("Selu", {}, x.scale),
        )[self.below(8)]  # fmt: skip
        self.operator(kind, [x], self.made(self.name(kind.lower()), x.shape, about), **attributes)

    def subtract(self, x):
        self.residual(x, "Sub", lambda a, b: max(a.scale, b.scale) * 1.5)

    def extreme(self, x):
        self.residual(x, "Max" if self.below(2) else "Min", lambda a, b: max(a.scale, b.scale))

    def prelu(self, x):
        slope = self.rng.uniform(-0.5, 1, (x.shape[1], 1, 1)).astype(np.float32)
        y = self.made(self.name("prelu"), x.shape, x.scale)
        self.operator("PRelu", [x], y, extra=[self.writer.constant(f"{y.name}_slope", slope)])

    def resize(self, x):
        factors = [self.below(3, 1) for _ in x.shape[2:]]
        y = self.made(self.name("resize"), [*x.shape[:2], *(s * f for s, f in zip(x.shape[2:], factors))], 1, like=x)
        scales = self.writer.constant(f"{y.name}_scales", np.float32([1, 1, *factors]))
        self.node("Resize", [x.name, "", scales], y.name, mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode=str(self.rng.choice(["asymmetric", "half_pixel"])))  # fmt: skip

    def pad(self, x):
        pads = [self.below(3) for _ in range(4)]
        shape = [*x.shape[:2], x.shape[2] + pads[0] + pads[2], x.shape[3] + pads[1] + pads[3]]
        y = self.made(self.name("pad"), shape, 1, like=x)
        widths = self.writer.constant(f"{y.name}_pads", np.int64([0, 0, *pads[:2], 0, 0, *pads[2:]]))
        value = self.writer.constant(f"{y.name}_value", self.dtype.type(self.zero_point()))
        self.node("Pad", [x.name, widths, value], y.name)

    def slice(self, x):
        axis = self.below(4, 1)
        start = self.below(x.shape[axis])
        step = self.below(3, 1)
        shape = list(x.shape)
        shape[axis] = len(range(start, shape[axis], step))
        y = self.made(self.name("slice"), shape, 1, like=x)
        given = [self.writer.constant(f"{y.name}_{i}", np.int64([each])) for i, each in enumerate((start, 1 << 30, axis, step))]
        self.node("Slice", [x.name, *given], y.name)

    def shuffle(self, x):
        """Channels of groups in turn, by two Reshapes and a Transpose."""
        groups = self.rng.choice([n for n in range(1, x.shape[1] + 1) if x.shape[1] % n == 0])
        y = self.made(self.name("shuffle"), x.shape, 1, like=x)
        split = self.writer.constant(f"{y.name}_split", np.int64([1, groups, x.shape[1] // groups, *x.shape[2:]]))
        whole = self.writer.constant(f"{y.name}_whole", np.int64(x.shape))
        turned = self.node("Transpose", [self.node("Reshape", [x.name, split], f"{y.name}_a")], f"{y.name}_b", perm=[0, 2, 1, 3, 4])
        self.node("Reshape", [turned, whole], y.name)

    def matmul(self, x):
        """The end of a network: flattened, times weights.  Returns the output's name."""
        features, columns = int(np.prod(x.shape[1:])), self.below(12, 1)
        flat = _Value(self.node("Flatten", [x.name], self.name("flat")), (1, features), x.scale, x.zero_point)
        weights, scale = self.weights((features, columns), x, axis=1)
        y = _Value(self.name("matmul"), (1, columns), self.scale(x.scale * scale * 60 * features**0.5), self.zero_point())
        self.operator("MatMul", [flat], y, weights=weights)
        return y.name

    # Models -----------------------------------------------------------------------------------------------------------

    def choices(self):
        """Operators that this form has on bytes."""
        moving = [self.max_pool, self.add, self.mul, self.concat, self.resize, self.pad, self.slice, self.shuffle]
        floats = [self.leaky_relu, self.sigmoid]
        if self.form == "qdq":
            floats += [self.function, self.function, self.subtract, self.extreme, self.prelu]
        return moving + floats + [self.conv] * 4 + [self.average_pool, self.global_average_pool]

    def model(self, length):
        """A ModelProto of about `length` operators; every value that nothing takes is an output."""
        for _ in range(self.below(3, 1)):
            shape = (1, self.below(10, 1), self.below(MAX_SIZE, 1), self.below(MAX_SIZE, 1))
            value = self.made(self.name("x"), shape, 2.0 ** self.rng.uniform(-12, 4))
            self.writer.input(value.name, value.shape)
        inputs, choices = list(self.values), self.choices()
        for _ in range(length):
            small = [value for value in self.values if np.prod(value.shape) <= MAX_FEATURES]
            # Rather the latest, so that the model is deep.
            x = small[-1] if self.below(2) else small[self.below(len(small))]
            choices[self.below(len(choices))](x)
        last = []
        if self.below(3) == 0 and np.prod(self.values[-1].shape) <= 400:
            last = [self.matmul(self.values[-1])]
        taken = {name for node in self.writer.nodes for name in node.input}
        self.writer.inputs = [value for value in self.writer.inputs if value.name in taken]
        made = [value.name for value in self.values if value.name not in taken and value not in inputs]
        outputs = [*made, *last]
        return self.writer.model(*outputs) if outputs else None


def random_model(seed, length=5):
    """(ModelProto, "form-type") of a seed; another operator is added until there is one.

    Parameters
    ----------
    length : operators, about.
    """
    form, dtype = FORMS[seed % len(FORMS)]
    for more in range(100):
        generator = _Generator((seed, length, more), form, dtype)
        proto = generator.model(length + more)
        if proto is not None:
            return proto, f"{form}-{dtype}"
    raise AssertionError(f"seed {seed} makes no model of {length} operators")
