"""What both poolings share: `reference_integer_ops/pooling.h`."""

from ._common import activation_range, check_bytes, quantised_by_tensor, window_padding

__all__ = ["check", "window"]


def window(op, shape):
    """Fields of a pooling node for an NHWC shape."""
    a = op.attributes
    kernel = (a["filter_height"], a["filter_width"])
    return {"window": kernel, "stride": (a["stride_h"], a["stride_w"]), "padding": window_padding(op, shape, kernel)}


def check(op, build):
    """The clamp; refuses a change of scale, which the kernels would ignore."""
    check_bytes(op, build)
    source = quantised_by_tensor(op, op.input_quantisation[0], "the input")
    output = quantised_by_tensor(op, op.output_quantisation[0], "the output")
    if not source.same(output):
        raise op.problem("input and output must have one scale and zero point, as the specification says")
    low, high = activation_range(op, output)
    return {"low": low, "high": high}
