"""A UART: 8 data bits, no parity, one stop bit."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter", "divisor_for"]

DATA_BITS = 8
LEAST_DIVISOR = 4
TOLERANCE = 0.02  # of the baud rate: half a bit in ten is 5%, and the other side has its own error


def divisor_for(*, clock_hz, baud):
    """Cycles a bit.

    Raises
    ------
    ValueError
        The rate cannot be made from this clock within 2%.
    """
    divisor = max(1, round(clock_hz / baud))
    if divisor < LEAST_DIVISOR:
        raise ValueError(f"baud must be at most {clock_hz // LEAST_DIVISOR}, a bit in {LEAST_DIVISOR} cycles, not {baud!r}")
    actual = clock_hz / divisor
    if abs(actual / baud - 1) > TOLERANCE:
        raise ValueError(f"baud must be within 2% of a fraction of the clock, {clock_hz} Hz: {baud!r} would be {actual:.0f}")
    return divisor


def _check_divisor(divisor):
    if divisor < LEAST_DIVISOR:
        raise ValueError(f"divisor must be at least {LEAST_DIVISOR}, not {divisor!r}")


class UartReceiver(wiring.Component):
    """Bits in the middle of their time, after two flip-flops that bring the pin into the clock domain.

    A byte appears half a bit after the start of its stop bit, and stays until it is taken or the next one comes: one
    that comes while another waits is lost.  A start bit that is over by its middle is a glitch and ignored.

    Parameters
    ----------
    divisor : cycles a bit, at least 4.

    Members
    -------
    rx : the pin.
    o : bytes.
    broken : strobe; a byte without a stop bit, which is dropped.  Nothing follows before the line is high again.
    """

    rx: Signal
    o: stream.Interface
    broken: Signal

    def __init__(self, *, divisor):
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(DATA_BITS)), "broken": Out(1)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1)
        timer = Signal(range(self.divisor))
        sample = Signal()
        # A 1 enters at the top with the start bit; when it falls out at the bottom the byte is complete.
        shift = Signal(DATA_BITS + 1)
        m.d.comb += sample.eq(timer == 0)
        m.d.sync += timer.eq(timer - 1)
        with m.If(sample):
            m.d.sync += timer.eq(self.divisor - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq(self.divisor // 2 - 1)
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += shift.eq(1 << DATA_BITS)
                with m.If(sample):
                    m.next = "DATA"
                    with m.If(line):
                        m.next = "IDLE"
            with m.State("DATA"):
                with m.If(sample):
                    m.d.sync += shift.eq(Cat(shift[1:], line))
                    with m.If(shift[0] & line):
                        with m.If(~self.o.valid | self.o.ready):
                            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(shift[1:])]
                        m.next = "IDLE"  # at once: of a fast sender the next start bit is near
                    with m.Elif(shift[0]):
                        m.d.comb += self.broken.eq(1)
                        m.next = "BROKEN"
            with m.State("BROKEN"):
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """A byte in ten bit times, bytes without a gap between them.

    Parameters
    ----------
    divisor : cycles a bit, at least 4.

    Members
    -------
    i : bytes.
    tx : the pin, from a flip-flop; high while there is nothing to send.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, *, divisor):
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(DATA_BITS)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(range(DATA_BITS + 2))
        shift = Signal(DATA_BITS, reset_less=True)
        bit_over = Signal()
        m.d.comb += [bit_over.eq(timer == 0), self.i.ready.eq(bit_over & (left == 0))]
        with m.If(~bit_over):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            # the data, then ones: the stop bit
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), Cat(self.tx, shift).eq(Cat(shift, 1))]
        with m.Elif(self.i.valid):
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(DATA_BITS + 1), self.tx.eq(0), shift.eq(self.i.payload)]
        return m
