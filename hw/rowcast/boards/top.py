"""The top of a board: clock and reset, the pins, and the system on chip, which is the Verilog that is also simulated."""

from amaranth import ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.wiring import In

from ..emit import verilog
from ..soc.sdram import ULX3S
from ..soc.system import OnChip, Sdram, Spram, System
from ..techmap import techmap
from .clocks import BoardClock
from .platforms import make_platform

__all__ = ["BoardTop", "build_plan", "memory_of", "system_ports"]

MODULE = "rowcast_system"
# Commands of Yosys before synthesis, and options of it.
SYNTHESIS = {
    "ecp5": ((), ""),
    # No iCE40 has distributed RAM: whoever asks for it gets a block RAM there.
    "ice40": (("setattr -unset ram_style */m:*",), "-dsp -abc9 -device u"),
    "gowin": ((), ""),
}
MAP = "cells.map"  # our map of cells, beside the script; not `.v`, which Yosys would read as a part of the design
IO_DELAY = 2


class BoardTop(Elaboratable):
    """Pins of a board around the module of a system.

    Parameters
    ----------
    board : Board
    ports : the module's ports: name -> (direction, width), as of `system_ports`.
    setting : PllSetting, or None for the oscillator's own frequency.
    """

    def __init__(self, board, ports, setting):
        self.board = board
        self.ports = ports
        self.setting = setting

    def elaborate(self, platform):
        m = Module()
        self._clock(m, platform)
        signals = {name: Signal(width, name=name) for name, (_, width) in self.ports.items()}
        directions = {In: "i", "i": "i"}
        m.submodules.system = Instance(
            MODULE, i_clk=ClockSignal(), i_rst=ResetSignal(allow_reset_less=True),
            **{f"{directions.get(flow, 'o')}_{name}": signals[name] for name, (flow, _) in self.ports.items()},
        )  # fmt: skip
        self._uart(m, platform, signals)
        self._leds(m, platform, [signals[name] for name in ("led_alive", "led_busy", "led_done", "led_error")])
        if "memory__a" in signals:
            self._sdram(m, platform, signals)
        return m

    def _clock(self, m, platform):
        port = platform.request(platform.default_clk, dir="-")
        pin = Signal()
        if self.board.device.family == "ice40" and self.setting is not None:
            pin = port.io  # the PLL stands between pad and chip
        else:
            m.submodules.oscillator = oscillator = io.Buffer("i", port)
            m.d.comb += pin.eq(oscillator.i)
            platform.add_clock_constraint(pin, self.board.oscillator_hz)
        m.submodules.clock = BoardClock(self.board.device.family, pin, self.setting)

    def _uart(self, m, platform, signals):
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [signals["rx"].eq(rx.i), tx.o.eq(signals["tx"])]

    def _leds(self, m, platform, leds):
        """As many of the system's LEDs as the board has, in their order."""
        known = [number for name, number in platform.resources if name == "led"]
        for number, led in zip(sorted(known), leds, strict=False):
            m.submodules[f"led{number}"] = buffer = io.Buffer("o", platform.request("led", number, dir="-"))
            m.d.comb += buffer.o.eq(led)

    def _sdram(self, m, platform, signals):
        """Registers in the pads, and the clock half a period late, so that the chip sees settled commands and data."""
        pins = platform.request("sdram", 0, dir="-")
        m.submodules.sdram_clk = clock = io.DDRBuffer("o", pins.clk)
        m.d.comb += [clock.o[0].eq(0), clock.o[1].eq(1)]
        outputs = {
            "clk_en": signals["memory__cke"], "cs": ~signals["memory__cs_n"], "ras": ~signals["memory__ras_n"], "cas": ~signals["memory__cas_n"],
            "we": ~signals["memory__we_n"], "ba": signals["memory__ba"], "a": signals["memory__a"], "dqm": signals["memory__dqm"],
        }  # fmt: skip
        for name, value in outputs.items():
            m.submodules[f"sdram_{name}"] = buffer = io.FFBuffer("o", getattr(pins, name))
            m.d.comb += buffer.o.eq(value)
        m.submodules.sdram_dq = dq = io.FFBuffer("io", pins.dq)
        m.d.comb += [
            dq.o.eq(signals["memory__dq_o"]),
            dq.oe.eq(signals["memory__dq_oe"]),
            signals["memory__dq_i"].eq(dq.i),
        ]


def system_ports(system):
    """The flat ports of a system: name -> (direction, width)."""
    return {
        "__".join(map(str, path)): (member.flow, len(value))
        for path, member, value in system.signature.flatten(system)
    }


def memory_of(board):
    """The board's own memory, as `System` takes it.  Registers at the pins of an SDRAM, out and in, take a cycle each; the chip's clock
    is half a cycle late, which it takes of the second one."""
    return {
        "sdram": lambda: Sdram(ULX3S, io_delay=IO_DELAY, ram_style=board.ram_style or "block"), "spram": Spram, "onchip": lambda: OnChip(board.memory_bytes),
    }[board.memory]()  # fmt: skip


def build_plan(board, config, *, setting, clock_hz, memory=None, name="top"):
    """All files of a build, without running a tool: Verilog, netlist of the top, script and constraints.

    Parameters
    ----------
    board : Board
    config : Config
    setting : PllSetting, or None.
    clock_hz : frequency of domain `sync`.
    memory : OnChip, Spram or Sdram of `soc.system` [the board's own].
    """
    system = System(config, memory or memory_of(board), clock_hz=round(clock_hz), baud=board.baud, ram_style=board.ram_style)
    ports = system_ports(system)
    platform = make_platform(board)
    platform.add_file(f"{MODULE}.v", verilog(system, config, name=MODULE))
    before, options = SYNTHESIS[board.device.family]
    maps, text = techmap(board.device.family, MAP)
    if maps:
        platform.add_file(MAP, text)
    return platform.build(
        BoardTop(board, ports, setting), name, do_build=False, read_verilog_opts="-DSYNTHESIS", synth_opts=options,
        script_after_read="\n".join([*before, *maps]), emit_src=False,
    )  # fmt: skip
