"""Memory on the chip behind the memory bus: block RAM, or the large single-port RAMs of an iCE40 UltraPlus."""

from amaranth import Cat, ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..axi import ID_WIDTH, OKAY
from ..host import SLVERR
from .bus import memory_signature

__all__ = ["BlockStore", "OnChipMemory", "SPRAM_BYTES", "SpramStore"]

PAGE = 4096
SPRAM_BYTES = 128 * 1024  # all four of a UP5K
SPRAM_WORDS = 16384  # of two bytes, in each


def _store_members(beat_bytes, depth):
    address = max(1, ceil_log2(depth))
    return {
        "read": In(1), "read_address": In(address), "read_data": Out(8 * beat_bytes),
        "write": In(1), "write_address": In(address), "write_data": In(8 * beat_bytes), "write_strobe": In(beat_bytes),
    }  # fmt: skip


class BlockStore(wiring.Component):
    """Block RAM with byte enables, read and written at the same time.

    `read_data` is the word of a `read` one cycle later, and only then; what is written to it in the same cycle may or
    may not be in it.

    Parameters
    ----------
    beat_bytes, depth : bytes in a word, words.
    """

    SHARED = False  # one access a cycle, not a read and a write

    def __init__(self, *, beat_bytes, depth):
        self.memory = Memory(shape=8 * beat_bytes, depth=depth, init=[], attrs={"no_rw_check": 1, "ram_style": "block"})
        super().__init__(_store_members(beat_bytes, depth))

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        read, write = self.memory.read_port(domain="comb"), self.memory.write_port(granularity=8)
        m.d.comb += [
            read.addr.eq(self.read_address),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_strobe & self.write.replicate(len(self.write_strobe))),
        ]
        data = Signal.like(self.read_data, reset_less=True)
        m.d.sync += data.eq(read.data)
        m.d.comb += self.read_data.eq(data)
        return m


