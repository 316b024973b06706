"""Boards: settings of their PLLs, their clocks, and that a configuration suits a board before any tool is run."""

import random

import pytest
from amaranth import Elaboratable, Module, Signal
from amaranth.back import rtlil
from rowcast.boards import BOARDS, BoardError, board
from rowcast.boards.clocks import BoardClock, ClockError, pll_setting
from rowcast.config import preset

# family: (detector, oscillator, output) in MHz, from the data sheets' tables, written down a second time
RANGES = {
    "ecp5": ((3.125, 400), (400, 800), (3.125, 400)),
    "ice40": ((10, 133), (533, 1066), (16, 275)),
    "gowin": ((3, 400), (400, 1200), (3.125, 600)),
}


@pytest.mark.parametrize("name", BOARDS)
def test_default_clock_is_one_that_the_board_can_make(name):
    chosen = board(name)
    if chosen.clock_hz != chosen.oscillator_hz:
        setting = pll_setting(chosen.device.family, chosen.oscillator_hz, chosen.clock_hz)
        assert setting.hz == chosen.clock_hz


@pytest.mark.parametrize(("family", "oscillator"), [("ecp5", 25e6), ("ice40", 12e6), ("gowin", 27e6)])
def test_settings_stay_inside_the_ranges(family, oscillator):
    detector, vco, output = RANGES[family]
    chooser = random.Random(1)
    made = 0
    for _ in range(60):
        hz = chooser.uniform(17e6, 180e6)
        try:
            setting = pll_setting(family, oscillator, hz)
        except ClockError:
            continue
        made += 1
        divide = setting.divide // setting.post if family == "ice40" else setting.divide
        assert detector[0] <= oscillator / divide / 1e6 <= detector[1]
        assert vco[0] <= setting.oscillator_hz / 1e6 <= vco[1]
        assert output[0] <= setting.hz / 1e6 <= output[1]
        assert 0.98 * hz <= setting.hz <= hz * (1 + 1e-9)
        assert setting.hz == oscillator * setting.multiply / setting.divide
    assert made > 40


def test_impossible_clock_names_the_nearest():
    with pytest.raises(ClockError, match=r"cannot make 1000 MHz from 25 MHz; nearest: .* 400 MHz"):
        pll_setting("ecp5", 25e6, 1000e6)


def test_unknown_board_names_all():
    with pytest.raises(BoardError, match="ulx3s-85f, ulx3s-25f, icebreaker, tangnano9k"):
        board("arty")


def test_spram_needs_beats_of_eight_bytes():
    with pytest.raises(BoardError, match="dram_bytes must be 8"):
        board("icebreaker").check(preset("tiny").replace(dram_bytes=16, act_banks=2))


class _Clocked(Elaboratable):
    """A flip-flop with a board's clock."""

    def __init__(self, family):
        self.family, self.out = family, Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = BoardClock(self.family, Signal(), pll_setting(self.family, 25e6, 100e6))
        m.d.sync += self.out.eq(~self.out)
        return m


@pytest.mark.parametrize(("family", "held"), [("ecp5", True), ("gowin", False)])
def test_start(family, held):
    """The ECP5's clock waits and nothing is reset; other domains have a reset."""
    made = _Clocked(family)
    text = rtlil.convert(made, ports=[made.out], emit_src=False)
    assert ("cell \\DCCA" in text) == held
    assert ("process" in text.split("module \\top")[1] and "\\rst" in text.split("module \\top")[1]) != held
