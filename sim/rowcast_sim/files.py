"""Arrays and folders on disk: read with every doubt, written whole or not at all."""

import contextlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from .errors import InputError

__all__ = ["check_target", "read_array", "read_arrays", "staged_folder", "write_array", "write_arrays"]


def read_array(path):
    """The array in a .npy file, without executing anything in it.

    Raises
    ------
    InputError
        Not a .npy file, one that ends too early, or one of Python objects.
    OSError
        It cannot be read.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise InputError(f"{path}: not a file")
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise InputError(f"{path}: not a .npy file")
    try:
        # Mapping compares the header with the file's length before any memory is asked for.
        mapped = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # the header is parsed by numpy as Python: what it raises depends on the bytes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "Python objects" in reason:
            reason = "it holds pickled Python objects, not numbers"
        elif "mmap length" in reason or "empty file" in reason:
            reason = "it ends before its last value"
        raise InputError(f"{path}: not a usable .npy file: {reason}") from None
    return np.array(mapped)


def read_arrays(path):
    """The arrays of a .npz file by name, without executing anything in it; errors as in `read_array`."""
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path}: not a file")
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise InputError(f"{path}: not a .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError:
        raise
    except Exception as error:  # as above, and what zipfile and zlib say of damaged archives
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = "it holds pickled Python objects, not numbers" if "Object arrays" in reason else reason
        raise InputError(f"{path}: not a usable .npz file: {reason}") from None
    odd = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if odd:
        raise InputError(f"{path}: not a usable .npz file: {odd[0]!r} in it is no array")
    return arrays


def check_target(path):
    """Complain now, and not after minutes of work, about a file that could not be written in the end."""
    path = Path(path)
    if path.exists() and not path.is_file():  # a device or pipe would be replaced by the new file, not written to
        raise InputError(f"{path}: is not a file but a {'folder' if path.is_dir() else 'device or pipe'}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written")


def write_array(path, array):
    """Write a .npy file; nobody ever finds half of it."""
    path = Path(path)
    with staged_folder(path.parent) as stage:
        with open(stage / path.name, "wb") as file:
            np.save(file, array, allow_pickle=False)


def write_arrays(path, arrays):
    """Write a .npz file of arrays by name; nobody ever finds half of it."""
    path = Path(path)
    with staged_folder(path.parent) as stage:
        with open(stage / path.name, "wb") as file:
            # Not as keyword arguments of np.savez: a tensor can have any name, even that of a parameter.
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


@contextlib.contextmanager
def staged_folder(target):
    """A folder whose files move to `target` when the block ends well, and go when it does not.

    `target` is made only then; a file in it is replaced, others stay.
    """
    target = Path(target)
    existing = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise InputError(f"{existing}: is not a folder")
    try:
        stage = Path(tempfile.mkdtemp(dir=existing, prefix=".rowcast-"))
    except OSError as error:
        raise InputError(f"{existing}: cannot be written: {error.strerror}") from None
    try:
        yield stage
        target.mkdir(parents=True, exist_ok=True)
        paths = sorted(stage.iterdir())
        for path in paths:
            check_target(target / path.name)
        for path in paths:
            os.replace(path, target / path.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
