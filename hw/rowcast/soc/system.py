"""The system on chip: accelerator, memory, and a host bridge over UART.  What a board adds are pins, clock and reset."""

from dataclasses import dataclass

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..accelerator import Accelerator
from . import protocol
from .arbiter import MemoryArbiter
from .bridge import HostBridge
from .bus import join_memory, join_registers
from .onchip import SPRAM_BYTES, OnChipMemory
from .protocol import DEFAULT_PAYLOAD, Info
from .uart import UartReceiver, UartTransmitter, divisor_for

__all__ = ["OnChip", "Sdram", "Spram", "System"]

TIMEOUT_MS = 40  # longer than the gaps that USB and an operating system leave between the bytes of a frame
BLINK_BITS = 4  # of a counter of time-outs
MOST_QUIET_MS = 255


@dataclass(frozen=True)
class OnChip:
    """Block RAM of so many bytes, a multiple of 4 KiB."""

    size: int

    def build(self, config, *, clock_hz):
        """The component, with a member `bus`."""
        return OnChipMemory(config, size=self.size)


@dataclass(frozen=True)
class Spram:
    """The four single-port RAMs of an iCE40UP5K."""

    size: int = SPRAM_BYTES

    def build(self, config, *, clock_hz):
        """The component, with a member `bus`."""
        return OnChipMemory(config, size=self.size, spram=True)


@dataclass(frozen=True)
class Sdram:
    """An SDRAM chip (`sdram.SdramChip`); the other fields are those of `sdram.SdramController`."""

    chip: object
    cas_latency: int | None = None
    io_delay: int = 0
    ram_style: str = "block"

    @property
    def size(self):
        """Bytes."""
        from .sdram import WORD_BYTES

        return self.chip.banks * self.chip.rows * self.chip.columns * WORD_BYTES

    def build(self, config, *, clock_hz):
        """The component, with members `bus` and `pins`."""
        from .sdram import SdramController

        return SdramController(
            config, self.chip, clock_hz=clock_hz, cas_latency=self.cas_latency, io_delay=self.io_delay,
            ram_style=self.ram_style,
        )


class System(wiring.Component):
    """An accelerator that a host loads and starts over UART (`docs/bridge.md`).

    Memory begins at address 0.  Accelerator and bridge share it, a beat at a time for the bridge.

    Parameters
    ----------
    config : Config
    memory : OnChip, Spram or Sdram, or another description with `size` and `build`.
    clock_hz, baud : of the clock; of the UART.
    payload : most bytes in a frame, a power of two.
    ram_style : of the bridge's buffer, "block" or "distributed"; None leaves it to synthesis.
    timeout_ms : after one to two of these without a byte the bridge forgets an unfinished frame.

    Members
    -------
    rx, tx : UART.
    led_alive, led_busy, led_done, led_error : blinks while there is a clock; a run is under way; the last one is done;
        it stopped with an error.
    memory : pins of the memory, if it has any.
    info : protocol.Info, what the bridge says of this system.

    Raises
    ------
    ValueError
        A rate that the clock cannot give, or a memory that cannot be.
    """

    rx: Signal
    tx: Signal
    led_alive: Signal
    led_busy: Signal
    led_done: Signal
    led_error: Signal

    def __init__(self, config, memory, *, clock_hz, baud, payload=DEFAULT_PAYLOAD, timeout_ms=TIMEOUT_MS, ram_style=None):
        self.config = config
        self.divisor = divisor_for(clock_hz=clock_hz, baud=baud)
        self.timeout = round(clock_hz * timeout_ms / 1000)
        quiet_ms = -(-2 * self.timeout * 1000 // clock_hz)
        if not 1 <= quiet_ms <= MOST_QUIET_MS:
            raise ValueError(f"timeout_ms must be above 0 and at most {MOST_QUIET_MS // 2}, not {timeout_ms!r}")
        self.info = Info(
            protocol.PROTOCOL_VERSION, payload, config.dram_bytes, quiet_ms, memory.size, clock_hz, baud
        )
        self._store = memory.build(config, clock_hz=clock_hz)
        self._bridge = HostBridge(config, info=self.info, timeout=self.timeout, ram_style=ram_style)
        leds = dict.fromkeys(("led_alive", "led_busy", "led_done", "led_error"), Out(1))
        members = {"rx": In(1, init=1), "tx": Out(1, init=1), **leds}
        if "pins" in self._store.signature.members:
            members["memory"] = Out(self._store.signature.members["pins"].signature)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = Accelerator(self.config)
        m.submodules.bridge = bridge = self._bridge
        m.submodules.arbiter = arbiter = MemoryArbiter(self.config)
        m.submodules.memory = memory = self._store
        m.submodules.receiver = receiver = UartReceiver(divisor=self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self.divisor)
        wiring.connect(m, receiver.o, bridge.i)
        wiring.connect(m, bridge.o, transmitter.i)
        wiring.connect(m, bridge.memory, arbiter.side)
        wiring.connect(m, arbiter.bus, memory.bus)
        if "memory" in self.signature.members:
            wiring.connect(m, memory.pins, wiring.flipped(self.memory))
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            bridge.broken.eq(receiver.broken),
            bridge.irq.eq(accelerator.irq),
            bridge.running.eq(accelerator.running),
            *join_memory(accelerator, arbiter.main),
            *join_registers(accelerator, bridge.lite),
        ]
        blink = Signal(BLINK_BITS)
        m.d.sync += blink.eq(blink + bridge.tick)
        m.d.comb += [
            self.led_alive.eq(blink[-1]),
            self.led_busy.eq(accelerator.running),
            self.led_done.eq(accelerator.done),
            self.led_error.eq(accelerator.error),
        ]
        return m
