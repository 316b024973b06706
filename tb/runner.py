"""One way to run every testbench: emit Verilog, build it with Verilator and cocotb, run one test of a testbench module.

A build is found again by its contents, so that a suite builds each design once, in whatever order its tests run.
With `WAVES=1` in the environment each test writes `dump.vcd` beside its log (a slower build of its own).
"""

import contextlib
import fcntl
import hashlib
import importlib
import inspect
import json
import os
import re
import shutil
import sys
from pathlib import Path
from unittest import mock

import pytest
import rowcast
from rowcast.emit import verilog, write_atomic
from rowcast_sim.tools import ToolError, find_verilator

__all__ = ["TOP", "build", "cases", "run"]

TOP = "rowcast"
_HERE = Path(__file__).resolve().parent
_BUILD = _HERE.parent / "build" / "tb"
_LOG_LINES = 60
_WAVES = os.environ.get("WAVES", "0") not in ("", "0")
_BUILD_ARGS = (
    "--no-public-flat-rw", "--public-depth", "1",  # only the ports: three times less code, and nothing to peek at
    "-DSYNTHESIS", "--x-initial", "unique",  # memories start with what `+verilator+seed` makes of them, as on a chip
    "-Wno-fatal", "-Wno-lint", "-Wno-style", "--output-split", "20000",
)  # fmt: skip
# The package's makefile leaves the first one empty.  Optimised code takes twice as long to build; Python sets the pace.
_MAKEFLAGS = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"


def cases(module):
    """The names of the tests in a testbench module; if cocotb is missing one that `run` will skip."""
    try:
        objects = vars(importlib.import_module(module)).values()
    except ImportError as error:
        if error.name is None or not error.name.startswith("cocotb"):
            raise
        return ["all"]
    return [test.name for item in objects if hasattr(item, "generate_tests") for test in item.generate_tests()]


def run(component, config, *, module, case, seed=1):
    """Build `component(config)` and run one test of a testbench module on it.

    The testbench finds the configuration in the environment: see `bench.config`.

    Parameters
    ----------
    component : class of the top; its flat ports are what the testbench sees.  `MODELS`, if it has them, are Verilog files of
        the cells in it.
    config : Config
    module : testbench module in tb/.
    case : name of the test, of `cases(module)`.
    seed : of cocotb, and of what memories and registers without a reset hold at first.
    """
    pytest.importorskip("cocotb", reason="cocotb is missing: pip install rowcast[test]")
    pytest.importorskip("cocotbext.axi", reason="cocotbext-axi is missing: pip install rowcast[test]")
    from cocotb_tools.check_results import get_results

    folder = build(component, config)
    place = folder / f"{module}-{re.sub(r'[^A-Za-z0-9_]+', '_', case)}-{seed}"
    log = place / "log"
    place.mkdir(exist_ok=True)
    results = place / "results.xml"
    with _tools() as runner, contextlib.suppress(SystemExit):  # of a failed test: the log says more
        runner.test(
            test_module=module, hdl_toplevel=TOP, hdl_toplevel_lang="verilog", build_dir=folder, test_dir=place,
            results_xml=str(results), log_file=log, seed=seed, waves=_WAVES, test_filter=rf"\.{re.escape(case)}$",
            test_args=["+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
            extra_env={"ROWCAST_TB_CONFIG": json.dumps(config.to_dict()), "COCOTB_ANSI_OUTPUT": "0"},
        )  # fmt: skip
    tests, failed = get_results(results)
    if tests != 1 or failed:
        text = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        pytest.fail(f"{module}.{case} on {component.__name__}, seed {seed}: {log}\n{text}", pytrace=False)


def build(component, config):
    """The folder with the compiled simulation of `component(config)`."""
    with _tools() as runner:
        digest = hashlib.sha256(repr((component.__name__, config.to_dict(), _BUILD_ARGS, _MAKEFLAGS, _WAVES)).encode())
        for source in [Path(inspect.getsourcefile(component)), *_models(component), *sorted(Path(rowcast.__file__).parent.rglob("*.py"))]:
            digest.update(source.read_bytes())
        folder = _BUILD / f"{component.__name__.lower()}-{digest.hexdigest()[:16]}"
        with _only_one(folder):
            if not (folder / "complete").exists():
                _compile(runner, component, config, folder)
        return folder


def _compile(runner, component, config, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    source = folder / f"{TOP}.v"
    write_atomic(source, verilog(component(config), config, name=TOP))
    log = folder / "build.log"
    try:
        runner.build(
            sources=[source, *_models(component)], hdl_toplevel=TOP, build_dir=folder, build_args=list(_BUILD_ARGS), log_file=log,
            timescale=("1ns", "1ps"), waves=_WAVES,
        )  # fmt: skip
    except BaseException as error:
        text = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:]) if log.exists() else ""
        raise RuntimeError(f"Verilator did not build {component.__name__}: {log}\n{text}") from error
    (folder / "complete").touch()


def _models(component):
    return getattr(component, "MODELS", ())


@contextlib.contextmanager
def _tools():
    """cocotb's runner for Verilator, in an environment in which both work; skips the test if a tool is missing."""
    pytest.importorskip("cocotb", reason="cocotb is missing: pip install rowcast[test]")
    from cocotb_tools.runner import get_runner

    try:
        tool = find_verilator()
    except ToolError as error:
        pytest.skip(str(error))
    environment = {**tool.environment(), "MAKEFLAGS": _MAKEFLAGS}
    environment["PATH"] = os.pathsep.join([str(tool.program.parent), environment["PATH"]])
    path = [str(_HERE), *(entry for entry in sys.path if entry != str(_HERE))]  # becomes PYTHONPATH of the simulation
    with mock.patch.dict(os.environ, environment, clear=True), mock.patch.object(sys, "path", path):
        yield get_runner("verilator")


@contextlib.contextmanager
def _only_one(folder):
    """Only one process at a time builds `folder`; the lock falls with the process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
