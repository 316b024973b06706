"""Shapes that operators make, to be compared with those in the file."""

import math

__all__ = ["ShapeProblem", "output_shape"]

MAX_PADDING = 512  # pixels that a window may reach over one edge; beyond, a file means something else


class ShapeProblem(ValueError):
    """An attribute, axis or shape that the operator cannot have."""


def output_shape(op, shapes, constants):
    """The shape of output 0 of an operator whose signature is right; None for kinds that are not known here.

    Parameters
    ----------
    shapes : of the inputs, None for absent ones.
    constants : their arrays, None for those that are none.

    Raises
    ------
    ShapeProblem
        What cannot be.
    """
    rule = _RULES.get(op.kind)
    return None if rule is None else tuple(int(size) for size in rule(op, shapes, constants))


def _axis(value, rank, what="axis"):
    if not -rank <= value < rank:
        raise ShapeProblem(f"{what} {value} must be from {-rank} to {rank - 1}")
    return value % rank


def _axes(array, rank, what):
    return [_axis(int(value), rank, what) for value in array.reshape(-1)]


def _unchanged(op, shapes, constants):
    return shapes[0]


def _broadcast(op, shapes, constants):
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    made = []
    for sizes in zip(*padded, strict=True):
        wide = set(sizes) - {1}
        if len(wide) > 1:
            raise ShapeProblem(f"operands {', '.join(map(str, shapes))} cannot be broadcast to one shape")
        made.append(wide.pop() if wide else 1)
    return made


