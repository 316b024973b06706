"""The cycle model: programs made by hand, whose cycles were measured on the RTL, and what holds for all programs."""

import copy
from itertools import pairwise

import numpy as np
import pytest
from rowcast import preset
from rowcast.isa import Unit, make
from rowcast.registers import COUNTERS
from rowcast_models.compiler.mapping import Memory
from rowcast_models.compiler.network import compile_graph
from rowcast_models.cycles import MemoryModel, predict
from rowcast_models.zoo.lenet5 import lenet5

BASE, LARGE = preset("base"), preset("large")
END = make("END")


def load(words, space=0, rows=1, **more):
    return make("LOAD", space=space, words=words, rows=rows, **more)


def loops(*counts):
    """IFMAP_LOOPs of these turns."""
    counts = (*counts, 1, 1, 1, 1, 1, 1)
    pairs = [dict(zip(("count_a", "count_b"), counts[2 * pair : 2 * pair + 2])) for pair in range(3)]
    return [make("IFMAP_LOOP", pair=pair, step_a=1, step_b=1, **turns) for pair, turns in enumerate(pairs)]


def vector(window, windows, runs):
    """So many vector runs of windows of words."""
    head = [*loops(window, 1, windows), make("IFMAP_SET", height=1, width=1)]
    run = [make("IFMAP_RUN", vector=1), make("POST_RUN", source=1, buffer=4096)]
    return [*head, make("POST_LOOP", count_x=windows, step_x=1, count_y=1), *run * runs]


def convolution(dots, pixels, chunks, passes, rows):
    """Passes of a few chunks each, drained from so many rows."""
    program = [
        make("POST_PE", row=i, column=j, valid=1, offset=8 * (4 * i + j))
        for i in range(rows)
        for j in range(BASE.columns)
    ]
    program += [
        make("COMPUTE_LOOP_K", count_c=dots, step_c=1, count_s=1, count_r=1),
        make("COMPUTE_LOOP_P", count_x=pixels, step_x=1, count_y=1),
        make("POST_LOOP", count_x=pixels, step_x=1, count_y=1),
        *loops(4, 1, 1, 1, 1, chunks),
        make("IFMAP_SET", height=1, width=1),
    ]
    for number in range(passes):
        program += [make("IFMAP_RUN"), make("COMPUTE_RUN", chunks=chunks, first=1, last=1)]
        program += [make("FILTER_RUN", flits=dots, groups_column=1, groups_row=1, chunks=1)] * chunks
        program += [make("POST_RUN", rows=rows)] * (number > 0)
    return [*program, make("POST_RUN", rows=rows)]


# Cycles of these programs on the RTL of preset base, memory of 30 cycles, 8 bytes a cycle in all.
MEASURED = {
    "nothing": ([], 49),
    "settings": ([make("POST_SET")] * 40, 171),
    "a word": ([load(1)], 91),
    "bursts": ([load(1000)], 1090),
    "parameters": ([load(33, 2)], 155),
    "parameters and filters": ([load(n, space) for n, space in ((128, 1), (16, 2)) * 3] + [load(128, 1)], 695),
    "rows": ([make("LOAD_STRIDE", dram_stride=64, buffer_stride=1), load(1, rows=20)], 167),
    "written rows": ([make("STORE_STRIDE", dram_stride=64, buffer_stride=3), make("STORE", words=3, rows=100)], 396),
    "reads before writes": ([make("STORE", words=500, rows=1, dram=4096), load(100)], 694),
    "filters": ([make("FILTER_RUN", flits=100, groups_column=1, groups_row=1, chunks=2)], 262),
    "ifmap": ([*loops(2, 3, 4), make("IFMAP_SET", height=1, width=1), make("IFMAP_RUN")], 96),
    "vector, columns in turn": (vector(1, 100, 5), 1255),
    "vector, a word a cycle": (vector(9, 100, 5), 4775),
    "convolution": (convolution(100, 4, 2, 5, 4), 4425),
    "short dot products": (convolution(4, 16, 2, 3, 4), 2253),
    "drains between captures": (convolution(12, 33, 3, 4, 3), 6153),
    "drains that wait for captures": (convolution(8, 64, 4, 3, 4), 11477),
}


@pytest.mark.parametrize("name", MEASURED)
def test_measured(name):
    program, cycles = MEASURED[name]
    assert predict([*program, END], BASE, MemoryModel()).cycles == cycles


def tokens(instruction, wait=0, signal=0):
    """The instruction with its masks of units."""
    instruction.wait, instruction.signal = wait, signal
    return instruction


FROM_LOAD, FROM_STORE, FROM_IFMAP, FROM_POST = (1 << unit for unit in (Unit.LOAD, Unit.STORE, Unit.IFMAP, Unit.POST))


