"""Verilog of every operator, statement, memory and foreign instance: proven equal to the description by Yosys."""

import shutil
import subprocess

import pytest
from amaranth import Array, Cat, Const, Instance, Module, Mux, Signal, signed, unsigned
from amaranth.back import rtlil
from amaranth.hdl import Assert
from amaranth.lib import data, enum, fifo, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rowcast import emit
from test_emit import prove_equal, run_yosys


class Operators(wiring.Component):
    """Each operator on operands of different widths and signs, into results that are narrower and wider."""

    OPERATORS = {
        "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "and": lambda a, b: a & b,
        "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
        "lt": lambda a, b: a < b, "ge": lambda a, b: a >= b, "gt": lambda a, b: a > b, "le": lambda a, b: a <= b,
        "shl": lambda a, b: a << b[:2], "shr": lambda a, b: a >> b[:2], "neg": lambda a, b: -a - ~b,
        "all": lambda a, b: (~a).all() ^ (~b).xor() ^ (a & b).any(), "mux": lambda a, b: Mux(a[0], a, b),
        "sum": lambda a, b: (a + b + a) - (b - a), "part": lambda a, b: a[:].bit_select(b[:2], 2),
        "words": lambda a, b: Cat(a, b, a).word_select(b[:2], 3), "nested": lambda a, b: ((a + 1) >> 1) ^ -(b * 3),
    }  # fmt: skip

    def __init__(self, a, b):
        self.shapes = a, b
        super().__init__({"a": In(a), "b": In(b), "o": Out(9), "w": Out(24)})

    def elaborate(self, platform):
        m = Module()
        for i, (name, operator) in enumerate(self.OPERATORS.items()):
            narrow, wide = Signal(3, name=f"narrow_{name}"), Signal(12, name=f"wide_{name}")
            m.d.sync += [narrow.eq(operator(self.a, self.b)), wide.eq(operator(self.a, self.b) + i)]
            before = self.o if i == 0 else before
            o = Signal(9, name=f"o_{name}")
            w = Signal(24, name=f"w_{name}")
            m.d.comb += [o.eq(narrow + wide), w.eq(Cat(wide, narrow))]
            if i:
                o2, w2 = Signal(9, name=f"oo_{name}"), Signal(24, name=f"ww_{name}")
                m.d.comb += [o2.eq(o ^ last_o), w2.eq(w ^ Cat(last_w[1:], last_w[0]))]
                o, w = o2, w2
            last_o, last_w = o, w
        m.d.comb += [self.o.eq(last_o), self.w.eq(last_w)]
        return m


class Kind(enum.Enum, shape=2):
    """For a switch."""

    A = 0
    B = 1
    C = 3


class Statements(wiring.Component):
    """Ifs in ifs, switches with wild cards and defaults, parts of targets, values that are kept."""

    def __init__(self):
        super().__init__({"i": In(8), "k": In(Kind), "o": Out(8), "p": Out(8), "q": Out(4)})

    def elaborate(self, platform):
        m = Module()
        kept = Signal(8, init=5)
        record = Signal(data.StructLayout({"low": 3, "high": signed(5)}))
        m.d.sync += kept.eq(kept + 1)
        with m.If(self.i[0]):
            with m.If(self.i[1]):
                m.d.sync += kept.eq(kept)  # takes the addition back
        with m.Elif(self.i[2]):
            m.d.sync += kept[2:5].eq(self.i)
        with m.Elif(~self.i[3]):
            with m.Switch(self.i[4:]):
                with m.Case("1--0"):
                    m.d.sync += kept.eq(1)
                with m.Case(7, 9):
                    pass
                with m.Case("0-1-", "--11"):
                    m.d.sync += Cat(kept[6:], kept[:2]).eq(self.i)
                with m.Default():
                    m.d.sync += kept.eq(Cat(kept[4:], self.i[:4]))
        with m.Else():
            m.d.sync += kept.eq(-kept)
        with m.Switch(self.k):
            with m.Case(Kind.A):
                m.d.comb += record.low.eq(self.i)
            with m.Case(Kind.B):
                m.d.comb += [record.high.eq(self.i[3:].as_signed()), self.q.eq(3)]
            with m.Case(Kind.C):
                with m.If(self.i.any()):
                    m.d.comb += record.eq(self.i)
        with m.FSM():
            for state, following in (("ONE", "TWO"), ("TWO", "THREE"), ("THREE", "ONE")):
                with m.State(state):
                    with m.If(self.i[5]):
                        m.next = following
                    m.d.comb += self.p.eq(len(state))
        m.d.comb += self.o.eq(kept ^ record.as_value() ^ Array([kept, self.i, 3, record.high])[self.i[:2]])
        return m


