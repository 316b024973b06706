"""FilterUnit against its loops in plain Python."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from rowcast.config import Config
from rowcast.feeder_filter import FilterUnit
from rowcast.interfaces import GLB_READ_LATENCY
from rowcast.isa import FORMATS, PAYLOAD_START, encode, make
from rowcast.registers import Error


def queue_word(instruction, index):
    """An instruction as it stands in a unit's queue."""
    value = int.from_bytes(encode(instruction), "little")
    opcode = FORMATS[instruction.name].opcode
    return {"opcode": opcode, "signal": instruction.signal, "payload": value >> PAYLOAD_START, "index": index}


def filter_flits(program, memory, config):
    """Twin: the flits of a program as (config, row_tag, column_tag, entry, data, ends a chunk, tokens)."""
    flits, half, n, bits = [], 0, config.noc_words, config.word_bits
    for ins in program:
        if ins.name == "FILTER_ID":
            ids = ins["row_id"] | ins["column_id"] << config.tag_width
            flits.append((1, ins["row"], ins["column"], None, ids, False, ins.signal))
            continue
        address = ins["buffer"]
        for _ in range(ins["chunks"]):
            for row in range(ins["groups_row"]):
                for column in range(ins["groups_column"]):
                    for k in range(ins["flits"]):
                        data = sum(memory[address + i] << bits * i for i in range(n))
                        entry = half * (config.filter_words // n // 2) + k
                        flits.append((0, row, column, entry, data, False, 0))
                        address += n
            flits[-1] = (*flits[-1][:5], True, 0)
            half ^= 1
        flits[-1] = (*flits[-1][:6], ins.signal)
    return flits


class Bench:
    """Drives a FilterUnit: instructions, buffer, COMPUTE; records what it sends by cycle."""

    def __init__(self, dut, memory, *, seed=0, grants=1.0, feeds=1.0, compute=0, limit=20000):
        self.dut, self.memory, self.limit = dut, memory, limit
        self.rng = random.Random(seed)
        self.grants, self.feeds, self.compute = grants, feeds, compute
        self.flits, self.filled, self.signals, self.granted, self.waiting = [], [], [], [], []
        self.error = None

    def run(self, program):
        self.program = program
        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        sim.add_testbench(self._testbench)
        sim.run()
        return self

    async def _testbench(self, ctx):
        dut, n, bits = self.dut, self.dut.config.noc_words, self.dut.config.word_bits
        words = deque(queue_word(ins, 100 + i) for i, ins in enumerate(self.program))
        answers, frees, offered, quiet = {}, deque(), False, 0
        for cycle in range(self.limit):
            offered = bool(words) and (offered or self.rng.random() < self.feeds)
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, words[0])
            ctx.set(dut.read.grant, 0)
            request, address = ctx.get(dut.read.request), ctx.get(dut.read.address)
            grant = request and self.rng.random() < self.grants
            ctx.set(dut.read.grant, grant)
            if grant:
                self.granted.append(cycle)
                data = sum(self.memory[address + i] << bits * i for i in range(n))
                answers[cycle + GLB_READ_LATENCY] = data
            answers.setdefault(cycle + GLB_READ_LATENCY, self.rng.getrandbits(bits * n) if request else 0)
            ctx.set(dut.read.data, answers.pop(cycle, 0))
            ctx.set(dut.freed, bool(frees) and frees[0] <= cycle)
            if frees and frees[0] <= cycle:
                frees.popleft()
            if ctx.get(dut.o_valid):
                o = ctx.get(dut.o)
                self.flits.append((cycle, o.config, o.row_tag, o.column_tag, o.entry, o.data))
                assert ctx.get(dut.flit) == (not o.config)
            else:
                assert not ctx.get(dut.flit)
            if ctx.get(dut.filled):
                self.filled.append(cycle)
                frees.append(max([cycle, *frees]) + self.compute)
            if ctx.get(dut.signal):
                self.signals.append((cycle, ctx.get(dut.signal)))
            if ctx.get(dut.waiting):
                self.waiting.append(cycle)
            if ctx.get(dut.error.valid):
                self.error = (Error(ctx.get(dut.error.code)), ctx.get(dut.error.index))
            accepted = ctx.get(dut.i.ready) and offered
            quiet = 0 if not self.error and (words or ctx.get(dut.busy)) else quiet + 1
            if quiet > 20:
                return
            await ctx.tick()
            if accepted:
                words.popleft()
                offered = False
        raise AssertionError("the unit does not come to an end")


