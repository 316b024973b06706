"""The C driver: compiled as strict C99, and run on the compiled RTL through its hooks."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import isa
from rowcast.registers import COUNTERS, ERROR_TEXTS, REGISTERS, Error
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.documents import c_header
from rowcast_sim.driver import driver_header, driver_source
from rowcast_sim.machine import BASE, RtlBackend
from rowcast_sim.results import compare
from rowcast_sim.verilated import Timing, build

sys.path.insert(0, str(Path(__file__).parent))

from networks import ODD, inputs_of, single  # noqa: E402

HOST = Path(__file__).with_name("driver_host.c")
OK, NOT_FOUND, _VERSION, OTHER_CONFIG, BUSY, TIMEOUT, FAILED = range(7)
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")


def compile_c(folder, config, target, *options):
    """Compile the driver of a configuration, alone or with `driver_host.c`: as C99, else as C++."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("gcc and g++ are missing")
    language = ("-x", "c", "-std=c99") if compiler.endswith("gcc") else ("-x", "c++", "-std=c++11")
    (folder / "rowcast.h").write_text(c_header(config))
    (folder / "rowcast_driver.h").write_text(driver_header())
    (folder / "rowcast_driver.c").write_text(driver_source())
    done = subprocess.run(
        [compiler, *STRICT, f"-I{folder}", "-o", str(folder / target), *language, *options,
         str(folder / "rowcast_driver.c")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    return folder / target


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """The host program of the configuration ODD."""
    return compile_c(tmp_path_factory.mktemp("driver"), ODD, "host", str(HOST))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The driver alone, as a shared library."""
    library = ctypes.CDLL(str(compile_c(tmp_path_factory.mktemp("library"), ODD, "driver.so", "-shared", "-fPIC")))
    for name in ("rowcast_error_name", "rowcast_error_text", "rowcast_counter_name", "rowcast_instruction_name"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


class Machine:
    """A network of one convolution on the RTL, with its right result."""

    def __init__(self):
        rng = np.random.default_rng(4)
        self.graph = single(rng, (1, 9, 8, 5), filters=7, kernel=(3, 3))
        self.inputs = inputs_of(self.graph, rng)
        self.program = compile_graph(self.graph, ODD, keep_all=True)
        timing = Timing(latency=9, stall_percent=10)
        self.backend = RtlBackend(self.program, model=build(ODD, quiet=True), timing=timing)
        self.session = self.backend.session
        self.session.reset()  # forgets the registers that the backend has written

    def numbers(self, *, write_limit=None):
        program, data = self.program, BASE + self.program.data_offset
        low, high = (data + word * ODD.lanes for word in program.writable)
        return (BASE, len(program.instructions), data, BASE, BASE + program.size, low, write_limit or high)

    def run(self, host, how, numbers):
        """The host program's results, as lists of words."""
        for name, values in self.inputs.items():
            offset, data = self.program.input_bytes(name, values)
            self.session.load(BASE + offset, data)
        process = subprocess.Popen(
            [host, how, *map(str, numbers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        results = []
        with process:
            for line in process.stdout:
                words = line.split()
                answer = 0
                if words[0] == "r":
                    answer = self.session._ask(f"read {words[1]}")["value"]
                elif words[0] == "w":
                    self.session._ask(f"write {words[1]} {words[2]}")
                elif words[0] == "i":
                    assert self.session._ask("wait 1000000 0")["interrupt"]
                else:
                    results.append(words)
                    continue
                process.stdin.write(f"{answer}\n")
                process.stdin.flush()
        assert process.returncode == 0
        return results

    def check(self):
        """Compare every tensor in memory with the golden."""
        offset = {name: self.program.span(name) for name in self.program.tensors}
        tensors = {
            name: self.program.tensor(name, self.session.dump(BASE + at, size)) for name, (at, size) in offset.items()
        }
        assert not compare(tensors, evaluate(self.graph, self.inputs))


@pytest.fixture(scope="module")
def machine():
    machine = Machine()
    with machine.backend:
        yield machine


def codes(results, name):
    return [int(words[1]) for words in results if words[0] == name]


@pytest.mark.parametrize("how", ["polls", "interrupt"])
def test_a_convolution(machine, host, how):
    results = machine.run(host, how, machine.numbers())
    assert codes(results, "init") == codes(results, "wait") == [OK]
    if how == "polls":
        assert codes(results, "again") == [BUSY] and codes(results, "short") == [TIMEOUT]
        assert codes(results, "set") == [OK, BUSY]
    assert ["error", "NONE", "0", "no", "error"] in results
    counters = {words[1]: int(words[2]) for words in results if words[0] == "counter"}
    assert list(counters) == list(COUNTERS)
    assert counters["instructions"] == len(machine.program.instructions)
    assert counters["cycles"] == sum(count for name, count in counters.items() if name.startswith("cause_")) > 100
    assert codes(results, "layer") == [1]
    assert codes(results, "start") == [OK, OK] and codes(results, "reset") == codes(results, "poll") == [OK]
    machine.check()


def test_an_error(machine, host, library):
    """A window that ends too early: code, text, and the instruction, a STORE."""
    numbers = machine.numbers(write_limit=machine.numbers()[5] + 8)
    results = machine.run(host, "polls", numbers)
    assert codes(results, "wait") == [FAILED] and codes(results, "start") == [OK, FAILED]
    name, index, *text = next(words[1:] for words in results if words[0] == "error")
    assert name == "WRITE_WINDOW" and " ".join(text) == ERROR_TEXTS[Error.WRITE_WINDOW]
    code = isa.encode(machine.program.instructions[int(index)])
    assert library.rowcast_instruction_name(code) == b"STORE"
    assert codes(results, "reset") == codes(results, "poll") == [OK]
    test_a_convolution(machine, host, "interrupt")


def test_names(library):
    for error in Error:
        assert library.rowcast_error_name(error.value).decode() == error.name
        assert library.rowcast_error_text(error.value).decode() == ERROR_TEXTS[error]
    for number, name in enumerate(COUNTERS):
        assert library.rowcast_counter_name(number).decode() == name
    for form in isa.FORMATS.values():
        assert library.rowcast_instruction_name(isa.encode(isa.make(form.name))).decode() == form.name
    assert library.rowcast_error_name(len(Error)) == library.rowcast_counter_name(len(COUNTERS)) == b"?"
    assert library.rowcast_instruction_name(bytes(16)) == library.rowcast_instruction_name(b"\x1f" * 16) == b"?"


@pytest.mark.parametrize("name, wrong, result", [
    ("ID", 0, NOT_FOUND), ("VERSION", 0x00020000, _VERSION), ("CONFIG", 1, OTHER_CONFIG), (None, 0, OK),
])  # fmt: skip
def test_init_on_memory_mapped_registers(library, name, wrong, result):
    """Through the base pointer: registers in ordinary memory."""
    class Device(ctypes.Structure):
        _fields_ = [(field, ctypes.c_void_p) for field in ("base", "read", "write", "context")]

    values = (ctypes.c_uint32 * 256)()
    right = {"ID": 0x43574F52, "VERSION": 0x00010003, "CONFIG": ODD.digest()}  # a later patch is no other version
    for register in REGISTERS:
        values[register.offset // 4] = wrong if register.name == name else right.get(register.name, 0)
    device = Device(ctypes.addressof(values), None, None, None)
    assert library.rowcast_init(ctypes.byref(device)) == result
    control = next(register.offset for register in REGISTERS if register.name == "CONTROL") // 4
    assert values[control] == (2 if result == OK else 0)
