"""The examples in hw/examples: a real program to its end, the results equal to the golden."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rowcast import PRESETS
from rowcast.registers import address_of
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_sim.results import compare
from rowcast_sim.tools import find_verilator
from rowcast_sim.verilate import emitted

sys.path.insert(0, str(Path(__file__).parent))

from networks import inputs_of, single  # noqa: E402

EXAMPLES = Path(__file__).parents[2] / "hw" / "examples"
WORDS = 8192
TINY = PRESETS["tiny"].replace(queue_depth=16)


class Job:
    """A convolution for `tiny`, and how the plain top is to be set for it."""

    def __init__(self, config):
        rng = np.random.default_rng(8)
        self.graph = single(rng, (1, 6, 7, 5), filters=7, kernel=(3, 3))
        self.inputs = inputs_of(self.graph, rng)
        self.program = program = compile_graph(self.graph, config, keep_all=True)
        image = np.zeros(8 * WORDS, np.uint8)
        assert program.size <= image.size
        image[: program.size] = program.image(self.inputs)[: program.size]
        self.lines = "\n".join(f"{word:016x}" for word in image.view("<u8").tolist()) + "\n"
        low, high = (program.data_offset + word * config.lanes for word in program.writable)
        self.parameters = {
            "PROGRAM_LENGTH": len(program.instructions), "DATA_BASE": program.data_offset, "READ_LIMIT": program.size,
            "WRITE_BASE": low, "WRITE_LIMIT": high,
        }  # fmt: skip

    def check(self, path):
        """Compare the memory in a file with the golden."""
        lines = [line.partition("//")[0] for line in path.read_text().splitlines()]  # Icarus notes addresses
        self.check_words([int(word, 16) for line in lines for word in line.split() if not word.startswith("@")])

    def check_words(self, words):
        """Compare the memory's words with the golden."""
        image = np.array(words, "<u8").view(np.uint8)
        tensors = {}
        for name in self.program.tensors:
            at, size = self.program.span(name)
            tensors[name] = self.program.tensor(name, image[at : at + size])
        assert not compare(tensors, evaluate(self.graph, self.inputs))


@pytest.fixture(scope="module")
def job():
    return Job(TINY)


@pytest.fixture
def sources(job, tmp_path):
    (tmp_path / "rowcast.v").write_text(emitted(TINY))
    (tmp_path / "image.hex").write_text(job.lines)
    return [str(EXAMPLES / "plain_tb.v"), str(EXAMPLES / "plain_top.v"), "rowcast.v"]


def run(command, folder, timeout=400):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def test_register_offsets():
    """The numbers in the Verilog are those of the declarations."""
    text = (EXAMPLES / "plain_top.v").read_text()
    for offset, name in ((0x24, "PROGRAM_LENGTH"), (0x28, "PROGRAM_BASE"), (0x30, "DATA_BASE"), (0x38, "READ_BASE"),
                         (0x40, "READ_LIMIT"), (0x48, "WRITE_BASE"), (0x50, "WRITE_LIMIT"), (0x14, "IRQ_ENABLE"),
                         (0x0C, "CONTROL"), (0x1C, "ERROR_CODE")):  # fmt: skip
        assert address_of(name) == offset and f"12'h{offset:03x}" in text, name


def test_plain_top_in_icarus(job, sources, tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is missing: it is in Debian's package iverilog")
    settings = [f"-Pplain_tb.{name}={value}" for name, value in job.parameters.items()]
    said = run(["iverilog", "-g2005", "-Wall", "-s", "plain_tb", *settings, "-o", "sim", *sources], tmp_path)
    assert not [line for line in said.splitlines() if "rowcast.v" in line], said
    assert "done after" in run(["vvp", "-n", "sim"], tmp_path)
    job.check(tmp_path / "result.hex")


def test_plain_top_in_verilator(job, sources, tmp_path):
    tool = find_verilator()
    settings = [f"-G{name}={value}" for name, value in job.parameters.items()]
    flags = ("CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")
    done = subprocess.run(
        [str(tool.program), "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", "plain_tb",
         *settings, *(word for flag in flags for word in ("-MAKEFLAGS", flag)), "--output-split", "20000",
         "-CFLAGS", "-std=c++20 -fcoroutines", "-j", "2", "--Mdir", "obj", "-o", "sim", *sources],
        cwd=tmp_path, env=tool.environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "done after" in run([str(tmp_path / "obj" / "sim")], tmp_path)
    job.check(tmp_path / "result.hex")


def test_amaranth_soc(job):
    """In Amaranth's simulator, until the light goes on; then the memory holds the golden's tensors."""
    sys.path.insert(0, str(EXAMPLES))
    from amaranth.sim import Simulator
    from soc import Demo

    image = [int(word, 16) for word in job.lines.split()][:4096]
    assert job.program.size <= 8 * len(image)
    demo = Demo(TINY, image=image, registers={**job.parameters, "READ_BASE": 0, "IRQ_ENABLE": 3})

    async def bench(ctx):
        for _ in range(20_000):
            await ctx.tick()
            if ctx.get(demo.done):
                break
        assert ctx.get(demo.done) and not ctx.get(demo.failed)
        job.check_words([ctx.get(demo.memory.data[i]) for i in range(len(image))])

    simulator = Simulator(demo)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
