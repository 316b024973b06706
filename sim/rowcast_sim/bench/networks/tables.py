"""Tables of whole networks: totals beside goals and published figures, layers, traffic."""

from ...report import bound, num, short
from ..goals import NETWORKS
from ..output import Table, verdict
from .figures import lost
from .published import PUBLISHED

__all__ = ["goal_table", "network_tables", "shortfalls", "summary"]

SMALL = 0.005  # share of a layer's cycles from which a cause is worth a word
SUMMARY = (
    "network", "preset", "batch", "MACs", "cycles", "whole", "CONV", "DRAM MB an image", "model's error",
    "stored tensors equal", "all tensors equal",
)  # fmt: skip
TOTALS = (
    "layers", "number", "MACs", "cycles", "used", "lost to", "DRAM MB read", "written", "least", "for the buffer",
    "in tiles", "an image", "their own",
)  # fmt: skip
LAYERS = ("layer", "kind", "MACs", "cycles", "model", "error", "used", "bound by", "lost to")
TRAFFIC = (
    "layer", "DRAM read", "least", "written", "least ", "buffer reads", "buffer writes", "scratchpad reads",
    "filter flits", "ifmap flits", "psums drained",
)  # fmt: skip


def summary(found):
    """One row a network."""
    note = (
        "Utilisation: useful MACs of those that the array could do in all cycles from start to interrupt. "
        "All tensors: of a second run, of the program that stores every tensor."
    )
    made = Table("Networks", SUMMARY, note=note)
    for each in found:
        whole = each.whole
        cycles = whole.counters["cycles"]
        made.add(
            each.network, each.preset, each.batch, _count(whole.macs), num(cycles),
            _percent(each.utilisation(whole)), _percent(each.utilisation(each.conv)),
            _mega(each.dram(whole) / each.batch), _error(whole.predicted, cycles), _equal(each.equal, each.compared),
            "not run" if each.all_compared is None else _equal(each.all_equal, each.all_compared),
        )  # fmt: skip
    return made


def network_tables(figures):
    """All tables of one network."""
    where = f"{figures.network}, {figures.preset}, batch {figures.batch}"
    makers = (_total_table, _published_table, _layer_table, _traffic_table)
    return [make(figures, where) for make in makers]


def _total_table(figures, where):
    note = (
        "CONV counts the cycles of convolutions and of the layers that are done meanwhile, and all that moves in them. Their own: an "
        "image's bytes by the LOADs, STOREs and instructions of these layers alone. Least: every layer's "
        "inputs, weights and output once. For the buffer: layer by layer the larger of that and 2 MACs / "
        "sqrt(window's reuse x buffer), without which no order of a convolution alone can do. In tiles: what this hardware "
        "needs for one layer after the other; sums stay in the PEs, so filters that do not fit their memory pass by once for every part of "
        "the ifmap that fits the activations', but for those that are still there from the part before (hw/README.md, "
        "\"What bounds the traffic of convolutions\"). Poolings in the passes of a "
        "convolution, and two convolutions in bands of rows, spare bytes that all bounds count."
    )
    table = Table(f"{where}: totals", TOTALS, note=note)
    for total in figures.totals().values():
        spent = total.spent
        table.add(
            total.name, total.layers, _count(total.macs), num(spent.cycles), _percent(figures.utilisation(total)),
            _lost(spent), _mega(spent.read_beats * figures.dram_bytes), _mega(spent.write_beats * figures.dram_bytes),
            _mega(total.least_read + total.least_write), _mega(total.buffer_bound), _mega(total.tile_bound),
            _mega(figures.dram(total) / figures.batch), _mega(total.own / figures.batch),
        )  # fmt: skip
    return table


def _published_table(figures, where):
    table = Table(f"{where}: goals and published figures", ("what", "utilisation", "DRAM MB an image", "source"))
    totals = figures.totals()
    for key, total in totals.items():
        if key not in ("fc", "other"):
            used, moved = figures.utilisation(total), total.own / figures.batch
            source = f"this run: {figures.macs_a_cycle} MACs of 8 bits, RTL"
            table.add(f"Rowcast, {total.name}", _percent(used), _mega(moved), source)
    bounds = (
        ("every tensor once", figures.conv.least_read + figures.conv.least_write, "layer by layer"),
        ("for a buffer of this size", figures.conv.buffer_bound, "layer by layer, in whatever order"),
        ("in tiles", figures.conv.tile_bound, "layer by layer, sums in the PEs, filters and activations in memories of their own"),
    )
    for name, value, what in bounds:
        table.add(f"bound, {figures.conv.name}, {name}", "", _mega(value / figures.batch), what)
    for goal, value, _ in _goals(figures):
        texts = (str(goal), "") if goal.unit == "%" else ("", f"at most {_mega(goal.bound)}")
        table.add(f"goal, {goal.name}", *texts, "met" if goal.met(value) else "not met")
    for each in PUBLISHED:
        if each.network == figures.network and each.total in totals:
            used = "" if each.utilisation is None else _percent(each.utilisation)
            moved = "" if each.dram is None else _mega(each.dram)
            table.add(f"{each.design}, {totals[each.total].name}", used, moved, f"{each.what} ({each.source})")
    return table


