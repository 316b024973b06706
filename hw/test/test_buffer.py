"""BankedMemory against a list of words, with random clients."""

import random

import pytest
from amaranth.sim import Simulator

from rowcast.buffer import BankedMemory
from rowcast.config import Config
from rowcast.interfaces import GLB_READ_LATENCY


def banks_of(address, n, banks, mask=-1):
    """Banks that an access needs."""
    return {(address + i) % banks for i in range(n) if mask >> i & 1}


def granted(accesses, banks):
    """Which of these (address, words, mask) or None, highest priority first, are granted."""
    taken, result = set(), []
    for access in accesses:
        need = banks_of(access[0], access[1], banks, access[2]) if access else set()
        result.append(access is not None and not need & taken)
        taken |= need
    return result


def run(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()


@pytest.mark.parametrize(
    "lanes, words, banks, reads, writes",
    [
        (8, 256, 4, (1, 1), (1, 1)),
        (8, 64, 1, (1, 1), (1, 1)),
        (4, 128, 8, (2, 4), (1, 1, 4)),
        (16, 64, 4, (4, 1, 2), (2,)),
        (4, 32, 2, (2,), (2, 1)),
        (4, 512, 16, (1, 4, 1), (1, 1, 4)),
    ],
)
@pytest.mark.parametrize("activity", [0.5, 1.0])
def test_random_clients(lanes, words, banks, reads, writes, activity):
    rng = random.Random(f"{lanes} {words} {banks} {reads} {writes} {activity}")
    config = Config(lanes=lanes, dram_bytes=16)
    bits = config.word_bits
    dut = BankedMemory(config, words=words, banks=banks, reads=reads, writes=writes)
    memory = [0] * words
    span = min(words, 4 * banks)  # few addresses, so that reads meet fresh writes

    async def testbench(ctx):
        expected = {}  # cycle: [(client, data or None for unknown)]
        pending_reads, pending_writes = [None] * len(reads), [None] * len(writes)
        counts = (0, 0)
        for cycle in range(400):
            for k, n in enumerate(writes):
                if pending_writes[k] is None and rng.random() < activity:
                    address = rng.randrange(span) // n * n
                    pending_writes[k] = (address, n, rng.randrange(1 << n) if n > 1 else 1, rng.getrandbits(bits * n))
                access = pending_writes[k] or (rng.randrange(span), n, 1, 0)
                port = dut.writes[k]
                ctx.set(port.request, pending_writes[k] is not None)
                ctx.set(port.address, access[0])
                ctx.set(port.mask, access[2])
                ctx.set(port.data, access[3])
            for k, n in enumerate(reads):
                if pending_reads[k] is None and rng.random() < activity:
                    pending_reads[k] = (rng.choice((rng.randrange(span), rng.randrange(words))), n, -1)
                port = dut.reads[k]
                ctx.set(port.request, pending_reads[k] is not None)
                ctx.set(port.address, pending_reads[k][0] if pending_reads[k] else rng.randrange(words))
            assert (ctx.get(dut.read_count), ctx.get(dut.write_count)) == counts, cycle
            for k, n in enumerate(reads):
                for data in expected.get((cycle, k), ()):
                    got = ctx.get(dut.reads[k].data)
                    for i, word in enumerate(data):
                        if word is not None:
                            assert got >> bits * i & (1 << bits) - 1 == word, (cycle, k, i)
            write_grants, read_grants = granted(pending_writes, banks), granted(pending_reads, banks)
            assert [ctx.get(port.grant) for port in dut.writes] == write_grants, cycle
            assert [ctx.get(port.grant) for port in dut.reads] == read_grants, cycle
            counts = (sum(read_grants), sum(write_grants))
            for k, n in enumerate(reads):
                if pending_reads[k] is None:
                    expected[cycle + GLB_READ_LATENCY, k] = [[0] * n]
            updates = {}
            for k, n in enumerate(writes):
                if write_grants[k]:
                    address, n, mask, data = pending_writes[k]
                    for i in range(n):
                        if mask >> i & 1:
                            updates[address + i] = data >> bits * i & (1 << bits) - 1
                    pending_writes[k] = None
            for k, n in enumerate(reads):
                if read_grants[k]:
                    where = [(pending_reads[k][0] + i) % words for i in range(n)]
                    # A word that is written in this very cycle is undefined.
                    data = [None if a in updates else memory[a] for a in where]
                    expected[cycle + GLB_READ_LATENCY, k] = [data]
                    pending_reads[k] = None
            for address, word in updates.items():
                memory[address] = word
            await ctx.tick()

    run(dut, testbench)


def test_read_after_write():
    """A read granted in the cycle after a write sees it; its data is there after three cycles and then replaced."""
    dut = BankedMemory(Config(), words=64, banks=4, reads=(1,), writes=(1,))

    async def testbench(ctx):
        read, write = dut.reads[0], dut.writes[0]
        for cycle in range(20):
            ctx.set(write.request, 1)
            ctx.set(write.mask, 1)
            ctx.set(write.address, cycle)
            ctx.set(write.data, 1000 + cycle)
            ctx.set(read.request, cycle > 0)
            ctx.set(read.address, max(0, cycle - 1))
            assert ctx.get(write.grant) and ctx.get(read.grant) == (cycle > 0)
            if cycle > GLB_READ_LATENCY:
                assert ctx.get(read.data) == 1000 + cycle - 1 - GLB_READ_LATENCY
            await ctx.tick()

    run(dut, testbench)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"words": 100}, "words must be a power of two, not 100"),
        ({"banks": 3}, "banks must be a power of two up to words / 2 = 32, not 3"),
        ({"banks": 64}, "banks must be .*, not 64"),
        ({"reads": ()}, "reads must name at least one client"),
        ({"reads": (1, 8)}, "reads must be powers of two up to banks = 4, not 8"),
        ({"writes": (3,)}, "writes must be powers of two up to banks = 4, not 3"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        BankedMemory(Config(), **{"words": 64, "banks": 4, "reads": (1,), "writes": (1,), **change})
