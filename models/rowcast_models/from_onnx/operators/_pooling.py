"""What the poolings share: windows in ONNX's words."""

import numpy as np

__all__ = ["check", "spatial", "window"]


def spatial(x):
    """NHWC of NCHW or NCL."""
    return (x if x.ndim == 4 else x[:, :, None]).transpose(0, 2, 3, 1)


def window(op, shape):
    """Fields of a pooling node for the logical NC(H)W shape; ceil mode becomes padding behind (`ONNX MaxPool`).

    A window that would start behind the ifmap and its padding before it is left out.
    """
    a = op.attributes
    sizes, kernel, strides = shape[2:], a["kernel_shape"], a["strides"]
    rank = len(kernel)
    pads = [(a["pads"][i], a["pads"][i + rank]) for i in range(rank)]
    fitted = []
    for size, taps, stride, (before, after) in zip(sizes, kernel, strides, pads, strict=True):
        room = size + before + after - taps
        outputs = (-(-room // stride) if a["ceil_mode"] else room // stride) + 1
        if a["ceil_mode"] and (outputs - 1) * stride >= size + before:
            outputs -= 1
        fitted.append((before, (outputs - 1) * stride + taps - size - before))
    if rank == 1:
        kernel, strides, fitted = (1, *kernel), (1, *strides), [(0, 0), *fitted]
    return {"window": tuple(kernel), "stride": tuple(strides), "padding": tuple(fitted)}


def check(op):
    """Refuse what no pooling of ours does."""
    if any(spread != 1 for spread in op.attributes["dilations"]):
        raise op.problem(f"dilations {op.attributes['dilations']} must be 1")
    if len(op.attributes["kernel_shape"]) > 2:
        raise op.problem(f"kernel_shape {op.attributes['kernel_shape']} must have one or two axes")
    if op.attributes.get("channels_last"):
        raise op.problem("channels_last must be 0")


def crop(x, padding):
    """NHWC without what negative padding behind cuts off, and the padding that is left."""
    (top, bottom), (left, right) = padding
    x = x[:, : x.shape[1] + min(bottom, 0), : x.shape[2] + min(right, 0)]
    return x, ((top, max(bottom, 0)), (left, max(right, 0)))


def as_model(y, rank):
    """NCHW or NCL of NHWC."""
    y = y.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(y if rank == 4 else y[:, :, 0])
