"""The compiled-RTL simulator, on a stand-in that can misbehave."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rowcast.registers import CAUSES, Error
from rowcast_sim import verilated
from rowcast_sim.verilated import (
    BuildError,
    EngineError,
    ProtocolViolation,
    SimulationError,
    SimulationStuck,
    Timing,
    build,
)

TOY = (Path(__file__).parent / "toy_engine.v").read_text()
BASE, SIZE = 0x10000, 0x8000
SOURCE, TARGET = BASE, BASE + 0x4000
BURST = 64  # bytes


@pytest.fixture(scope="module")
def toy():
    return build(TOY, quiet=True)


def registers(beats, *, source=SOURCE, target=TARGET, mode=0):
    return {"PROGRAM_LENGTH": beats, "READ_BASE": source, "WRITE_BASE": target, "DATA_BASE": mode}


def random_bytes(size, seed=1):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def copy(toy, beats, *, mode=0, source=SOURCE, target=TARGET, **options):
    """Run the stand-in; returns result and data."""
    data = random_bytes(8 * beats)
    result = toy.run(
        {SOURCE: data}, registers(beats, source=source, target=target, mode=mode),
        image=(BASE, SIZE), dumps={"copy": (target, 8 * beats)}, limit=100_000, **options,
    )  # fmt: skip
    return result, data


@pytest.mark.parametrize("beats", [1, 7, 8, 9, 100])
@pytest.mark.parametrize("timing", [
    Timing(), Timing(latency=1), Timing(latency=3, stall_percent=50, seed=7), Timing(bytes_per_cycle=2.5, duplex="half"),
    Timing(latency=100, outstanding=1, stall_percent=90, seed=3),
], ids=str)  # fmt: skip
def test_copy(toy, beats, timing):
    result, data = copy(toy, beats, timing=timing)
    np.testing.assert_array_equal(result.dumps["copy"], data)
    assert result.error is Error.NONE
    assert result.under_way == 0
    assert sum(layer.read_beats for layer in result.layers.values()) == beats
    assert sum(layer.write_beats for layer in result.layers.values()) == beats
    assert len(result.layers) == -(-beats // 8)
    assert result.counters["cycles"] == result.registers["COUNT_CYCLES"] == result.cycles


def test_latency_and_throughput(toy):
    """One burst of the stand-in is an address, `latency`, 8 beats, an address, 8 beats, `latency`."""
    for latency in (1, 2, 20, 200):
        result, _ = copy(toy, 8, timing=Timing(latency=latency))
        causes = result.layers[0].causes
        assert set(name for name in CAUSES if causes[name]) == {"load", "store"}
        assert causes["load"] == 1 + max(latency, 1) + 7, latency
        # The write channel opens one cycle after its address.
        assert causes["store"] == 1 + 1 + 7 + latency, latency


@pytest.mark.parametrize("rate", [0.5, 1, 3, 8])
def test_bandwidth(toy, rate):
    beats = 512
    with toy.session(base=BASE, size=SIZE, timing=Timing(latency=1, bytes_per_cycle=rate)) as session:
        for name, value in registers(beats).items():
            session.write(name, value)
        result = session.run(limit=10_000_000)
    # Reads and writes take turns; idle cycles between them save at most one beat.
    least = 2 * 8 * beats / rate - 2 * (beats / 8) * 3 * 8 / rate
    assert least <= result.cycles, (result.cycles, least)
    fast, _ = copy(toy, beats, timing=Timing(latency=1))
    assert rate >= 8 or result.cycles > fast.cycles
    assert rate != 8 or result.cycles == fast.cycles


def test_seeds(toy):
    """Stalls depend on the seed only."""
    cycles = [copy(toy, 64, timing=Timing(stall_percent=40, seed=seed))[0].cycles for seed in (1, 1, 2, 3)]
    assert cycles[0] == cycles[1]
    assert len(set(cycles)) > 1
    assert min(cycles) > copy(toy, 64)[0].cycles


def test_session_many_runs(toy):
    """Runs of one process see each other's memory; resets do not touch it."""
    first, second = random_bytes(512, 5), random_bytes(512, 6)
    with toy.session(base=BASE, size=SIZE) as session:
        for data, timing in ((first, Timing()), (second, Timing(stall_percent=30))):
            session.set_timing(timing)
            session.load(SOURCE, data)
            for name, value in registers(64).items():
                session.write(name, value)
            result = session.run(limit=100_000)
            np.testing.assert_array_equal(session.dump(TARGET, 512), data)
            assert len(result.layers) == 8
        session.reset()
        np.testing.assert_array_equal(session.dump(TARGET, 512), second)
        for name, value in registers(64, source=TARGET, target=SOURCE + 0x1000).items():
            session.write(name, value)
        session.run(limit=100_000)
        np.testing.assert_array_equal(session.dump(SOURCE + 0x1000, 512), second)


def test_wide_registers_and_arrays(toy):
    with toy.session(base=BASE, size=SIZE) as session:
        session.write("READ_LIMIT", 0x12_3456_789A)
        assert session.read("READ_LIMIT") == 0x3456789A and session.read("READ_LIMIT_HIGH") == 0x12
        with pytest.raises(ValueError, match="PROGRAM_LENGTH has 32 bits"):
            session.write("PROGRAM_LENGTH", 1 << 32)
        values = np.arange(-6, 6, dtype=np.int32).reshape(3, 4)
        session.load(SOURCE + 4, values.T)
        np.testing.assert_array_equal(session.dump(SOURCE + 4, 48).view(np.int32).reshape(4, 3), values.T)
        session.load(SOURCE, np.zeros(0, np.uint8))
        assert session.dump(SOURCE, 0).size == 0


