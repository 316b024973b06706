"""The SDRAM controller with flat ports, as a plain Verilog design would have it."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In
from rowcast.axi import ID_WIDTH, manager_ports
from rowcast.soc.sdram import ULX3S, SdramController

__all__ = ["CHIP", "CLOCK_HZ", "IO_DELAY", "SdramTop"]

CHIP = ULX3S.replace(powerup_us=2)
CLOCK_HZ = 100_000_000
IO_DELAY = 2
_PREFIX = "s_axi_"
_AHEAD = 8  # writes whose ID waits for the answer: as many as the controller takes


class SdramTop(wiring.Component):
    """SdramController for the ULX3S, with registers at its pins as the board has them.

    Members
    -------
    s_axi_* : AXI4 subordinate: full beats, incrementing bursts.
    sdram_* : the chip's pins, `dq` in three parts.
    """

    def __init__(self, config):
        self.config = config
        self.controller = SdramController(config, CHIP, clock_hz=CLOCK_HZ, io_delay=IO_DELAY)
        super().__init__(
            {
                **{name: member.flip() for name, member in manager_ports(config, prefix=_PREFIX).items()},
                **{f"sdram_{name}": member for name, member in self.controller.pins.signature.members.items()},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = self.controller
        bus, pins = controller.bus, controller.pins

        def port(name):
            return getattr(self, _PREFIX + name)

        for name in ("ar", "aw", "w"):
            stream = getattr(bus, name)
            m.d.comb += [stream.valid.eq(port(f"{name}valid")), port(f"{name}ready").eq(stream.ready)]
        for name in ("r", "b"):
            stream = getattr(bus, name)
            m.d.comb += [port(f"{name}valid").eq(stream.valid), stream.ready.eq(port(f"{name}ready"))]
        m.d.comb += [getattr(bus.ar.payload, name).eq(port(f"ar{name}")) for name in ("addr", "len", "id")]
        m.d.comb += [getattr(bus.aw.payload, name).eq(port(f"aw{name}")) for name in ("addr", "len")]
        m.d.comb += [getattr(bus.w.payload, name).eq(port(f"w{name}")) for name in ("data", "strb", "last")]
        m.d.comb += [port(f"r{name}").eq(getattr(bus.r.payload, name)) for name in ("data", "id", "resp", "last")]
        m.submodules.ids = ids = SyncFIFO(width=ID_WIDTH, depth=_AHEAD)
        m.d.comb += [
            port("bresp").eq(bus.b.payload.resp),
            ids.w_data.eq(port("awid")),
            ids.w_en.eq(bus.aw.valid & bus.aw.ready),
            port("bid").eq(ids.r_data),
            ids.r_en.eq(bus.b.valid & bus.b.ready),
        ]
        for name, member in pins.signature.members.items():
            mine = getattr(self, f"sdram_{name}")
            if member.flow == In:
                m.d.sync += getattr(pins, name).eq(mine)
            else:
                m.d.sync += mine.eq(getattr(pins, name))
        return m