CONFIGS = {
    "base": Config(filter_words=64, filter_buffer_words=1024),
    "one": Config(rows=1, columns=1, lanes=4, filter_words=32, filter_buffer_words=1024),
    "odd": Config(rows=3, columns=5, lanes=16, dram_bytes=16, filter_words=64, noc_words=2, filter_buffer_words=2048),
    "wide": Config(rows=2, columns=2, lanes=4, filter_words=64, noc_words=4, filter_buffer_words=2048),
}


def random_program(rng, config, length):
    half, tags = config.filter_words // config.noc_words // 2, min(3, 1 << config.tag_width)
    program = []
    for _ in range(length):
        if rng.random() < 0.3:
            ins = make(
                "FILTER_ID",
                row=rng.randrange(config.rows),
                column=rng.randrange(config.columns),
                row_id=rng.randrange(1 << config.tag_width),
                column_id=rng.randrange(1 << config.tag_width),
            )
        else:
            fields = {
                "flits": rng.choice((1, 2, rng.randint(1, half), half)),
                "groups_column": rng.randint(1, tags),
                "groups_row": rng.randint(1, tags),
                "chunks": rng.randint(1, 3),
            }
            size = config.noc_words
            for count in fields.values():
                size *= count
            top = config.filter_buffer_words - size
            if top < 0:
                continue
            buffer = rng.choice((0, top, rng.randint(0, top))) // config.noc_words * config.noc_words
            ins = make("FILTER_RUN", buffer=buffer, **fields)
        ins.signal = rng.choice((0, 1, 0b01010))
        program.append(ins)
    return program


def memory_of(config, seed=1):
    rng = random.Random(seed)
    return [rng.getrandbits(config.word_bits) for _ in range(config.filter_buffer_words)]


def check(bench, config):
    """Flits, order, tokens and `filled` of a finished bench."""
    expected = filter_flits(bench.program, bench.memory, config)
    assert bench.error is None
    assert len(bench.flits) == len(expected)
    mask = (1 << 2 * config.tag_width) - 1
    for k, ((_, *got), want) in enumerate(zip(bench.flits, expected, strict=True)):
        if want[0]:
            got[3], got[4] = None, got[4] & mask
        assert tuple(got) == want[:5], k
    filled = [c + bench.dut.NETWORK_LATENCY for (c, *_), want in zip(bench.flits, expected, strict=True) if want[5]]
    assert bench.filled == filled
    # A token one cycle after the last read: GLB_READ_LATENCY - 1 cycles before its flit.
    sent = zip(bench.flits, expected, strict=True)
    tokens = [(cycle - GLB_READ_LATENCY + 1, want[6]) for (cycle, *_), want in sent if want[6]]
    assert bench.signals == tokens


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("grants, feeds, compute", [(1.0, 1.0, 0), (0.6, 0.3, 10), (0.9, 1.0, 150)])
def test_random_programs(name, grants, feeds, compute):
    config = CONFIGS[name]
    rng = random.Random(f"{name} {grants} {feeds} {compute}")
    bench = Bench(FilterUnit(config), memory_of(config), seed=rng.random(), grants=grants, feeds=feeds, compute=compute)
    check(bench.run(random_program(rng, config, 10)), config)


