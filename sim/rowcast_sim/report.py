"""Tables, bars and pictures for the terminal; plain text when there is none."""

import contextlib
import os

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = [
    "bound", "cause_table", "crop_box", "gallery", "layer_table", "num", "output", "percent", "picture", "progress_bar",
    "result_table", "sentence", "short", "table", "working",
]  # fmt: skip

FILE_WIDTH = 100  # of tables that do not go to a terminal
NAME = 28  # characters of a tensor's or layer's name in a table
ROWS, VALUES = 20, 16  # of the table of results, and of a row in it
BAR = 32  # characters of a full bar
INK = 96  # from which a pixel is drawn where there are no grey levels
# What stood in the way, by the cause that most cycles have.
BOUNDS = {
    "computing": "MACs", "filters": "filter network", "ifmap": "ifmap network", "drain": "drain",
    "vector": "vector unit", "load": "loads", "store": "stores", "instruction": "instructions",
}  # fmt: skip
IDLE = "idle MACs"  # the array computes, but most of its MACs have no work in this layer
MEANWHILE = 2  # cycles: a layer whose end was only noted, its work went on beside another's
DRAM_BOUND = 0.8  # share of cycles with a beat on the memory bus from which a layer counts as bound by it


def output(*, stderr=False):
    """A console on the standard output or error; FILE_WIDTH wide where that is no terminal."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    return console


@contextlib.contextmanager
def working(text):
    """Say what takes seconds while it does; only to a terminal."""
    console = output(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextlib.contextmanager
def progress_bar(text, total):
    """A progress bar on a terminal's standard error; gives a function to call after each step with a note."""
    console = output(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[note]}"))  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total, note="")

        def step(advance=1, *, note=""):
            progress.update(task, advance=advance, note=note)

        yield step


def num(value):
    """A whole number with separators, or a dash for none."""
    return f"{value:,}" if value else "-"


def percent(part, whole):
    """A share as text, or a dash if there is nothing to share."""
    return f"{100 * part / whole:.1f}%" if part and whole else "-"


def short(name, width=NAME):
    """A name for a table: its end, where models say what it is; of names joined by ';' the first."""
    name = name.split(";")[0] or name
    return name if len(name) <= width else f"…{name[1 - width :]}"


def table(*headings, title=None, numbers=(), folds=()):
    """A plain table; columns named in `numbers` are to the right, those in `folds` get lines more where it is narrow."""
    made = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left", title_style="bold"
    )  # fmt: skip
    for heading in headings:
        fold = heading in folds
        side, overflow = "right" if heading in numbers else "left", "fold" if fold else "ellipsis"
        made.add_column(heading, justify=side, no_wrap=not fold, overflow=overflow)
    return made


def sentence(console, text, *, style=None):
    """A line that the terminal may wrap, not we: it stays one line in a file."""
    console.print(text, style=style, soft_wrap=True)


