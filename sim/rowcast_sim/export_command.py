"""`rowcast export`: a network of the zoo as a quantised ONNX model."""

from pathlib import Path

from rowcast_models.zoo import NETWORKS

from . import report
from .errors import InputError
from .files import check_target, staged_folder

__all__ = ["export"]


def export(name, target, *, seed, console):
    """Write the file; it appears whole or not at all."""
    if name not in NETWORKS:
        raise InputError(f"there is no network {name!r}; networks are: {', '.join(NETWORKS)}")
    if Path(target).suffix.lower() != ".onnx":
        raise InputError(f"{target}: the file's name must end in .onnx")
    check_target(target)
    with report.working(f"Exporting {name}"), staged_folder(Path(target).parent) as stage:
        NETWORKS[name].export(stage / Path(target).name, seed=seed)
    report.sentence(console, f"Written: {target}, {Path(target).stat().st_size:,} bytes.")
