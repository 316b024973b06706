"""Flip-flops around block RAMs and multipliers become their own: what is taken, what is not, in netlists that Yosys made."""

import copy
import json

import pytest
from amaranth import Module, Signal, signed
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from rowcast.memory import Ram
from rowcast.cell_registers import fold_multiplier_registers, fold_output_registers


class Behind(wiring.Component):
    """A Ram of 36 bits, and what is done with its output."""

    def __init__(self, *, latency=2, direct=False, bits=36):
        self.latency, self.direct, self.bits = latency, direct, bits
        super().__init__(
            {"read": In(9), "write": In(9), "enable": In(1), "put": In(bits), "got": Out(bits), "early": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = Ram(shape=self.bits, depth=512, latency=self.latency, style="block")
        m.d.comb += [
            ram.read_address.eq(self.read),
            ram.write_address.eq(self.write),
            ram.write_enable.eq(self.enable),
            ram.write_data.eq(self.put),
            self.got.eq(ram.read_data),
        ]
        if self.direct:  # an output goes elsewhere too, one that the flip-flop behind it cannot serve
            held = Signal(self.bits)
            m.d.sync += held.eq(ram.read_data)
            m.d.comb += [self.got.eq(held), self.early.eq(ram.read_data[3])]
        return m


def netlist(folder, design):
    libyosys = pytest.importorskip("pyosys.libyosys", reason="pyosys is missing: pip install rowcast")
    source, result = folder / "top.il", folder / "top.json"
    source.write_text(rtlil.convert(design, name="top", emit_src=False))
    work = libyosys.Design()
    for command in (f"read_rtlil {source}", "synth_ecp5 -top top", f"write_json {result}"):
        libyosys.run_pass(f"tee -q {command}", work)
    return json.loads(result.read_text())


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The netlist of what can be folded; to be copied."""
    return netlist(tmp_path_factory.mktemp("behind"), Behind())


def cells(content, kind):
    return [cell for cell in content["modules"]["top"]["cells"].values() if cell["type"] == kind]


def test_fold(usual):
    before, after = usual, copy.deepcopy(usual)
    assert fold_output_registers(after) == (1, 36)
    (ram,), (old,) = cells(after, "DP16KD"), cells(before, "DP16KD")
    assert ram["parameters"] == {**old["parameters"], "REGMODE_A": "OUTREG", "REGMODE_B": "OUTREG"}
    assert len(cells(before, "TRELLIS_FF")) - len(cells(after, "TRELLIS_FF")) == 36
    # what the block RAM drives now is what the flip-flop behind the same pin drove
    behind = {cell["connections"]["DI"][0]: cell["connections"]["Q"][0] for cell in cells(before, "TRELLIS_FF")}
    outputs = [pin for pin in old["connections"] if pin.startswith("DO")]
    assert len(outputs) == 36
    for pin in outputs:
        assert ram["connections"][pin] == [behind[old["connections"][pin][0]]]
    others = {pin: bits for pin, bits in old["connections"].items() if pin not in (*outputs, "OCEA", "OCEB")}
    assert others.items() <= ram["connections"].items() and ram["connections"]["OCEA"] == ["1"]
    assert fold_output_registers(after) == (0, 0)


@pytest.mark.parametrize(
    ("options", "why"), [({"latency": 1}, "no flip-flop"), ({"latency": 1, "direct": True}, "two readers")]
)
def test_left_alone(tmp_path, options, why):
    before = netlist(tmp_path, Behind(**options))
    after = copy.deepcopy(before)
    assert fold_output_registers(after) == (0, 0), why
    assert after == before


@pytest.mark.parametrize(
    "change",
    [
        lambda flop: flop["parameters"].update(CEMUX="CE"),
        lambda flop: flop["parameters"].update(CLKMUX="INV"),
        lambda flop: flop["parameters"].update(REGSET="SET"),
        lambda flop: flop["connections"].update(LSR=[2]),
        lambda flop: flop["connections"].update(CLK=[3]),
    ],
)
def test_other_flip_flops(usual, change):
    """One flip-flop with an enable, a reset or another clock: all stay."""
    content = copy.deepcopy(usual)
    driven = {cells(content, "DP16KD")[0]["connections"]["DOA5"][0]}
    (flop,) = [cell for cell in cells(content, "TRELLIS_FF") if cell["connections"]["DI"][0] in driven]
    change(flop)
    before = copy.deepcopy(content)
    assert fold_output_registers(content) == (0, 0) and content == before


def test_many(tmp_path):
    """36 bits of each of two block RAMs, side by side."""
    assert fold_output_registers(netlist(tmp_path, Behind(bits=72))) == (2, 72)


class Product(wiring.Component):
    """Two multipliers with registers on both sides; the second shares the first one's `b`.

    Parameters
    ----------
    also : the name of a register whose value goes elsewhere too.
    enable : of the products' registers.
    """

    def __init__(self, *, also=None, enable=False):
        self.also, self.enable = also, enable
        ports = {"a": In(signed(8)), "c": In(8), "b": In(signed(8)), "go": In(1)}
        super().__init__({**ports, "p": Out(signed(16)), "q": Out(signed(16)), "early": Out(8), "late": Out(signed(17))})

    def elaborate(self, platform):
        m = Module()
        a, b, c = Signal(signed(8), reset_less=True), Signal(signed(8), reset_less=True), Signal(8, reset_less=True)
        p, q = Signal(signed(16), reset_less=True), Signal(signed(16), reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), c.eq(self.c)]
        with m.If(self.go if self.enable else 1):
            m.d.sync += [p.eq(a * b), q.eq(c * b)]
        m.d.comb += [self.p.eq(p), self.q.eq(q)]
        if self.also == "a":
            m.d.comb += self.early.eq(a)
        if self.also == "p":
            m.d.comb += self.late.eq(a * b + 1)
        return m


def test_multipliers(tmp_path):
    """Both take all registers around them; an operand that both read goes into each of them."""
    before = netlist(tmp_path, Product())
    after = copy.deepcopy(before)
    assert fold_multiplier_registers(after) == (2, 8 + 8 + 8 + 16 + 16)
    assert not cells(after, "TRELLIS_FF") and fold_multiplier_registers(after) == (0, 0)
    ports = {name: port["bits"] for name, port in after["modules"]["top"]["ports"].items()}
    products = {}
    for cell in cells(after, "MULT18X18D"):
        parameters, pins = cell["parameters"], cell["connections"]
        assert all(parameters[f"REG_{name}_CLK"] == "CLK0" for name in ("INPUTA", "INPUTB", "OUTPUT"))
        assert (pins["CLK0"], pins["CE0"], pins["RST0"]) == (ports["clk"], ["1"], ["0"])
        operands = {tuple(pins[f"{operand}{i}"][0] for i in range(8)) for operand in "AB"}
        products[tuple(pins[f"P{i}"][0] for i in range(16))] = operands
    assert products == {
        tuple(ports["p"]): {tuple(ports["a"]), tuple(ports["b"])}, tuple(ports["q"]): {tuple(ports["c"]), tuple(ports["b"])},
    }  # fmt: skip


def test_shared_operand(tmp_path):
    """What else reads an operand's register keeps it."""
    content = netlist(tmp_path, Product(also="a"))
    assert fold_multiplier_registers(content) == (2, 8 + 8 + 16 + 16)
    ports = content["modules"]["top"]["ports"]
    kept = {cell["connections"]["Q"][0] for cell in cells(content, "TRELLIS_FF")}
    assert kept == set(ports["early"]["bits"])


@pytest.mark.parametrize(("options", "folded"), [({"enable": True}, (0, 0)), ({"also": "p"}, (1, 8 + 16))])
def test_multipliers_left_alone(tmp_path, options, folded):
    """An enable; a product that is read before its register."""
    content = netlist(tmp_path, Product(**options))
    assert fold_multiplier_registers(content) == folded
    assert len(cells(content, "MULT18X18D")) == 2


def test_multiplier_flip_flop_with_reset(tmp_path):
    """One bit with a reset: that multiplier's registers all stay."""
    content = netlist(tmp_path, Product())
    (bit,) = content["modules"]["top"]["ports"]["p"]["bits"][3:4]
    (flop,) = [cell for cell in cells(content, "TRELLIS_FF") if cell["connections"]["Q"] == [bit]]
    flop["connections"]["LSR"] = [2]
    assert fold_multiplier_registers(content) == (1, 8 + 16)
