"""IfmapUnit against its loops in plain Python."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from rowcast.config import Config
from rowcast.feeder_ifmap import IfmapUnit
from rowcast.interfaces import GLB_READ_LATENCY
from rowcast.isa import FORMATS, PAYLOAD_START, encode, make
from rowcast.registers import Error


def queue_word(instruction, index):
    """An instruction as it stands in a unit's queue."""
    value = int.from_bytes(encode(instruction), "little")
    opcode = FORMATS[instruction.name].opcode
    return {"opcode": opcode, "signal": instruction.signal, "payload": value >> PAYLOAD_START, "index": index}


def nest_turns(counts):
    """For each turn of a nest, level 0 innermost: the level that advances after it (None: the end) and the indices."""
    index = [0] * len(counts)
    while True:
        level = next((i for i, count in enumerate(counts) if index[i] + 1 < count), None)
        yield level, tuple(index)
        if level is None:
            return
        index[:level] = [0] * level
        index[level] += 1


def loop_instructions(counts, steps, dys, dxs):
    """The three IFMAP_LOOPs of six levels."""
    return [
        make(
            "IFMAP_LOOP", pair=p,
            count_a=counts[2 * p], step_a=steps[2 * p], dy_a=dys[2 * p], dx_a=dxs[2 * p],
            count_b=counts[2 * p + 1], step_b=steps[2 * p + 1], dy_b=dys[2 * p + 1], dx_b=dxs[2 * p + 1],
        )
        for p in range(3)
    ]  # fmt: skip


