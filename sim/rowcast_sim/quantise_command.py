"""`rowcast quantise`: a float ONNX model to int8."""

from pathlib import Path

from rowcast_models import quantise as models

from . import report
from .errors import InputError
from .files import check_target, read_arrays, staged_folder

__all__ = ["quantise"]


def quantise(path, calibration, target, *, form, activations, console):
    """Quantise a file; the result appears whole or not at all."""
    check_target(target)
    if not Path(path).is_file():
        raise InputError(f"{path}: {'is not a file' if Path(path).exists() else 'there is no such file'}")
    arrays = read_arrays(calibration)
    with report.working(f"Quantising {Path(path).name}"), staged_folder(Path(target).parent) as stage:
        models.quantise(path, arrays, stage / Path(target).name, form=form, activations=activations)
    report.sentence(console, f"Written: {target}, {Path(target).stat().st_size:,} bytes.")
