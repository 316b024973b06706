"""What the benchmarks have in common: tables for the terminal and for a page, figures as JSON, the check."""

import functools
import json
import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text
from rowcast.emit import write_atomic

__all__ = ["Stopwatch", "Table", "deliver", "outputs", "verdict"]

_FILE_WIDTH = 120  # of tables that do not go to a terminal


@dataclass
class Table:
    """A table of texts; the first column is left-aligned, the others right-aligned.

    Members
    -------
    title, headings : as shown.
    rows : lists of texts; a `verdict` is coloured on the terminal.
    note : a sentence below it.
    """

    title: str
    headings: tuple
    rows: list = field(default_factory=list)
    note: str = ""

    def add(self, *cells):
        """One more row."""
        if len(cells) != len(self.headings):
            raise ValueError(f"a row must have {len(self.headings)} cells, not {len(cells)}")
        self.rows.append([cell if isinstance(cell, Text) else str(cell) for cell in cells])

    def rich(self):
        """For the terminal."""
        table = RichTable(title=self.title, caption=self.note or None, title_justify="left", caption_justify="left")
        for i, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if i else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self):
        """For a page."""
        lines = [f"## {self.title}", "", "| " + " | ".join(self.headings) + " |"]
        lines.append("|---|" + "---:|" * (len(self.headings) - 1))
        lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in self.rows]
        return "\n".join([*lines, *(("", self.note) if self.note else ()), ""])


def verdict(text, good):
    """A text that is green, or red with an exclamation mark where the figure falls short."""
    return Text(text if good else f"{text} !", style="green" if good else "bold red")


class Stopwatch:
    """Time on the clock, and time that a core spent on the processes that started and ended meanwhile.

    On a machine that does nothing else both are the same for a process of one thread; goals are held against the
    second, which other work on the machine hardly changes.

    Members: seconds, core_seconds.
    """

    def __enter__(self):
        self._clock, self._core = time.perf_counter(), self._children()
        return self

    def __exit__(self, *exception):
        self.seconds = time.perf_counter() - self._clock
        self.core_seconds = self._children() - self._core

    @staticmethod
    def _children():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


def outputs(command):
    """The options of every benchmark: `json_file`, `markdown_file`, `check`."""

    @click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the figures for a program.")
    @click.option("--markdown", "markdown_file", type=click.Path(dir_okay=False), help="Write the tables for a page.")
    @click.option("--check", is_flag=True, help="Exit status 1 if a figure falls short of its goal.")
    @functools.wraps(command)
    def wrapped(**options):
        return command(**options)

    return wrapped


def deliver(title, text, tables, figures, shortfalls, *, json_file, markdown_file, check, failed=False):
    """Show the tables, write the files, and end with status 1 if something `failed` or, with `check`, falls short."""
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    for table in tables:
        console.print(table.rich())
    if json_file:
        data = {"title": title, **figures, "shortfalls": shortfalls}
        _write(json_file, json.dumps(data, indent=1) + "\n")
    if markdown_file:
        end = ["## Falls short of its goal", "", *(f"- {line}" for line in shortfalls), ""] if shortfalls else []
        _write(markdown_file, "\n".join([f"# {title}", "", text, "", *(t.markdown() for t in tables), *end]))
    for line in shortfalls:
        console.print(f"[bold red]falls short[/] {line}", highlight=False)
    if not shortfalls:
        console.print("[green]Every figure reaches its goal.[/]")
    if failed or (check and shortfalls):
        raise SystemExit(1)


def _write(path, text):
    path = Path(os.path.abspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)
