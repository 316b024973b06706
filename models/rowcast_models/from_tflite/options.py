"""The attributes of TensorFlow Lite operators: which table of the schema has them, and what they are called here."""

import tflite

__all__ = ["attributes_of"]

ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
PADDINGS = {0: "SAME", 1: "VALID"}

_WINDOW = {"stride_h": "StrideH", "stride_w": "StrideW", "padding": "Padding", "fused_activation": "FusedActivationFunction"}
_DILATION = {"dilation_h": "DilationHFactor", "dilation_w": "DilationWFactor"}
_POOL = {**_WINDOW, "filter_height": "FilterHeight", "filter_width": "FilterWidth"}
_ACTIVATION = {"fused_activation": "FusedActivationFunction"}

# kind -> (table of the schema, attribute -> accessor)
_TABLES = {
    "CONV_2D": ("Conv2DOptions", {**_WINDOW, **_DILATION}),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", {**_WINDOW, **_DILATION, "depth_multiplier": "DepthMultiplier"}),
    "FULLY_CONNECTED": ("FullyConnectedOptions", {**_ACTIVATION, "weights_format": "WeightsFormat", "keep_num_dims": "KeepNumDims"}),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "ADD": ("AddOptions", _ACTIVATION),
    "SUB": ("SubOptions", _ACTIVATION),
    "MUL": ("MulOptions", _ACTIVATION),
    "CONCATENATION": ("ConcatenationOptions", {**_ACTIVATION, "axis": "Axis"}),
    "SOFTMAX": ("SoftmaxOptions", {"beta": "Beta"}),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": "Alpha"}),
    "MEAN": ("ReducerOptions", {"keep_dims": "KeepDims"}),
    "RESIZE_NEAREST_NEIGHBOR": (
        "ResizeNearestNeighborOptions", {"align_corners": "AlignCorners", "half_pixel_centers": "HalfPixelCenters"}
    ),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        {name: "".join(part.title() for part in name.split("_"))
         for name in ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")},
    ),
    "SPLIT": ("SplitOptions", {"num_splits": "NumSplits"}),
}  # fmt: skip
# What a file means that leaves the whole table out.
_ABSENT = {"dilation_h": 1, "dilation_w": 1, "depth_multiplier": 1, "beta": 1.0}


def attributes_of(kind, table):
    """Attributes of an operator by name.

    Parameters
    ----------
    kind : builtin operator's name.
    table : the flatbuffer table that stands in the operator's options, or None.
    """
    if kind == "SQUEEZE":
        return {"squeeze_dims": () if table is None else _vector(tflite.SqueezeOptions, table, "SqueezeDims")}
    if kind not in _TABLES:
        return {}
    name, accessors = _TABLES[kind]
    options = None
    if table is not None:
        options = getattr(tflite, name)()
        options.Init(table.Bytes, table.Pos)
    made = {}
    for attribute, accessor in accessors.items():
        value = _ABSENT.get(attribute, 0) if options is None else getattr(options, accessor)()
        if attribute == "padding":
            value = PADDINGS.get(value, value)
        elif attribute == "fused_activation":
            value = ACTIVATIONS.get(value, value)
        made[attribute] = value
    return made


def _vector(kind, table, accessor):
    options = kind()
    options.Init(table.Bytes, table.Pos)
    length = getattr(options, f"{accessor}Length")()
    if length * 4 > len(table.Bytes):
        raise ValueError("a vector longer than the file")
    return tuple(int(getattr(options, accessor)(i)) for i in range(length))
