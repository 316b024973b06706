"""The units of a compact accelerator and its memories, wired."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..axi import FETCH_ID, ID_WIDTH, LOAD_ID, read_channels, write_channels
from ..interfaces import unit_error
from ..isa import Unit
from ..memory import Ram
from .array import Pe
from .compute import Compute
from .dma import Dma
from .feeders import FilterFeeder, IfmapFeeder
from .front import Front
from .post import Post

__all__ = ["ActMemory", "CompactCore"]


class ActMemory(wiring.Component):
    """The activation memory: words are read and written whole, or a byte is written.

    Members
    -------
    read_address, read_data : a cycle later.
    write_enable : a bit for each byte.
    write_address, write_data.
    """

    def __init__(self, config):
        self.config = config
        self.memory = Memory(shape=config.word_bits, depth=config.act_words, init=[], attrs={"no_rw_check": 1})
        address = ceil_log2(config.act_words)
        super().__init__(
            {
                "read_address": In(address),
                "read_data": Out(config.word_bits),
                "write_enable": In(config.lanes),
                "write_address": In(address),
                "write_data": In(config.word_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        read, write = self.memory.read_port(domain="comb"), self.memory.write_port(granularity=8)
        stage0 = Signal(self.config.word_bits, reset_less=True)
        m.d.comb += [
            read.addr.eq(self.read_address),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            self.read_data.eq(stage0),
        ]
        m.d.sync += stage0.eq(read.data)
        return m


class CompactCore(wiring.Component):
    """Everything between memory and the host's registers.  All of it is reset by the soft reset.

    Parameters
    ----------
    config : Config with `compact` set.

    Members
    -------
    start : strobe before a run; stop : begin nothing new on AXI, hand no instruction on.
    program_base, data_base : byte addresses.
    ar, r, aw, w, b : AXI channels; `ar` and `r` with their ID.
    ended : END was fetched.  quiet : nothing is queued or at work.  axi_idle : nothing is under way on AXI.
    errors : reports: fetch, DMA, POST.
    queues, units, layer, cause : what the host and a trace see.
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program_base": In(config.address_width),
                "data_base": In(config.address_width),
                **read_channels(config, id_width=ID_WIDTH),
                **write_channels(config),
                "ended": Out(1),
                "quiet": Out(1),
                "axi_idle": Out(1),
                "errors": Out(unit_error()).array(3),
                "queues": Out(4 * 6),
                "units": Out(8 + 5),
                "layer": Out(16),
                "cause": Out(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.front = front = Front(config)
        m.submodules.dma = dma = Dma(config)
        m.submodules.filter = filters = FilterFeeder(config)
        m.submodules.ifmap = ifmap = IfmapFeeder(config)
        m.submodules.compute = compute = Compute(config)
        m.submodules.post = post = Post(config)
        m.submodules.pe = pe = Pe(config)
        m.submodules.act = act = ActMemory(config)
        m.submodules.filters = filter_ram = Ram(shape=config.word_bits, depth=config.filter_buffer_words, latency=1)
        units = (dma, dma, filters, ifmap, post, compute)
        for unit in units[1:]:
            m.d.comb += [unit.opcode.eq(front.opcode), unit.payload.eq(front.payload)]
        takes = [dma.load, dma.store, filters.take, ifmap.take, post.take, compute.take]
        done = [dma.load_done, dma.store_done, filters.done, ifmap.done, post.done, 0]
        low = ceil_log2(config.dram_bytes)
        idle = Signal(6)
        m.d.comb += [
            Cat(takes).eq(front.valid),
            idle.eq(Cat(unit.idle for unit in units)),
            front.idle.eq(idle),
            front.hold.eq(ifmap.hold << int(Unit.IFMAP)),
            front.done.eq(Cat(done)),
            front.start.eq(self.start),
            front.stop.eq(self.stop),
            front.program_base.eq(self.program_base[4:]),
            front.allowed.eq(~dma.reading),
            dma.allowed.eq(~front.reading),
            dma.stop.eq(self.stop),
            dma.data_base.eq(self.data_base[low:]),
            post.start.eq(self.start),
            self.ended.eq(front.ended),
            self.quiet.eq(front.empty & idle.all()),
            self.axi_idle.eq(~front.reading & dma.quiet),
            self.queues.eq(front.levels),
            self.units.eq(~idle),
            self.layer.eq(post.layer),
            self.cause.eq(compute.cause),
        ]
        for report, unit in zip(self.errors, (front, dma, post), strict=True):
            wiring.connect(m, wiring.flipped(report), unit.error)
        self._bus(m, front, dma)
        self._memories(m, dma, filters, ifmap, post, pe, act, filter_ram)
        m.d.comb += [
            compute.filter_filled.eq(filters.filled),
            compute.ifmap_filled.eq(ifmap.filled),
            *(unit.freed.eq(compute.freed) for unit in (filters, ifmap)),
            compute.psum_freed.eq(post.psum_freed),
            post.psum_filled.eq(compute.psum_filled),
            *(getattr(pe, name).eq(getattr(compute, name)) for name in (
                "mac", "filter_word", "ifmap_byte", "depthwise", "capture", "first", "pixel",
            )),
            compute.serial.eq(pe.serial),
            pe.drain.eq(post.drain),
            pe.drain_psum.eq(post.drain_psum),
            post.drained.eq(pe.drained),
            post.psum.eq(pe.psum),
        ]  # fmt: skip
        return m

    def _bus(self, m, front, dma):
        """One read at a time: fetch's or LOAD's."""
        for name in ("aw", "w", "b"):
            channel = getattr(self, name)
            wiring.connect(m, getattr(dma, name), wiring.flipped(channel))
        m.d.comb += [
            self.ar.valid.eq(front.ar.valid | dma.ar.valid),
            self.ar.payload.id.eq(Mux(front.reading, FETCH_ID, LOAD_ID)),
            self.ar.payload.addr.eq(Mux(front.reading, front.ar.payload.addr, dma.ar.payload.addr)),
            self.ar.payload.len.eq(Mux(front.reading, front.ar.payload.len, dma.ar.payload.len)),
            self.r.ready.eq(front.r.ready | dma.r.ready),
        ]
        for client, mine in ((front, front.reading), (dma, ~front.reading)):
            m.d.comb += [
                client.ar.ready.eq(self.ar.ready),
                client.r.valid.eq(self.r.valid & mine),
                *(getattr(client.r.payload, n).eq(getattr(self.r.payload, n)) for n in ("data", "resp", "last")),
            ]

    def _memories(self, m, dma, filters, ifmap, post, pe, act, filter_ram):
        """The two memories of the global buffer: STORE reads before IFMAP, LOAD writes before POST."""
        config = self.config
        m.d.comb += [
            act.read_address.eq(Mux(dma.act_read, dma.buffer, ifmap.address)),
            ifmap.grant.eq(~dma.act_read),
            dma.act_data.eq(act.read_data),
            post.grant.eq(~dma.act_write),
            act.write_address.eq(Mux(dma.act_write, dma.buffer, post.address)),
            act.write_data.eq(Mux(dma.act_write, dma.data, Cat([post.byte] * config.lanes))),
            act.write_enable.eq(Mux(dma.act_write, ~Const(0, config.lanes), Mux(post.write, 1 << post.lane, 0))),
            filter_ram.write_enable.eq(dma.filter_write),
            filter_ram.write_address.eq(dma.buffer),
            filter_ram.write_data.eq(dma.data),
            filter_ram.read_address.eq(filters.address),
            pe.filter_write.eq(filters.write),
            pe.filter_entry.eq(filters.entry),
            pe.filter_data.eq(filter_ram.read_data),
            pe.ifmap_write.eq(ifmap.write),
            pe.ifmap_entry.eq(ifmap.entry),
            pe.ifmap_data.eq(Mux(ifmap.pad, ifmap.pad_byte.replicate(config.lanes), act.read_data)),
            *(getattr(post, name).eq(getattr(dma, name)) for name in ("param_write", "param_item", "param_address")),
        ]

