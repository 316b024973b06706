"""The FILTER unit: sends the filters of a pass to the PEs, in the order in which they stand in the filter memory."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .halves import count_halves
from .interfaces import GLB_READ_LATENCY, flit_layout, payload_layout, read_port, unit_ports
from .isa import FORMATS, TOKEN_UNITS
from .loops import LoopNest
from .registers import Error

__all__ = ["FilterUnit"]


class FilterUnit(wiring.Component):
    """Run FILTER_ID and FILTER_RUN: read the filter memory upwards and stamp tags and scratchpad entries.

    A FILTER_RUN sends, for each chunk, row group, column group and flit, the next `noc_words` words to `row_tag` =
    row group, `column_tag` = column group, `entry` = flit in the current half.  A chunk starts when a half is free
    and ends in the other half; halves alternate over all chunks of all runs, starting with 0.  A FILTER_ID is one
    `config` flit.

    Throughput: one flit a cycle while reads are granted and halves are free, over groups and chunks; a cycle between instructions.
    Latency: GLB_READ_LATENCY cycles from a granted read to its flit, 2 from an accepted instruction to its first
    request.  `signal` pulses in the cycle after the last read of a run was granted (or after a FILTER_ID was sent):
    from then on its words may be overwritten.  `filled` pulses NETWORK_LATENCY cycles after `o_valid` of a chunk's
    last flit.  `busy` lasts from the accepted instruction to the end of that.

    Parameters
    ----------
    config : Config

    Members
    -------
    i, signal, busy, error : see `unit_ports`.  Errors: OPCODE; FIELD (a count of 0, more flits than half a scratchpad
        has entries, more groups than tags, a buffer address that is not a multiple of noc_words, a PE outside the
        array, an ID wider than a tag); BUFFER_RANGE (a word after the end of the filter memory).
    read : read client of `noc_words` words.
    o_valid, o : `flit_layout`, to the filter network; never waits.
    freed : pulses when COMPUTE has finished with a half.
    filled : pulses when a half is complete in the scratchpads.
    waiting : there is a flit to send, and it waits for nothing but a free half.
    flit : pulses with every flit that carries filters.
    """

    NETWORK_LATENCY = 5  # from `o_valid` until COMPUTE may address the words: Y bus, X bus, PE, write, and one to spare

    i: stream.Interface
    signal: Signal
    busy: Signal
    error: wiring.PureInterface
    read: wiring.PureInterface
    o_valid: Signal
    o: data.View
    freed: Signal
    filled: Signal
    waiting: Signal
    flit: Signal

    def __init__(self, config):
        self.config = config
        self.half_entries = config.filter_words // config.noc_words // 2
        super().__init__(
            {
                **unit_ports(),
                "read": Out(read_port(config, config.noc_words)),
                "o_valid": Out(1),
                "o": Out(flit_layout(config, config.filter_words)),
                "freed": In(1),
                "filled": Out(1),
                "waiting": Out(1),
                "flit": Out(1),
            }
        )

    def _job_layout(self):
        """An instruction after its fields were checked, cut to the widths that the configuration needs."""
        tag = self.config.tag_width
        return data.StructLayout(
            {
                "config": 1,
                "row": tag,  # `config`: place of the PE, and IDs
                "column": tag,
                "ids": 2 * tag,
                "counts": data.StructLayout(
                    {
                        "flits": ceil_log2(self.half_entries) + 1,
                        "columns": tag + 1,
                        "rows": tag + 1,
                        "chunks": 12,
                    }
                ),
                "singles": 4,  # which counts are 1
                "far": 1,  # the first word lies outside the memory
                "signal": TOKEN_UNITS,
                "index": self.i.payload.index.shape(),
                "code": 4,  # what is wrong with it
            }
        )

    def _decode(self, m, job):
        """The job in the instruction at `i`, and the address of its first word."""
        config, instruction = self.config, self.i.payload
        ident = data.View(payload_layout("FILTER_ID"), instruction.payload[: payload_layout("FILTER_ID").size])
        run = data.View(payload_layout("FILTER_RUN"), instruction.payload[: payload_layout("FILTER_RUN").size])
        tag, tags = config.tag_width, 1 << config.tag_width
        m.d.comb += [
            job.row.eq(ident.row),
            job.column.eq(ident.column),
            job.ids.eq(Cat(ident.row_id[:tag], ident.column_id[:tag])),
            job.counts.flits.eq(run.flits),
            job.counts.columns.eq(run.groups_column),
            job.counts.rows.eq(run.groups_row),
            job.counts.chunks.eq(run.chunks),
            job.singles.eq(Cat(count == 1 for count in (run.flits, run.groups_column, run.groups_row, run.chunks))),
            job.far.eq(run.buffer[ceil_log2(config.filter_buffer_words) :].any()),
            job.signal.eq(instruction.signal),
            job.index.eq(instruction.index),
        ]
        with m.Switch(instruction.opcode):
            with m.Case(FORMATS["FILTER_ID"].opcode):
                m.d.comb += job.config.eq(1)
                outside = (ident.row >= config.rows) | (ident.column >= config.columns)
                with m.If(outside | (ident.row_id >= tags) | (ident.column_id >= tags)):
                    m.d.comb += job.code.eq(Error.FIELD)
            with m.Case(FORMATS["FILTER_RUN"].opcode):
                none = (run.flits == 0) | (run.groups_column == 0) | (run.groups_row == 0) | (run.chunks == 0)
                many = (run.flits > self.half_entries) | (run.groups_column > tags) | (run.groups_row > tags)
                unaligned = run.buffer[: ceil_log2(config.noc_words)].any()
                with m.If(none | many | unaligned):
                    m.d.comb += job.code.eq(Error.FIELD)
            with m.Default():
                m.d.comb += job.code.eq(Error.OPCODE)
        return run.buffer

    def elaborate(self, platform):
        m = Module()
        config, layout = self.config, self._job_layout()
        address_bits = ceil_log2(config.filter_buffer_words)

        # The next instruction, decoded; then the one at work.
        decoded = Signal(layout)
        buffer = self._decode(m, decoded)
        next_valid = Signal()
        valid = Signal()
        next_job = Signal(layout, reset_less=True)
        job = Signal(layout, reset_less=True)
        next_address = Signal(address_bits, reset_less=True)
        load = Signal()
        done = Signal()
        good = Signal(reset_less=True)
        idle = Signal(init=1)  # the opposite of `valid`
        ready = Signal(init=1)  # the opposite of `next_valid`: a register of its own, for it has many to serve
        m.d.comb += self.i.ready.eq(ready)
        with m.If(ready):
            m.d.sync += [ready.eq(~self.i.valid), next_valid.eq(self.i.valid), next_job.eq(decoded), next_address.eq(buffer), good.eq(decoded.code == 0)]
        with m.Elif(load):
            m.d.sync += [next_valid.eq(0), ready.eq(1)]
        m.d.comb += load.eq(next_valid & good & ~self.error.valid & ~valid)
        with m.If(idle):  # what is not valid may be anything
            m.d.sync += job.eq(next_job)
        with m.If(load):
            m.d.sync += [valid.eq(1), idle.eq(0)]
        with m.Elif(done):
            m.d.sync += [valid.eq(0), idle.eq(1)]

        # The loops.  They restart from `job` within a run, and from `next_job` when the next one is loaded.
        fields = ("flits", "columns", "rows", "chunks")
        m.submodules.nest = nest = LoopNest([layout["counts"].shape[name].width for name in fields], ahead=True)
        for count, name in zip(nest.counts, fields, strict=True):
            m.d.comb += count.eq(Mux(valid, job.counts[name], next_job.counts[name]))
        m.d.comb += [nest.start.eq(load), nest.fresh.eq(~valid), nest.singles.eq(Mux(valid, job.singles, next_job.singles))]

        # One turn: the request, or at once if there is nothing to read.
        address = Signal(address_bits + 1, reset_less=True)  # one bit more: behind the end
        row = Signal(config.tag_width)
        column = Signal(config.tag_width)
        entry = Signal(range(self.half_entries))
        half = Signal()
        chunk_starts = Signal(init=1)
        halves = Signal(2, init=2)  # free ones
        free = Signal(init=1)  # there are some
        run = Signal()
        step = Signal()
        in_range = Signal()  # a turn with an address inside
        able = Signal(init=1)  # there is a half, or none is needed
        m.d.comb += [
            run.eq(valid & ~job.config & ~self.error.valid),
            self.waiting.eq(run & ~able),
            self.read.request.eq(in_range & able),
            self.read.address.eq(address),
            step.eq(self.read.request & self.read.grant),
            nest.step.eq(step),
            done.eq((step & nest.last) | (valid & job.config)),
        ]
        m.d.sync += count_halves(halves, free, up=self.freed, down=step & chunk_starts)
        end = Signal(len(address))  # behind the end if this is the last address
        m.d.comb += end.eq(address + config.noc_words)
        with m.If(load):
            m.d.sync += in_range.eq(~(next_job.config | next_job.far))
        with m.Elif(step):
            m.d.sync += in_range.eq(~(nest.last | end[-1]))
        later = Mux(chunk_starts, halves[1], free)  # halves that are left after this turn
        m.d.sync += able.eq(self.freed | Mux(step, ~nest.inner_last[3] | later, ~chunk_starts | free))
        with m.If(step):
            m.d.sync += [
                address.eq(end),
                chunk_starts.eq(nest.inner_last[3]),
                half.eq(half ^ nest.inner_last[3]),
                entry.eq(Mux(nest.inner_last[1], 0, entry + 1)),
            ]
            with m.If(nest.inner_last[1]):
                m.d.sync += column.eq(Mux(nest.inner_last[2], 0, column + 1))
            with m.If(nest.inner_last[2]):
                m.d.sync += row.eq(Mux(nest.inner_last[3], 0, row + 1))
        with m.If(idle):
            m.d.sync += address.eq(next_address)
        m.d.sync += self.signal.eq(Mux(done, job.signal, 0))

        sent = Signal()  # a flit set out on its way, config flits too
        m.d.comb += sent.eq(step | (valid & job.config))
        on_way = self._elaborate_output(m, sent, job, row, column, Cat(entry, half), nest.inner_last[3])
        m.d.comb += self.busy.eq(next_valid | valid | on_way)

        with m.If(~self.error.valid):
            with m.If(run & ~in_range):
                m.d.sync += [
                    self.error.valid.eq(1), self.error.code.eq(Error.BUFFER_RANGE), self.error.index.eq(job.index)
                ]  # fmt: skip
            with m.Elif(next_valid & ~good & ~valid):
                m.d.sync += [
                    self.error.valid.eq(1), self.error.code.eq(next_job.code), self.error.index.eq(next_job.index)
                ]  # fmt: skip
        return m

    def _elaborate_output(self, m, sent, job, row, column, entry, chunk_ends):
        """What accompanies a read to its data; returns whether anything is on its way."""
        layout = data.StructLayout(
            {
                "config": 1,
                "row": row.shape(),
                "column": column.shape(),
                "entry": len(entry),
                "own": job.ids.shape(),
            }
        )
        valids = Signal(GLB_READ_LATENCY)
        ends = Signal(GLB_READ_LATENCY + self.NETWORK_LATENCY)
        m.d.sync += [
            valids.eq(Cat(sent, valids)),
            ends.eq(Cat(sent & ~job.config & chunk_ends, ends)),
        ]
        stages = [Signal(layout, name=f"stage{i}", reset_less=True) for i in range(GLB_READ_LATENCY)]
        m.d.sync += [
            stages[0].config.eq(job.config),
            stages[0].row.eq(Mux(job.config, job.row, row)),
            stages[0].column.eq(Mux(job.config, job.column, column)),
            stages[0].entry.eq(entry),
            stages[0].own.eq(Mux(job.config, job.ids, 0)),
            *(after.eq(before) for before, after in zip(stages, stages[1:])),
        ]
        last = stages[-1]
        m.d.comb += [
            self.o_valid.eq(valids[-1]),
            self.o.config.eq(last.config),
            self.o.row_tag.eq(last.row),
            self.o.column_tag.eq(last.column),
            self.o.entry.eq(last.entry),
            self.o.data.eq(self.read.data | last.own),  # nothing is read for an ID
            self.filled.eq(ends[-1]),
            self.flit.eq(self.o_valid & ~last.config),
        ]
        return valids.any() | ends.any()
