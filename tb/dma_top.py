"""LOAD and STORE with what they need around them, as a machine of its own that copies memory."""

from amaranth import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from rowcast.axi import ReadArbiter, join_manager, manager_ports
from rowcast.buffer import BankedMemory
from rowcast.dispatch import Dispatch
from rowcast.dma_load import LoadUnit
from rowcast.dma_store import StoreUnit
from rowcast.fetch import Fetch
from rowcast.interfaces import INDEX_BITS, param_layout

__all__ = ["DmaTop"]

_ADDRESSES = ("program_base", "data_base", "read_base", "read_limit", "write_base", "write_limit")


class DmaTop(wiring.Component):
    """Fetch, dispatch, LOAD, STORE, the activation memory and the read arbiter, with flat ports.

    Members
    -------
    m_axi_* : AXI4 manager.
    start, stop, clear : as run control drives them.
    program_length, and addresses as in the host's registers.
    param_valid, param_ready, param_address, param_data : words for the PARAM space.
    filter_request, filter_grant, filter_address, filter_data, filter_mask : writes to the filter memory.
    quiet : no instruction is queued or at work.  idle : nothing is under way on AXI.
    error_valid, error_code, error_index : the first unit that reports one.
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **manager_ports(config),
                **dict.fromkeys(("start", "stop", "clear", "param_ready", "filter_grant"), In(1)),
                **dict.fromkeys(_ADDRESSES, In(config.address_width)),
                "program_length": In(32),
                **dict.fromkeys(("param_valid", "filter_request", "quiet", "idle", "error_valid"), Out(1)),
                "param_address": Out(20),
                "param_data": Out(param_layout(config)["data"].width),
                "filter_address": Out(20),
                "filter_data": Out(config.dram_bytes * 8),
                "filter_mask": Out(config.dram_words),
                "error_code": Out(4),
                "error_index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        fetch, dispatch, load, store = Fetch(config), Dispatch(config), LoadUnit(config), StoreUnit(config)
        act = BankedMemory(
            config, words=config.act_words, banks=config.act_banks,
            reads=(config.dram_words,), writes=(config.dram_words,),
        )  # fmt: skip
        m.submodules.arbiter = arbiter = ReadArbiter(config)
        for name, unit in (("fetch", fetch), ("dispatch", dispatch), ("load", load), ("store", store), ("act", act)):
            m.submodules[name] = ResetInserter(self.clear)(unit)
        wiring.connect(m, fetch.o, dispatch.i)
        wiring.connect(m, dispatch.o_load, load.i)
        wiring.connect(m, dispatch.o_store, store.i)
        wiring.connect(m, fetch.ar, arbiter.fetch_ar)
        wiring.connect(m, arbiter.fetch_r, fetch.r)
        wiring.connect(m, load.ar, arbiter.load_ar)
        wiring.connect(m, arbiter.load_r, load.r)
        wiring.connect(m, load.act_write, act.writes[0])
        wiring.connect(m, store.act_read, act.reads[0])
        m.d.comb += join_manager(config, self, ar=arbiter.ar, r=arbiter.r, aw=store.aw, w=store.w, b=store.b)
        m.d.comb += [
            fetch.start.eq(self.start),
            dispatch.start.eq(self.start),
            *(unit.stop.eq(self.stop) for unit in (fetch, dispatch, load, store)),
            *(unit.data_base.eq(self.data_base) for unit in (load, store)),
            fetch.program_base.eq(self.program_base),
            fetch.program_length.eq(self.program_length),
            *(unit.window_base.eq(self.read_base) for unit in (fetch, load)),
            *(unit.window_limit.eq(self.read_limit) for unit in (fetch, load)),
            store.window_base.eq(self.write_base),
            store.window_limit.eq(self.write_limit),
            dispatch.signals[0].eq(load.signal),
            dispatch.signals[1].eq(store.signal),
            self.param_valid.eq(load.param.valid),
            self.param_address.eq(load.param.payload.address),
            self.param_data.eq(load.param.payload.data),
            load.param.ready.eq(self.param_ready),
            self.filter_request.eq(load.filter_write.request),
            self.filter_address.eq(load.filter_write.address),
            self.filter_data.eq(load.filter_write.data),
            self.filter_mask.eq(load.filter_write.mask),
            load.filter_write.grant.eq(self.filter_grant),
            self.idle.eq(fetch.idle & load.idle & store.idle),
            self.quiet.eq(dispatch.ended & dispatch.empty & ~load.busy & ~store.busy & self.idle),
        ]
        for unit in (fetch, store, load, dispatch):  # the last one goes first
            with m.If(unit.error.valid):
                m.d.comb += [
                    self.error_valid.eq(1), self.error_code.eq(unit.error.code), self.error_index.eq(unit.error.index),
                ]  # fmt: skip
        return m
