"""The multipliers of a lane: every product; and what is mapped to cells of ECP5 against its description."""

import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from amaranth.sim import Simulator

from rowcast.array_core import PEArray
from rowcast.config import ConfigError, preset
from rowcast.emit import verilog
from rowcast.masked_sum import MaskedSum
from rowcast.multiplier import LutMultiplier, Multiplier, PairProduct
from rowcast.techmap import techmap

_YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


@pytest.mark.parametrize("multiplier", [LutMultiplier, Multiplier])
def test_every_product(multiplier):
    pairs = [(a, b) for a in range(-128, 128) for b in range(-128, 128)]
    dut, latency, wrong = multiplier(), multiplier.LATENCY, []

    async def bench(ctx):
        for cycle, (a, b) in enumerate(pairs + [(0, 0)] * latency):
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            if cycle >= latency:
                a, b = pairs[cycle - latency]
                if ctx.get(dut.p) != a * b:
                    wrong.append((a, b, ctx.get(dut.p)))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    assert not wrong, f"{len(wrong)} products, the first {wrong[0]}"


def yosys(*commands):
    """(exit status, output) of Yosys in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _YOSYS, *commands], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


_PAIR, _SUM = "input [7:0] a, input [1:0] b, output [9:0] p", "input [31:0] a, input a_enable, input [31:0] b, output [31:0] sum"
_MAPPED = {
    "rowcast_pair_product": (partial(PairProduct, signed_bits=False), _PAIR, 5),
    "rowcast_pair_product_signed": (partial(PairProduct, signed_bits=True), _PAIR, 5),
    "rowcast_masked_sum": (partial(MaskedSum, 32), _SUM, 16),
}


@pytest.mark.parametrize(
    "name, mutation",
    [
        ("rowcast_pair_product", None), ("rowcast_pair_product", ("7888", "7880")), ("rowcast_pair_product", ("carry[0] = 1'b0", "carry[0] = 1'b1")),
        ("rowcast_pair_product_signed", None), ("rowcast_pair_product_signed", ("8777", "877f")),
        ("rowcast_pair_product_signed", ("carry[0] = 1'b1", "carry[0] = 1'b0")),
        ("rowcast_masked_sum", None), ("rowcast_masked_sum", ("5AAA", "6AAA")), ("rowcast_masked_sum", ("5AAA", "5AA8")),
    ],
)  # fmt: skip
def test_map_to_ecp5(tmp_path, name, mutation):
    """Carry cells, as Yosys's model has them, equal the description for all inputs; a changed map does not."""
    component, ports, cells = _MAPPED[name]
    (tmp_path / "part.v").write_text(verilog(component(), name=name))
    commands, text = techmap("ecp5")
    if mutation:
        (tmp_path / "map.v").write_text(text.replace(*mutation))
        commands = [*commands[:-1], f"techmap -map {tmp_path / 'map.v'}"]
    # The part stands in a top, as the map replaces instances.
    pins = ", ".join(f".{port.split()[-1]}({port.split()[-1]})" for port in ports.split(", "))
    (tmp_path / "top.v").write_text(f"module top({ports}); {name} part({pins}); endmodule")
    share = Path(find_spec("pyosys").origin).parent / "share" / "lattice"
    read = [f"read_verilog {tmp_path / 'part.v'} {tmp_path / 'top.v'}"]
    status, said = yosys(
        *read, "prep -top top -flatten", "rename top gold", "design -stash gold",
        *read, *commands, f"read_verilog {share / 'common_sim.vh'} {share / 'ccu2c_sim.vh'}", "hierarchy -top top",
        f"select -assert-count {cells} t:*CCU2C*", "prep -top top -flatten", "rename top gate", "design -stash gate",
        "design -copy-from gold gold", "design -copy-from gate gate", "miter -equiv -make_assert -flatten gold gate miter",
        "sat -verify -prove-asserts -set-def-inputs miter",
    )  # fmt: skip
    assert (status == 0) == (mutation is None), said[-2000:]


def test_only_the_last_pes():
    config = preset("small").replace(rows=2, columns=2, lut_pes=3)
    text = verilog(PEArray(config), config, name="rowcast_array")
    lines = text.splitlines()
    kinds = {f"pe{i}_{j}": next(line.split()[0] for line in lines if f" pe{i}_{j}(" in line) for i in (0, 1) for j in (0, 1)}
    assert {pe: kind.removeprefix("rowcast_array_") for pe, kind in kinds.items()} == {
        "pe0_0": "rowcast_pe", "pe0_1": "rowcast_pe_lut", "pe1_0": "rowcast_pe_lut", "pe1_1": "rowcast_pe_lut",
    }  # fmt: skip
    assert text.count("module rowcast_array_rowcast_pe_lut(") == 1


def test_too_many():
    with pytest.raises(ConfigError, match=r"lut_pes \(17\) must be at most rows x columns \(16\)"):
        preset("base").replace(lut_pes=17)
    with pytest.raises(ConfigError, match="compact needs lut_pes=0, not 1"):
        preset("micro").replace(lut_pes=1)
    assert preset("base").replace(lut_pes=16).digest() != preset("base").digest()
