"""Tables of whole networks: totals beside goals and published figures, layers, traffic."""

from ...report import bound, num, short
from ..goals import NETWORKS
from ..output import Table, verdict
from .figures import lost
from .published import PUBLISHED

__all__ = ["goal_table", "network_tables", "shortfalls", "summary"]

SMALL = 0.005  # share of a layer's cycles from which a cause is worth a word
_ACCESSES = ("act_reads", "act_writes", "filter_reads", "filter_writes")


def network_tables(figures):
    """All tables of one network."""
    where = f"{figures.network}, {figures.preset}, batch {figures.batch}"
    return [_total_table(figures, where), _published_table(figures, where), _layer_table(figures, where),
            _traffic_table(figures, where)]  # fmt: skip


def summary(found):
    """One row a network."""
    made = Table(
        "Networks", ("network", "preset", "batch", "MACs", "cycles", "whole", "CONV", "DRAM MB an image", "model's error",
                     "stored tensors equal", "all tensors equal"),
        note="Utilisation: useful MACs of those that the array could do in all cycles from start to interrupt. All tensors: "
        "of a second run, of the program that stores every tensor."
    )  # fmt: skip
    for each in found:
        whole = each.whole
        cycles = whole.counters["cycles"]
        every = "not run" if each.all_compared is None else _equal(each.all_equal, each.all_compared)
        made.add(
            each.network, each.preset, each.batch, _count(whole.macs), num(cycles), percent_of(each.utilisation(whole)),
            percent_of(each.utilisation(each.conv)), _mega(each.dram(whole) / each.batch), _error(whole.predicted, cycles),
            _equal(each.equal, each.compared), every,
        )  # fmt: skip
    return made


def percent_of(share):
    """A fraction as text."""
    return f"{100 * share:.1f}%"


def _equal(equal, compared):
    return verdict(f"{equal} of {compared}", equal == compared)


def _count(value):
    """A whole number in full up to a million."""
    return num(value) if value < 1e6 else f"{value / 1e6:,.2f} M"


def _mega(size):
    return f"{size / 1e6:,.2f}"


def _error(predicted, cycles):
    return f"{100 * (predicted - cycles) / cycles:+.1f}%" if cycles else "-"


def _total_table(figures, where):
    table = Table(
        f"{where}: totals",
        ("layers", "number", "MACs", "cycles", "used", "lost to", "DRAM MB read", "written", "least", "for the buffer", "an image"),
        note="CONV counts the cycles of convolutions and of the layers that are done meanwhile. Least: every layer's inputs, weights and output "
        "once. For the buffer: the larger, layer by layer, of that and 2 MACs / sqrt(window's reuse x buffer).",
    )  # fmt: skip
    for total in figures.totals().values():
        spent = total.spent
        least = total.least_read + total.least_write
        table.add(
            total.name, total.layers, _count(total.macs), num(spent.cycles), percent_of(figures.utilisation(total)), _lost(spent),
            _mega(spent.read_beats * figures.dram_bytes), _mega(spent.write_beats * figures.dram_bytes), _mega(least),
            _mega(total.buffer_bound), _mega(figures.dram(total) / figures.batch),
        )  # fmt: skip
    return table


def _lost(spent):
    """The causes of what was lost, largest first."""
    shares = sorted(((cycles / max(1, spent.cycles), cause) for cause, cycles in lost(spent).items()), reverse=True)
    return ", ".join(f"{cause}\N{NO-BREAK SPACE}{100 * share:.1f}%" for share, cause in shares if share >= SMALL) or "-"