def sums(words):
    """Loops of an element-wise sum of tensors of so many words, one behind the other."""
    return [
        make("IFMAP_LOOP", pair=0, count_a=2, step_a=words, count_b=1),
        make("IFMAP_LOOP", pair=1, count_a=words // 4, step_a=4 - words, count_b=1),
        make("IFMAP_LOOP", pair=2, count_a=1, count_b=1),
        make("IFMAP_SET", height=1, width=1),
        make("POST_LOOP", count_x=words // 4, step_x=4, count_y=1),
    ]


def sum_behind_store(words):
    """IFMAP is ready long before POST, which waits for a STORE."""
    return [
        *sums(words),
        tokens(make("STORE", words=4096, rows=1, buffer=32768), signal=FROM_POST),
        make("IFMAP_RUN", vector=1),
        tokens(make("POST_RUN", source=3, buffer=8192, more_words=3), wait=FROM_STORE),
    ]


def sums_in_tiles(words, tiles):
    """LOAD, the vector unit and STORE at work together, on tiles in two places."""

    def loads(tile):
        place = 16384 * (tile % 2)
        first = make("LOAD", words=words, rows=1, dram=2 * tile * words, buffer=place)
        second = make("LOAD", words=words, rows=1, dram=(2 * tile + 1) * words, buffer=place + words)
        return [tokens(first, wait=FROM_IFMAP * (tile > 1)), tokens(second, signal=FROM_IFMAP)]

    program = [*sums(words), *loads(0), *loads(1)]
    for tile in range(tiles):
        place = 16384 * (tile % 2)
        run = make("POST_RUN", source=3, buffer=place + 2 * words, more_words=3)
        store = make("STORE", words=words, rows=1, dram=(2 * tiles + tile) * words, buffer=place + 2 * words)
        program += [
            tokens(make("IFMAP_RUN", buffer=place, vector=1), wait=FROM_LOAD, signal=FROM_LOAD),
            tokens(run, wait=FROM_STORE * (tile > 1), signal=FROM_STORE),
            tokens(store, wait=FROM_POST, signal=FROM_POST),
            *(loads(tile + 2) if tile + 2 < tiles else []),
        ]
    return program


def drains_beside_loads(passes):
    """Two writers, which LOAD must wait for, and each pass waits for its LOAD."""
    program = [
        make("POST_PE", row=i, column=j, valid=1, offset=64 * i + 32 * (j // 8) + j % 8)
        for i in range(LARGE.rows)
        for j in range(LARGE.columns)
    ]
    program += [
        make("COMPUTE_LOOP_K", count_c=16, step_c=1, count_s=1, count_r=1),
        make("COMPUTE_LOOP_P", count_x=4, step_x=1, count_y=1),
        make("POST_LOOP", count_x=4, step_x=8, count_y=1),
        *loops(4),
        make("IFMAP_SET", height=1, width=1),
    ]
    for number in range(passes):
        program += [
            tokens(make("IFMAP_RUN"), wait=FROM_LOAD * (number > 0)),
            make("COMPUTE_RUN", chunks=1, first=1, last=1),
            make("FILTER_RUN", flits=16, groups_column=1, groups_row=1, chunks=1),
            tokens(make("LOAD", words=512, rows=1, dram=512 * number, buffer=16384 + 512 * number), signal=FROM_IFMAP),
            *[make("POST_RUN", rows=LARGE.rows)] * (number > 0),
        ]
    return [*program, make("POST_RUN", rows=LARGE.rows)]


# The same on preset large, 32 bytes a cycle: units that meet in the banks.
BESIDE = {
    "a sum behind a store": (sum_behind_store(1184), 1769),
    "a longer one": (sum_behind_store(2400), 2377),
    "sums in tiles": (sums_in_tiles(1024, 8), 6945),
    "sums in larger tiles": (sums_in_tiles(2944, 6), 15058),
    "drains beside loads": (drains_beside_loads(12), 4495),
}


@pytest.mark.parametrize("name", BESIDE)
def test_beside(name):
    program, cycles = BESIDE[name]
    assert predict([*program, END], LARGE, MemoryModel()).cycles == pytest.approx(cycles, rel=0.005)


@pytest.fixture(scope="module")
def program():
    return compile_graph(lenet5(batch=1), BASE, memory=Memory())


def test_sums(program):
    """Layers add up to the whole, causes to the cycles; counters of the program are those of its instructions."""
    found = predict(program.instructions, BASE)
    assert tuple(found.counters) == COUNTERS
    assert len(found.layers) == len(program.layers)
    for name in COUNTERS:
        assert sum(layer.counters[name] for layer in found.layers) == found.counters[name]
    for each in (found, *found.layers):
        assert sum(each.causes.values()) == each.cycles
        assert all(each.counters[name] >= 0 for name in COUNTERS)
    assert found.counters["instructions"] == len(program.instructions)
    runs = [i for i in program.instructions if i.name == "FILTER_RUN"]
    flits = sum(i["flits"] * i["groups_row"] * i["groups_column"] * i["chunks"] for i in runs)
    assert found.counters["filter_flits"] == found.counters["filter_reads"] == flits


def test_memory(program):
    """A slower memory never makes it faster; the causes that grow are those of memory."""
    latencies = (1, 10, 30, 100, 300)
    cycles = [predict(program.instructions, BASE, MemoryModel(latency=latency)).cycles for latency in latencies]
    assert cycles == sorted(cycles)
    rates = [predict(program.instructions, BASE, MemoryModel(bytes_per_cycle=rate)) for rate in (8, 4, 2, 1)]
    assert [each.cycles for each in rates] == sorted(each.cycles for each in rates)
    assert rates[-1].cycles > rates[-1].counters["read_beats"] * 8
    assert rates[-1].causes["load"] > rates[0].causes["load"]
    full, half = (predict(program.instructions, BASE, MemoryModel(duplex=duplex)).cycles for duplex in (True, False))
    assert full <= half


def test_memory_of_others(program):
    """What the mapper plans for is understood."""
    assert predict(program.instructions, BASE, Memory(latency=100)) == predict(
        program.instructions, BASE, MemoryModel(latency=100)
    )


def test_program_is_left_alone(program):
    before = copy.deepcopy(program.instructions)
    assert predict(program.instructions, BASE) == predict(program.instructions, BASE)
    assert program.instructions == before


def test_timeline(program):
    """Instructions of FILTER, IFMAP and COMPUTE follow each other; every span lies in the run."""
    found = predict(program.instructions, BASE, timeline=True)
    assert not predict(program.instructions, BASE).timeline
    for unit in (Unit.FILTER, Unit.IFMAP, Unit.COMPUTE):
        spans = [span for span in found.timeline if span.unit == unit]
        assert [span.index for span in spans] == sorted(span.index for span in spans)
        assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(0 <= span.start < span.end <= found.cycles for span in found.timeline)
    assert {span.layer for span in found.timeline} <= set(range(len(program.layers)))
    vector = [i for i in program.instructions if i.fields.get("vector") or i.fields.get("source")]
    assert sum(span.vector for span in found.timeline) == len(vector) > 0
    for span in found.timeline:
        assert span.name == program.instructions[span.index].name


def test_padding_is_not_read():
    """Turns outside the ifmap are flits, but no reads."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        counts, y, x = rng.integers(1, 5, 6), int(rng.integers(-4, 3)), int(rng.integers(-4, 3))
        steps = rng.integers(-3, 4, (6, 2))
        pairs = [
            make("IFMAP_LOOP", pair=pair, count_a=counts[2 * pair], dy_a=steps[2 * pair, 0], dx_a=steps[2 * pair, 1],
                 count_b=counts[2 * pair + 1], dy_b=steps[2 * pair + 1, 0], dx_b=steps[2 * pair + 1, 1])
            for pair in range(3)
        ]  # fmt: skip
        reads, at = 0, [y, x]
        for turn in range(int(np.prod(counts))):
            reads += 0 <= at[0] < 5 and 0 <= at[1] < 4
            for level, count in enumerate(counts):
                turn, left = divmod(turn, int(count))
                if left < count - 1:
                    at = [at[0] + int(steps[level, 0]), at[1] + int(steps[level, 1])]
                    break
        chunks = int(counts[5])
        # COMPUTE takes the halves, so that all chunks are sent.
        flits = [make("FILTER_RUN", flits=1, groups_column=1, groups_row=1, chunks=chunks)]
        compute = [
            make("COMPUTE_LOOP_K", count_c=1, count_s=1, count_r=1), make("COMPUTE_LOOP_P", count_x=1, count_y=1),
            make("COMPUTE_RUN", chunks=chunks, first=1),
        ]  # fmt: skip
        run = [make("IFMAP_SET", height=5, width=4), make("IFMAP_RUN", y=y, x=x)]
        counters = predict([*pairs, *run, *compute, *flits, END], BASE).counters
        assert counters["ifmap_flits"] == np.prod(counts)
        assert counters["act_reads"] == reads


def test_program_without_end():
    with pytest.raises(ValueError, match="it has no END"):
        predict([load(1)], BASE)


def test_program_that_hangs():
    waits = make("STORE", words=1, rows=1)
    waits.wait = 1 << Unit.POST
    with pytest.raises(ValueError, match="does not come to its end: STORE before instruction 1"):
        predict([load(1), waits, END], BASE)
    with pytest.raises(ValueError, match="does not come to its end: POST in instruction 1, COMPUTE in instruction 0"):
        predict([make("COMPUTE_RUN", chunks=1), make("POST_RUN", rows=1), END], BASE)