class Memories(wiring.Component):
    """Read ports of every kind, partial writes, contents, a queue."""

    def __init__(self):
        super().__init__({"a": In(2), "d": In(8), "e": In(2), "o": Out(8), "p": Out(8), "q": Out(8), "r": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(8), depth=4, init=[1, 2, 250])
        write = memory.write_port(granularity=4)
        plain, through = memory.read_port(), memory.read_port(transparent_for=(write,))
        at_once = memory.read_port(domain="comb")
        m.submodules.queue = queue = fifo.SyncFIFO(width=4, depth=2)
        m.d.comb += [
            write.addr.eq(self.a), write.data.eq(self.d), write.en.eq(self.e),
            plain.addr.eq(self.d), plain.en.eq(self.e[0]), through.addr.eq(self.d[2:]), at_once.addr.eq(self.a),
            self.o.eq(plain.data), self.p.eq(through.data), self.q.eq(at_once.data),
            queue.w_data.eq(self.d), queue.w_en.eq(self.e[1]), queue.r_en.eq(self.e[0]), self.r.eq(queue.r_data),
        ]  # fmt: skip
        return m


SHAPES = [(unsigned(4), unsigned(4)), (signed(5), signed(3)), (unsigned(3), signed(5)), (signed(4), unsigned(6))]


@pytest.mark.parametrize("make", [
    *(lambda shapes=shapes: Operators(*shapes) for shapes in SHAPES), Statements, Memories,
], ids=[*(f"{a!r}-{b!r}" for a, b in SHAPES), "statements", "memories"])  # fmt: skip
def test_equal_logic(make, tmp_path):
    gate = emit.verilog(make(), name="gate")
    assert prove_equal(tmp_path, rtlil.convert(make(), name="gold"), gate)
    if shutil.which("iverilog"):
        (tmp_path / "gate.v").write_text(gate)
        command = ["iverilog", "-g2005", "-Wall", "-o", str(tmp_path / "sim"), str(tmp_path / "gate.v")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and "gate.v" not in done.stdout + done.stderr, done.stdout + done.stderr


class Chip(wiring.Component):
    """Vendors' primitives: parameters of every kind, open ports, one output that nobody reads."""

    def __init__(self):
        super().__init__({"a": In(18), "b": In(18), "p": Out(36), "locked": Out(1), "data": Out(16)})

    def elaborate(self, platform):
        m = Module()
        clock = Signal()
        unread = Signal()
        sense = Signal(16)
        m.submodules.multiplier = Instance(
            "MULT18X18D", p_REG_INPUTA_CLK="CLK0", p_REG_OUTPUT_CLK="NONE", p_MULT_BYPASS="DISABLED",
            i_CLK0=clock, i_CE0=1, i_RST0=0, i_SIGNEDA=Const(1), i_SIGNEDB=1,
            **{f"i_A{i}": self.a[i] for i in range(18)}, **{f"i_B{i}": self.b[i] for i in range(18)},
            **{f"o_P{i}": self.p[i] for i in range(36)},
        )  # fmt: skip
        m.submodules.pll = Instance(
            "EHXPLLL", a_FREQUENCY_PIN_CLKI="25", a_ICP_CURRENT=12, p_CLKOP_DIV=6, p_PHASE=Const(5, 4), p_SHIFT=-3,
            p_RATE=1.5, p_NAME='a "b"', i_CLKI=self.a[0], o_CLKOP=clock, o_LOCK=self.locked, o_INTLOCK=unread,
        )  # fmt: skip
        m.submodules.ram = Instance(
            "SB_SPRAM256KA", i_ADDRESS=self.a[:14], i_DATAIN=self.b[:16], i_MASKWREN=Const(15, 4), i_WREN=self.a[14],
            i_CHIPSELECT=1, i_CLOCK=clock, i_STANDBY=0, i_SLEEP=0, i_POWEROFF=1, o_DATAOUT=sense,
        )  # fmt: skip
        m.d.comb += self.data.eq(sense ^ 1)
        return m


def test_foreign_instances(tmp_path):
    text = emit.verilog(Chip(), name="chip")
    words = " ".join(text.split())
    assert '.REG_INPUTA_CLK("CLK0"), .REG_OUTPUT_CLK("NONE"), .MULT_BYPASS("DISABLED")' in words
    assert "CLK1" not in text and "SRIA" not in text, "what is not connected is not named"
    for part in (".CLK0(clock)", ".CE0(1'b1)", ".A17(a[17])", ".SIGNEDA(1'b1)", '(* FREQUENCY_PIN_CLKI = "25"',
                 "ICP_CURRENT = 12 *)", ".CLKOP_DIV(6)", ".PHASE(4'b0101)", f".SHIFT(32'sb{-3 & 0xFFFFFFFF:b})",
                 ".RATE(1.5)", r'.NAME("a \"b\"")', ".MASKWREN(4'hf)", ".DATAOUT(sense)", ".CLKOP(clock)"):  # fmt: skip
        assert part in words, part
    (tmp_path / "chip.v").write_text(text)
    log = run_yosys(f"read_verilog {tmp_path}/chip.v", "hierarchy -top chip", "select -list t:MULT18X18D t:EHXPLLL")
    assert "chip/multiplier" in log and "chip/pll" in log
    # Yosys finds all ports in its own models of these cells.
    run_yosys("read_verilog -lib -specify +/ecp5/cells_bb.v +/ecp5/cells_sim.v", f"read_verilog {tmp_path}/chip.v",
              "delete t:SB_SPRAM256KA t:EHXPLLL", "hierarchy -check -top chip")  # fmt: skip


def test_what_cannot_be_written():
    class Checked(wiring.Component):
        def __init__(self):
            super().__init__({"i": In(4)})

        def elaborate(self, platform):
            m = Module()
            m.d.sync += Assert(self.i != 3)
            return m

    class Divided(wiring.Component):
        def __init__(self):
            super().__init__({"i": In(signed(4)), "o": Out(signed(4))})

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.o.eq(self.i // 3)
            return m

    with pytest.raises(emit.EmissionError, match=r"a cell \$check in module rowcast has no place in"):
        emit.verilog(Checked())
    with pytest.raises(emit.EmissionError, match="a signed division in module rowcast"):
        emit.verilog(Divided())


def test_names():
    """Keywords of Verilog and SystemVerilog get an underscore; fields of records are named."""

    class Named(wiring.Component):
        def __init__(self):
            super().__init__({"i": In(data.StructLayout({"config": 4, "logic": 4})), "o": Out(4)})

        def elaborate(self, platform):
            m = Module()
            begin = Signal(4)
            table = Signal(4)
            m.d.sync += [begin.eq(self.i["config"]), table.eq(begin + self.i["logic"])]
            m.d.comb += self.o.eq(table ^ 1)
            return m

    text = emit.verilog(Named(), name="toy")
    assert "reg [3:0] begin_ = 4'd0;" in text and "wire [3:0] i_config = i[3:0];" in text
    assert "table_ <= begin_ + i_logic;" in text


def test_values_of_no_bits():
    """A configuration can leave nothing of a field: its registers and operators are no text."""

    class Empty(wiring.Component):
        def __init__(self):
            super().__init__({"i": In(4), "o": Out(4)})

        def elaborate(self, platform):
            m = Module()
            nothing, more = Signal(0), Signal(0)
            m.d.sync += [nothing.eq(self.i), self.o.eq(Cat(self.i, nothing) + 1)]
            m.d.comb += more.eq(nothing ^ self.i[4:])
            return m

    text = emit.verilog(Empty(), name="toy")
    assert "nothing" not in text and "more" not in text and "o <= " in text
