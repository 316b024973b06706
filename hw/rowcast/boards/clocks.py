"""Clocks of a board: settings of the device's PLL, and the block that makes clock and reset of domain `sync`.

Sources of the ranges: Lattice FPGA-TN-02200 (ECP5 sysCLOCK PLL), FPGA-TN-02052 (iCE40 sysCLOCK PLL), and Gowin UG286 (clock
resources, GW1N-9C with speed C6/I5).
"""

from dataclasses import dataclass

from amaranth import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib.cdc import FFSynchronizer, ResetSynchronizer

__all__ = ["BoardClock", "ClockError", "PllSetting", "pll_setting"]

_MHZ = 1e6
# family: (lowest and highest Hz of the phase detector, of the oscillator, of the output)
_RANGES = {
    "ecp5": ((3.125e6, 400e6), (400e6, 800e6), (3.125e6, 400e6)),
    "ice40": ((10e6, 133e6), (533e6, 1066e6), (16e6, 275e6)),
    "gowin": ((3e6, 400e6), (400e6, 1200e6), (3.125e6, 600e6)),
}
_NEAR = 0.02  # a PLL need not hit the frequency that was asked for, but this share of it


class ClockError(ValueError):
    """No setting of the PLL makes this frequency: names the nearest that one makes."""


@dataclass(frozen=True)
class PllSetting:
    """How a PLL makes its output: `hz` = `input_hz` x `multiply` / `divide`, the oscillator runs at `hz` x `post`."""

    input_hz: float
    divide: int
    multiply: int
    post: int

    @property
    def hz(self):
        """Frequency of the output."""
        return self.input_hz * self.multiply / self.divide

    @property
    def oscillator_hz(self):
        """Frequency of the oscillator."""
        return self.hz * self.post