def result_table(outputs, *, what="item", cycles=None):
    """The first values of the first items: arrays by name, first axis the item; `cycles` of each item, if known."""
    arrays = [array.reshape(len(array), -1) for array in outputs.values()]
    classes = len(arrays) == 1 and arrays[0].shape[1] > 1
    names = ["outputs"] if len(arrays) == 1 else [short(name) for name in outputs]
    headings = [what, *(["class"] if classes else []), *names, *(["cycles"] if cycles else [])]
    made = table(*headings, numbers=(what, "class", "cycles"), folds=names)
    for number in range(min(ROWS, len(arrays[0]))):
        texts = [" ".join(map(_value, array[number, : VALUES // len(arrays)])) for array in arrays]
        chosen = [str(arrays[0][number].argmax())] if classes else []
        made.add_row(str(number), *chosen, *texts, *([num(cycles[number])] if cycles else []))
    return made


def _value(value):
    return f"{value:.3g}" if isinstance(value, np.floating) else f"{value:4d}"


# Layers and causes ------------------------------------------------------------------------------------------------


def bound(layer, utilisation):
    """What a `LayerCycles` was bound by: the memory bus if it was hardly ever free, else the cause of most cycles."""
    if layer.cycles <= MEANWHILE:
        return "done meanwhile"
    if layer.read_beats + layer.write_beats >= DRAM_BOUND * layer.cycles:
        return "DRAM"
    cause = max(layer.causes, key=layer.causes.get)
    if cause == "computing" and utilisation < layer.causes[cause] / layer.cycles / 2:
        return IDLE
    return BOUNDS[cause]


def layer_table(program, run, *, equal=None):
    """A row a layer: MACs, cycles, utilisation, what bounds it, and `equal` (texts by tensor name)."""
    macs_a_cycle = program.config.num_macs
    headings = ["layer", "kind", "MACs", "cycles", "utilisation", "bound by"]
    made = table(*headings, *(["equal"] if equal else []), title="Layers",
                 numbers=("MACs", "cycles", "utilisation", "equal"), folds=("layer",))  # fmt: skip
    for layer, spent in zip(program.layers, run.layers, strict=True):
        most = spent.cycles * macs_a_cycle
        row = [short(layer.name), layer.kind, num(layer.macs), num(spent.cycles), percent(layer.macs, most),
               bound(spent, layer.macs / max(most, 1))]  # fmt: skip
        made.add_row(*row, *([equal[layer.name]] if equal else []))
    macs = sum(layer.macs for layer in program.layers)
    made.add_section()
    made.add_row("all", "", num(macs), num(run.cycles), percent(macs, run.cycles * macs_a_cycle))
    return made


def cause_table(run, *, ascii_only=False):
    """Where the cycles of a run went, largest first, with bars."""
    made = table("cause", "cycles", "share", "", title="Where the cycles went", numbers=("cycles", "share"))
    full = "#" if ascii_only else "█"
    for cause, cycles in sorted(run.causes.items(), key=lambda item: -item[1]):
        if cycles:
            made.add_row(cause, num(cycles), percent(cycles, run.cycles), full * round(BAR * cycles / run.cycles))
    return made


# Pictures ---------------------------------------------------------------------------------------------------------


def crop_box(images, *, ink=INK // 4):
    """Slices (y, x) of the part of uint8 [N, H, W] that is not blank in all images; the height is even."""
    rows, columns = (np.flatnonzero((images > ink).any(axis)) for axis in ((0, 2), (0, 1)))
    if not len(rows):
        return slice(0, 2), slice(0, 1)
    height = rows[-1] + 1 - rows[0]
    top = max(rows[0] - height % 2, 0)
    return slice(top, top + height + height % 2), slice(columns[0], columns[-1] + 1)


def picture(image, *, grey, ascii_only=False):
    """uint8 [H, W] as half-block characters, two rows a line; without grey levels ink is what is dark enough."""
    image = np.pad(image, ((0, image.shape[0] % 2), (0, 0)))
    lines = []
    for upper, lower in zip(image[0::2].tolist(), image[1::2].tolist()):
        if grey:
            cells = (("▀", f"rgb({u},{u},{u}) on rgb({v},{v},{v})") for u, v in zip(upper, lower))
            lines.append(Text.assemble(*cells))
        else:
            shapes = " .'#" if ascii_only else " ▄▀█"
            lines.append(Text("".join(shapes[2 * (u >= INK) + (v >= INK)] for u, v in zip(upper, lower))))
    return Text("\n").join(lines)


def gallery(console, images, captions):
    """Pictures of uint8 [N, H, W] side by side, as many as fit the width, each over its caption (Text)."""
    plain = console.color_system is None
    ascii_only = console.options.ascii_only
    y, x = crop_box(images)
    cells = [
        Group(picture(image[y, x], grey=not plain, ascii_only=ascii_only), caption, "")
        for image, caption in zip(images, captions, strict=True)
    ]
    width = max(x.stop - x.start, *(max(len(line) for line in caption.plain.split("\n")) for caption in captions))
    gap = 3
    per_row = max(1, (console.width + gap) // (width + gap))
    grid = Table.grid(padding=(0, gap, 0, 0))
    for _ in range(per_row):
        grid.add_column(no_wrap=True, width=width)
    for start in range(0, len(cells), per_row):
        grid.add_row(*cells[start : start + per_row])
    return grid
