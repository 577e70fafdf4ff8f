"""Tables for the terminal, and the same as Markdown between two marks of the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table as RichTable

from bench.figures import Figure, Part, Table

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
FIGURES_HEAD = ("figure", "measured", "target", "")


def figure_rows(figures: Iterable[Figure]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (f.name, f"{number(f.value)} {f.unit}", f"{f.bound} {f.target:g}", f.verdict) for f in figures
    )


def number(value: float) -> str:
    """Three significant digits, and no more of them before the point than there are."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(part: Part, console: Console) -> None:
    console.print(f"\n[bold]{part.title}[/bold]")
    if part.error:
        console.print(f"[red]not measured:[/red] {part.error}", highlight=False)
    for table in part.tables:
        console.print(rich_table(table))
    if part.figures:
        console.print(rich_table(Table(FIGURES_HEAD, figure_rows(part.figures))))


def rich_table(table: Table) -> RichTable:
    made = RichTable()
    for place, name in enumerate(table.head):
        made.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in table.rows:
        made.add_row(*row)
    return made


def markdown(parts: Sequence[Part], machine: Mapping[str, str]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    figures = [figure for part in parts for figure in part.figures]
    sections = [f"Measured with: {facts}.", "### What was to be reached", *_of(figures)]
    for part in parts:
        sections.append(f"### {part.title}")
        if part.error:
            sections.append("Not measured in this run.")
        sections += [markdown_table(table) for table in part.tables]
        if part.notes:
            sections.append("\n".join(f"- {note}" for note in part.notes))
    return "\n\n".join(sections)


def _of(figures: Sequence[Figure]) -> list[str]:
    return [markdown_table(Table(FIGURES_HEAD, figure_rows(figures)))] if figures else []


def markdown_table(table: Table) -> str:
    lines = [table.head, ("---", *("--:" for _ in table.head[1:])), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def put_between(text: str, fresh: str) -> str:
    """`text` with what stands between the two marks replaced. ValueError where it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} … {END} in the text")
    return f"{before}{BEGIN}\n\n{fresh}\n\n{END}{after}"
