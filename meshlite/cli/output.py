"""`-o json|yaml|table` in one place: values go to stdout, all else to stderr; colours only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from rich.table import Table

Output = Literal["table", "json", "yaml"]
F = TypeVar("F", bound=Callable[..., Any])

GOOD, WARN, BAD, DIM = "green", "yellow", "red", "bright_black"


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
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
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

    return f"[{colour}]{escape(text)}[/{colour}]" if text else ""


def plain(text: object) -> str:
    """Text for a cell of `columns`, as it is."""
    from rich.markup import escape

    return escape(str(text))


def note(text: str) -> None:
    """A remark to the person at the terminal: stderr, so that pipes carry values only."""
    click.echo(text, err=True)
