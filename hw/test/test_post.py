"""The POST unit with a made-up array and a memory that makes it wait, against numpy."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.sim import Simulator

from rowcast import Config, isa
from rowcast.isa import PostMode, PostSource
from rowcast.post import PostUnit
from rowcast.registers import Error
from rowcast_models.golden.requantise import encode_params, postprocess, wrap_int32

SMALL = dict(rows=2, columns=2, lanes=4, psum_pixels=16, act_words=1024, param_channels=64, act_banks=2)
CONFIGS = {
    "one": Config(rows=1, columns=1, lanes=8, psum_pixels=8, act_words=1024, param_channels=32),
    "odd": Config(rows=3, columns=3, lanes=4, psum_pixels=4, act_words=1024, param_channels=64),
    "writers": Config(rows=1, columns=5, lanes=4, psum_pixels=4, act_words=1024, param_channels=32),
    "lanes16": Config(rows=2, columns=2, lanes=16, psum_pixels=4, act_words=1024, param_channels=128, dram_bytes=16),
    "small": Config(**SMALL),
    "two": Config(rows=1, columns=3, lanes=4, psum_pixels=4, act_words=1024, param_channels=64, noc_words=2),
    "four": Config(rows=1, columns=9, lanes=4, psum_pixels=4, act_words=1024, param_channels=128, noc_words=4),
}


class Params:
    """Random contents of the PARAM space, for the golden and as words to load, with the first `tables` tables."""

    def __init__(self, config, rng, mode, tables=3):
        channels = config.param_channels
        self.mode = mode
        self.bias = rng.integers(-3000, 3000, channels)
        top = 24 if mode == PostMode.ONNX else 31
        self.multiplier = rng.integers(1 << top - 1, 1 << top, channels)
        self.shift = rng.integers(2, 6, channels) + {PostMode.TFLITE: 0, PostMode.ONNX: 24}.get(mode, 31)
        self.table = rng.integers(-128, 128, 256)
        self.operands = rng.integers(-4000, 4000, (2, 256))
        self.operands[:, ::17] = rng.integers(-(2**31), 2**31, self.operands[:, ::17].shape)
        tables = [self.table & 255, *self.operands][:tables]
        items = np.concatenate([encode_params(self.bias, self.multiplier, self.shift, mode).ravel(), *tables])
        items = items.astype(np.int64).astype(np.uint32).view(np.uint8).reshape(-1, config.lanes)
        self.words = [int.from_bytes(word.tobytes(), "little") for word in items]

    def bytes(self, acc, channel, settings):
        table = self.table if settings["table"] else None
        rest = (settings[n] for n in ("zero_point", "low", "high"))
        at = (self.bias[channel], self.multiplier[channel], self.shift[channel])
        return postprocess(acc, *at, settings["mode"], *rest, table)


@dataclass
class Model:
    """What the program should do: numpy, instruction by instruction."""

    config: Config
    params: Params
    psums: np.ndarray  # [columns, rows, psum]
    windows: list = field(default_factory=list)  # (bytes [turns, words, lanes], pad [turns]), in order
    writes: dict = field(default_factory=dict)  # address: word
    half: int = 0

    def __post_init__(self):
        self.places, self.settings, self.loop = {}, None, None

    def run(self, program):
        for instruction in program:
            fields = instruction.fields
            if instruction.name == "POST_PE":
                self.places[fields["row"], fields["column"]] = fields
            elif instruction.name == "POST_SET":
                self.settings = fields
            elif instruction.name == "POST_LOOP":
                self.loop = fields
            elif instruction.name == "POST_RUN":
                (self.drain if fields["source"] == PostSource.DRAIN else self.vector)(fields)

    def offsets(self):
        """Word offset of every turn of the loop."""
        loop, offset = self.loop, 0
        for _ in range(loop["count_y"]):
            for x in range(loop["count_x"]):
                yield offset
                offset += loop["step_x"] if x < loop["count_x"] - 1 else loop["step_y"]

    def write(self, address, values):
        assert address not in self.writes, "the test writes twice to one address"
        assert 0 <= address < self.config.act_words
        self.writes[address] = values.tolist()

    def drain(self, run):
        lanes = self.config.lanes
        for row in range(run["rows"]):
            for column in range(self.config.columns):
                place = self.places[row, column]
                if not place["valid"]:
                    continue
                channel = (run["slot"] + place["slot"]) * lanes + np.arange(lanes)
                for pixel, offset in enumerate(self.offsets()):
                    start = (self.half * self.config.psum_pixels // 2 + pixel) * lanes
                    acc = self.psums[column, row, start : start + lanes]
                    self.write(run["buffer"] + place["offset"] + offset, self.params.bytes(acc, channel, self.settings))
        self.half ^= 1

    def vector(self, run):
        for offset in self.offsets():
            turns, pad = self.windows.pop(0)
            for word in range(run["more_words"] + 1):
                self.reduce(run, run["buffer"] + offset + word, turns[:, word], pad)

    def reduce(self, run, address, words, pad):
        lanes, source, kept = self.config.lanes, run["source"], words[~pad]
        if source == PostSource.MAX:
            acc = kept.max(axis=0, initial=-128)
        elif source == PostSource.SUM:
            acc = kept.sum(axis=0)
        else:
            first, second = (self.params.operands[i][words[i] + 128] for i in range(2))
            if source == PostSource.ADD:
                acc = wrap_int32(first + second)
            else:
                acc = first.astype(np.int16).astype(np.int64) * second.astype(np.int16)
        channel = run["slot"] * lanes + (max(len(kept), 1) - 1 if run["by_count"] else 0)
        self.write(address, self.params.bytes(acc, channel, self.settings))


def bits(instruction):
    """An instruction as a unit gets it."""
    value = int.from_bytes(isa.encode(instruction), "little")
    return {
        "opcode": value & 31,
        "signal": value >> 10 & 31,
        "payload": value >> isa.PAYLOAD_START,
    }


class Bench:
    """The unit, an array with chains, writers and a vector stream; `idle` stalls each of them at random."""

    CHAIN = 13

    def __init__(self, config, program, *, words=(), psums=None, windows=(), idle=0.0, seed=0, limit=20000, fills=None):
        self.config, self.program, self.words, self.windows = config, program, words, windows
        self.psums, self.idle, self.limit = psums, idle, limit
        self.rng = np.random.default_rng(seed)
        self.dut = PostUnit(config)
        self.writes, self.signals, self.drains, self.freed, self.errors = {}, [], [], 0, None
        self.fills = fills if fills is not None else sum(i.name == "POST_RUN" and i["source"] == 0 for i in program)
        self.granted, self.finished_at, self.layer = [], None, None

    def stall(self):
        return self.idle and self.rng.random() < self.idle

    async def taken(self, ctx, port):
        """Offer the payload that is set until it is taken."""
        ctx.set(port.valid, 1)
        ready = False
        while not ready:  # not `until`, which complains when the simulation ends meanwhile
            _, _, ready = await ctx.tick().sample(port.ready)
        ctx.set(port.valid, 0)

    async def instructions(self, ctx):
        for index, instruction in enumerate(self.program):
            while self.stall():
                await ctx.tick()
            ctx.set(self.dut.i.payload, {**bits(instruction), "index": index})
            await self.taken(ctx, self.dut.i)

    async def params(self, ctx):
        for address, word in enumerate(self.words):
            ctx.set(self.dut.param.payload, {"address": address, "data": word})
            await self.taken(ctx, self.dut.param)

    async def vector(self, ctx):
        for turns, pad in self.windows:
            for i, words in enumerate(turns):
                while self.stall():
                    await ctx.tick()
                data = sum((int(b) & 255) << 8 * lane for lane, b in enumerate(words.ravel()))
                ctx.set(self.dut.vector.payload, {"data": data, "pad": int(pad[i]), "last": int(i == len(turns) - 1)})
                await self.taken(ctx, self.dut.vector)

    async def machine(self, ctx):
        """One cycle after the other: the array, the writers, and all that is watched."""
        dut, cycle, chain, filled = self.dut, 0, {}, 0
        ports = dut.writes
        watched = [dut.drain, dut.drain_row, dut.drain_psum, dut.drain_ready, dut.psum_freed, dut.signal, dut.busy,
                   dut.error.valid, dut.error.code, dut.error.index, dut.layer]  # fmt: skip
        for port in ports:
            watched += [port.request, port.grant, port.address, port.data, port.mask]
        await ctx.tick().repeat(2)
        while True:
            ctx.set(dut.drain_ready, int(not self.stall()))
            for port in ports:
                ctx.set(port.grant, 0 if self.stall() else 1)
            fill = self.fills > filled and filled - self.freed < 2 and not self.stall()
            ctx.set(dut.psum_filled, int(fill))
            filled += fill
            arrival = chain.pop(cycle, None)
            ctx.set(dut.psum_soon, int(cycle + 1 in chain))
            for column in range(self.config.columns):
                value = int(self.psums[column, arrival[0], arrival[1]]) if arrival else int(self.rng.integers(1 << 31))
                ctx.set(dut.psum[column], value)
            _, _, *values = await ctx.tick().sample(*watched)
            drain, row, psum, ready, freed, signal, busy, error, code, index, self.layer = values[:11]
            if drain and ready:
                at = cycle + self.CHAIN + self.config.rows - row
                assert at not in chain and (not chain or at > max(chain)), "psums meet in the chain"
                chain[at] = (row, psum)
                self.drains.append((cycle, row, psum))
            self.freed += freed
            for request, grant, address, data, mask in zip(*[iter(values[11:])] * 5):
                if request and grant:
                    assert mask == 1 and address not in self.writes, f"address {address} written twice"
                    word = [((data >> 8 * i & 255) ^ 128) - 128 for i in range(self.config.lanes)]
                    self.writes[address] = word
                    self.granted.append((cycle, address))
            if signal:
                self.signals.append((cycle, signal, len(self.writes)))
            if error:
                self.errors = (code, index)
                return
            cycle += 1
            if self.sent and not busy:
                self.finished_at = cycle
                return
            assert cycle < self.limit, f"no end; {len(self.writes)} words, {len(self.drains)} drains"

    def run(self):
        self.sent = False

        async def program(ctx):
            await self.params(ctx)
            await ctx.tick().repeat(4)
            await self.instructions(ctx)
            self.sent = True

        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(program, background=True)
        simulator.add_testbench(self.vector, background=True)
        simulator.add_testbench(self.machine)
        simulator.run()
        return self


def make(name, signal=0, **fields):
    instruction = isa.make(name, **fields)
    instruction.signal = signal
    return instruction


def random_windows(rng, source, config, count):
    made = []
    for _ in range(count):
        turns = 2 if source in (PostSource.ADD, PostSource.MUL) else int(rng.integers(1, 5))
        pad = np.zeros(turns, bool) if source in (PostSource.ADD, PostSource.MUL) else rng.integers(0, 3, turns) == 0
        made.append((rng.integers(-128, 128, (turns, config.vector_words, config.lanes)), pad))
    return made


def random_settings(rng, mode):
    return make("POST_SET", mode=mode, zero_point=int(rng.integers(-256, 256)) if rng.integers(2) else -5,
                low=-100, high=int(rng.integers(0, 128)), table=int(rng.integers(2)))  # fmt: skip


def check(bench, model):
    assert bench.errors is None
    for address in sorted(set(bench.writes) | set(model.writes)):
        assert bench.writes.get(address) == model.writes.get(address), f"word {address}"


@pytest.mark.parametrize("name", list(CONFIGS))
@pytest.mark.parametrize("mode, idle", [(PostMode.TFLITE, 0), (PostMode.ONNX, 0.35)])
def test_drain(name, mode, idle):
    config = CONFIGS[name]
    seed = [list(CONFIGS).index(name), int(mode), int(idle * 10)]
    rng = np.random.default_rng(seed)
    params = Params(config, rng, mode, tables=1)
    shape = (config.columns, config.rows, config.psum_pixels * config.lanes)
    psums = rng.integers(-20000, 20000, shape)
    model = Model(config, params, psums)
    program, runs, address = [], 0, 0
    for layer in range(2):
        count_y, count_x = ((1, config.psum_pixels // 2), (2, config.psum_pixels // 4), (1, 1))[rng.integers(3)]
        size, slots = count_x * count_y, config.param_channels // config.lanes - config.num_pes
        for row in range(config.rows):
            for column in range(config.columns):
                index = row * config.columns + column
                program.append(make("POST_PE", row=row, column=column, valid=int(rng.integers(5) > 0),
                                    offset=index * size, slot=index))  # fmt: skip
        program.append(random_settings(rng, mode))
        # x runs backwards, which needs negative steps
        program.append(make("POST_LOOP", count_x=count_x, count_y=count_y, step_x=-1, step_y=2 * count_x - 1))
        for _ in range(3):
            rows = int(rng.integers(1, config.rows + 1))
            program.append(make("POST_RUN", 1 << runs % 5, buffer=address + count_x - 1,
                                slot=int(rng.integers(slots + 1)), rows=rows))  # fmt: skip
            runs, address = runs + 1, address + size * config.num_pes
        program.append(make("MARK", 31, layer=layer + 7))
    model.run(program)
    bench = Bench(config, program, words=params.words, psums=psums, idle=idle, seed=seed).run()
    check(bench, model)
    assert bench.freed == runs and bench.layer == 8
    assert [signal for _, signal, _ in bench.signals] == [1, 2, 4, 31, 8, 16, 1, 31]


def test_signal_after_the_last_grant():
    config = CONFIGS["small"]
    rng = np.random.default_rng(5)
    psums = rng.integers(-100, 100, (config.columns, config.rows, config.psum_pixels * config.lanes))
    program = [make("POST_PE", row=r, column=c, valid=1, offset=8 * (2 * r + c)) for r in range(2) for c in range(2)]
    program += [make("POST_SET", mode=PostMode.BYPASS, low=-128, high=127),
                make("POST_LOOP", count_x=8, count_y=1, step_x=1)]  # fmt: skip
    program += [make("POST_RUN", 1 << run, buffer=32 * run, rows=2) for run in range(5)]
    params = Params(config, rng, PostMode.SINGLE)
    bench = Bench(config, program, psums=psums, idle=0.6, seed=1).run()
    model = Model(config, params, psums)
    model.run(program)
    check(bench, model)
    for run, (cycle, signal, _) in enumerate(bench.signals):
        last = max(at for at, address in bench.granted if address // 32 == run)
        assert signal == 1 << run and cycle > last


@pytest.mark.parametrize("lanes", [8, 4])
def test_drain_throughput(lanes):
    config = Config(lanes=lanes, rows=3, psum_pixels=8, act_words=1024, param_channels=64)
    psums = np.ones((config.columns, config.rows, config.psum_pixels * lanes), int)
    program = [make("POST_PE", row=r, column=c, valid=1, offset=4 * (4 * r + c)) for r in range(3) for c in range(4)]
    program += [make("POST_SET", mode=PostMode.BYPASS, low=-128, high=127),
                make("POST_LOOP", count_x=4, count_y=1, step_x=1)]  # fmt: skip
    program += [make("POST_RUN", 1, buffer=64 * run, rows=3) for run in range(6)]
    bench = Bench(config, program, psums=psums).run()
    drains = [cycle for cycle, _, _ in bench.drains]
    size = 3 * 4 * lanes
    assert len(drains) == 6 * size and len(bench.writes) == 6 * 48
    for run in range(6):
        part = drains[run * size : (run + 1) * size]
        assert part[-1] - part[0] == size - 1, f"run {run} does not drain a psum a cycle"
    gaps = [drains[run * size] - drains[run * size - 1] - 1 for run in range(1, 6)]
    tail = bench.signals[-1][0] - drains[-1]
    print(f"\n{lanes} lanes: {gaps} idle cycles between runs, token {tail} cycles after the last drain")
    assert max(gaps) <= config.rows + 2
    assert tail <= Bench.CHAIN + config.rows + 40


@pytest.mark.parametrize(
    "name, idle", [("one", 0.4), ("odd", 0), ("small", 0.4), ("two", 0), ("two", 0.4), ("four", 0.4)]
)
@pytest.mark.parametrize("source", [PostSource.MAX, PostSource.SUM, PostSource.ADD, PostSource.MUL])
def test_vector(name, source, idle):
    config = CONFIGS[name]
    seed = [list(CONFIGS).index(name), int(source), int(idle * 10)]
    rng = np.random.default_rng(seed)
    mode = PostMode(int(rng.integers(3)))
    params = Params(config, rng, mode, tables=3 if source in (PostSource.ADD, PostSource.MUL) else 1)
    psums = rng.integers(-20000, 20000, (config.columns, config.rows, config.psum_pixels * config.lanes))
    windows = random_windows(rng, source, config, 24)
    other = random_windows(rng, PostSource.SUM, config, 6)
    more = [min(n, config.vector_words - 1) for n in rng.permutation(4)]  # of each run
    model = Model(config, params, psums, list(windows + other))
    program = [make("POST_PE", row=r, column=c, valid=1, offset=r * config.columns + c, slot=1)
               for r in range(config.rows) for c in range(config.columns)]  # fmt: skip
    by_count = int(source == PostSource.SUM)
    program += [
        random_settings(rng, mode),
        make("POST_LOOP", count_x=4, step_x=12, count_y=3, step_y=-32),
        make("POST_RUN", 1, source=source, buffer=200, slot=1, by_count=by_count, more_words=more[0]),
        make("POST_RUN", 2, source=source, buffer=301, slot=2, by_count=by_count, more_words=more[1]),
        make("POST_LOOP", 3, count_x=1, count_y=1),
        make("POST_RUN", 4, source=PostSource.DRAIN, buffer=400, rows=config.rows),
        make("POST_LOOP", count_x=6, step_x=more[2] + 1, count_y=1),
        make("POST_RUN", 8, source=PostSource.SUM, buffer=500, slot=0, by_count=1, more_words=more[2]),
    ]
    model.run(program)
    bench = Bench(config, program, words=params.words, psums=psums, windows=windows + other, idle=idle, seed=seed).run()
    check(bench, model)
    assert [signal for _, signal, _ in bench.signals] == [1, 2, 3, 4, 8]


@pytest.mark.parametrize("columns, noc_words, words, cycles", [
    (4, 1, 1, 2),  # ADD: two turns in, one result out; four columns of eight lanes take a word every second cycle
    (16, 4, 4, 2),  # 16 columns take two a cycle, in two groups of four for each of the two writers
    (8, 4, 3, 4),  # a group of four takes three words
    (8, 4, 2, 2),
    (8, 4, 1, 2),
    (4, 2, 2, 4),
])  # fmt: skip
def test_vector_throughput(columns, noc_words, words, cycles):
    """Cycles a result of so many words."""
    config = Config(rows=1, columns=columns, noc_words=noc_words, psum_pixels=4, act_words=1024, param_channels=16)
    rng = np.random.default_rng(3)
    params = Params(config, rng, PostMode.TFLITE)
    windows = random_windows(rng, PostSource.ADD, config, 64)
    program = [make("POST_SET", low=-128, high=127), make("POST_LOOP", count_x=64, step_x=words, count_y=1),
               make("POST_RUN", 1, source=PostSource.ADD, more_words=words - 1)]  # fmt: skip
    psums = np.zeros((columns, 1, 32), int)
    model = Model(config, params, psums, list(windows))
    model.run(program)
    bench = Bench(config, program, words=params.words, psums=psums, windows=windows).run()
    check(bench, model)
    assert bench.granted[-1][0] - bench.granted[0][0] <= cycles * 63 + 8


def error_of(program, **arguments):
    config = Config(**SMALL).replace(columns=1)
    psums = np.zeros((config.columns, config.rows, config.psum_pixels * config.lanes), int)
    return Bench(config, program, psums=psums, limit=2000, **arguments).run().errors


LOOP, DRAIN = make("POST_LOOP", count_x=1, count_y=1), make("POST_RUN", rows=1)
PLACES = [make("POST_PE", row=row, valid=1) for row in range(2)]
WINDOW = [(np.zeros((1, 1, 4), int), np.zeros(1, bool))]


@pytest.mark.parametrize(
    "program, code, index",
    [
        ([LOOP, make("POST_RUN", rows=0)], Error.FIELD, 1),
        ([LOOP, make("POST_RUN", rows=3)], Error.FIELD, 1),
        ([make("POST_RUN", source=5, rows=1)], Error.FIELD, 0),
        ([LOOP, make("POST_RUN", source=PostSource.MAX, more_words=1)], Error.FIELD, 1),
        ([make("POST_PE", row=2)], Error.FIELD, 0),
        ([make("POST_PE", column=1)], Error.FIELD, 0),
        ([make("POST_LOOP", count_x=0, count_y=1)], Error.FIELD, 0),
        ([make("POST_LOOP", count_x=9, count_y=1), DRAIN], Error.FIELD, 1),  # half a scratchpad has 8
        ([make("END")], Error.OPCODE, 0),
        ([*PLACES, LOOP, make("POST_RUN", rows=1, buffer=1024), DRAIN, DRAIN], Error.BUFFER_RANGE, 3),
        ([*PLACES, make("POST_LOOP", count_x=2, count_y=1, step_x=-5), make("POST_RUN", rows=1, buffer=4)],
         Error.BUFFER_RANGE, 3),
        ([*PLACES, LOOP, make("POST_RUN", rows=1, slot=16)], Error.BUFFER_RANGE, 3),
        ([LOOP, make("POST_RUN", source=PostSource.MAX, buffer=1024)], Error.BUFFER_RANGE, 1),
    ],
)  # fmt: skip
def test_errors(program, code, index):
    assert error_of(program, windows=WINDOW) == (code, index)


def test_clear():
    """A soft reset in the middle of a drain, with words everywhere; then the unit works as after a reset."""
    config = CONFIGS["small"]
    rng = np.random.default_rng(9)
    params = Params(config, rng, PostMode.SINGLE)
    psums = rng.integers(-100, 100, (config.columns, config.rows, config.psum_pixels * config.lanes))
    program = [make("POST_PE", row=r, column=c, valid=1, offset=8 * (2 * r + c)) for r in range(2) for c in range(2)]
    program += [make("POST_SET", mode=PostMode.BYPASS, low=-128, high=127),
                make("POST_LOOP", count_x=8, count_y=1, step_x=1), make("POST_RUN", 1, rows=2)]  # fmt: skip
    for when in (29, 44, 61):
        bench = Bench(config, program, psums=psums)
        dut = bench.dut

        async def interrupted(ctx):
            # The first life ends early: drains are answered at once, nothing is granted.
            for cycle in range(when):
                ctx.set(dut.psum_filled, int(cycle == 2))
                if cycle < len(program):
                    ctx.set(dut.i.payload, {**bits(program[cycle]), "index": cycle})
                ctx.set(dut.i.valid, int(cycle < len(program)))
                ctx.set(dut.drain_ready, 1)
                ctx.set(dut.psum_soon, int(19 < cycle < 39))
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.psum_soon, 0)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            await bench.machine(ctx)

        async def again(ctx):
            await ctx.tick().repeat(when + 2)
            await bench.instructions(ctx)
            bench.sent = True

        bench.sent = False
        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(again, background=True)
        simulator.add_testbench(interrupted)
        simulator.run()
        model = Model(config, params, psums)
        model.run(program)
        check(bench, model)
