"""The POST unit: from psums, or from words of the IFMAP feeder, to output words in the activation memory."""

from functools import reduce
from operator import and_, or_

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from . import hierarchy, isa
from .interfaces import INDEX_BITS, param_layout, payload_layout, unit_ports, vector_layout, write_port
from .loops import LoopNest
from .params import ParamLoader
from .post_column import ADDRESS_BITS, PostColumn, job_layout, settings_layout
from .post_decode import FORMATS, PostDecoder
from .registers import Error
from .vector import VectorFront

__all__ = ["PostUnit"]

_LANE, _X, _Y, _ROW = range(4)  # levels of the loop nests


def _run_layout(config):
    """A POST_RUN that was accepted."""
    return data.StructLayout(
        {
            "buffer": 20,
            "slot": 10,
            "rows": range(config.rows + 1),
            "single_row": 1,
            "by_count": 1,
            "more_words": range(max(2, config.vector_words)),
            "index": INDEX_BITS,
        }
    )


class PostUnit(wiring.Component):
    """Executes POST_PE, POST_SET, POST_LOOP, POST_RUN and MARK.

    A window's result is `more_words` + 1 words, which go to as many columns in one cycle and to consecutive addresses.

    Two loop nests follow each other through a run.  The *issue* nest sends drain commands (DRAIN), or counts windows
    into the vector unit (else); the *arrive* nest advances with the psums, or with the results, and knows where they
    go.  So the way through the array may be of any length, at least 2 cycles.  A word is drained only when every column
    has reserved room for it.

    A DRAIN run may start while the words of the one before are on their way: `rows` cycles (of the array) after its
    last drain, so that no two psums meet in a chain.  At most two runs are under way; tokens are given in order, each
    when the run's last word has been granted.  An instruction is decoded in the cycle after it was taken, so that one
    is taken every second cycle at most.  POST_PE and POST_LOOP wait until all psums are there; POST_SET, MARK,
    other sources and all that signals wait until no run is under way.

    Members
    -------
    i, signal, busy, error : see `unit_ports`.  Errors: OPCODE; FIELD (a count of 0, rows of 0 or more than the array
        has, a PE outside the array, an unknown source, more words than `vector_words`, more pixels than a psum half
        has); BUFFER_RANGE (an output word outside the activation memory, a channel outside the parameter memory).
    clear : the soft reset; it reaches everything in here, at whatever place the columns are emitted.
    psum_filled : pulse: a psum half is complete.
    psum_freed : pulse, `FREED` cycles after the last drain of a half was issued.
    drain, drain_row, drain_psum, drain_ready : a drain is issued in a cycle with `drain` and `drain_ready`.  A run's
        first row stands for a cycle before its first drain.
    psum, psum_soon : psums of all columns, in the order of the drains; `psum_soon` is up in the cycle before theirs.
    vector : turns of the IFMAP feeder, taken in a run that wants them; the first waits in a register here.
    param : words of the PARAM space, taken at any time: never those of channels and tables that a run uses.
    writes : a list of `config.drain_writers` write ports; writer w has the columns from w x lanes.
    start : strobe before a run: `layer` is 0 again.
    layer : what the last MARK of the run said.
    psums : counter strobe: a psum of each column.
    vector_run : a run with a vector source is under way.
    """

    FREED = 4  # a drain is at the scratchpads in fewer cycles than the first psum of a pass that begins then
    MAX_RUNS = 2

    clear: Signal
    start: Signal
    drain: Signal
    drain_row: Signal
    drain_psum: Signal
    drain_ready: Signal
    psum_soon: Signal
    psum: list
    psum_filled: Signal
    psum_freed: Signal
    vector: stream.Interface
    param: stream.Interface
    writes: list
    layer: Signal
    psums: Signal

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **unit_ports(),
                "clear": In(1),
                "start": In(1),
                "psum_filled": In(1),
                "psum_freed": Out(1),
                "drain": Out(1),
                "drain_row": Out(max(1, ceil_log2(config.rows))),
                "drain_psum": Out(ceil_log2(config.psum_pixels * config.lanes)),
                "drain_ready": In(1),
                "psum_soon": In(1),
                "psum": In(signed(32)).array(config.columns),
                "vector": In(stream.Signature(vector_layout(config))),
                "param": In(stream.Signature(param_layout(config))),
                "writes": Out(write_port(config, 1)).array(config.drain_writers),
                "layer": Out(16),
                "psums": Out(1),
                "vector_run": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.front = self.front = VectorFront(config)
        m.submodules.loader = loader = ParamLoader(config)
        wiring.connect(m, wiring.flipped(self.param), loader.i)
        self.columns = [PostColumn(config) for _ in range(config.columns)]
        for column in self.columns:
            m.d.comb += column.load.eq(loader.o)
        self._state()
        self._instructions(m)
        self._issue(m)
        self._arrive(m)
        self._place_columns(m)
        self._write(m)
        self._complete(m)
        for j, column in enumerate(self.columns):
            m.submodules[f"column{j}"] = hierarchy.place(column, "rowcast_post_column", platform)
        with m.If(self.start):
            m.d.sync += self.layer.eq(0)
        m.d.comb += [
            self.psums.eq(self.psum_valid),
            self.busy.eq(self.i.valid | self.waits | ~self.idle | self.signal.any()),
            self.vector_run.eq(~self.idle & ~self.is_drain),
        ]
        return ResetInserter(self.clear)(m)

    def _state(self):
        """What the parts of the unit share."""
        config = self.config
        self.settings = Signal(settings_layout())
        self.loop = Signal(payload_layout("POST_LOOP"))
        self.singles = Signal(2)  # counts of 1 in `loop`
        self.run = Signal(_run_layout(config))  # the run that is issued
        self.accept = Signal()  # a POST_RUN
        self.issuing = Signal()
        self.pending = Signal()  # issue has begun, the arrive nest is still at the run before
        self.arriving = Signal()
        self.step_arrive = Signal()  # psums come, or a result goes into columns
        self.last_arrives = Signal()
        self.runs = Signal(range(self.MAX_RUNS + 1))  # accepted and not complete
        self.waits = Signal()  # a decoded instruction
        self.idle = Signal(init=1)  # `runs` is 0
        self.complete = Signal()  # the oldest run
        self.psum_valid = Signal()  # psums come in this cycle
        self.halves = Signal(2)  # psum halves that are filled
        self.drainable = Signal()  # there are some, and the chains are empty enough for another run
        self.is_drain = Signal(init=1)
        self.overflow = Signal()  # more pixels than a psum half has
        self.out_of_range = Signal()
        self.place_writes = Signal(config.columns)
        self.now = Signal(isa.TOKEN_UNITS)  # tokens of an instruction that is not a run

    def _instructions(self, m):
        """Execute the next instruction as soon as it may change what it changes."""
        m.submodules.decoder = decoder = PostDecoder(self.config)
        wiring.connect(m, wiring.flipped(self.i), decoder.i)
        word = self.word = decoder.word
        place, settings, loop, run, mark = (
            data.View(payload_layout(name), word.payload[: payload_layout(name).size]) for name in FORMATS
        )
        still = Signal()
        behind = Signal()
        room = Signal()
        go = Signal()
        not_drain = Signal()  # the opposite of `is_drain`, which has many to serve
        failed = self.error.valid
        m.d.comb += [
            still.eq(~self.issuing & ~self.pending & ~self.arriving),
            # A run behind another one: only drain behind drain, whose settings are the same.
            behind.eq(~not_drain & (self.runs < self.MAX_RUNS) & ~self.pending & ~self.issuing & ~self.complete),
            room.eq((self.idle | behind) & self.drainable),
            go.eq(
                decoder.valid & ~failed
                & ((word.when_idle & self.idle) | (word.when_still & still) | (word.when_room & room))
            ),
            self.accept.eq(go & word.POST_RUN),
        ]  # fmt: skip
        m.d.comb += [decoder.take.eq(go), self.waits.eq(decoder.valid)]
        with m.If(go):
            with m.If(~word.POST_RUN):
                m.d.comb += self.now.eq(word.signal)
            with m.If(word.POST_PE):
                m.d.comb += [strobe.eq(place.column == j) for j, strobe in enumerate(self.place_writes)]
            with m.If(word.POST_SET):
                names = ("mode", "zero_point", "low", "high", "table")
                m.d.sync += [getattr(self.settings, n).eq(getattr(settings, n)) for n in names]
            with m.If(word.POST_LOOP):
                m.d.sync += [self.loop.eq(loop), self.singles.eq(word.singles)]
            with m.If(word.MARK):
                m.d.sync += self.layer.eq(mark.layer)
            with m.If(word.POST_RUN):
                m.d.sync += [
                    self.is_drain.eq(word.drains),
                    not_drain.eq(~word.drains),
                    self.settings.source.eq(run.source),
                    self.run.buffer.eq(run.buffer),
                    self.run.slot.eq(run.slot),
                    self.run.rows.eq(Mux(word.drains, run.rows, 1)),
                    self.run.single_row.eq(word.singles[2]),
                    self.run.by_count.eq(run.by_count),
                    self.run.more_words.eq(Mux(word.drains, 0, run.more_words)),
                    self.run.index.eq(word.index),
                ]
        self.first_row = run.rows - 1  # of the instruction that waits, if it is a drain
        for column in self.columns:
            m.d.comb += [column.place_row.eq(place.row), column.place.eq(place.as_value()[-31:])]

        arrive_index = Signal(INDEX_BITS, reset_less=True)
        self.arrive_index = arrive_index
        wrong = decoder.valid & ~word.when_idle & ~word.when_still & ~word.when_room
        with m.If(~failed):
            with m.If(self.out_of_range):
                m.d.sync += [self.error.code.eq(Error.BUFFER_RANGE), self.error.index.eq(arrive_index)]
            with m.Elif(self.overflow):
                m.d.sync += [self.error.code.eq(Error.FIELD), self.error.index.eq(self.run.index)]
            with m.Else():
                m.d.sync += self.error.code.eq(Mux(word.unknown, Error.OPCODE, Error.FIELD))
                m.d.sync += self.error.index.eq(word.index)
            m.d.sync += self.error.valid.eq(self.out_of_range | self.overflow | wrong)

    def _nest(self, m, rows):
        """A loop nest over lanes, pixels and rows (DRAIN), or over words."""
        lanes = self.config.lanes
        nest = LoopNest([ceil_log2(lanes) + 1, 16, 16, len(self.run.rows)], ahead=True)
        counts = (Mux(self.is_drain, lanes, 1), self.loop.count_x, self.loop.count_y, rows)
        m.d.comb += [port.eq(count) for port, count in zip(nest.counts, counts, strict=True)]
        m.d.comb += nest.singles.eq(Cat(~self.is_drain, self.singles, self.run.single_row))
        return nest

    def _issue(self, m):
        """Send a run's drain commands, or let its windows in."""
        config = self.config
        m.submodules.issue = nest = self._nest(m, self.run.rows)
        half_psums = config.psum_pixels // 2 * config.lanes
        row = Signal.like(self.drain_row)
        psum = Signal(range(2 * half_psums))
        half = Signal()
        started = Signal()
        word_start = Signal()
        all_free = Signal()
        go = Signal()
        draining = Signal()  # the turns of a DRAIN run go
        reducing = Signal()  # those of another
        vector_go = Signal()
        past = psum[-1]  # more psums than half a scratchpad has
        m.d.sync += started.eq(self.accept)  # one cycle for the nest to load
        # Whether there is a drain in the next cycle.
        drains = Signal()
        starts = Signal()
        passes = Signal()
        m.d.comb += [
            drains.eq(Mux(started, self.is_drain, draining & ~(go & nest.last)) & ~self.error.valid),
            starts.eq(started | Mux(go, nest.at_last[_LANE], word_start)),
            passes.eq(~started & (past | (go & psum[:-1].all() & ~nest.advance[_ROW]))),
            # It is as late as the next cycle: words start `lanes` cycles apart, and so does what makes a column full.
            all_free.eq(~reduce(or_, (column.full for column in self.columns))),
        ]
        m.d.sync += [draining.eq(drains), word_start.eq(starts), self.drain.eq(drains & ~passes & (~starts | all_free))]
        m.d.comb += [
            nest.start.eq(started),
            nest.fresh.eq(started),
            self.overflow.eq(draining & past),
            self.drain_row.eq(row),
            self.drain_psum.eq(Cat(psum[:-1], half)),
            go.eq(self.drain & self.drain_ready),
            nest.step.eq(go | vector_go),
        ]
        for column in self.columns:
            m.d.comb += column.reserve.eq(go & word_start)

        # The vector unit's side: a turn that does not belong to the run stays in the register.
        front = self.front
        there = Signal()
        fed = Signal(vector_layout(config), reset_less=True)
        feeds = Signal()  # `there` & `reducing`
        ends_window = Signal()  # and a window's last turn
        reduces = Signal()  # `reducing` of the next cycle
        comes = Signal()  # `there` of the next cycle
        m.d.comb += [
            reduces.eq(Mux(started, ~self.is_drain, reducing & ~(vector_go & nest.last)) & ~self.error.valid),
            front.source.eq(self.settings.source),
            front.i.payload.eq(fed),
            front.i.valid.eq(feeds),
            self.vector.ready.eq(~there | (front.i.ready & reducing)),
            vector_go.eq(ends_window & front.i.ready),
            comes.eq(self.vector.valid | ~self.vector.ready),
        ]
        m.d.sync += [
            reducing.eq(reduces),
            there.eq(comes),
            feeds.eq(reduces & comes),
            ends_window.eq(reduces & comes & Mux(self.vector.ready, self.vector.payload.last, fed.last)),
        ]
        with m.If(self.vector.ready):
            m.d.sync += fed.eq(self.vector.payload)

        with m.If(self.accept):
            m.d.sync += self.issuing.eq(1)
        with m.If(started):
            m.d.sync += psum.eq(0)
        with m.If(nest.step):
            m.d.sync += psum.eq(psum + 1)
            with m.If(nest.advance[_ROW]):
                m.d.sync += [psum.eq(0), row.eq(row - 1)]
            with m.If(nest.last):
                m.d.sync += self.issuing.eq(0)
        with m.If(~self.issuing):  # already in the cycle of `accept`: a row must stand before its first drain
            m.d.sync += row.eq(self.first_row)

        # The end of a drain: hand back the half, keep the chain's distance.
        freed = Signal(self.FREED)
        ends = Signal()
        gap = Signal(range(config.rows + 1))  # cycles in which no run may begin
        wait = max(config.rows - 2, 0)
        m.d.comb += [ends.eq(go & nest.last), self.psum_freed.eq(freed[-1])]
        m.d.sync += [
            freed.eq((freed << 1) | ends),
            self.halves.eq(self.halves + self.psum_filled - ends),
            gap.eq(Mux(ends, wait, gap - (gap != 0))),
            self.drainable.eq(
                Mux(ends, self.psum_filled | self.halves[1], self.psum_filled | (self.halves != 0))
                & Mux(ends, wait == 0, gap <= 1)
            ),
            half.eq(half ^ ends),
        ]

    def _arrive(self, m):
        """Know where the psums or results that come now belong."""
        config = self.config
        m.submodules.arrive = nest = self._nest(m, self.run.rows)
        run = Signal(_run_layout(config))  # the run that arrives
        row = Signal.like(self.drain_row)
        lane = Signal(range(config.lanes))
        address = Signal(signed(ADDRESS_BITS))
        load = Signal()
        valid = self.step_arrive
        m.d.comb += [
            self.last_arrives.eq(valid & nest.last),
            load.eq(self.pending & (~self.arriving | self.last_arrives)),
            nest.start.eq(self.pending & ~self.arriving),  # after its last step the nest restarts by itself
            nest.fresh.eq(~self.arriving),
            nest.step.eq(valid),
        ]
        with m.If(self.accept):
            m.d.sync += self.pending.eq(1)
        with m.If(self.last_arrives):
            m.d.sync += self.arriving.eq(0)
        with m.If(valid):
            m.d.sync += [self.arrive_index.eq(run.index), lane.eq(lane + 1)]
            with m.If(nest.advance[_X] | nest.advance[_Y]):
                m.d.sync += address.eq(address + Mux(nest.advance[_X], self.loop.step_x, self.loop.step_y))
            with m.If(nest.advance[_ROW]):
                m.d.sync += [address.eq(run.buffer), row.eq(row - 1)]
        with m.If(load):
            m.d.sync += [
                self.pending.eq(0),
                self.arriving.eq(1),
                run.eq(self.run),
                address.eq(self.run.buffer),
                row.eq(self.run.rows - 1),
                lane.eq(0),
            ]

        count = self.front.o.payload.count
        place = Signal(range(1 << len(count)))  # number of words in the window of the result that is placed - 1
        m.d.sync += place.eq(Mux(self.run.by_count & (count != 0), count - 1, 0))
        self.job = job = Signal(job_layout(config))
        m.d.comb += [
            job.address.eq(address),
            job.channel.eq(run.slot * config.lanes + Mux(self.is_drain, lane, place)),
            job.row.eq(row),
            job.last.eq(nest.last),
        ]

    def _place_columns(self, m):
        """Psums to all columns at once; a result's words to the next group of columns, by way of a register."""
        results, columns, most = self.front.o, self.columns, self.config.vector_words
        sizes = [1 << i for i in range(ceil_log2(most) + 1)]  # columns in a group: 1, 2, 4, as the words need
        more = self.run.more_words
        turn = Signal(len(columns) // most * most, init=1)  # the columns of the next group
        turned = self._by_size(sizes, [turn.rotate_left(size) for size in sizes])
        take = Signal()
        ready = Signal()

        def free(turn, columns):
            """Whether all columns of the group that is in turn can take a word."""
            groups = (range(first, first + most) for first in range(0, len(turn), most))
            return reduce(or_, (
                Cat(turn[i] for i in group).any() & Cat(columns[i] | ~turn[i] for i in group).all() for group in groups
            ))  # fmt: skip

        soon = Signal(len(columns))  # columns that can take a word in the next cycle, if they take none in this one
        m.d.comb += [
            soon.eq(Cat(column.soon for column in columns)),
            results.ready.eq(ready),
            take.eq(results.valid & ready),
            self.out_of_range.eq(reduce(or_, (column.out_of_range for column in columns))),
        ]
        m.d.sync += [self.psum_valid.eq(self.psum_soon), self.step_arrive.eq(self.psum_soon | take)]
        m.d.sync += [ready.eq(Mux(take, free(turned, soon & ~turn), free(turn, soon)))]
        with m.If(take):
            m.d.sync += turn.eq(turned)
        if most > 1:
            with m.If(self.pending):
                m.d.sync += turn.eq(self._by_size(sizes, [(1 << size) - 1 for size in sizes]))
        words = Signal(results.payload.words.shape(), reset_less=True)
        m.d.sync += words.eq(results.payload.words)
        values = [word.as_value() for word in words]
        addresses = [self.job.address, *(self.job.address + i for i in range(1, most))]
        there = [Const(1), *(more >= i for i in range(1, most))]
        for j, column in enumerate(columns):
            m.d.comb += [
                column.clear.eq(self.clear),
                column.place_write.eq(self.place_writes[j]),
                column.settings.eq(self.settings),
                column.job.eq(self.job),
                column.psum_valid.eq(self.psum_valid),
                column.psum.eq(self.psum[j]),
            ]
            if j >= len(turn):
                continue
            own = [j % size for size in sizes]  # its word in groups of each size
            m.d.comb += [
                column.result.eq(self._by_size(sizes, [values[word] for word in own])),
                column.take.eq(take & turn[j] & self._by_size(sizes, [there[word] for word in own])),
            ]
            if any(own):
                m.d.comb += column.job.address.eq(self._by_size(sizes, [addresses[word] for word in own]))

    def _by_size(self, sizes, values):
        """The value of the smallest size that the run's words fit."""
        chosen = values[-1]
        for i in reversed(range(len(sizes) - 1)):
            if values[i] is not values[i + 1]:
                chosen = Mux(self.run.more_words < sizes[i], values[i], chosen)
        return chosen

    def _write(self, m):
        """Columns to writers: the first that has a word goes next, by way of a register."""
        lanes = self.config.lanes
        self.ends = Signal(len(self.columns))  # columns whose last word of a run has been granted or dropped
        self.written = Signal()  # no word stands in a writer's register
        held = []
        for w, port in enumerate(self.writes):
            group = self.columns[w * lanes : (w + 1) * lanes]
            word = Signal.like(group[0].o, name=f"word{w}")
            last = Signal(len(group), name=f"last{w}")
            free, advance = Signal(name=f"free{w}"), Signal(name=f"advance{w}")
            valid, address = Signal(name=f"valid{w}"), Signal(20, name=f"address{w}", reset_less=True)
            content = Signal(self.config.word_bits, name=f"data{w}", reset_less=True)
            held.append(valid)
            m.d.comb += [
                word.eq(reduce(or_, (column.o.as_value() for column in group))),
                free.eq(~valid | port.grant),
                advance.eq(free | ~(word.valid | word.last)),
                port.request.eq(valid),
                port.address.eq(address),
                port.data.eq(content),
                port.mask.eq(1),
                self.ends[w * lanes : (w + 1) * lanes].eq(last & free.replicate(len(group))),
            ]
            with m.If(free):
                m.d.sync += [
                    valid.eq(word.valid),
                    address.eq(word.address),
                    content.eq(word.data),
                    last.eq(Cat(column.o.last for column in group)),
                ]
            earlier = 0
            for column in group:
                m.d.comb += [column.advance.eq(advance), column.select.eq(column.waiting & ~earlier)]
                earlier = earlier | column.waiting
        m.d.comb += self.written.eq(~reduce(or_, held))

    def _complete(self, m):
        """Runs that are under way, oldest first, and their tokens."""
        word = self.word
        tokens = [Signal(isa.TOKEN_UNITS, name=f"tokens{i}") for i in range(self.MAX_RUNS)]
        ended = Signal(len(self.columns))  # columns that are through with the oldest run
        for j in range(len(self.columns)):
            # Ahead of the slowest column by at most the runs under way.
            ahead = Signal(range(self.MAX_RUNS + 1), name=f"ahead{j}")
            m.d.comb += ended[j].eq(ahead != 0)
            m.d.sync += ahead.eq(ahead + (self.ends[j] & self.is_drain) - (self.complete & self.is_drain))
        empty = reduce(and_, (column.empty for column in self.columns))
        through = ~self.issuing & ~self.pending & ~self.arriving & empty & self.written
        done = Signal()
        m.d.comb += done.eq(
            ~self.idle & ~self.complete & Mux(self.is_drain, ended.all(), through) & ~self.error.valid
        )
        m.d.sync += [
            self.complete.eq(done),
            self.signal.eq(self.now | Mux(done, tokens[0], 0)),
            self.runs.eq(self.runs + self.accept - self.complete),
            self.idle.eq(~self.accept & ((self.runs == 0) | ((self.runs == 1) & self.complete))),
        ]
        with m.If(self.complete):
            m.d.sync += tokens[0].eq(tokens[1])
        with m.If(self.accept):  # never with `complete`
            m.d.sync += [token.eq(word.signal) for token in tokens[1:]]
            with m.If(self.idle):
                m.d.sync += tokens[0].eq(word.signal)