def _settings(family, input_hz):
    """All settings that the family's PLL can have for this input."""
    detector, oscillator, output = _RANGES[family]
    if family == "ecp5":
        divides, multiplies, posts = range(1, 129), range(1, 81), range(1, 129)
    elif family == "ice40":
        divides, multiplies, posts = range(1, 17), range(1, 129), (1, 2, 4, 8, 16, 32, 64)
    else:
        divides, multiplies, posts = range(1, 65), range(1, 65), (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
    for divide in divides:
        if not detector[0] <= input_hz / divide <= detector[1]:
            continue
        for multiply in multiplies:
            if family == "ice40":  # the feedback is from the oscillator: only its multiple is an integer
                for post in posts:
                    found = PllSetting(input_hz, divide * post, multiply, post)
                    if output[0] <= found.hz <= output[1] and oscillator[0] <= found.oscillator_hz <= oscillator[1]:
                        yield found
                continue
            hz = input_hz * multiply / divide
            if not output[0] <= hz <= output[1]:
                continue
            inside = [post for post in posts if oscillator[0] <= hz * post <= oscillator[1]]
            if inside:
                middle = sum(oscillator) / 2
                yield PllSetting(input_hz, divide, multiply, min(inside, key=lambda post: abs(hz * post - middle)))


def pll_setting(family, input_hz, hz):
    """The setting whose output is nearest to `hz` and not above it; of equals, that with the least division.

    Parameters
    ----------
    family : "ecp5", "ice40" or "gowin".
    input_hz, hz : frequencies of the input and of the output.

    Raises
    ------
    ClockError
        None comes within 2% from below; the message names the nearest ones.
    """
    settings = list(_settings(family, input_hz))
    below = [setting for setting in settings if setting.hz <= hz * (1 + 1e-9)]
    if below:
        best = min(below, key=lambda setting: (hz - setting.hz, setting.divide))
        if best.hz >= hz * (1 - _NEAR):
            return best
    near = sorted({setting.hz for setting in settings}, key=lambda other: abs(other - hz))[:3]
    raise ClockError(
        f"the PLL cannot make {hz / _MHZ:g} MHz from {input_hz / _MHZ:g} MHz; nearest: "
        + ", ".join(f"{other / _MHZ:.4g}" for other in sorted(near)) + " MHz"
    )  # fmt: skip


class BoardClock(Elaboratable):
    """Domain `sync` from the board's oscillator: PLL, and a start that waits for it.

    It waits until the PLL has locked and then for 2^`reset_bits` cycles of the oscillator more: block RAM of the iCE40 cannot be
    read in the first microseconds after configuration.  Until then the domain is in reset, which ends in step with the clock.

    With the ECP5's PLL the clock itself is held instead (a DCCA, without runt pulses), and the domain has no reset: flip-flops have the values
    of the bitstream until the first edge.  A reset of 40,000 flip-flops has no global net there, and was one of the slowest.

    Parameters
    ----------
    family : "ecp5", "ice40" or "gowin".
    pin : signal of the oscillator's input buffer; for "ice40" the pad's port itself, as its PLL takes the pad.
    setting : PllSetting, or None for the oscillator's own frequency.

    Members
    -------
    locked : high once the PLL's output can be used.
    """

    def __init__(self, family, pin, setting, *, reset_bits=8):
        self.family = family
        self.pin = pin
        self.setting = setting
        self.reset_bits = reset_bits
        self.locked = Signal()

    def elaborate(self, platform):
        m = Module()
        held = self.family == "ecp5" and self.setting is not None
        m.domains.sync = ClockDomain(reset_less=held)
        slow = m.domains.slow = ClockDomain(reset_less=True)
        output = Signal()
        if self.setting is None:
            m.d.comb += [output.eq(self.pin), slow.clk.eq(self.pin), self.locked.eq(1)]
        else:
            m.submodules.pll = {"ecp5": self._ecp5, "ice40": self._ice40, "gowin": self._gowin}[self.family](output)
            m.d.comb += slow.clk.eq(output if self.family == "ice40" else self.pin)
        passed = Signal(self.reset_bits + 1)
        stable = Signal(2)
        m.d.slow += stable.eq(self.locked << 1 | stable >> 1)
        with m.If(~stable[0]):
            m.d.slow += passed.eq(0)
        with m.Elif(~passed[-1]):
            m.d.slow += passed.eq(passed + 1)
        if held:
            self._hold(m, output, passed[-1])
        else:
            m.d.comb += ClockSignal("sync").eq(output)
            m.submodules.reset = ResetSynchronizer(~passed[-1], domain="sync")
        if platform is not None and self.setting is not None:
            platform.add_clock_constraint(output, self.setting.hz)
        return m

    def _hold(self, m, output, go):
        """The PLL's clock passes once `go` is high."""
        free = m.domains.free = ClockDomain(reset_less=True)
        enable = Signal()
        m.d.comb += free.clk.eq(output)
        m.submodules.go = FFSynchronizer(go, enable, o_domain="free")
        m.submodules.gate = Instance("DCCA", i_CLKI=output, i_CE=enable, o_CLKO=ClockSignal("sync"))

    def _ecp5(self, output):
        setting = self.setting
        return Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{setting.input_hz / _MHZ:g}",
            a_FREQUENCY_PIN_CLKOP=f"{setting.hz / _MHZ:g}",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB", p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=setting.divide, p_CLKFB_DIV=setting.multiply, p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=setting.post, p_CLKOP_CPHASE=setting.post - 1, p_CLKOP_FPHASE=0,
            i_CLKI=self.pin, i_CLKFB=output, o_CLKOP=output, o_LOCK=self.locked,
            i_RST=Const(0), i_STDBY=Const(0), i_PHASESEL0=Const(0), i_PHASESEL1=Const(0), i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1), i_PHASELOADREG=Const(1), i_PLLWAKESYNC=Const(0), i_ENCLKOP=Const(0),
        )  # fmt: skip

    def _ice40(self, output):
        setting = self.setting
        reference = setting.input_hz / (setting.divide // setting.post)
        return Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=setting.divide // setting.post - 1,
            p_DIVF=setting.multiply - 1,
            p_DIVQ=setting.post.bit_length() - 1,
            p_FILTER_RANGE=_filter_range(reference),
            i_PACKAGEPIN=self.pin, o_PLLOUTGLOBAL=output, o_LOCK=self.locked, i_RESETB=Const(1), i_BYPASS=Const(0),
        )  # fmt: skip

    def _gowin(self, output):
        setting = self.setting
        return Instance(
            "rPLL",
            p_FCLKIN=f"{setting.input_hz / _MHZ:g}", p_DEVICE="GW1NR-9C", p_CLKFB_SEL="internal", p_CLKOUT_BYPASS="false",
            p_CLKOUTP_BYPASS="false", p_CLKOUTD_BYPASS="false", p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false",
            p_DYN_ODIV_SEL="false", p_DYN_DA_EN="false", p_PSDA_SEL="0000", p_DUTYDA_SEL="1000", p_DYN_SDIV_SEL=2,
            p_CLKOUT_FT_DIR=Const(1, 1), p_CLKOUTP_FT_DIR=Const(1, 1), p_CLKOUT_DLY_STEP=0, p_CLKOUTP_DLY_STEP=0,
            p_CLKOUTD_SRC="CLKOUT", p_CLKOUTD3_SRC="CLKOUT",
            p_IDIV_SEL=setting.divide - 1, p_FBDIV_SEL=setting.multiply - 1, p_ODIV_SEL=setting.post,
            i_CLKIN=self.pin, o_CLKOUT=output, o_LOCK=self.locked, i_RESET=Const(0), i_RESET_P=Const(0), i_CLKFB=Const(0),
            i_FBDSEL=Const(0, 6), i_IDSEL=Const(0, 6), i_ODSEL=Const(0, 6), i_PSDA=Const(0, 4), i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
        )  # fmt: skip


def _filter_range(reference_hz):
    """The loop filter's setting for a frequency at the phase detector."""
    limits = (17e6, 26e6, 44e6, 66e6, 101e6)
    return 1 + sum(reference_hz >= limit for limit in limits)
