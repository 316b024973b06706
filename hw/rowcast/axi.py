"""AXI4 and AXI4-Lite: the channels as streams inside, the standard signal names outside, and who reads when.

Names and rules: AMBA AXI and ACE Protocol Specification, ARM IHI 0022H.  Inside, a channel is a stream whose payload
holds only what changes; `manager_ports` and `lite_ports` list the flat signals of the top, and `join_manager` ties the
two together and drives what is constant (full beats, incrementing bursts).
"""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2

__all__ = [
    "FETCH_ID", "ID_WIDTH", "LOAD_ID", "OKAY", "ReadArbiter", "address_layout", "join_manager", "lite_ports", "lite_signature",
    "manager_ports", "read_channels", "read_data_layout", "response_layout", "write_channels", "write_data_layout",
]  # fmt: skip

OKAY = 0
FETCH_ID, LOAD_ID = 0, 1
ID_WIDTH = 1
BURST_INCR = 1
CACHE_BUFFERABLE = 0b0011  # normal memory, not cacheable, bufferable
PROT_DATA = 0b000  # unprivileged, secure, data


def _with_id(fields, id_width):
    return data.StructLayout({"id": id_width, **fields} if id_width else fields)


def address_layout(config, *, id_width=0):
    """AR or AW: byte address of the first beat, beats - 1."""
    return _with_id({"addr": config.address_width, "len": 8}, id_width)


def read_data_layout(config, *, id_width=0):
    """R: one beat."""
    return _with_id({"data": config.dram_bytes * 8, "resp": 2, "last": 1}, id_width)


def write_data_layout(config):
    """W: one beat; bit i of `strb` enables byte i."""
    return data.StructLayout({"data": config.dram_bytes * 8, "strb": config.dram_bytes, "last": 1})


def response_layout():
    """B."""
    return data.StructLayout({"resp": 2})


def read_channels(config, *, id_width=0):
    """AR and R as members, from the manager's side."""
    return {
        "ar": Out(stream.Signature(address_layout(config, id_width=id_width))),
        "r": In(stream.Signature(read_data_layout(config, id_width=id_width))),
    }


def write_channels(config):
    """AW, W and B as members, from the manager's side."""
    return {
        "aw": Out(stream.Signature(address_layout(config))),
        "w": Out(stream.Signature(write_data_layout(config))),
        "b": In(stream.Signature(response_layout())),
    }


def lite_signature(address_width):
    """AXI4-Lite with 32 bits of data, from the manager's side."""
    address = data.StructLayout({"addr": address_width, "prot": 3})
    return Signature(
        {
            "aw": Out(stream.Signature(address)),
            "w": Out(stream.Signature(data.StructLayout({"data": 32, "strb": 4}))),
            "b": In(stream.Signature(response_layout())),
            "ar": Out(stream.Signature(address)),
            "r": In(stream.Signature(data.StructLayout({"data": 32, "resp": 2}))),
        }
    )


def _handshake(channel, flow, back):
    return {f"{channel}valid": flow(1), f"{channel}ready": back(1)}


def manager_ports(config, *, prefix="m_axi_"):
    """The flat AXI4 signals of a manager as members: standard name -> In or Out."""
    ports = {}
    for channel in ("aw", "ar"):
        ports |= {
            f"{channel}id": Out(ID_WIDTH),
            f"{channel}addr": Out(config.address_width),
            f"{channel}len": Out(8),
            f"{channel}size": Out(3),
            f"{channel}burst": Out(2),
            f"{channel}lock": Out(1),
            f"{channel}cache": Out(4),
            f"{channel}prot": Out(3),
            **_handshake(channel, Out, In),
        }
    bits = config.dram_bytes * 8
    ports |= {"wdata": Out(bits), "wstrb": Out(config.dram_bytes), "wlast": Out(1), **_handshake("w", Out, In)}
    ports |= {"bid": In(ID_WIDTH), "bresp": In(2), **_handshake("b", In, Out)}
    ports |= {"rid": In(ID_WIDTH), "rdata": In(bits), "rresp": In(2), "rlast": In(1), **_handshake("r", In, Out)}
    return {prefix + name: member for name, member in ports.items()}


def lite_ports(address_width, *, prefix="s_axil_"):
    """The flat AXI4-Lite signals of a subordinate with 32 bits of data as members: standard name -> In or Out."""
    ports = {}
    for channel in ("aw", "ar"):
        ports |= {f"{channel}addr": In(address_width), f"{channel}prot": In(3), **_handshake(channel, In, Out)}
    ports |= {"wdata": In(32), "wstrb": In(4), **_handshake("w", In, Out)}
    ports |= {"bresp": Out(2), **_handshake("b", Out, In)}
    ports |= {"rdata": Out(32), "rresp": Out(2), **_handshake("r", Out, In)}
    return {prefix + name: member for name, member in ports.items()}


