"""Whole networks on the RTL: counters by layer, stops and continuations, traces, kept figures, tables."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from rowcast import PRESETS
from rowcast.registers import CAUSES, COUNTERS
from rowcast_models.compiler.network import compile_graph
from rowcast_models.zoo import digits, lenet5, to_int8
from rowcast_sim.bench.goals import BATCHES
from rowcast_sim.bench.goals import NETWORKS as GOALS
from rowcast_sim.bench.networks import runs, tables
from rowcast_sim.bench.networks.figures import CONV, FC, OTHER, Figures, LayerFigures, buffer_bound, tile_bound
from rowcast_sim.bench.networks.published import PUBLISHED
from rowcast_sim.cli import main
from rowcast_sim.machine import RtlBackend
from rowcast_sim.saved import State, state_of
from rowcast_sim.timeline import CAUSE, LAYERS, Window, write_runs
from rowcast_sim.tools import ToolError
from rowcast_sim.verilated import LayerCycles

IMAGE = {"image": to_int8(digits()[0][:1])}


@pytest.fixture(scope="module")
def program():
    return compile_graph(lenet5(), PRESETS["tiny"])


@pytest.fixture(scope="module")
def plain(program):
    """A run from start to end."""
    with RtlBackend(program) as machine:
        return machine.run(IMAGE, window=Window())


def rowcast(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# The harness --------------------------------------------------------------------------------------------------------


def test_layers_sum_to_the_counters(plain):
    sums = {name: sum(layer.counters[name] for layer in plain.layers) for name in COUNTERS}
    assert sums == plain.counters
    assert all(plain.counters[name] for name in COUNTERS if name != "cause_store")
    starts = [layer.first for layer in plain.layers]
    assert starts == [sum(layer.cycles for layer in plain.layers[:i]) for i in range(len(starts))]


def stop_at(cycles):
    def stop(now, layer):
        if now >= cycles:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("window", [None, Window(100, 60_000)], ids=["plain", "recorded"])
def test_stopped_run_goes_on(program, plain, tmp_path, window):
    state = State(tmp_path / "run.state")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), RtlBackend(program) as machine:
            machine.run(IMAGE, state=state, progress=stop_at(0), every=20_000, window=window)
        assert state.exists() and [path.name for path in tmp_path.iterdir()] == ["run.state"]
    # Other inputs: what was saved counts.
    with RtlBackend(program) as machine:
        run = machine.run({"image": np.zeros_like(IMAGE["image"])}, state=state, window=window)
    assert not state.exists()
    assert run.counters == plain.counters and run.layers == plain.layers
    for name, values in plain.tensors.items():
        np.testing.assert_array_equal(run.tensors[name], values)
    if window:
        with RtlBackend(program) as machine:
            whole = machine.run(IMAGE, window=window)
        np.testing.assert_array_equal(run.timeline.spans, whole.timeline.spans)


DAMAGE = {
    "short": lambda data: data[:-1], "empty": lambda data: b"",
    "changed": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_state(program, tmp_path, damage):
    state = State(tmp_path / "run.state")
    with pytest.raises(KeyboardInterrupt), RtlBackend(program) as machine:
        machine.run(IMAGE, state=state, progress=stop_at(0), every=1000)
    state.path.write_bytes(damage(state.path.read_bytes()))
    match = "run.state is not a complete saved simulation: remove it"
    with pytest.raises(ToolError, match=match), RtlBackend(program) as machine:
        machine.run(IMAGE, state=state)


def test_states_are_told_apart(program):
    other = compile_graph(lenet5(), PRESETS["tiny"], keep_all=True)
    with RtlBackend(program) as machine, RtlBackend(other) as full:
        first = state_of(machine, IMAGE)
        assert first == state_of(machine, {"image": IMAGE["image"].copy()})
        assert len({first, state_of(machine, {"image": IMAGE["image"] + 1}), state_of(full, IMAGE)}) == 3


# Timelines ----------------------------------------------------------------------------------------------------------


def read_spans(path):
    events = json.loads(path.read_text())["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    return [(names[e["tid"]], e["name"], e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X"]


def test_trace_equals_the_counters(program, plain, tmp_path):
    write_runs(tmp_path / "trace.json", [(program, plain), (program, plain)])
    spans = read_spans(tmp_path / "trace.json")
    assert {track for track, *_ in spans} == {
        LAYERS, CAUSE, "LOAD", "STORE", "FILTER", "IFMAP", "POST", "COMPUTE", "vector run",
    }  # fmt: skip
    for track in {span[0] for span in spans}:
        mine = sorted(span[2:] for span in spans if span[0] == track)
        assert mine[0][0] >= 0 and mine[-1][1] <= 2 * plain.cycles
        assert all(start < end for start, end in mine)
        assert all(end <= start for (_, end), (start, _) in zip(mine, mine[1:], strict=False))
    for cause in CAUSES:
        total = sum(end - start for track, name, start, end in spans if (track, name) == (CAUSE, cause))
        assert total == 2 * plain.causes[cause]
    assert [span[1] for span in spans if span[0] == LAYERS] == 2 * [layer.name for layer in program.layers]


def test_window(program, plain):
    with RtlBackend(program) as machine:
        part = machine.run(IMAGE, window=Window(1000, 3000)).timeline
        few = machine.run(IMAGE, window=Window(most=20)).timeline
    assert part.spans["start"].min() == 1000 and part.spans["end"].max() == part.end == 3000
    causes = part.spans[part.spans["track"] == 7]
    assert (causes["end"] - causes["start"]).sum() == 2000
    assert 20 <= len(few.spans) < 40 and few.end < plain.cycles
    with pytest.raises(ValueError, match="a window must be of cycles from 0 on, not 5:5"):
        Window(5, 5)


def test_trace_of_a_run(plain, tmp_path):
    np.save(tmp_path / "x.npy", IMAGE["image"])
    start = ("run", "lenet5", "--preset", "tiny", "--input", tmp_path / "x.npy", "--trace", tmp_path / "trace.json")
    assert rowcast(*start).exit_code == 0
    assert max(end for *_, end in read_spans(tmp_path / "trace.json")) == plain.cycles
    result = rowcast(*start, "--backend", "golden")
    assert result.exit_code == 2 and "--trace shows the RTL, not the backend golden" in result.stderr


# The command --------------------------------------------------------------------------------------------------------

COMMAND = ("bench", "networks", "--network", "lenet5", "--preset", "tiny")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "networks" / "lenet5-tiny-batch1.json"


def test_command(kept, tmp_path):
    page, data, trace = (tmp_path / name for name in ("page.md", "figures.json", "trace.json"))
    result = rowcast(*COMMAND, "--no-check-all", "--trace", trace, "--trace-cycles", ":5000", "--json", data)
    assert result.exit_code == 0 and "cycles 0 to 5,000" in result.stderr, result.output
    assert max(end for track, _, _, end in read_spans(trace) if track != LAYERS) <= 5000
    (figures,) = json.loads(data.read_text())["networks"]
    assert (figures["compared"], figures["equal"], figures["all_compared"]) == (1, 1, None)

    result = rowcast(*COMMAND, "--markdown", page)
    assert result.exit_code == 0 and "measured before" in result.stderr
    assert Figures.from_dict(json.loads(kept.read_text())).all_equal == len(lenet5().nodes)
    text = page.read_text()
    assert "1 of 1 | 7 of 7" in text and "| C5 | FullyConnected | 48,000 |" in text
    cycles = sum(each["counters"]["cycles"] for each in figures["layers"])
    assert f"| whole network | 7 | 416,520 | {cycles:,} |" in text

    # What the cycle model predicts is that of today's model, and bounds are today's.
    old = json.loads(kept.read_text())
    kept.write_text(json.dumps(old | {"layers": [layer | {"predicted": 1, "tile_bound": 2} for layer in old["layers"]]}))
    result = rowcast(*COMMAND, "--json", data)
    (again,) = json.loads(data.read_text())["networks"]
    assert "measured before" in result.stderr and again["layers"] == figures["layers"]

    # Another program or hardware, a damaged file: measured again.
    text = kept.read_text()
    for bad in (text.replace(figures["digest"], "another"), text[:50], "{}"):
        kept.write_text(bad)
        result = rowcast(*COMMAND, "--no-check-all")
        assert result.exit_code == 0 and "measured before" not in result.stderr
        assert json.loads(kept.read_text())["digest"] == figures["digest"]


def test_others_are_on_the_page(kept, tmp_path, monkeypatch):
    assert rowcast(*COMMAND, "--no-check-all").exit_code == 0
    kept.with_name("lenet5-tiny-batch2.json").write_text(kept.read_text())
    result = rowcast(*COMMAND, "--markdown", tmp_path / "page.md")
    assert "lenet5 on tiny, 2 images: measured with another program, hardware or tool; left out" in result.stderr
    assert "| lenet5 | tiny | 2 |" not in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize("arguments, match", [
    (["--network", "lenet6"], "there is no network 'lenet6'; networks are: lenet5"),
    (["--network", "lenet5", "--batch", "0"], "'--batch': 0 is not in the range x>=1"),
    (["--network", "lenet5", "--preset", "tiny", "--batch", "10000000"],
     "lenet5 on tiny, 10000000 images: tensors of .* bytes do not fit a memory"),
    (["--network", "lenet5", "--trace-cycles", "1:2"], "--trace-cycles says what --trace shows: give both"),
    (["--network", "lenet5", "--trace", "x.json", "--trace-cycles", "7"], "must be FIRST:LAST cycles, .* not '7'"),
    (["--network", "lenet5", "--trace", "x.json", "--trace-cycles", "9:7"], "must be FIRST:LAST cycles, .* not '9:7'"),
    (["--network", "lenet5", "--trace", "nowhere/x.json"], "there is no folder nowhere"),
    (["--trace", "x.json"], "--trace is of one run: give --network once"),
])  # fmt: skip
def test_refused(arguments, match):
    result = rowcast("bench", "networks", *arguments)
    assert result.exit_code == 2 and re.search(match, result.stderr), (result.exit_code, result.stderr)


# Figures and tables -------------------------------------------------------------------------------------------------


def layer(name, group, cycles, macs=0, *, busy=0, on_array=True, form="", own=0, **counters):
    counters = LayerCycles.of({"computing": busy, "drain": cycles - busy}, mac_cycles=busy, **counters).counters
    return LayerFigures(
        name=name, kind="Conv", group=group, form=form, macs=macs, on_array=on_array, counters=counters, first=0,
        predicted=cycles, least_read=100, least_write=10, buffer_bound=200, tile_bound=300, own=own,
    )  # fmt: skip


def network(layers, **changes):
    given = {
        "network": "alexnet", "title": "", "preset": "base", "batch": 4, "digest": "", "pes": 16, "columns": 4,
        "lanes": 8, "dram_bytes": 8, "layers": tuple(layers), "instruction_bytes": 1, "program_bytes": 1,
        "compared": 1, "equal": 1,
    }  # fmt: skip
    return Figures(**{**given, **changes})


def test_totals():
    figures = network([
        layer("A", CONV, 1000, 96_000, busy=900, read_beats=50, own=300), layer("B", OTHER, 30, busy=30, on_array=False, own=70),
        layer("C", OTHER, 500, on_array=False), layer("LRN", OTHER, 100, busy=90), layer("F", FC, 200, 1280, busy=10),
    ])  # fmt: skip
    totals = figures.totals()
    assert {key: total.counters["cycles"] for key, total in totals.items()} == {
        "whole": 1830, "conv": 1030, "fc": 200, "other": 600,
    }  # fmt: skip
    assert figures.utilisation(totals["conv"]) == 96_000 / (1030 * 128)
    assert figures.dram(totals["conv"]) == 400 and totals["conv"].own == 300 and totals["whole"].own == 370
    assert Figures.from_dict(json.loads(json.dumps(figures.to_dict()))) == network(figures.layers, kept=True)


def test_mobilenet_has_totals_by_form():
    layers = (("D", 10, "depthwise"), ("P", 20, "pointwise"), ("C", 5, ""))
    figures = network([layer(name, CONV, cycles, form=form) for name, cycles, form in layers])
    assert {key: total.layers for key, total in figures.totals().items()} == {
        "whole": 3, "conv": 3, "pointwise": 1, "depthwise": 1,
    }  # fmt: skip


def test_shortfalls():
    good = network([layer("A", CONV, 1000, 120_000)])
    assert tables.shortfalls([good]) == []
    bad = network([layer("A", CONV, 1000, 1000, own=8_000_000)], equal=0, difference="tensor 'x'")
    assert tables.shortfalls([bad]) == [
        "alexnet on base, batch 4: CONV layers, utilisation: 0.8%, goal at least 93.0%",
        "alexnet on base, batch 4: CONV layers, DRAM bytes an image: 2,000,000 bytes, goal at most 1,700,000 bytes",
        "alexnet on base, batch 4 DIFFERS from the golden: tensor 'x'",
    ]
    assert bad.failed and not good.failed
    page = tables.goal_table([good, bad]).markdown()
    assert page.count("| at least 93.0% | 93.8% |  |") == 1 and page.count("| at least 93.0% | 0.8% ! | drain 100.0% |") == 1
    assert page.count("| 2,000,000 bytes ! | memory: 75 bytes by the bound in tiles, ") == 1
    assert "Eyeriss" in tables.network_tables(bad)[1].markdown()


def test_tile_bound():
    assert tile_bound(5000, 100, 1000, 100) == 5100
    assert tile_bound(5000, 200, 1000, 100) == 5000 + 200 + min(100 * 4, 4000 * 1)
    assert tile_bound(500, 3000, 1000, 100) == 3500
    assert tile_bound(500, 300, 100, 290) == 500 + 300 + min(10 * 4, 400 * (300 / 290 - 1))


def test_buffer_bound():
    assert buffer_bound(10**6, 9, 1 << 18, least=0) == int(2 * 10**6 / (3 * 512))
    assert buffer_bound(10**6, 9, 1 << 18, least=99_999) == 99_999


def test_goals_and_published_figures_are_of_the_same_networks():
    known = {goal.network for goal in GOALS}
    assert {each.network for each in PUBLISHED} <= known and set(BATCHES) <= known
    assert all(goal.batch == BATCHES.get(goal.network, 1) for goal in GOALS)
