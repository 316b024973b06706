"""Seeded weights, and scales that keep what they make alive, layer by layer on a few seeded images.

Weights are int8, normally distributed.  What a trained network has from batch norm, a random one gets here: each filter's
scale and bias give its sums, over the pixels of the calibration images, a deviation and a mean of its own, near 1 and 0.
So about half of what a ReLU takes is positive at any depth, and no filter is constant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..golden.convolution import convolution, fully_connected
from ..golden.pooling import max_pool, sum_pool
from .images import IMAGE_SCALE, IMAGE_ZERO_POINT, pixels_to_int8, random_images

__all__ = ["Parameters", "calibrate"]

IMAGES = 2  # to calibrate with
WEIGHT_DEVIATION = 36  # of int8 weights: 127 is 3.5 deviations
TAIL = 0.0005  # share of values beyond the calibrated range, on either side
HEADROOM = 1.1  # between what the calibration images need and the range
POOLED_HEADROOM = 1.6  # of averages over whole planes: few values, and other images have others
DEVIATIONS = 5.0  # the range where it does not depend on the images
SPREAD = (0.7, 1.3)  # of the filters' deviations, in the definition's unit
SHIFT = 0.3  # deviation of the filters' means
STEPS = 255


@dataclass(frozen=True, eq=False)
class Parameters:
    """What a layer is in numbers: real = scale * (byte - zero_point).

    Parameters
    ----------
    scale, zero_point : of what it makes.
    weights : int8 [M, C / groups, R, S]; weights_scale : float32 [M]; bias : int32 [M]; of "conv" and "fc", else None.
    """

    scale: np.float32
    zero_point: int
    weights: np.ndarray | None = None
    weights_scale: np.ndarray | None = None
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class _Value:
    """A tensor on the calibration images: int8 [N, H, W, C], and what its bytes stand for."""

    array: np.ndarray
    scale: np.float32
    zero_point: int

    @property
    def centred(self):
        return self.array.astype(np.float32) - np.float32(self.zero_point)

    @property
    def real(self):
        return self.centred * self.scale


def calibrate(definition, *, seed=0):
    """Yield (layer, Parameters) for the image and every layer of a `Definition`, in order."""
    net = _Calibration(definition, seed)
    for layer in (definition.image, *definition.layers):
        yield layer, net.layer(layer)


class _Calibration:
    """The forward pass: `values` has a _Value for every layer so far."""

    def __init__(self, definition, seed):
        self.definition, self.seed, self.values = definition, seed, {}
        # Parts of a concatenation share one scale, known before the first of them, so that nothing is rescaled.
        self.joined = {part.name for layer in definition.layers if layer.kind == "concat" for part in layer.inputs}

    def layer(self, layer):
        """Parameters of the next layer."""
        kind: Callable = getattr(self, f"_{layer.kind}")
        value, weights = kind(layer, *(self.values[source.name] for source in layer.inputs))
        self.values[layer.name] = value
        return Parameters(value.scale, value.zero_point, *weights)

    def _rng(self, layer):
        return np.random.default_rng([self.seed, *layer.name.encode()])

    # Layers: (value, (weights, their scales, bias) or ()) ------------------------------------------------------------

    def _image(self, layer):
        pixels = random_images(IMAGES, layer.shape, seed=[self.seed, 1])
        return _Value(pixels_to_int8(pixels), np.float32(IMAGE_SCALE), IMAGE_ZERO_POINT), ()

    def _conv(self, layer, x):
        weights = normal_weights(self._rng(layer), layer.weights_shape)
        acc = convolution(
            x.array, x.zero_point, weights.transpose(0, 2, 3, 1), np.zeros(len(weights), np.int32), stride=(layer.stride,) * 2,
            dilation=(1, 1), padding=_padding(layer), groups=layer.groups,
        )  # fmt: skip
        mean, deviation = acc.mean(axis=(0, 1, 2)), acc.std(axis=(0, 1, 2))
        return self._weighted(layer, x, weights, acc, mean, deviation, fixed=layer.name in self.joined)

    def _fc(self, layer, x):
        weights = normal_weights(self._rng(layer), layer.weights_shape)
        rows = np.ascontiguousarray(x.array.transpose(0, 3, 1, 2))
        acc = fully_connected(rows, x.zero_point, weights.reshape(len(weights), -1), np.zeros(len(weights), np.int32))
        # A filter has one sum an image, too few for a deviation of its own: that of new images, from all filters.
        deviation = np.sqrt(acc.var(axis=0, ddof=1).mean() * (1 + 1 / IMAGES))
        return self._weighted(layer, x, weights, acc[:, None, None], acc.mean(axis=0), deviation, fixed=True)

    def _weighted(self, layer, x, weights, acc, mean, deviation, *, fixed):
        """Scales and bias that bring sums of this mean and deviation to one of SPREAD and of SHIFT."""
        rng, filters = self._rng(layer), len(weights)
        spread, shift = rng.uniform(*SPREAD, filters), rng.normal(0, SHIFT, filters)
        deviation = np.maximum(np.broadcast_to(deviation, filters), 0.1 * np.mean(deviation) + 1e-3)
        factor = self.definition.unit * spread / deviation
        scales = (factor / x.scale).astype(np.float32)
        bias = np.rint(shift / spread * deviation - mean).astype(np.int32)
        real = (acc + bias).astype(np.float32) * (scales * x.scale)
        limit = DEVIATIONS * self.definition.unit if fixed else None
        return self._quantised(real, relu=layer.relu, limit=limit), (weights, scales, bias)

    def _max_pool(self, layer, x):
        array = max_pool(x.array, window=layer.kernel, stride=(layer.stride,) * 2, padding=_padding(layer))
        return _Value(array, x.scale, x.zero_point), ()

    def _average_pool(self, layer, x):
        window = {"window": layer.kernel, "stride": (layer.stride,) * 2, "padding": _padding(layer)}
        total, count = sum_pool(x.array, zero_point=x.zero_point, **window)
        return self._quantised(total / count * x.scale), ()

    def _global_average_pool(self, layer, x):
        return self._quantised(x.real.mean(axis=(1, 2), keepdims=True), headroom=POOLED_HEADROOM), ()

    def _lrn(self, layer, x):
        real = x.real
        before, after = (layer.size - 1) // 2, layer.size // 2
        sums = np.cumsum(np.pad(real * real, ((0, 0), (0, 0), (0, 0), (before + 1, after))), axis=3, dtype=np.float64)
        total = sums[..., layer.size :] - sums[..., : -layer.size]
        return self._quantised(real * (layer.bias + layer.alpha / layer.size * total) ** -layer.beta), ()

    def _add(self, layer, a, b):
        return self._quantised(a.real + b.real, relu=layer.relu), ()

    def _concat(self, layer, *parts):
        scales = {(part.scale, part.zero_point) for part in parts}
        if len(scales) > 1:
            raise ValueError(f"{layer.name}: parts must have one scale and zero point, not {sorted(scales)}")
        return _Value(np.concatenate([part.array for part in parts], axis=3), parts[0].scale, parts[0].zero_point), ()

    def _quantised(self, real, *, relu=False, limit=None, headroom=HEADROOM):
        """The _Value of real numbers: the range is from `limit` below 0 to above, or what all but the TAIL need."""
        low, high = _range(real, headroom) if limit is None else (-limit, limit)
        low = 0.0 if relu else low
        scale = np.float32((high - low) / STEPS)
        zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
        return _Value(np.clip(np.rint(real / scale) + zero_point, -128, 127).astype(np.int8), scale, zero_point)


def _range(real, headroom):
    """(low, high), with 0 inside."""
    flat = real.reshape(-1)
    rank = int(TAIL * flat.size)
    ordered = np.partition(flat, (rank, flat.size - 1 - rank))
    return min(headroom * float(ordered[rank]), 0.0), max(headroom * float(ordered[-1 - rank]), 0.0)


def _padding(layer):
    """((top, bottom), (left, right)) with what the last windows of a pool need beyond the edge."""
    made = []
    for size, count, taps, border in zip(layer.inputs[0].shape[:2], layer.shape[:2], layer.kernel, layer.pad, strict=True):
        made.append((border, max(border, (count - 1) * layer.stride + taps - size - border)))
    return tuple(made)


def _quantiles():
    """int8 [65536]: a normal distribution of WEIGHT_DEVIATION, by equal shares."""
    normal = NormalDist(0, WEIGHT_DEVIATION)
    edges = [normal.cdf(value + 0.5) for value in range(-127, 127)]
    shares = np.diff(np.rint(np.array([0, *edges, 1]) * 65536).astype(int))
    return np.repeat(np.arange(-127, 128, dtype=np.int8), shares)


def normal_weights(rng, shape):
    """Weights, int8 of this shape from -127 to 127, normally distributed; cheap for the hundred million of a VGG."""
    return _quantiles()[np.frombuffer(rng.bytes(2 * int(np.prod(shape))), np.uint16)].reshape(shape)