def join_manager(config, pins, *, ar, r, aw, w, b, prefix="m_axi_"):
    """Statements (for `comb`) that tie a manager's channel streams to its flat ports.

    Parameters
    ----------
    config : Config
    pins : object with the members of `manager_ports` as attributes.
    ar, r, aw, w, b : streams, with `id` in `ar` and `r`; writes have ID 0.
    """

    def pin(name):
        return getattr(pins, prefix + name)

    statements = []
    for channel, address, number in (("ar", ar, ar.payload.id), ("aw", aw, 0)):
        constants = {
            "size": ceil_log2(config.dram_bytes),
            "burst": BURST_INCR,
            "lock": 0,
            "cache": CACHE_BUFFERABLE,
            "prot": PROT_DATA,
        }
        statements += [pin(channel + name).eq(value) for name, value in constants.items()]
        statements += [
            pin(f"{channel}id").eq(number),
            pin(f"{channel}addr").eq(address.payload.addr),
            pin(f"{channel}len").eq(address.payload.len),
            pin(f"{channel}valid").eq(address.valid),
            address.ready.eq(pin(f"{channel}ready")),
        ]
    statements += [pin(f"w{name}").eq(getattr(w.payload, name)) for name in ("data", "strb", "last")]
    statements += [pin("wvalid").eq(w.valid), w.ready.eq(pin("wready"))]
    statements += [getattr(r.payload, name).eq(pin(f"r{name}")) for name in ("id", "data", "resp", "last")]
    statements += [r.valid.eq(pin("rvalid")), pin("rready").eq(r.ready)]
    statements += [b.payload.resp.eq(pin("bresp")), b.valid.eq(pin("bvalid")), pin("bready").eq(b.ready)]
    return statements


class ReadArbiter(wiring.Component):
    """Instruction fetch and LOAD on one AXI read channel, told apart by ID; fetch goes first.

    An address takes 1 cycle, one in two cycles; a beat takes 1 cycle, one a cycle, through two places that also keep
    `r.ready` from depending on `r.valid` or `r.payload` within a cycle (AXI allows no path from input to output).  A
    beat at the front that its client does not take blocks the other client's beats: fetch asks only for what it has
    room for.  Payload and `valid` of `ar` stay until `ready`.  Reset it only while no read of either client is under
    way.

    Members
    -------
    fetch_ar, fetch_r, load_ar, load_r : the clients' channels.
    ar, r : the shared channel, with `id`: FETCH_ID or LOAD_ID.
    """

    fetch_ar: stream.Interface
    fetch_r: stream.Interface
    load_ar: stream.Interface
    load_r: stream.Interface
    ar: stream.Interface
    r: stream.Interface

    def __init__(self, config):
        self.config = config
        channels = read_channels(config)
        super().__init__(
            {
                **{f"{client}_{name}": m.flip() for client in ("fetch", "load") for name, m in channels.items()},
                **read_channels(config, id_width=ID_WIDTH),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._addresses(m)
        self._beats(m)
        return m

    def _addresses(self, m):
        with m.If(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)
        with m.If(~self.ar.valid):
            m.d.sync += self.ar.valid.eq(self.fetch_ar.valid | self.load_ar.valid)
            with m.If(self.fetch_ar.valid):
                m.d.sync += [self.ar.payload.id.eq(FETCH_ID), _copy(self.ar.payload, self.fetch_ar.payload)]
            with m.Else():
                m.d.sync += [self.ar.payload.id.eq(LOAD_ID), _copy(self.ar.payload, self.load_ar.payload)]
        # no path from AXI's ready: an address in two cycles is enough
        m.d.comb += [
            self.fetch_ar.ready.eq(~self.ar.valid),
            self.load_ar.ready.eq(~self.ar.valid & ~self.fetch_ar.valid),
        ]

    def _beats(self, m):
        """Two places as in `Skid`; whose beat is at the front is one register a client."""
        layout = read_data_layout(self.config, id_width=ID_WIDTH)
        front = Signal(layout, reset_less=True)
        back = Signal(layout, reset_less=True)
        spilt = Signal()
        free = Signal()
        ready = Signal(init=1)  # the opposite of `spilt`
        clients = ((self.fetch_r, FETCH_ID), (self.load_r, LOAD_ID))
        m.d.comb += [
            free.eq(~Cat(client.valid & ~client.ready for client, _ in clients).any()),
            self.r.ready.eq(ready),
        ]
        for client, _ in clients:
            m.d.comb += [getattr(client.payload, name).eq(getattr(front, name)) for name in ("data", "resp", "last")]
        with m.If(~spilt):
            m.d.sync += back.eq(self.r.payload)
        with m.If(free):
            m.d.sync += [front.eq(Mux(spilt, back, self.r.payload)), spilt.eq(0), ready.eq(1)]
            for client, number in clients:
                m.d.sync += client.valid.eq(
                    Mux(spilt, back.id == number, self.r.valid & (self.r.payload.id == number))
                )
        with m.Elif(self.r.valid):
            m.d.sync += [spilt.eq(1), ready.eq(0)]


def _copy(target, source):
    return [target.addr.eq(source.addr), target.len.eq(source.len)]