def ifmap_items(program, memory, config):
    """Twin: what a program sends, in order.

    ("flit", config, row_tag, column_tag, entry, data, ends a chunk, tokens) or ("words", data, pad, last, tokens) or
    ("done", tokens) for an instruction that sends nothing.
    """
    n, bits = config.noc_words, config.word_bits
    loops, ifmap = [(1, 0, 0, 0)] * 6, make("IFMAP_SET")
    half, items = 0, []
    for ins in program:
        if ins.name == "IFMAP_ID":
            ids = ins["row_id"] | ins["column_id"] << config.tag_width
            items.append(("flit", 1, ins["row"], ins["column"], None, ids, False, ins.signal))
        elif ins.name == "IFMAP_SET":
            ifmap = ins
        elif ins.name == "IFMAP_LOOP":
            for k, which in enumerate("ab"):
                loops[2 * ins["pair"] + k] = tuple(ins[f"{f}_{which}"] for f in ("count", "step", "dy", "dx"))
        else:
            address, y, x = ins["buffer"], ins["y"], ins["x"]
            row = column = entry = 0
            for level, index in nest_turns([loop[0] for loop in loops]):
                pad = not (0 <= y < ifmap["height"] and 0 <= x < ifmap["width"])
                words = [memory[(address + i) % len(memory)] for i in range(n)]
                if pad:
                    words = [int.from_bytes([ifmap["pad"]] * (bits // 8), "little")] * n
                else:
                    assert 0 <= address < len(memory)
                tokens = ins.signal if level is None else 0
                if ins["vector"]:
                    last = all(index[i] == loops[i][0] - 1 for i in (0, 1))
                    data = sum(word << bits * i for i, word in enumerate(words[: config.vector_words]))
                    items.append(("words", data, pad, last, tokens))
                else:
                    data = sum(word << bits * i for i, word in enumerate(words))
                    place = half * (config.ifmap_words // n // 2) + entry
                    ends = level is None or level == 5
                    items.append(("flit", 0, row, column, place, data, ends, tokens))
                    entry = entry + 1 if level in (0, 1, 2) else 0
                    row, column = {3: (row, column + 1), 4: (row + 1, 0), 5: (0, 0)}.get(level, (row, column))
                    half ^= ends
                if level is not None:
                    _, step, dy, dx = loops[level]
                    address, y, x = address + step, y + dy, x + dx
        if ins.name in ("IFMAP_SET", "IFMAP_LOOP"):
            items.append(("done", ins.signal))
    return items


class Bench:
    """Drives an IfmapUnit: instructions, buffer, COMPUTE and vector unit; records what it sends by cycle."""

    def __init__(self, dut, memory, *, seed=0, grants=1.0, feeds=1.0, takes=1.0, compute=0, limit=20000):
        self.dut, self.memory, self.limit = dut, memory, limit
        self.rng = random.Random(seed)
        self.grants, self.feeds, self.takes, self.compute = grants, feeds, takes, compute
        self.flits, self.words, self.filled, self.signals, self.waiting = [], [], [], [], []
        self.granted, self.accepted = [], []
        self.error = None

    def run(self, program):
        self.program = program
        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        sim.add_testbench(self._testbench)
        sim.run()
        return self

    async def _testbench(self, ctx):
        dut, rng, n, bits = self.dut, self.rng, self.dut.config.noc_words, self.dut.config.word_bits
        queue = deque(queue_word(ins, 100 + i) for i, ins in enumerate(self.program))
        answers, frees, offered, quiet, held = {}, deque(), False, 0, None
        for cycle in range(self.limit):
            offered = bool(queue) and (offered or rng.random() < self.feeds)
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, queue[0])
            request, address = ctx.get(dut.read.request), ctx.get(dut.read.address)
            grant = request and rng.random() < self.grants
            ctx.set(dut.read.grant, grant)
            if grant:
                self.granted.append(cycle)
                data = sum(self.memory[(address + i) % len(self.memory)] << bits * i for i in range(n))
                answers[cycle + GLB_READ_LATENCY] = data
            answers.setdefault(cycle + GLB_READ_LATENCY, rng.getrandbits(bits * n) if request else 0)
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
            ready = rng.random() < self.takes
            ctx.set(dut.vector.ready, ready)
            if ctx.get(dut.vector.valid):
                word = ctx.get(dut.vector.payload)
                word = (word.data, word.pad, word.last)
                assert held in (None, word), "the payload changed while it waited"
                if ready:
                    self.words.append((cycle, *word))
                held = None if ready else word
            else:
                assert held is None, "valid fell before the transfer"
            if ctx.get(dut.filled):
                self.filled.append(cycle)
                frees.append(max([cycle, *frees]) + self.compute)
            if ctx.get(dut.signal):
                self.signals.append((cycle, ctx.get(dut.signal)))
            if ctx.get(dut.waiting):
                self.waiting.append(cycle)
            if ctx.get(dut.error.valid):
                self.error = (Error(ctx.get(dut.error.code)), ctx.get(dut.error.index))
            if ctx.get(dut.i.ready) and offered:
                self.accepted.append(cycle)
                queue.popleft()
                offered = False
            quiet = 0 if not self.error and (queue or ctx.get(dut.busy)) else quiet + 1
            if quiet > 20:
                return
            await ctx.tick()
        raise AssertionError("the unit does not come to an end")


def check(bench, config):
    """Flits, words, their order, tokens and `filled` of a finished bench."""
    assert bench.error is None
    items = ifmap_items(bench.program, bench.memory, config)
    flits = [item for item in items if item[0] == "flit"]
    words = [item for item in items if item[0] == "words"]
    assert (len(bench.flits), len(bench.words)) == (len(flits), len(words))
    mask = (1 << 2 * config.tag_width) - 1
    for k, ((_, *got), want) in enumerate(zip(bench.flits, flits, strict=True)):
        if want[1]:
            got[3], got[4] = None, got[4] & mask
        assert tuple(got) == want[1:6], k
    for k, ((_, *got), want) in enumerate(zip(bench.words, words, strict=True)):
        assert tuple(got) == want[1:4], k
    filled = [c + bench.dut.NETWORK_LATENCY for (c, *_), want in zip(bench.flits, flits, strict=True) if want[6]]
    assert bench.filled == filled
    assert [tokens for _, tokens in bench.signals] == [item[-1] for item in items if item[-1]]
    # A network run's tokens: one cycle after its last read, GLB_READ_LATENCY - 1 cycles before the flit.
    sent = [c - GLB_READ_LATENCY + 1 for (c, *_), want in zip(bench.flits, flits, strict=True) if want[7]]
    assert set(sent) <= {cycle for cycle, _ in bench.signals}


CONFIGS = {
    "base": Config(ifmap_words=64, act_words=1024),
    "one": Config(rows=1, columns=1, lanes=4, dram_bytes=4, ifmap_words=32, act_words=256, act_banks=1),
    "odd": Config(rows=3, columns=5, lanes=16, dram_bytes=16, ifmap_words=64, noc_words=2, act_words=512),
    "wide": Config(rows=2, columns=2, lanes=4, ifmap_words=64, noc_words=4, act_words=512),
    "four": Config(rows=1, columns=5, lanes=4, ifmap_words=64, noc_words=4, act_words=512),
}


def memory_of(config, seed=1):
    rng = random.Random(seed)
    return [rng.getrandbits(config.word_bits) for _ in range(config.act_words)]


def random_run(rng, config):
    """A walk over an ifmap with random strides of the coordinates; words that are not padding lie in the memory."""
    half, tags = config.ifmap_words // config.noc_words // 2, 1 << config.tag_width
    vector = rng.random() < 0.4
    window = [rng.randint(1, 3) for _ in range(3)]
    while window[0] * window[1] * window[2] > half:
        window[rng.randrange(3)] = 1
    counts = [*window, rng.randint(1, min(3, tags)), rng.randint(1, min(3, tags)), rng.randint(1, 3)]
    channels = rng.choice((config.noc_words, config.noc_words + 1))  # words of a pixel
    width = rng.randint(1, 9)
    height = rng.randint(1, max(1, (config.act_words - config.noc_words) // (width * channels) - 1))
    height = min(height, 12)
    bottom = rng.randint(0, config.act_words - config.noc_words - width * height * channels)
    y, x = rng.randint(-3, 2), rng.randint(-3, 2)
    moves = [rng.choice(((0, 1), (1, 0), (0, 0), (1, 1), (0, 2), (2, 0), (-1, 1))) for _ in counts]
    # A level's move goes back over all turns of the levels below.
    dys, dxs = [], []
    for i, (dy, dx) in enumerate(moves):
        dys.append(dy - sum((counts[j] - 1) * moves[j][0] for j in range(i)))
        dxs.append(dx - sum((counts[j] - 1) * moves[j][1] for j in range(i)))
    steps = [(dy * width + dx) * channels for dy, dx in zip(dys, dxs, strict=True)]
    return [
        make("IFMAP_SET", height=height, width=width, pad=rng.randrange(256)),
        *loop_instructions(counts, steps, dys, dxs),
        make("IFMAP_RUN", buffer=bottom + (y * width + x) * channels, y=y, x=x, vector=vector),
    ]


def random_program(rng, config, runs):
    program = []
    for _ in range(runs):
        if rng.random() < 0.4:
            fields = {name: rng.randrange(1 << config.tag_width) for name in ("row_id", "column_id")}
            program.append(
                make("IFMAP_ID", row=rng.randrange(config.rows), column=rng.randrange(config.columns), **fields)
            )
        run = random_run(rng, config)
        program += run + [make("IFMAP_RUN", **run[-1].fields) for _ in range(rng.randrange(3))]
    for ins in program:
        ins.signal = rng.choice((0, 0, 0b00001, 0b10010))
    return program


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    "grants, feeds, takes, compute",
    [(1.0, 1.0, 1.0, 0), (0.6, 0.3, 0.7, 10), (1.0, 1.0, 0.3, 100)],
)
def test_random_programs(name, grants, feeds, takes, compute):
    config = CONFIGS[name]
    rng = random.Random(f"{name} {grants} {feeds} {takes} {compute}")
    program = random_program(rng, config, 4)
    rates = {"grants": grants, "feeds": feeds, "takes": takes, "compute": compute}
    bench = Bench(IfmapUnit(config), memory_of(config), seed=rng.random(), **rates)
    check(bench.run(program), config)


FLAT = [1, 1, 1, 1, 1, 1]  # every level goes to the next word


def test_no_bubbles_network():
    """Padding or not, over windows, groups and chunks: a flit a cycle; a cycle between runs."""
    config = CONFIGS["base"]
    loops = loop_instructions([3, 2, 3, 2, 2, 2], FLAT, [0, 1, -1, 1, -1, 0], [1, -2, 1, -3, 2, -1])
    runs = [make("IFMAP_RUN", buffer=100, y=-1, x=-1) for _ in range(3)]
    bench = Bench(IfmapUnit(config), memory_of(config)).run(
        [make("IFMAP_SET", height=3, width=3, pad=7), *loops, *runs]
    )
    check(bench, config)
    assert bench.accepted[:5] == [0, 1, 2, 4, 6]  # SET, LOOPs of two cycles, RUN, each into the register
    first = 8 + 3 + GLB_READ_LATENCY
    assert len(bench.flits) == 3 * 144
    assert [cycle for cycle, *_ in bench.flits] == [first + i + i // 144 for i in range(3 * 144)]
    assert 0 < len(bench.granted) < 3 * 144
    assert bench.waiting == []


def test_no_bubbles_one_turn():
    """Runs of one turn follow each other with a gap of one cycle, from any address."""
    config = CONFIGS["odd"]
    runs = [make("IFMAP_RUN", buffer=5 * i + 1, vector=0) for i in range(2)]
    bench = Bench(IfmapUnit(config), memory_of(config)).run([make("IFMAP_SET", height=1, width=1), *runs])
    check(bench, config)
    assert bench.flits[1][0] == bench.flits[0][0] + 2


def test_no_bubbles_vector():
    """A word a cycle while the vector unit takes it; other instructions cost a few cycles between runs."""
    config = CONFIGS["base"]
    loops = loop_instructions([3, 3, 5, 2, 1, 1], FLAT, [0] * 6, [1, -2, 1, 0, 0, 0])
    run = make("IFMAP_RUN", buffer=9, vector=1, x=-1)
    program = [make("IFMAP_SET", height=3, width=4), *loops, run, run, make("IFMAP_SET", height=2, width=2), run]
    bench = Bench(IfmapUnit(config), memory_of(config)).run(program)
    check(bench, config)
    cycles = [cycle for cycle, *_ in bench.words]
    first = 8 + 3 + GLB_READ_LATENCY + 2
    assert cycles[:180] == [first + i + i // 90 for i in range(180)]
    assert cycles[180:] == list(range(first + 185, first + 185 + 90))
    assert sum(last for *_, last in bench.words) == 30


def test_waits_for_half():
    """Two chunks go at once, the third only after `freed`; `waiting` says so; the vector unit needs no half."""
    config = CONFIGS["base"]
    loops = loop_instructions([4, 1, 1, 1, 1, 3], FLAT, [0] * 6, [0] * 6)
    run, vector = make("IFMAP_RUN"), make("IFMAP_RUN", vector=1)
    bench = Bench(IfmapUnit(config), memory_of(config), compute=50).run(
        [make("IFMAP_SET", height=1, width=1), *loops, vector, run]
    )
    check(bench, config)
    cycles, freed = [cycle for cycle, *_ in bench.flits], bench.filled[0] + 50
    assert bench.words[0][0] < bench.words[-1][0] == cycles[0]
    assert cycles[:8] == list(range(cycles[0], cycles[0] + 8))
    assert cycles[8] == freed + 1 + 2 + GLB_READ_LATENCY
    assert bench.waiting[-1] == freed and len(bench.waiting) == freed - bench.waiting[0] + 1


def one_walk(count0=1, count3=1, count4=1, **run):
    return [*loop_instructions([count0, 1, 1, count3, count4, 1], FLAT, [0] * 6, [0] * 6), make("IFMAP_RUN", **run)]


@pytest.mark.parametrize(
    "name, program, error, at, sent",
    [
        ("base", [make("IFMAP_LOOP", count_a=0, count_b=1)], Error.FIELD, 0, 0),
        ("base", [make("IFMAP_LOOP", count_a=1, count_b=0)], Error.FIELD, 0, 0),
        ("base", [make("IFMAP_LOOP", pair=3, count_a=1, count_b=1)], Error.FIELD, 0, 0),
        ("base", one_walk(count0=33), Error.FIELD, 3, 32),
        ("odd", one_walk(count0=17), Error.FIELD, 3, 16),
        ("base", one_walk(count3=17), Error.FIELD, 3, 16),
        ("base", one_walk(count4=17), Error.FIELD, 3, 16),
        ("base", one_walk(count0=3, buffer=1022), Error.BUFFER_RANGE, 3, 2),
        ("base", one_walk(count0=3, buffer=-1), Error.BUFFER_RANGE, 3, 0),
        ("base", [make("IFMAP_ID", row=4)], Error.FIELD, 0, 0),
        ("odd", [make("IFMAP_ID", column=5)], Error.FIELD, 0, 0),
        ("base", [make("IFMAP_ID", row_id=16)], Error.FIELD, 0, 0),
        ("base", [make("IFMAP_ID", column_id=16)], Error.FIELD, 0, 0),
        ("base", [make("FILTER_RUN")], Error.OPCODE, 0, 0),
    ],
)
def test_errors(name, program, error, at, sent):
    """What came before the bad turn is sent, the rest is not; the error names the instruction."""
    config = CONFIGS[name]
    good = [make("IFMAP_SET", height=1, width=1), make("IFMAP_RUN")]
    bench = Bench(IfmapUnit(config), memory_of(config)).run([*good, *program, good[1]])
    assert bench.error == (error, 102 + at)
    assert len(bench.flits) == 1 + sent


def test_vector_has_no_places():
    """A vector run may be longer than a scratchpad and have more groups than tags."""
    config = CONFIGS["base"]
    loops = loop_instructions([40, 1, 1, 20, 1, 1], FLAT, [0] * 6, [0] * 6)
    program = [make("IFMAP_SET", height=1, width=1), *loops, make("IFMAP_RUN", vector=1)]
    check(Bench(IfmapUnit(config), memory_of(config)).run(program), config)