def _published_table(figures, where):
    table = Table(f"{where}: goals and published figures", ("what", "utilisation", "DRAM MB an image", "source"))
    totals = figures.totals()
    for key, total in totals.items():
        if key in ("fc", "other"):
            continue
        table.add(f"Rowcast, {total.name}", percent_of(figures.utilisation(total)), _mega(figures.dram(total) / figures.batch),
                  f"this run: {figures.macs_a_cycle} MACs of 8 bits, RTL")  # fmt: skip
    for goal, value in _goals(figures):
        share = goal.goal.unit == "%"
        text = str(goal.goal)
        table.add(f"goal, {goal.goal.name}", text if share else "", "" if share else text, "met" if goal.goal.met(value) else "not met")
    for each in PUBLISHED:
        if each.network == figures.network and each.total in totals:
            table.add(
                f"{each.design}, {totals[each.total].name}", "" if each.utilisation is None else percent_of(each.utilisation),
                "" if each.dram is None else _mega(each.dram), f"{each.what} ({each.source})",
            )  # fmt: skip
    return table


def _layer_table(figures, where):
    table = Table(
        f"{where}: cycles of layers",
        ("layer", "kind", "MACs", "cycles", "model", "error", "used", "bound by", "lost to"),
        note="From MARK to MARK: a layer that is done during another one has few cycles or none. Used: useful MACs of the cycles' MACs. "
        "Lost: cycles in which the array did not compute, by cause.",
    )
    for layer in figures.layers:
        spent, share = layer.spent, figures.utilisation(layer)
        table.add(
            short(layer.name), f"{layer.kind}{f', {layer.form}' if layer.form else ''}", _count(layer.macs), num(spent.cycles),
            num(layer.predicted), _error(layer.predicted, spent.cycles), percent_of(share) if layer.macs else "-",
            bound(spent, share), _lost(spent),
        )  # fmt: skip
    return table


def _traffic_table(figures, where):
    table = Table(
        f"{where}: accesses of layers",
        ("layer", "DRAM read", "least", "written", "least ", "buffer reads", "buffer writes", "scratchpad reads", "filter flits",
         "ifmap flits", "psums drained"),
        note=f"DRAM in bytes, instructions included ({figures.instruction_bytes:,} in all); least: the layer's inputs, weights and biases, and "
        "its output, once. Global buffer: words of activations and filters. Scratchpads: a filter word and an ifmap value for each PE and MAC "
        "cycle, and the psums that are drained. A flit is a word on a network.",
    )  # fmt: skip
    for layer in (*figures.layers, figures.whole):
        count = layer.counters
        drained = count["psums"] * figures.columns
        table.add(
            short(layer.name), _count(count["read_beats"] * figures.dram_bytes), _count(layer.least_read),
            _count(count["write_beats"] * figures.dram_bytes), _count(layer.least_write), _count(count["act_reads"] + count["filter_reads"]),
            _count(count["act_writes"] + count["filter_writes"]), _count(2 * count["mac_cycles"] * figures.pes + drained),
            _count(count["filter_flits"]), _count(count["ifmap_flits"]), _count(drained),
        )  # fmt: skip
    return table


def _goals(figures):
    """(NetworkGoal, what was reached) of this run."""
    totals = figures.totals()
    for goal in NETWORKS:
        if (goal.network, goal.preset, goal.batch) == (figures.network, figures.preset, figures.batch) and goal.total in totals:
            total = totals[goal.total]
            yield goal, figures.utilisation(total) if goal.goal.unit == "%" else round(figures.dram(total) / figures.batch)


def goal_table(found):
    """Every goal that one of these runs is held against."""
    table = Table("Goals", ("network", "preset", "batch", "what", "goal", "reached"))
    for figures in found:
        for goal, value in _goals(figures):
            table.add(figures.network, figures.preset, figures.batch, goal.goal.name, str(goal.goal),
                      verdict(goal.goal.show(value), goal.goal.met(value)))  # fmt: skip
    return table


def shortfalls(found):
    """A line for each goal that is not met, and for each difference."""
    lines = []
    for figures in found:
        where = f"{figures.network} on {figures.preset}, batch {figures.batch}"
        lines += [f"{where}: {line}" for goal, value in _goals(figures) if (line := goal.goal.shortfall(value))]
        if figures.failed:
            lines.append(f"{where} DIFFERS from the golden: {figures.difference}")
    return lines