def test_no_bubbles():
    """Over groups and chunks a flit a cycle, while halves are free early enough; a cycle between instructions."""
    config = CONFIGS["base"]
    program = [make("FILTER_RUN", buffer=32 * i, flits=8, groups_column=2, groups_row=2, chunks=1) for i in range(6)]
    program += [make("FILTER_RUN", buffer=7, flits=1, groups_column=16, groups_row=1, chunks=5)]
    program += [make("FILTER_RUN", buffer=i, flits=1, groups_column=15, groups_row=1, chunks=1) for i in range(3)]
    bench = Bench(FilterUnit(config), memory_of(config)).run(program)
    check(bench, config)
    first = 2 + GLB_READ_LATENCY  # queue to job, job to request, read
    number = [i for i, flits in enumerate([32] * 6 + [80] + [15] * 3) for _ in range(flits)]  # of a flit's instruction
    assert [cycle for cycle, *_ in bench.flits] == [first + i + before for i, before in enumerate(number)]
    assert bench.waiting == []


def test_short_instructions():
    """An instruction of a single flit, or an ID, costs two cycles."""
    config = CONFIGS["base"]
    program = [make("FILTER_ID", row=i, column=2, row_id=3, column_id=4) for i in range(4)]
    program += [make("FILTER_RUN", buffer=i, flits=1, groups_column=1, groups_row=1, chunks=1) for i in range(2)]
    bench = Bench(FilterUnit(config), memory_of(config)).run(program)
    check(bench, config)
    first = 2 + GLB_READ_LATENCY
    assert [cycle for cycle, *_ in bench.flits] == [first + 2 * i for i in range(6)]


def test_waits_for_half():
    """Two chunks go at once, the third only after `freed`; `waiting` says so."""
    config = CONFIGS["base"]
    program = [make("FILTER_RUN", flits=4, groups_column=1, groups_row=1, chunks=3)]
    bench = Bench(FilterUnit(config), memory_of(config), compute=50).run(program)
    check(bench, config)
    cycles = [cycle for cycle, *_ in bench.flits]
    freed = bench.filled[0] + 50
    assert cycles[:8] == list(range(cycles[0], cycles[0] + 8))
    assert cycles[8] == freed + 1 + GLB_READ_LATENCY
    assert bench.waiting == list(range(bench.granted[7] + 1, freed + 1))


RUN = {"flits": 2, "groups_column": 1, "groups_row": 1, "chunks": 2}


@pytest.mark.parametrize(
    "name, ins, error, sent",
    [
        *[("odd", make("FILTER_RUN", **{**RUN, field: 0}), Error.FIELD, 0) for field in RUN],
        ("odd", make("FILTER_RUN", **{**RUN, "flits": 17}), Error.FIELD, 0),
        ("odd", make("FILTER_RUN", **{**RUN, "groups_row": 17}), Error.FIELD, 0),
        ("odd", make("FILTER_RUN", **{**RUN, "groups_column": 17}), Error.FIELD, 0),
        ("odd", make("FILTER_RUN", **RUN, buffer=3), Error.FIELD, 0),
        ("odd", make("FILTER_RUN", **RUN, buffer=2048 - 6), Error.BUFFER_RANGE, 3),
        ("base", make("FILTER_RUN", **RUN, buffer=1024), Error.BUFFER_RANGE, 0),
        ("odd", make("FILTER_ID", row=3), Error.FIELD, 0),
        ("odd", make("FILTER_ID", column=5), Error.FIELD, 0),
        ("odd", make("FILTER_ID", row_id=16), Error.FIELD, 0),
        ("odd", make("FILTER_ID", column_id=16), Error.FIELD, 0),
        ("odd", make("IFMAP_RUN"), Error.OPCODE, 0),
    ],
)
def test_errors(name, ins, error, sent):
    """What came before the bad instruction is sent, the rest is not; the error names it."""
    config = CONFIGS[name]
    good = make("FILTER_RUN", **RUN)
    bench = Bench(FilterUnit(config), memory_of(config)).run([good, ins, good])
    assert bench.error == (error, 101)
    assert len(bench.flits) == 4 + sent
