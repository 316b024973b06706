"""From a configuration or Verilog to an executable simulator: Verilator, the C++ of `harness/`, and a cache."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from rowcast import Config

from .surround import TOP, surround
from .tools import ToolError, cache_dir, find_verilator

__all__ = ["BuildError", "compiled", "emitted"]

_HARNESS = Path(__file__).parent / "harness"


class BuildError(ToolError):
    """Verilator or the C++ compiler did not accept the design."""


def compiled(design, *, trace=False, netlist=False, top="rowcast", quiet=False):
    """The executable simulator of a design; made once and found again by its contents.

    Parameters
    ----------
    design : Config, or Verilog text whose module `top` has the ports of `Accelerator`.
    trace : a slower model that can write a VCD.
    netlist : the design is one, with the models of its cells.  What has no initial value starts with what
        `+verilator+seed` makes of it, not with zeros, and so do bits that are x.  Not optimised: it runs for some ten
        thousand cycles, and compiling it takes longer than that.
    quiet : no line about the compilation, which takes a minute for 128 MACs.

    Raises
    ------
    BuildError
        The tools did not accept it; the message has the end of their output.
    """
    verilog = emitted(design) if isinstance(design, Config) else design
    verilog += surround(verilog, top)
    tool = find_verilator()
    options = _verilator_options(trace=trace, netlist=netlist)
    digest = hashlib.sha256(repr((verilog, tool.version, options)).encode())
    for source in sorted(_HARNESS.iterdir()):
        digest.update(source.read_bytes())
    folder = cache_dir() / "verilated" / digest.hexdigest()[:24]
    with _only_one(folder):
        if not (folder / "sim").exists():
            with _announced("Compiling the RTL simulator, once for this hardware", quiet):
                _compile(tool, options, verilog, folder)
    return folder / "sim"


def emitted(config):
    """The Verilog of a configuration, made again only when the hardware's sources or the tools have changed."""
    import rowcast

    digest = hashlib.sha256(repr((config.to_dict(), metadata.version("amaranth"), _version("pyosys"))).encode())
    for source in sorted(Path(rowcast.__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    path = cache_dir() / "verilog" / f"{digest.hexdigest()[:24]}.v"
    with _only_one(path):
        if not path.exists():
            from rowcast import Accelerator
            from rowcast.emit import verilog, write_atomic

            write_atomic(path, verilog(Accelerator(config), config))
        return path.read_text()


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def _only_one(path):
    """Only one process at a time makes `path`; the lock falls with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / f".{path.name}.lock", "w") as file:
        with contextlib.suppress(OSError):  # a file system without locks: both make it, the first to finish wins
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _announced(text, quiet):
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield
    elif console.is_terminal:
        with console.status(text):
            yield
    else:
        print(text, file=sys.stderr, flush=True)
        yield


def _verilator_options(*, trace, netlist):
    start = "unique" if netlist else "fast"
    return (
        "--cc", "--exe", "--build", "-j", "2", "-O3", "--x-assign", start, "--x-initial", start, "--no-timing",
        "-Wno-fatal", "-Wno-lint", "-Wno-style", "--prefix", "Vdut", "--top-module", TOP, "-o", "sim", "--savable",
        # Both cores, and g++ is slower than linear in a file's length, but for a netlist, whose header is what takes long.
        "--output-split", "40000" if netlist else "5000",
        *(("--trace-vcd",) if trace else ()),
        "-CFLAGS", "-std=c++17",
        # Code of every cycle, the library, and what runs once.
        "-MAKEFLAGS", "OPT_FAST=-O0" if netlist else "OPT_FAST=-O2", "-MAKEFLAGS", "OPT_GLOBAL=-O1", "-MAKEFLAGS", "OPT_SLOW=-O0",
        # The package's makefile leaves this empty, and a design in several files does not compile without it.
        "-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include",
    )  # fmt: skip


def _compile(tool, options, verilog, folder):
    """Build in a temporary folder, with relative paths only: make cannot do with a space in any path.

    The result gets the name `folder` when it is complete: nobody ever sees half of it.
    """
    with tempfile.TemporaryDirectory(prefix="rowcast-") as name, _staged(folder) as stage:
        work, environment = Path(name), tool.environment()
        (work / "rowcast.v").write_text(verilog)
        shutil.copytree(_HARNESS, work / "harness")
        if tool.root is not None:
            (work / "verilator").symlink_to(tool.root)
            environment["VERILATOR_ROOT"] = str(work / "verilator")
        command = [str(tool.program), *options, "--Mdir", "obj", "rowcast.v", "../harness/main.cpp"]
        with open(work / "build.log", "w") as log:
            status = _run_group(command, environment, work, log)
        if status != 0 or not (work / "obj" / "sim").exists():
            raise BuildError(f"the RTL simulator does not compile:\n{_tail(work / 'build.log')}")
        for path in ("obj/sim", "rowcast.v", "build.log"):
            shutil.move(work / path, stage)


@contextlib.contextmanager
def _staged(folder):
    """A folder beside `folder` that takes its name in the end, or goes."""
    stage = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield stage
        stage.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was first
            stage.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _run_group(command, environment, folder, log):
    """Run a command whose children (make, g++) end with us."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise


def _tail(path, lines=25):
    text = path.read_text(errors="replace").splitlines()
    errors = [line for line in text if line.startswith("%Error") or " error: " in line]
    return "\n".join(errors[:lines] or text[-lines:])
