"""Emission: each distinct module once, the same logic as the description, the same text in every run."""

import os
import re
import subprocess
import sys

import pytest
from amaranth import Module, Signal, signed, unsigned
from amaranth.back import rtlil
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rowcast import Config, emit
from rowcast.hierarchy import place
from rowcast.memory import Ram


class Cell(wiring.Component):
    """A small PE: adds what it reads from its memory; `clear` and `ready` exercise unused and constant ports."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(4)), "o": Out(stream.Signature(4)), "clear": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = Ram(shape=4, depth=4)
        parity = Parity()
        m.submodules.parity = place(parity, "parity", platform)
        accumulator = Signal(4)
        m.d.comb += [
            ram.write_enable.eq(self.i.valid),
            ram.write_address.eq(self.i.payload),
            ram.write_data.eq(self.i.payload + 1),
            ram.read_address.eq(self.i.payload + 1),
            self.i.ready.eq(1),
            parity.i.eq(accumulator),
            self.o.payload.eq(accumulator),
            self.o.valid.eq(parity.o),
        ]
        with m.If(self.clear):
            m.d.sync += accumulator.eq(0)
        with m.Elif(self.i.valid):
            with m.Switch(self.i.payload):
                with m.Case(3):
                    m.d.sync += accumulator.eq(accumulator + 2)
                with m.Default():
                    m.d.sync += accumulator.eq(accumulator + ram.read_data)
        return m


class Parity(wiring.Component):
    """Logic without a clock: its module has no `clk` although the instance offers one."""

    def __init__(self):
        super().__init__({"i": In(4), "o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.i.xor())
        return m


class Table(wiring.Component):
    """A memory with contents, which must survive."""

    def __init__(self):
        super().__init__({"i": In(2), "o": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(4), depth=4, init=[3, 0, 9, 5])
        port = memory.read_port(domain="comb")
        m.d.comb += [port.addr.eq(self.i), self.o.eq(port.data)]
        return m


class Ring(wiring.Component):
    """Placed cells in a row, equal memories that are not placed, and a table."""

    def __init__(self, *, num_cells):
        self.num_cells = num_cells
        super().__init__({"i": In(stream.Signature(4)), "clear": In(1), "o": Out(signed(4))})

    def elaborate(self, platform):
        m = Module()
        total = Signal(4)
        m.d.comb += total.eq(self.i.payload)
        for k in range(self.num_cells):
            cell = Cell()
            m.submodules[f"cell{k}"] = place(cell, "cell", platform)
            m.d.comb += [cell.i.valid.eq(self.i.valid), cell.i.payload.eq(total), cell.clear.eq(self.clear & (k > 0))]
            total, before = Signal(4, name=f"total{k}"), total
            m.d.comb += total.eq(before ^ cell.o.payload ^ cell.o.valid)
        for k in range(2):
            m.submodules[f"delay{k}"] = ram = Ram(shape=4, depth=4, latency=1)
            m.d.comb += [
                ram.write_enable.eq(self.i.valid),
                ram.write_data.eq(total),
                ram.write_address.eq(total[1:3]),
                ram.read_address.eq(total[2:4]),
            ]
            total, before = Signal(4, name=f"delayed{k}"), total
            m.d.comb += total.eq(before ^ ram.read_data)
        m.submodules.lut = table = Table()
        m.d.comb += [table.i.eq(total[:2]), self.o.eq(total ^ table.o), self.i.ready.eq(1)]
        return m


def module_names(text):
    return re.findall(r"^module (\S+?)\(?(?: |\()", text, re.MULTILINE)


RUN_PYOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


def run_yosys(*commands):
    """Yosys's output; in a process of its own, since an error in Yosys ends the process."""
    done = subprocess.run([sys.executable, "-c", RUN_PYOSYS, *commands], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    return done.stdout


def test_each_module_once():
    text = emit.verilog(Ring(num_cells=5), name="toy")
    assert sorted(module_names(text)) == [
        "toy", "toy_cell", "toy_cell_ram", "toy_delay0", "toy_lut", "toy_parity"
    ]  # fmt: skip
    assert len(re.findall(r"^  toy_cell cell\d\(", text, re.MULTILINE)) == 5
    assert len(re.findall(r"^  toy_delay0 delay\d\(", text, re.MULTILINE)) == 2
    assert len(text) - len(emit.verilog(Ring(num_cells=4), name="toy")) < 1500


def test_readable():
    text = emit.verilog(Ring(num_cells=2), Config(), name="toy")
    assert "\\" not in text, "no name should need an escape"
    assert "$" not in text
    assert text.startswith("// Made by Rowcast")
    assert f"{Config().digest():08x}" in text and "columns=4" in text
    ports = re.findall(r"(\w+)(?: = \S+)?,?$", re.search(r"^module toy\((.*?)\);", text, re.M | re.S)[1].strip(), re.M)
    assert ports == ["clk", "rst", "i__payload", "i__valid", "i__ready", "clear", "o"]


def test_memories_stay_memories():
    text = emit.verilog(Ring(num_cells=2), name="toy")
    assert text.count("reg [3:0] memory [3:0];") == 2 + 1
    assert text.count("`ifndef SYNTHESIS") == 2 + 2, "zeros in simulation only: of memories, and of registers behind them"
    assert len(re.findall(r"`ifndef SYNTHESIS\n  initial \w+ = 4'd0;\n`endif", text)) == 2
    assert re.search(r"memory\[2\] = 4'd9;", text), "contents that are not zero stay"
    assert text.count("no_rw_check") == 2


def prove_equal(folder, gold, gate):
    """Let Yosys prove by induction that RTLIL and Verilog are equal, register by register; returns whether it could."""
    (folder / "gold.il").write_text(gold)
    (folder / "gate.v").write_text(gate)
    log = run_yosys(
        f"read_rtlil {folder}/gold.il",
        f"read_verilog -formal {folder}/gate.v",  # -formal: SYNTHESIS is not defined, memories start with zeros
        "proc", "flatten gold gate", "memory_map", "opt_clean",
        "equiv_make gold gate both", "cd both",
        "equiv_struct", "equiv_simple -seq 2", "equiv_induct -seq 2", "equiv_status",
    )  # fmt: skip
    return "Equivalence successfully proven" in log


def test_equal_logic(tmp_path):
    """The emitted Verilog equals the description without placed or merged modules; with another constant not."""
    gold = rtlil.convert(Ring(num_cells=3), name="gold")
    gate = emit.verilog(Ring(num_cells=3), name="gate")
    assert prove_equal(tmp_path, gold, gate)
    assert gate.count("+ 4'd2") == 1
    assert not prove_equal(tmp_path, gold, gate.replace("+ 4'd2", "+ 4'd3"))


def test_deterministic():
    """Another process with another hash seed writes the same text."""
    code = "import sys; from test_emit import Ring, emit; sys.stdout.write(emit.verilog(Ring(num_cells=3)))"
    texts = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(__file__)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1
    assert texts.pop() == emit.verilog(Ring(num_cells=3))


def test_names_that_fall_together():
    """`a_b.c` and `a.b_c` are both `a_b_c` with underscores."""

    class Inner(wiring.Component):
        def __init__(self, constant):
            self.constant = constant
            super().__init__({"i": In(4), "o": Out(4)})

        def elaborate(self, platform):
            m = Module()
            register = Signal(4)
            m.d.sync += register.eq(self.i + self.constant)
            m.d.comb += self.o.eq(register)
            return m

    class Outer(wiring.Component):
        def __init__(self):
            super().__init__({"i": In(4), "o": Out(4)})

        def elaborate(self, platform):
            m, total = Module(), self.i
            for path in (("a_b", "c"), ("a", "b_c")):
                inner, between = Inner(len(path[0])), Module()
                between.submodules[path[1]] = inner
                m.submodules[path[0]] = between
                m.d.comb += inner.i.eq(total)
                total = inner.o
            m.d.comb += self.o.eq(total)
            return m

    names = module_names(emit.verilog(Outer(), name="toy"))
    assert len(names) == len(set(names)) and {"toy_a_b_c", "toy_a_b_c_2"} <= set(names)


def test_errors():
    with pytest.raises(ValueError, match="name must be a Verilog identifier, not '8bit'"):
        emit.verilog(None, name="8bit")
    with pytest.raises(emit.EmissionError, match="must not have the name of the top module, 'cell'"):
        emit.verilog(Ring(num_cells=1), name="cell")


def test_write_atomic(tmp_path):
    emit.write_atomic(tmp_path / "a.v", "one")
    emit.write_atomic(tmp_path / "a.v", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.v"]
    assert (tmp_path / "a.v").read_text() == "two"
    with pytest.raises(TypeError):
        emit.write_atomic(tmp_path / "a.v", 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.v"]
