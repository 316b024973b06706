"""Gets an ONNX file into memory, checked, and trusts nothing in it."""

import math
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto, external_data_helper

from ..frontend.model import ModelError, Problem

__all__ = ["first_line", "load"]

MAX_BYTES = 1 << 31  # protobuf's own limit
OPSET = 21  # what models are brought to before they are read
OLDEST = 7
_SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def load(source):
    """(ModelProto in opset `OPSET`, name) of a path, bytes, or a ModelProto.

    Raises
    ------
    ModelError
        No ONNX model, a damaged or invalid one, or external data outside the model's folder.
    """
    folder = None
    if isinstance(source, onnx.ModelProto):
        proto, name = onnx.ModelProto(), source.graph.name or "model"
        proto.CopyFrom(source)
    elif isinstance(source, (bytes, bytearray)):
        proto, name = _parse(bytes(source)), "model"
    else:
        path = Path(source)
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size:,} bytes, more than an ONNX file can have")
        proto, name, folder = _parse(path.read_bytes()), path.stem, path.parent
    _check_tensors(proto, folder)
    _check_nodes(proto)
    if folder is not None:
        external_data_helper.load_external_data_for_model(proto, str(folder))
    # Quantised models of an old IR leave initializers out of the inputs; ONNX Runtime takes them, the checker does not.
    proto.ir_version = max(proto.ir_version, 4)
    for output in proto.graph.output:  # nor need outputs have shapes there
        if output.type.HasField("tensor_type") and not output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, UnicodeDecodeError, RuntimeError) as error:
        raise ModelError(f"the model is not valid ONNX: {first_line(error)}") from None
    return _upgrade(proto), name


def _parse(data):
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError, which has no public place that all versions share
        raise ModelError(f"this is not an ONNX file, or it is damaged: {first_line(error)}") from None
    if not proto.graph.node and not proto.graph.output:
        raise ModelError("this is not an ONNX file: there is no graph in it")
    return proto


def first_line(error):
    """The first line of an error's text."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _tensors(proto):
    yield from proto.graph.initializer
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors


def _check_tensors(proto, folder):
    """Every tensor's data is there, is as long as its shape says, and lies in the model or in its folder."""
    problems = []
    for tensor in _tensors(proto):
        if _item_size(tensor) is None:
            kinds = dict(map(reversed, TensorProto.DataType.items()))
            kind = kinds.get(tensor.data_type, tensor.data_type)
            problems.append(Problem(tensor.name, "", f"type {kind} cannot be used"))
            continue
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > MAX_BYTES:
            problems.append(Problem(tensor.name, "", f"shape {list(tensor.dims)} is no shape of a tensor that can be used"))
            continue
        if tensor.data_location == TensorProto.EXTERNAL:
            text = _external_problem(tensor, folder)
            if text:
                problems.append(Problem(tensor.name, "", text))
        elif tensor.HasField("raw_data"):
            size = _item_size(tensor)
            if len(tensor.raw_data) != math.prod(tensor.dims) * size:
                problems.append(Problem(tensor.name, "", (
                    f"shape {list(tensor.dims)} needs {math.prod(tensor.dims) * size} bytes, it has {len(tensor.raw_data)}"
                )))  # fmt: skip
    if proto.graph.sparse_initializer:
        problems.append(Problem("", "", "sparse initializers cannot be used: make them dense"))
    if problems:
        raise ModelError(problems)


def _item_size(tensor):
    """Bytes of an element, or None for types that we do not read."""
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        return None


def _external_problem(tensor, folder):
    """What is wrong with a tensor's external data, or None."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        return "its data lies in another file; give the path of the model, not its bytes"
    outside = PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts
    if not location or outside or {"\\", "\0"} & set(location):
        return f"external data {location!r} must be a file in the model's folder"
    path = folder / location
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"external data {location!r} must be a file in the model's folder, not a link out of it"
    if not path.is_file():
        return f"external data {location!r} is not there"
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", path.stat().st_size))
    except ValueError:
        return f"external data {location!r} has an offset or length that is no number"
    size = _item_size(tensor)
    if offset < 0 or length < 0 or offset + length > path.stat().st_size or length < math.prod(tensor.dims) * size:
        return f"external data {location!r} has {path.stat().st_size} bytes, too few for shape {list(tensor.dims)}"
    return None


def _check_nodes(proto):
    """No control flow, no functions."""
    problems = [
        Problem(node.name or node.op_type, node.op_type, "nodes with subgraphs (control flow) cannot be used")
        for node in proto.graph.node
        if any(attribute.type in _SUBGRAPHS for attribute in node.attribute)
    ]
    if proto.functions:
        problems.append(Problem("", "", "models with functions of their own cannot be used: inline them"))
    if problems:
        raise ModelError(problems)


def _upgrade(proto):
    """The model in `OPSET`, so that an operator has one form."""
    version = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if version >= OPSET:
        return proto
    if version < OLDEST:
        raise ModelError(f"opset {version} is too old: export the model with opset 13 or later")
    try:
        return onnx.version_converter.convert_version(proto, OPSET)
    except Exception as error:  # whatever its C++ says
        raise ModelError(f"opset {version} cannot be brought to {OPSET}: {first_line(error)}") from None
