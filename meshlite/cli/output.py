"""`-o json|yaml|table` in one place: values go to stdout, all else to stderr; colours only on a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from rich.table import Table

Output = Literal["table", "json", "yaml"]
F = TypeVar("F", bound=Callable[..., Any])

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


def columns(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table without borders on stdout, of cells by `paint` or `plain`; pipes get plain whole lines."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    show(table, width=400)


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
    """Text for a cell of `columns`, in a colour; whatever is in it is not taken for markup."""
    from rich.markup import escape

    return f"[{colour}]{escape(printable(text))}[/{colour}]" if text else ""


def plain(text: object) -> str:
    """Text for a cell of `columns`, as it is."""
    from rich.markup import escape

    return escape(printable(str(text)))


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
