"""Everything between the program and memory: the units, their queues, the global buffer and the PE array, wired."""

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .array_core import PEArray
from .axi import read_channels, write_channels
from .buffer import BankedMemory
from .compute import ComputeUnit
from .counters import EVENTS, CauseEncoder, event_width
from .dispatch import Dispatch
from .dma_load import LoadUnit
from .dma_store import StoreUnit
from .feeder_filter import FilterUnit
from .feeder_ifmap import IfmapUnit
from .fetch import fetched_layout
from .interfaces import unit_error
from .isa import Unit
from .post import PostUnit
from .registers import CAUSES

__all__ = ["Engine"]

ERROR_SOURCES = ("dispatch", "load", "store", "filter", "ifmap", "post", "compute")  # the most important first


class Engine(wiring.Component):
    """Executes the instructions that arrive at `i`.  All of it is reset by the soft reset.

    Parameters
    ----------
    config : Config

    Members
    -------
    start : strobe before a run.
    stop : begin nothing new on AXI, hand no instruction on.
    clear : up while the engine is being reset; reaches the modules that a `ResetInserter` does not.
    i : instructions from fetch.
    ar, r, aw, w, b : AXI channels of LOAD and STORE.
    data_base, read_base, read_limit, write_base, write_limit : from the host's registers.
    ended : END was dispatched.  quiet : nothing is queued or at work.  axi_idle : nothing is under way on AXI.
    errors : reports, the most important first.
    queues, units : what the registers QUEUES and UNITS show.
    layer : last MARK.
    cause : index in `registers.CAUSES`, of the previous cycle.
    count_<name> : events of this cycle for `Counters`.
    """

    start: Signal
    stop: Signal
    clear: Signal
    i: stream.Interface
    ended: Signal
    quiet: Signal
    axi_idle: Signal
    errors: list
    queues: Signal
    units: Signal
    layer: Signal
    cause: Signal

    # Events that this block sees; fetch's are added at the top.
    EVENTS = tuple(name for name in EVENTS if name not in ("read_beats",))

    def __init__(self, config):
        self.config = config
        windows = ("data_base", "read_base", "read_limit", "write_base", "write_limit")
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "clear": In(1),
                "i": In(stream.Signature(fetched_layout())),
                **read_channels(config),
                **write_channels(config),
                **dict.fromkeys(windows, In(config.address_width)),
                "ended": Out(1),
                "quiet": Out(1),
                "axi_idle": Out(1),
                "errors": Out(unit_error()).array(len(ERROR_SOURCES)),
                "queues": Out(4 * 6),
                "units": Out(8 + 5),
                "layer": Out(16),
                "cause": Out(range(len(CAUSES))),
                **{f"count_{name}": Out(event_width(config, name)) for name in self.EVENTS},
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.dispatch = self.dispatch = Dispatch(config)
        m.submodules.load = self.load = LoadUnit(config)
        m.submodules.store = self.store = StoreUnit(config)
        m.submodules.filter = self.filter = FilterUnit(config)
        m.submodules.ifmap = self.ifmap = IfmapUnit(config)
        m.submodules.post = self.post = PostUnit(config)
        m.submodules.compute = self.compute = ComputeUnit(config)
        m.submodules.array = self.array = PEArray(config)
        # STORE reads before IFMAP: it needs few words, and IFMAP stays in one bank for a whole window when a pixel's words
        # are a multiple of the banks (depthwise), which left STORE a word in 48 cycles.  Results are written before loads.
        m.submodules.act = self.act = BankedMemory(
            config, words=config.act_words, banks=config.act_banks,
            reads=(config.dram_words, config.noc_words), writes=(*([1] * config.drain_writers), config.dram_words),
        )  # fmt: skip
        m.submodules.filters = self.filters = BankedMemory(
            config, words=config.filter_buffer_words, banks=config.filter_banks,
            reads=(config.noc_words,), writes=(config.dram_words,),
        )  # fmt: skip
        self._connect_instructions(m)
        self._connect_memory(m)
        self._connect_buffer(m)
        self._connect_array(m)
        self._connect_status(m)
        return m

    def _units(self):
        return (self.load, self.store, self.filter, self.ifmap, self.post, self.compute)

    def _connect_instructions(self, m):
        dispatch = self.dispatch
        wiring.connect(m, wiring.flipped(self.i), dispatch.i)
        m.d.comb += [dispatch.start.eq(self.start), dispatch.stop.eq(self.stop)]
        for unit, component in zip(Unit, self._units()):
            wiring.connect(m, getattr(dispatch, f"o_{unit.name.lower()}"), component.i)
        for signals, component in zip(dispatch.signals, self._units()):
            m.d.comb += signals.eq(component.signal)

    def _connect_memory(self, m):
        load, store = self.load, self.store
        for name in ("ar", "aw", "w"):
            wiring.connect(m, getattr(load if name == "ar" else store, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, wiring.flipped(self.r), load.r)
        wiring.connect(m, wiring.flipped(self.b), store.b)
        for unit, window in ((load, "read"), (store, "write")):
            m.d.comb += [
                unit.stop.eq(self.stop),
                unit.data_base.eq(self.data_base),
                unit.window_base.eq(getattr(self, f"{window}_base")),
                unit.window_limit.eq(getattr(self, f"{window}_limit")),
            ]
        wiring.connect(m, load.param, self.post.param)

    def _connect_buffer(self, m):
        act, filters = self.act, self.filters
        store_port, ifmap_port = act.reads
        *post_ports, load_port = act.writes
        wiring.connect(m, self.ifmap.read, ifmap_port)
        wiring.connect(m, self.store.act_read, store_port)
        wiring.connect(m, self.load.act_write, load_port)
        for port, writer in zip(post_ports, self.post.writes, strict=True):
            wiring.connect(m, writer, port)
        wiring.connect(m, self.filter.read, filters.reads[0])
        wiring.connect(m, self.load.filter_write, filters.writes[0])

    def _connect_array(self, m):
        array, compute, post = self.array, self.compute, self.post
        wiring.connect(m, self.ifmap.vector, post.vector)
        for name, feeder in (("filter", self.filter), ("ifmap", self.ifmap)):
            m.d.comb += [
                getattr(array, f"{name}_valid").eq(feeder.o_valid),
                getattr(array, f"{name}_flit").eq(feeder.o),
                getattr(compute, f"{name}_filled").eq(feeder.filled),
                feeder.freed.eq(getattr(compute, f"{name}_freed")),
            ]
        m.d.comb += [
            array.control.eq(compute.control),
            post.psum_soon.eq(array.o_soon),
            *(there.eq(here) for there, here in zip(post.psum, array.o_psum, strict=True)),
            post.psum_filled.eq(compute.psum_filled),
            compute.psum_freed.eq(post.psum_freed),
            compute.drain.eq(post.drain),
            compute.drain_row.eq(post.drain_row),
            compute.drain_psum.eq(post.drain_psum),
            post.drain_ready.eq(compute.drain_ready),
            post.clear.eq(self.clear),
            post.start.eq(self.start),
        ]

    def _connect_status(self, m):
        dispatch, units = self.dispatch, self._units()
        m.submodules.causes = causes = CauseEncoder()
        busy = Signal(len(units))
        sources = {"dispatch": dispatch, "load": self.load, "store": self.store, "filter": self.filter,
                   "ifmap": self.ifmap, "post": self.post, "compute": self.compute}  # fmt: skip
        for report, name in zip(self.errors, ERROR_SOURCES):
            wiring.connect(m, sources[name].error, wiring.flipped(report))
        m.d.comb += [bit.eq(unit.busy) for bit, unit in zip(busy, units)]
        m.d.comb += [
            self.ended.eq(dispatch.ended),
            self.quiet.eq(dispatch.empty & ~busy.any()),
            self.axi_idle.eq(self.load.idle & self.store.idle),
            self.queues.eq(dispatch.levels),
            self.units.eq(busy),
            self.units[8:].eq(dispatch.waiting),
            self.layer.eq(self.post.layer),
            *(getattr(causes, name).eq(self.compute.cause == CAUSES.index(cause)) for name, cause in (
                ("computing", "computing"), ("wait_filter", "filters"), ("wait_ifmap", "ifmap"), ("wait_psum", "drain"),
            )),
            causes.filter_missing.eq(dispatch.missing[Unit.FILTER]),
            causes.ifmap_missing.eq(dispatch.missing[Unit.IFMAP]),
            causes.post_missing.eq(dispatch.missing[Unit.POST]),
            causes.vector.eq(self.post.vector_run),
            causes.post_busy.eq(self.post.busy),
            causes.load_busy.eq(self.load.busy),
            causes.store_busy.eq(self.store.busy),
            self.cause.eq(causes.cause),
        ]  # fmt: skip
        self._connect_counts(m)

    def _connect_counts(self, m):
        events = {
            "mac_cycles": self.compute.mac_cycle,
            "filter_flits": self.filter.flit,
            "ifmap_flits": self.ifmap.flit,
            "psums": self.post.psums,
            "act_reads": self.act.read_count,
            "act_writes": self.act.write_count,
            "filter_reads": self.filters.read_count,
            "filter_writes": self.filters.write_count,
            "write_beats": self.w.valid & self.w.ready,
            "instructions": self.dispatch.dispatched,
        }
        m.d.comb += [getattr(self, f"count_{name}").eq(events[name]) for name in self.EVENTS]
