"""`-o json|yaml|table` in one place: values go to stdout, all else to stderr; colours only on a terminal."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from unicodedata import east_asian_width

import click

if TYPE_CHECKING:
    from rich.table import Table

Output = Literal["table", "json", "yaml"]
F = TypeVar("F", bound=Callable[..., Any])

GAP = 3
"""Blanks between the columns of a table."""

GOOD, WARN, BAD, DIM = "green", "yellow", "red", "bright_black"

_OURS = re.compile(r"\x1b\[(?:0|1|3\d|9\d)m")
"""What `click.style` makes of our colours."""
_RAW = re.compile("\x1b\\[(?:0|1|3\\d|9\\d)m|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters that do something to a terminal, or to the order of what it shows."""
_ENDLESS = re.compile(r"\S{800,}")
"""Longer than any name that can be had."""


def output_option(command: F) -> F:
    """The `-o` option, the same on every list and status."""
    option = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="Form of the answer on stdout.",
    )
    return option(command)


def emit(value: object, output: Output, table: Callable[[], None]) -> None:
    """Print `value` as JSON or YAML, or let `table` print it for people."""
    if output == "json":
        click.echo(escaped(json.dumps(value, indent=2, ensure_ascii=False), json.dumps))
    elif output == "yaml":
        import yaml

        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        if _RAW.search(text):
            text = yaml.safe_dump(value, sort_keys=False)
        click.echo(text, nl=False)
    else:
        table()


class Painted(str):
    """Text with a colour, for a cell of `columns`."""

    colour: str

    def __new__(cls, text: str, colour: str) -> Painted:
        made = super().__new__(cls, text)
        made.colour = colour
        return made


def columns(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table without borders on stdout; in a pipe plain whole lines, on a terminal folded where too wide."""
    cells = [tuple(row) for row in rows]
    widths = [max(map(_width, column)) for column in zip(headings, *cells, strict=True)]
    terminal = sys.stdout.isatty()
    if terminal and sum(widths) + GAP * (len(widths) - 1) > shutil.get_terminal_size().columns:
        _folded(headings, cells)
        return
    click.echo(click.style(_line(headings, widths, terminal), bold=terminal or None))
    for row in cells:
        click.echo(_line(row, widths, terminal))


def _folded(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """By rich, which takes longer to import than a short list takes in all."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(marked, row))
    show(table, width=400)


def _line(cells: Sequence[str], widths: Sequence[int], terminal: bool) -> str:
    """Without blanks at its end, as nothing follows there."""
    padded = [
        _styled(cell, terminal) + " " * (width - _width(cell) + GAP)
        for cell, width in zip(cells, widths, strict=True)
    ]
    return "".join(padded).rstrip()


def _styled(cell: str, terminal: bool) -> str:
    return click.style(str(cell), fg=cell.colour) if terminal and isinstance(cell, Painted) and cell else cell


def _width(text: str) -> int:
    """Columns on a terminal: East Asian characters take two."""
    return len(text) if text.isascii() else sum(1 + (east_asian_width(c) in "WF") for c in text)


def show(table: Table, width: int) -> None:
    """Print a table as wide as the terminal; in a pipe at most `width`, with no blanks at line ends."""
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else width)
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def paint(text: str, colour: str) -> str:
    """Text for a cell of `columns`, in a colour; whatever is in it does nothing to the terminal."""
    return Painted(one_line(text), colour)


def plain(text: object) -> str:
    """Text for a cell of `columns`, as it is."""
    return one_line(str(text))


def one_line(text: str) -> str:
    """`printable`, and without line ends, which would break the table."""
    return printable(" ".join(text.splitlines()) if "\n" in text else text)


def marked(cell: str) -> str:
    """A cell as rich wants it; whatever is in it is not taken for markup."""
    from rich.markup import escape

    colour = cell.colour if isinstance(cell, Painted) else ""
    return f"[{colour}]{escape(cell)}[/{colour}]" if colour and cell else escape(cell)


def note(text: str) -> None:
    """A remark to the person at the terminal: stderr, so that pipes carry values only."""
    say(text, err=True)


def say(text: str = "", err: bool = False) -> None:
    """A line for people, in our colours; whatever names and values stand in it do nothing to the terminal."""
    click.echo(_shortened(escaped(text, keep=_OURS)), err=err)


def printable(text: str) -> str:
    """A name or value that somebody else wrote, for people: nothing in it is raw, or endless."""
    return _shortened(escaped(text))


def escaped(text: str, write: Callable[[str], str] = repr, keep: re.Pattern[str] | None = None) -> str:
    """`text` with control characters as `write` writes them; what is wholly `keep` stays."""

    def one(raw: re.Match[str]) -> str:
        kept = keep is not None and keep.fullmatch(raw[0])
        return raw[0] if kept else "".join(write(character)[1:-1] for character in raw[0])

    return _RAW.sub(one, text)


def _shortened(text: str) -> str:
    return _ENDLESS.sub(lambda word: f"{word[0][:80]}… ({len(word[0])} characters)", text)