class SpramStore(wiring.Component):
    """All four SB_SPRAM256KA of an iCE40UP5K: 128 KB, a read or a write a cycle.

    As `BlockStore` but for that.  Without a platform, so in Amaranth's simulator, a memory that does the same stands in
    their place, and gives nonsense after a cycle without a read.

    Parameters
    ----------
    beat_bytes : 2, 4 or 8.
    """

    SHARED = True

    def __init__(self, *, beat_bytes):
        if beat_bytes not in (2, 4, 8):
            raise ValueError(f"beat_bytes must be 2, 4 or 8 (four RAMs of 2 bytes), not {beat_bytes!r}")
        self.across = beat_bytes // 2
        depth = SPRAM_BYTES // beat_bytes
        self.twin = Memory(shape=8 * beat_bytes, depth=depth, init=[])
        super().__init__(_store_members(beat_bytes, depth))

    def elaborate(self, platform):
        m = Module()
        address = Signal.like(self.read_address)
        m.d.comb += address.eq(Mux(self.write, self.write_address, self.read_address))
        if platform is None:
            self._twin(m, address)
        else:
            self._instances(m, address)
        return m

    def _twin(self, m, address):
        m.submodules.twin = self.twin
        read, write = self.twin.read_port(), self.twin.write_port(granularity=8)
        good = Signal()
        m.d.sync += good.eq(self.read & ~self.write)
        m.d.comb += [
            read.addr.eq(address),
            write.addr.eq(address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_strobe & self.write.replicate(len(self.write_strobe))),
            self.read_data.eq(Mux(good, read.data, ~read.data)),
        ]

    def _instances(self, m, address):
        """`across` of them make a word; the address's upper bits choose among such rows."""
        self.twin._MustUse__used = True  # Amaranth warns of what is made and never elaborated
        low, words = exact_log2(SPRAM_WORDS), []
        row = address[low:]
        for number in range(4 // self.across):
            chosen, word = Signal(name=f"chosen{number}"), []
            m.d.comb += chosen.eq((self.read | self.write) & (row == number))
            for i in range(self.across):
                data = Signal(16, name=f"data{number}_{i}")
                strobe = self.write_strobe[2 * i : 2 * i + 2]
                m.submodules[f"ram{number}_{i}"] = Instance(
                    "SB_SPRAM256KA",
                    i_CLOCK=ClockSignal(),
                    i_ADDRESS=address[:low],
                    i_DATAIN=self.write_data[16 * i : 16 * i + 16],
                    i_MASKWREN=Cat(strobe[0].replicate(2), strobe[1].replicate(2)),  # a bit for 4 bits of data
                    i_WREN=self.write,
                    i_CHIPSELECT=chosen,
                    i_STANDBY=Const(0, 1),
                    i_SLEEP=Const(0, 1),
                    i_POWEROFF=Const(1, 1),  # active low
                    o_DATAOUT=data,
                )
                word.append(data)
            words.append(Cat(word))
        value = words[0]
        if len(words) > 1:
            last_row = Signal(range(len(words)))
            m.d.sync += last_row.eq(row)
            for number, other in enumerate(words[1:], 1):
                value = Mux(last_row == number, other, value)
        m.d.comb += self.read_data.eq(value)


class OnChipMemory(wiring.Component):
    """An AXI4 subordinate of a beat a cycle each way, or of one in all if its store is shared.

    A read has its first beat 3 cycles after its address; bursts follow each other without a gap.  Of a shared store
    reads and writes take turns.  A burst outside the memory is answered with SLVERR, and nothing is written.  A read
    that begins after a write was answered sees it.

    Parameters
    ----------
    config : Config
    size : bytes, a multiple of 4 KiB, so that no burst is half inside.
    spram : use the SPRAM of an iCE40UP5K; `size` is then SPRAM_BYTES.

    Members
    -------
    bus : the memory's side of `memory_signature`; byte addresses from 0.
    """

    bus: wiring.PureInterface

    def __init__(self, config, *, size, spram=False):
        if size < PAGE or size % PAGE:
            raise ValueError(f"size must be a multiple of {PAGE} bytes, not {size!r}")
        if spram and size != SPRAM_BYTES:
            raise ValueError(f"size must be {SPRAM_BYTES} bytes with spram, not {size!r}")
        if size >> config.address_width and size != 1 << config.address_width:
            raise ValueError(f"size must be at most 2**address_width ({1 << config.address_width}), not {size!r}")
        self.config, self.size = config, size
        beat = config.dram_bytes
        self.store = SpramStore(beat_bytes=beat) if spram else BlockStore(beat_bytes=beat, depth=size // beat)
        super().__init__({"bus": In(memory_signature(config))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = self.store
        self._low = exact_log2(self.config.dram_bytes)
        read_wanted, write_wanted, read_may, write_may = (Signal(name=name) for name in (
            "read_wanted", "write_wanted", "read_may", "write_may",
        ))  # fmt: skip
        if store.SHARED:
            wrote = Signal()
            m.d.sync += wrote.eq(store.write)
            m.d.comb += [read_may.eq(~write_wanted | wrote), write_may.eq(~read_wanted | ~wrote)]
        else:
            m.d.comb += [read_may.eq(1), write_may.eq(1)]
        self._reads(m, wanted=read_wanted, may=read_may)
        self._writes(m, wanted=write_wanted, may=write_may)
        return m

    def _outside(self, address):
        return address[exact_log2(PAGE) :] >= self.size // PAGE

    def _reads(self, m, *, wanted, may):
        """An address counter, the store's word, a register: a word that is not taken on is read again and again."""
        store, ar, r = self.store, self.bus.ar, self.bus.r
        width = len(store.read_address)
        # the next beat to read
        active = Signal()
        address = Signal(width)
        left = Signal(8)
        number = Signal(ID_WIDTH)
        outside = Signal()
        # the beat that the store shows, if it is `fresh`
        shown = Signal()
        fresh = Signal()
        shown_address = Signal(width)
        shown_last = Signal()
        shown_number = Signal(ID_WIDTH)
        shown_outside = Signal()
        take = Signal()
        free = Signal()
        issue = Signal()
        last = Signal()
        m.d.comb += [
            take.eq(shown & fresh & (~r.valid | r.ready)),
            free.eq(~shown | take),
            wanted.eq(active | ~free),
            store.read.eq(wanted & may),
            store.read_address.eq(Mux(free, address, shown_address)),
            issue.eq(active & free & may),
            last.eq(left == 0),
            ar.ready.eq(~active | (issue & last)),
        ]
        m.d.sync += fresh.eq(store.read)
        with m.If(r.ready):
            m.d.sync += r.valid.eq(0)
        with m.If(take):
            m.d.sync += [
                r.valid.eq(1),
                r.payload.data.eq(store.read_data),
                r.payload.id.eq(shown_number),
                r.payload.last.eq(shown_last),
                r.payload.resp.eq(Mux(shown_outside, SLVERR, OKAY)),
                shown.eq(0),
            ]
        with m.If(issue):
            m.d.sync += [
                shown.eq(1), shown_address.eq(address), shown_last.eq(last), shown_number.eq(number),
                shown_outside.eq(outside), address.eq(address + 1), left.eq(left - 1),
            ]  # fmt: skip
        with m.If(ar.ready):
            m.d.sync += [
                active.eq(ar.valid), address.eq(ar.payload.addr[self._low :]), left.eq(ar.payload.len),
                number.eq(ar.payload.id), outside.eq(self._outside(ar.payload.addr)),
            ]  # fmt: skip

    def _writes(self, m, *, wanted, may):
        """Beats go straight into the store; the answer follows the last one."""
        store, aw, w, b = self.store, self.bus.aw, self.bus.w, self.bus.b
        active = Signal()
        outside = Signal()
        take = Signal()
        address = Signal.like(store.write_address)
        m.d.comb += [
            wanted.eq(active & w.valid & ~b.valid),
            w.ready.eq(active & ~b.valid & may),
            take.eq(w.valid & w.ready),
            store.write.eq(take & ~outside),
            store.write_address.eq(address),
            store.write_data.eq(w.payload.data),
            store.write_strobe.eq(w.payload.strb),
            aw.ready.eq(~active | (take & w.payload.last)),
        ]
        with m.If(b.ready):
            m.d.sync += b.valid.eq(0)
        with m.If(take):
            m.d.sync += address.eq(address + 1)
            with m.If(w.payload.last):
                m.d.sync += [b.valid.eq(1), b.payload.resp.eq(Mux(outside, SLVERR, OKAY))]
        with m.If(aw.ready):
            m.d.sync += [
                active.eq(aw.valid), address.eq(aw.payload.addr[self._low :]), outside.eq(self._outside(aw.payload.addr)),
            ]  # fmt: skip