@pytest.mark.parametrize("mode, beats, message", [
    (1, 8, "AR: valid withdrawn before ready"),
    (2, 8, "AR: payload changed before ready"),
    (3, 8, "W: last is 1 on beat 2 of 8"),
    (5, 8, "W: valid withdrawn before ready"),
])  # fmt: skip
def test_protocol_violations(toy, mode, beats, message):
    with pytest.raises(ProtocolViolation, match=message):
        for seed in range(20):
            copy(toy, beats, mode=mode, timing=Timing(stall_percent=60, seed=seed))


def test_addresses(toy):
    with pytest.raises(ProtocolViolation, match="AR: 64 bytes at 0x10fe0 cross 4 KiB"):
        copy(toy, 8, source=BASE + 0xFE0)
    with pytest.raises(ProtocolViolation, match="AR: 64 bytes at 0x18000 are outside the memory"):
        copy(toy, 8, source=BASE + SIZE)
    with pytest.raises(ProtocolViolation, match="AW: 64 bytes at 0xffc0 are outside the memory"):
        copy(toy, 8, target=BASE - BURST)


def test_valid_in_reset(toy):
    with toy.session(base=BASE, size=SIZE) as session:
        session.write("DATA_BASE", 6)
        with pytest.raises(ProtocolViolation, match="valid during reset"):
            session.reset()


def test_faults(toy):
    with toy.session(base=BASE, size=SIZE) as session:
        for name, value in registers(32).items():
            session.write(name, value)
        session.add_fault("read", SOURCE + 3 * BURST - 1, 1)
        with pytest.raises(EngineError, match="READ_RESPONSE") as caught:
            session.run(limit=10_000)
        assert caught.value.code is Error.READ_RESPONSE and len(caught.value.result.layers) == 3
        session.clear_faults()
        session.add_fault("write", TARGET + BURST, 8)
        result = session.run(limit=10_000, check=False)
        assert result.error is Error.WRITE_RESPONSE and len(result.layers) == 2
        session.clear_faults()
        assert session.run(limit=10_000).error is Error.NONE
        with pytest.raises(ValueError, match="kind must be 'read' or 'write', not 'both'"):
            session.add_fault("both", 0, 1)


def test_stuck(toy):
    where = "layer 7, status 1: LOAD waits for a token, 2 queued; STORE is idle, 0 queued; FILTER is busy, 3 queued"
    with pytest.raises(SimulationStuck, match=f"no interrupt in 100000 cycles; {where}"):
        copy(toy, 8, mode=4)
    with toy.session(base=BASE, size=SIZE) as session:
        session.write("DATA_BASE", 4)
        seen = []
        with pytest.raises(SimulationStuck):
            session.run(limit=10_000, every=3000, progress=lambda cycle, layer: seen.append(cycle))
        assert [later - seen[0] for later in seen] == [0, 3000, 6000]
        assert session.layers()[0].causes["instruction"] >= 10_000


def test_errors(toy):
    with toy.session(base=BASE, size=SIZE) as session:
        with pytest.raises(SimulationError, match="load: the bytes are not all in the memory image"):
            session.load(BASE + SIZE - 1, np.zeros(2, np.uint8))
        with pytest.raises(SimulationError, match="trace: the model was built without trace"):
            session.trace("/tmp/never.vcd")
        with pytest.raises(SimulationError, match="there is no such command"):
            session._ask("dance")
        with pytest.raises(SimulationError, match="read: a register read was refused"):
            session._ask("read 1024")
        session._process.kill()
        with pytest.raises(SimulationError, match="the simulator ended with status -9"):
            session.read("STATUS")


@pytest.mark.parametrize("field, value, message", [
    ("latency", 0, "latency must be at least 1, not 0"),
    ("bytes_per_cycle", 0, "bytes_per_cycle must be at least 1/256, not 0"),
    ("duplex", "none", "duplex must be 'full' or 'half', not 'none'"),
    ("outstanding", 65, "outstanding must be from 1 to 64, not 65"),
    ("stall_percent", 100, "stall_percent must be from 0 to 99, not 100"),
])  # fmt: skip
def test_timing_errors(field, value, message):
    with pytest.raises(ValueError, match=message):
        replace(Timing(), **{field: value})


def test_nothing_left_behind(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(verilated.tempfile, "tempdir", str(tmp_path))
    copy(toy, 8)
    with pytest.raises(SimulationStuck):
        copy(toy, 8, mode=4)
    assert not list(tmp_path.iterdir())


def test_build_error_names_the_cause(tmp_path, monkeypatch):
    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path / "a cache"))
    with pytest.raises(BuildError, match="syntax error"):
        build("module rowcast(;", quiet=True)
    left = [path.name for path in (tmp_path / "a cache" / "verilated").iterdir()]
    assert all(name.endswith(".lock") for name in left), left


def _build_twice(barrier, answers):
    barrier.wait()
    answers.put(str(build(TOY.replace("32'h00000302", "32'h00000303"), quiet=True).program))


def test_two_builds_at_once(tmp_path, monkeypatch):
    """A cache with a space in its path, two processes that want the same model at the same time."""
    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path / "a cache"))
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_build_twice, args=(barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    programs = {answers.get(timeout=200) for _ in processes}
    for process in processes:
        process.join()
    program = Path(programs.pop())
    assert not programs and program.exists()
    assert sorted(path.name for path in program.parent.iterdir()) == ["build.log", "rowcast.v", "sim"]
    data = random_bytes(64)
    result = verilated.Model(program).run({SOURCE: data}, registers(8), dumps={"copy": (TARGET, 64)})
    np.testing.assert_array_equal(result.dumps["copy"], data)
