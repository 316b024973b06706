"""Nodes that the PE array computes."""

import math
from dataclasses import dataclass

import numpy as np

from .node import NO_PADDING, Node, check_entries, check_padding, check_pair, window_size
from .tensor import GraphError, Requantisation, frozen

__all__ = ["MAX_WEIGHT", "Conv", "FullyConnected"]

ACC_LIMIT = 1 << 31  # the magnitude of an int32 accumulator stays below
MAX_WEIGHT = 9 * 127  # weights past int8 are sums of up to nine that fit: the array multiplies each of them


def _weights(value, ndim):
    """Weights as int8 if they fit, else int16."""
    kind = np.int8 if getattr(value, "dtype", None) == np.int8 else np.int16
    weights = frozen(value, kind, "weights", ndim)
    if not weights.size:
        raise GraphError(f"weights must not be empty, not shape {weights.shape}")
    if kind == np.int8:
        return weights
    low, high = int(weights.min()), int(weights.max())
    if max(-low, high) > MAX_WEIGHT:
        raise GraphError(f"weights must be from -{MAX_WEIGHT} to {MAX_WEIGHT}, not {low}..{high}")
    return frozen(weights, np.int8, "weights", ndim) if -128 <= low and high <= 127 else weights


def _check_acc(tensor, weights, bias):
    """The int32 accumulator must not overflow, whatever the input: |x - zx| is bounded and the weights are known."""
    furthest = max(127 - tensor.zero_point, 128 + tensor.zero_point)
    largest_bias = int(np.abs(bias.astype(np.int64)).max())
    most = 128 if weights.dtype == np.int8 else MAX_WEIGHT
    if weights[0].size * most * furthest + largest_bias < ACC_LIMIT:  # the usual case, without a look at every weight
        return
    sums = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    worst = int((sums * furthest + np.abs(bias.astype(np.int64))).max())
    if worst >= ACC_LIMIT:
        raise GraphError(
            f"the accumulator can reach {worst}, more than int32 holds: split the layer or use smaller weights"
        )



@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Node):
    """Convolution: acc[n, e, f, m] = bias[m] + sum over r, s, c of (x - zx) * weights[m, r, s, c], then `post`.

    x is pixel (e * stride + r * dilation - top, f * stride + s * dilation - left), channel g * C / groups + c of group
    g = m * groups // M.  Outside the ifmap x is zx, so that padding contributes nothing.

    Parameters
    ----------
    weights : int8, or integers from -MAX_WEIGHT to MAX_WEIGHT, [M, R, S, C / groups], their zero point subtracted.
        Depthwise is groups == C; M is then a multiple of C.
    bias : int32 [M], as the model has it: the input's zero point is not folded in.
    post : one multiplier for each of the M channels, or one for all.
    stride, dilation : (y, x).
    padding : ((top, bottom), (left, right)) pixels.
    groups : divides C and M.
    """

    weights: np.ndarray
    bias: np.ndarray
    post: Requantisation
    stride: tuple = (1, 1)
    dilation: tuple = (1, 1)
    padding: tuple = NO_PADDING
    groups: int = 1

    @property
    def kernel(self):
        """(R, S)."""
        return self.weights.shape[1:3]

    def macs(self, *shapes):
        return math.prod(shapes[-1]) * math.prod(self.weights.shape[1:])

    def _check(self):
        object.__setattr__(self, "weights", _weights(self.weights, 4))
        self._freeze("bias", np.int32, 1, len(self.weights))
        check_pair("stride", self.stride)
        check_pair("dilation", self.dilation)
        check_padding(self.padding)
        check_entries(self.post, (1, len(self.weights)))

    def _infer_shape(self, tensor):
        sizes = window_size(tensor, self.kernel, self.stride, self.dilation, self.padding)
        channels, filters = tensor.shape[3], len(self.weights)
        if self.groups < 1 or channels % self.groups or filters % self.groups:
            raise GraphError(
                f"groups must divide input channels ({channels}) and filters ({filters}), not {self.groups!r}"
            )
        if self.weights.shape[3] != channels // self.groups:
            raise GraphError(
                f"weights must be [M, R, S, {channels // self.groups}] for input {tensor.name!r} {tensor.shape} in "
                f"{self.groups} groups, not {self.weights.shape}"
            )
        _check_acc(tensor, self.weights, self.bias)
        return (tensor.shape[0], *sizes, filters)


@dataclass(frozen=True, eq=False, kw_only=True)
class FullyConnected(Node):
    """acc[n, m] = bias[m] + sum over k of (x[n, k] - zx) * weights[m, k], then `post`.

    An NHWC input is flattened in that order.

    Parameters
    ----------
    weights : [M, K], K = H * W * C, as in `Conv`.
    bias : int32 [M], without the input's zero point.
    post : one multiplier for each of the M channels, or one for all.
    """

    weights: np.ndarray
    bias: np.ndarray
    post: Requantisation

    def macs(self, *shapes):
        return shapes[0][0] * self.weights.size

    def _check(self):
        object.__setattr__(self, "weights", _weights(self.weights, 2))
        self._freeze("bias", np.int32, 1, len(self.weights))
        check_entries(self.post, (1, len(self.weights)))

    def _infer_shape(self, tensor):
        if self.weights.shape[1] != tensor.features:
            raise GraphError(
                f"weights must be [M, {tensor.features}] for input {tensor.name!r} {tensor.shape}, "
                f"not {self.weights.shape}"
            )
        _check_acc(tensor, self.weights, self.bias)
        return (tensor.shape[0], len(self.weights))
