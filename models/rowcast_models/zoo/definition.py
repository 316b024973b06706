"""What a network is before it has weights: layers and their shapes, stated one after the other.

>>> net = Definition("example", (8, 8, 3))
>>> x = net.conv("CONV1", net.image, 16, 3, pad=1)
>>> x = net.max_pool("POOL1", x, 2, stride=2)
>>> x = net.fc("FC2", x, 10)
>>> x.shape, net.weights, net.macs
((1, 1, 10), 2992, 30208)
"""

import math
from dataclasses import dataclass

__all__ = ["Definition", "Layer"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer, and the tensor that it makes.

    Parameters
    ----------
    name : of the layer and of its tensor.
    kind : "image", "conv", "fc", "max_pool", "average_pool", "global_average_pool", "lrn", "concat" or "add".
    inputs : Layers.
    shape : (H, W, C) of what it makes.
    kernel : (R, S) of "conv", and of the pools the window; "fc" covers the whole ifmap.
    stride : the same down and across.
    pad : (rows, columns) of padding on each side.
    groups : of "conv".
    relu : what follows in "conv", "fc" and "add".
    ceil : whether a pool has a last window that reaches over the edge (Caffe's rounding).
    size, alpha, beta, bias : of "lrn": x / (bias + alpha / size * sum of x^2 over `size` channels)^beta.
    """

    name: str
    kind: str
    inputs: tuple = ()
    shape: tuple
    kernel: tuple = (1, 1)
    stride: int = 1
    pad: tuple = (0, 0)
    groups: int = 1
    relu: bool = False
    ceil: bool = False
    size: int = 0
    alpha: float = 0.0
    beta: float = 0.0
    bias: float = 0.0

    @property
    def weights_shape(self):
        """(M, C / groups, R, S) of "conv" and "fc", else None."""
        if self.kind not in ("conv", "fc"):
            return None
        return (self.shape[2], self.inputs[0].shape[2] // self.groups, *self.kernel)

    @property
    def weights(self):
        """How many, without biases."""
        return math.prod(self.weights_shape) if self.weights_shape else 0

    @property
    def macs(self):
        """Multiply-accumulates an image, those with padding counted and biases not."""
        return self.shape[0] * self.shape[1] * self.weights


def _pair(value):
    return value if isinstance(value, tuple) else (value, value)


class Definition:
    """A network under definition: each method appends a layer and returns it.

    Parameters
    ----------
    name : of the network.
    image : (H, W, C) of its input.
    unit : deviation of what convolutions make, in the real numbers that the bytes stand for; only an LRN, which adds
        a constant to squares, depends on it.

    Members
    -------
    layers : in order, without the image.
    weights, macs : of all layers, as `Layer`'s.
    """

    def __init__(self, name, image, *, unit=1.0):
        self.name, self.unit = name, unit
        self.image = Layer(name="image", kind="image", shape=image)
        self.layers = []

    @property
    def weights(self):
        return sum(layer.weights for layer in self.layers)

    @property
    def macs(self):
        return sum(layer.macs for layer in self.layers)

    @property
    def output(self):
        """The last layer."""
        return self.layers[-1]

    def conv(self, name, x, filters, kernel, *, stride=1, pad=0, groups=1, relu=True):
        """Convolution; E = (H + 2 pad - R) // stride + 1.  `kernel` and `pad` are one number, or (rows, columns)."""
        kernel, pad = _pair(kernel), _pair(pad)
        if x.shape[2] % groups or filters % groups:
            raise ValueError(f"{name}: groups must divide {x.shape[2]} and {filters}, not {groups!r}")
        shape = (*self._windows(name, x, kernel, stride, pad, False), filters)
        return self._add(name, "conv", (x,), shape, kernel=kernel, stride=stride, pad=pad, groups=groups, relu=relu)

    def depthwise(self, name, x, kernel, *, stride=1, pad=0, relu=True):
        """One filter a channel."""
        return self.conv(name, x, x.shape[2], kernel, stride=stride, pad=pad, groups=x.shape[2], relu=relu)

    def fc(self, name, x, filters, *, relu=False):
        """Fully connected: each filter covers the whole ifmap."""
        return self._add(name, "fc", (x,), (1, 1, filters), kernel=x.shape[:2], relu=relu)

    def max_pool(self, name, x, kernel, *, stride, pad=0, ceil=False):
        """The largest of each window."""
        return self._pool("max_pool", name, x, kernel, stride, pad, ceil)

    def average_pool(self, name, x, kernel, *, stride, pad=0, ceil=False):
        """The average of each window's pixels inside the ifmap."""
        return self._pool("average_pool", name, x, kernel, stride, pad, ceil)

    def global_average_pool(self, name, x):
        """The average of all pixels."""
        return self._add(name, "global_average_pool", (x,), (1, 1, x.shape[2]), kernel=x.shape[:2])

    def lrn(self, name, x, *, size=5, alpha=1e-4, beta=0.75, bias=1.0):
        """Local response normalisation across channels."""
        return self._add(name, "lrn", (x,), x.shape, size=size, alpha=alpha, beta=beta, bias=bias)

    def concat(self, name, *parts):
        """Channels one after the other."""
        pixels = {part.shape[:2] for part in parts}
        if len(pixels) > 1:
            raise ValueError(f"{name}: parts must have one plane, not {sorted(pixels)}")
        return self._add(name, "concat", parts, (*pixels.pop(), sum(part.shape[2] for part in parts)))

    def add(self, name, a, b, *, relu=True):
        """Sum of two tensors."""
        if a.shape != b.shape:
            raise ValueError(f"{name}: terms must have one shape, not {a.shape} and {b.shape}")
        return self._add(name, "add", (a, b), a.shape, relu=relu)

    def _pool(self, kind, name, x, kernel, stride, pad, ceil):
        kernel, pad = _pair(kernel), _pair(pad)
        shape = (*self._windows(name, x, kernel, stride, pad, ceil), x.shape[2])
        return self._add(name, kind, (x,), shape, kernel=kernel, stride=stride, pad=pad, ceil=ceil)

    def _windows(self, name, x, kernel, stride, pad, ceil):
        """(E, F); with `ceil` no window starts behind the ifmap."""
        sizes = []
        for size, taps, border in zip(x.shape[:2], kernel, pad, strict=True):
            room = size + 2 * border - taps
            if room < 0:
                raise ValueError(f"{name}: kernel {kernel} is larger than the ifmap {x.shape[:2]} with padding {pad}")
            count = (-(-room // stride) if ceil else room // stride) + 1
            sizes.append(count - (ceil and (count - 1) * stride >= size + border))
        return sizes

    def _add(self, name, kind, inputs, shape, **fields):
        if any(layer.name == name for layer in (self.image, *self.layers)):
            raise ValueError(f"there are two layers {name!r}")
        layer = Layer(name=name, kind=kind, inputs=inputs, shape=tuple(shape), **fields)
        self.layers.append(layer)
        return layer
