"""Resize to the nearest element."""

import numpy as np

from ... import graph as g
from ...frontend import OperatorKind

__all__ = ["OPERATOR"]


_ROUNDED = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5), "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor, "ceil": np.ceil,
}  # fmt: skip


def _scales(op, shapes, scales, sizes):
    """(scale of every axis, sizes of the output)."""
    source, made = shapes
    if scales is not None and np.size(scales):
        return [float(each) for each in scales], made
    return [b / a for a, b in zip(source, made)], made


def _positions(op, size, made, scale):
    """Input position of every output position along an axis, by the coordinate transformation and `nearest_mode`."""
    a, out = op.attributes, np.arange(made, dtype=np.float64)
    kind = a["coordinate_transformation_mode"]
    scale = np.float64(np.float32(scale))
    if kind == "asymmetric":
        x = out / scale
    elif kind == "half_pixel":
        x = (out + 0.5) / scale - 0.5
    elif kind == "pytorch_half_pixel":
        x = (out + 0.5) / scale - 0.5 if made > 1 else np.zeros(made)
    elif kind == "align_corners":
        x = out * (size - 1) / (made - 1) if made > 1 else np.zeros(made)
    elif kind == "half_pixel_symmetric":
        x = size / 2 * (1 - made / (scale * size)) + (out + 0.5) / scale - 0.5
    else:
        raise op.problem(f"coordinate_transformation_mode {kind!r} cannot be used")
    rounded = _ROUNDED[a["nearest_mode"]](x.astype(np.float32).astype(np.float64))
    return np.clip(rounded, 0, size - 1).astype(np.int64)


def _axes(op, source, made, scales, sizes):
    scales, made = _scales(op, (source, made), scales, sizes)
    return [_positions(op, *axis) for axis in zip(source[2:], made[2:], scales[2:], strict=True)]


def golden(op, x, roi=None, scales=None, sizes=None):
    """The nearest element of every output position.  x : int8 or uint8 [N, C, H, W]."""
    made = op.attributes["output_shape"]
    for axis, positions in enumerate(_axes(op, x.shape, made, scales, sizes), 2):
        x = np.take(x, positions, axis=axis)
    return (x,)


def lower(op, build):
    """A Resize."""
    if op.attributes["mode"] != "nearest":
        raise op.problem(f"mode {op.attributes['mode']!r} must be 'nearest'")
    if op.attributes.get("axes") or op.attributes["antialias"]:
        raise op.problem("axes and antialias cannot be used")
    source, made = build.value(op.inputs[0]).shape, build.value(op.outputs[0]).shape
    if len(source) != 4 or source[:2] != made[:2]:
        raise op.problem(f"{source} to {made} must change rows and columns only")
    quantisation = op.input_quantisation[0]
    if quantisation is not None and not quantisation.same(op.output_quantisation[0]):
        raise op.problem("input and output must have one scale and zero point")
    if op.attributes["nearest_mode"] not in _ROUNDED:
        raise op.problem(f"nearest_mode {op.attributes['nearest_mode']!r} must be one of {', '.join(_ROUNDED)}")
    constants = [build.model.constant(name) if name else None for name in (*op.inputs[1:], "", "", "")][:3]
    scales = constants[1]
    if scales is not None and scales.size and (scales.shape != (len(source),) or not np.all(scales > 0)):
        raise op.problem(f"scales {scales.tolist()} must be {len(source)} numbers above 0")
    rows, columns = _axes(op, source, made, *constants[1:])
    build.output(op, g.Resize, [build.image(op, 0)], rows=rows, columns=columns)


OPERATOR = OperatorKind(
    kind="Resize", golden=golden, lower=lower, supports="nearest, all coordinate and rounding modes but tf_crop_and_resize",
    source="ONNX specification, Resize",
)  # fmt: skip