def _layer_table(figures, where):
    note = (
        "From MARK to MARK: a layer that is done during another one has few cycles or none, and one that begins while the one before "
        "it is still drained and stored can have fewer than its MACs take (more than 100%). Model: cycles by the "
        "cycle model. Used: useful MACs of the cycles' MACs. Lost: cycles in which the array did not compute, by cause."
    )
    table = Table(f"{where}: cycles of layers", LAYERS, note=note)
    for layer in figures.layers:
        spent, share = layer.spent, figures.utilisation(layer)
        table.add(
            short(layer.name), f"{layer.kind}, {layer.form}" if layer.form else layer.kind, _count(layer.macs),
            num(spent.cycles), num(layer.predicted), _error(layer.predicted, spent.cycles),
            _percent(share) if layer.macs else "-", bound(spent, share), _lost(spent),
        )  # fmt: skip
    return table


def _traffic_table(figures, where):
    note = (
        f"DRAM in bytes, instructions included ({figures.instruction_bytes:,} in all); least: the layer's inputs, "
        "weights and biases, and its output, once. Global buffer: words of activations and filters. Scratchpads: a "
        "filter word and an ifmap value for each PE and MAC cycle, and the psums that are drained. A flit is a word on "
        "a network."
    )
    table = Table(f"{where}: accesses of layers", TRAFFIC, note=note)
    for layer in (*figures.layers, figures.whole):
        count = layer.counters
        drained = count["psums"] * figures.columns
        values = (
            count["read_beats"] * figures.dram_bytes, layer.least_read, count["write_beats"] * figures.dram_bytes,
            layer.least_write, count["act_reads"] + count["filter_reads"], count["act_writes"] + count["filter_writes"],
            2 * count["mac_cycles"] * figures.pes + drained, count["filter_flits"], count["ifmap_flits"], drained,
        )  # fmt: skip
        table.add(short(layer.name), *map(_count, values))
    return table


def goal_table(found):
    """Every goal that one of these runs is held against."""
    table = Table("Goals", ("network", "preset", "batch", "what", "goal", "reached", "what stops it"))
    for figures in found:
        for goal, value, total in _goals(figures):
            met = goal.met(value)
            stops = "" if met else _stops(figures, goal, total)
            table.add(figures.network, figures.preset, figures.batch, goal.name, str(goal), verdict(goal.show(value), met), stops)
    return table


def _stops(figures, goal, total):
    """The bound behind a goal that is not met."""
    if goal.unit == "bytes":
        least = round(total.tile_bound / figures.batch)
        return f"memory: {least:,} bytes by the bound in tiles, without halos, results' room and instructions"
    return _lost(total.spent)


def shortfalls(found):
    """A line for each goal that is not met, and for each difference."""
    lines = []
    for figures in found:
        where = f"{figures.network} on {figures.preset}, batch {figures.batch}"
        lines += [f"{where}: {line}" for goal, value, _ in _goals(figures) if (line := goal.shortfall(value))]
        if figures.failed:
            lines.append(f"{where} DIFFERS from the golden: {figures.difference}")
    return lines


def _goals(figures):
    """(Goal, what was reached, Total) of this run."""
    totals = figures.totals()
    for each in NETWORKS:
        of_this = (each.network, each.preset, each.batch) == (figures.network, figures.preset, figures.batch)
        if of_this and each.total in totals:
            total = totals[each.total]
            moved = round(total.own / figures.batch)
            yield each.goal, figures.utilisation(total) if each.goal.unit == "%" else moved, total


# Cells --------------------------------------------------------------------------------------------------------------


def _percent(share):
    return f"{100 * share:.1f}%"


def _equal(equal, compared):
    return verdict(f"{equal} of {compared}", equal == compared)


def _count(value):
    """A whole number, in full up to a million."""
    return num(value) if value < 1e6 else f"{value / 1e6:,.2f} M"


def _mega(size):
    return f"{size / 1e6:,.2f}"


def _error(predicted, cycles):
    return f"{100 * (predicted - cycles) / cycles:+.1f}%" if cycles else "-"


def _lost(spent):
    """The causes of what was lost, largest first."""
    shares = sorted(((cycles / max(1, spent.cycles), cause) for cause, cycles in lost(spent).items()), reverse=True)
    return ", ".join(f"{cause} {100 * share:.1f}%" for share, cause in shares if share >= SMALL) or "-"