def _slide(op, shape, kernel, dilation=(1, 1)):
    """(E, F) of a window over an NHWC shape (`ComputeOutSize`)."""
    a = op.attributes
    strides = (a["stride_h"], a["stride_w"])
    for what, pair in (("stride", strides), ("dilation", dilation), ("window", kernel)):
        if min(pair) < 1:
            raise ShapeProblem(f"{what} {tuple(pair)} must be from 1")
    if a["padding"] not in ("SAME", "VALID"):
        raise ShapeProblem(f"padding {a['padding']!r} must be SAME or VALID")
    made = []
    for size, taps, stride, spread in zip(shape[1:3], kernel, strides, dilation, strict=True):
        span = (taps - 1) * spread + 1
        outputs = -(-size // stride) if a["padding"] == "SAME" else -(-(size - span + 1) // stride)
        if outputs < 1:
            raise ShapeProblem(f"a window of {tuple(kernel)}, dilation {tuple(dilation)}, does not fit {tuple(shape)}")
        if ((outputs - 1) * stride + span - size) // 2 > MAX_PADDING:
            raise ShapeProblem(f"a window of {tuple(kernel)}, dilation {tuple(dilation)}, needs more than {MAX_PADDING} "
                               f"pixels of padding around {tuple(shape)}")  # fmt: skip
        made.append(outputs)
    return made


def _check_filters(op, shapes, made, axis):
    """Scales and biases are one for each of `made` filters, which are along `axis`."""
    filters, bias = op.input_quantisation[1], shapes[2] if len(shapes) > 2 else None
    if not filters.per_tensor and filters.axis != axis:
        raise ShapeProblem(f"the filter's scales belong to axis {filters.axis}, and must to axis {axis}, its filters")
    if bias is not None and math.prod(bias) != made:
        raise ShapeProblem(f"the bias {bias} must have {made} entries, one for each filter")


def _conv(op, shapes, constants):
    shape, filters = shapes[:2]
    if shape[3] % filters[3] or filters[0] % (shape[3] // filters[3]):
        raise ShapeProblem(f"filters {filters} of [M, R, S, C / groups] do not divide the ifmap {shape} into groups")
    _check_filters(op, shapes, filters[0], 0)
    dilation = (op.attributes["dilation_h"], op.attributes["dilation_w"])
    return (shape[0], *_slide(op, shape, filters[1:3], dilation), filters[0])


def _depthwise(op, shapes, constants):
    shape, filters = shapes[:2]
    if filters[0] != 1 or filters[3] % shape[3]:
        raise ShapeProblem(f"filters {filters} must be [1, R, S, {shape[3]} x multiplier] for the ifmap {shape}")
    _check_filters(op, shapes, filters[3], 3)
    dilation = (op.attributes["dilation_h"], op.attributes["dilation_w"])
    return (shape[0], *_slide(op, shape, filters[1:3], dilation), filters[3])


def _pool(op, shapes, constants):
    kernel = (op.attributes["filter_height"], op.attributes["filter_width"])
    return (shapes[0][0], *_slide(op, shapes[0], kernel), shapes[0][3])


def _fully_connected(op, shapes, constants):
    shape, (made, taken) = shapes[:2]
    _check_filters(op, shapes, made, 0)
    if op.attributes["keep_num_dims"]:
        if shape[-1] != taken:
            raise ShapeProblem(f"the weights {shapes[1]} must take rows of {shape[-1]}, the last axis of input {shape}")
        return (*shape[:-1], made)
    if math.prod(shape) % taken:
        raise ShapeProblem(f"the input {shape} does not divide into rows of {taken}, as the weights {shapes[1]} take")
    return (math.prod(shape) // taken, made)


def _mean(op, shapes, constants):
    shape = shapes[0]
    axes = _axes(constants[1], len(shape), "axis")
    keep = op.attributes["keep_dims"]
    return [1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes]


def _concatenation(op, shapes, constants):
    first = shapes[0]
    axis = _axis(op.attributes["axis"], len(first))
    rest = [(*shape[:axis], *shape[axis + 1 :]) for shape in shapes]
    if any(len(shape) != len(first) or other != rest[0] for shape, other in zip(shapes, rest, strict=True)):
        raise ShapeProblem(f"inputs {', '.join(map(str, shapes))} must be equal but for axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def _pad(op, shapes, constants):
    shape, paddings = shapes[0], constants[1]
    if paddings.shape != (len(shape), 2) or paddings.min() < 0:
        raise ShapeProblem(f"paddings {paddings.tolist()} must be two for each of {len(shape)} axes, from 0")
    if len(constants) > 2 and constants[2].size != 1:
        raise ShapeProblem(f"the padding's value {shapes[2]} must be one")
    return [size + sum(pair) for size, pair in zip(shape, paddings.tolist(), strict=True)]


def _resize(op, shapes, constants):
    if constants[1].size != 2:
        raise ShapeProblem(f"size {constants[1].tolist()} must be rows and columns")
    return (shapes[0][0], *constants[1], shapes[0][3])


def _transpose(op, shapes, constants):
    perm = _axes(constants[1], len(shapes[0]), "perm")
    if sorted(perm) != list(range(len(shapes[0]))):
        raise ShapeProblem(f"perm {perm} must name each of {len(shapes[0])} axes once")
    return [shapes[0][axis] for axis in perm]


def _reshape(op, shapes, constants):
    made = op.attributes["output_shape"]
    if math.prod(made) != math.prod(shapes[0]):
        raise ShapeProblem(f"{tuple(made)} has not as many elements as {tuple(shapes[0])}")
    return made


def _softmax(op, shapes, constants):
    (source,), (output,) = op.input_quantisation[:1], op.output_quantisation
    if abs(output.scale[0] * 256 - 1) > 0.001 or output.zero_point[0] != -128:  # as its kernel demands
        found = f"{output.scale[0]} and {output.zero_point[0]}"
        raise ShapeProblem(f"the output must have scale 1/256 and zero point -128, not {found}")
    if not op.attributes["beta"] * float(source.scale[0]) > 2.0**-26:
        raise ShapeProblem(f"beta {op.attributes['beta']} x input scale {source.scale[0]} must be above 2^-26")
    return shapes[0]


def _arg_max(op, shapes, constants):
    if constants[1].size != 1:
        raise ShapeProblem(f"axis {constants[1].tolist()} must be one")
    axis = _axes(constants[1], len(shapes[0]), "axis")[0]
    return [size for i, size in enumerate(shapes[0]) if i != axis]


_RULES = {
    "CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _pool, "MAX_POOL_2D": _pool, "MEAN": _mean, "CONCATENATION": _concatenation,
    "PAD": _pad, "PADV2": _pad, "RESIZE_NEAREST_NEIGHBOR": _resize, "TRANSPOSE": _transpose, "ARG_MAX": _arg_max,
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _reshape), "SOFTMAX": _softmax,
    **dict.fromkeys(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU"), _broadcast),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH", "ELU", "LOGISTIC", "TANH",
                     "QUANTIZE", "DEQUANTIZE"), _unchanged),
}  # fmt: skip
