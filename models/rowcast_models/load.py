"""A model's file, of either format, to a Network."""

from pathlib import Path

from .frontend import ModelError, Problem, import_model

__all__ = ["ENDINGS", "RUNTIMES", "load_model", "lower_model", "model_format", "read_model"]

ENDINGS = {".onnx": "onnx", ".tflite": "tflite"}
RUNTIMES = ("tflm", "litert")
TFLITE_MARK = b"TFL3"  # from byte 4: the identifier that the flatbuffer schema demands


def load_model(path, *, batch=None, runtime="tflm"):
    """Read a quantised model and lower it to what runs on the accelerator and on the host.

    Parameters
    ----------
    path : of an .onnx or .tflite file.
    batch : items that the accelerator works on at a time; default the model's own, or 1 where it leaves that open.
    runtime : whose rounding a TFLite model gets: "tflm" (TensorFlow Lite Micro) or "litert" (LiteRT's reference
        kernels, which round fully connected layers once instead of twice).  Nothing to an ONNX model.

    Returns
    -------
    frontend.Network : `run` evaluates it in numpy; `rowcast_sim.runner.Runner` runs it on the hardware.

    Raises
    ------
    ModelError
        The file holds no model, or one that is not supported; everything that was found, each with its node.
    OSError
        The file cannot be read.
    """
    return lower_model(read_model(path, runtime=runtime), batch=batch)


def read_model(path, *, runtime="tflm"):
    """The file as a `frontend.Model`, not lowered yet; parameters and errors as in `load_model`."""
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, not {runtime!r}")
    format = model_format(path)
    return _format(format).read(path, **({"runtime": runtime} if format == "tflite" else {}))


def lower_model(model, *, batch=None):
    """A Network of what `read_model` gave; parameters and errors as in `load_model`."""
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        raise ValueError(f"batch must be an integer of at least 1, not {batch!r}")
    return import_model(model, _format(model.format).kinds(), batch=batch)


def model_format(path):
    """ "onnx" or "tflite": by the file's contents where they tell, else by its ending.

    Raises
    ------
    ModelError, OSError
        As `load_model`.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would be waited for
        raise _refused(path, "is not a file")
    with open(path, "rb") as file:
        start = file.read(8)
    if not start:
        raise _refused(path, "is empty")
    marked = start[4:8] == TFLITE_MARK
    ending = ENDINGS.get(path.suffix.lower())
    if marked and ending != "onnx":
        return "tflite"
    if marked:
        raise _refused(path, "is a TFLite model by its contents: give it the ending .tflite")
    if ending is None:
        raise _refused(path, f"is no model that Rowcast reads: those end in {' or '.join(ENDINGS)}")
    if ending == "tflite":
        raise _refused(path, "is not a TFLite model: TFL3 must stand in its bytes 4 to 7")
    return ending


def _format(name):
    """The package of a format; what it needs is imported only now."""
    if name == "onnx":
        from . import from_onnx as package
    else:
        from . import from_tflite as package
    return package


def _refused(path, text):
    return ModelError([Problem(str(path), "", text)])
