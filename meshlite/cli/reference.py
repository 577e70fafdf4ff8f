"""docs/cli.md, made from the commands themselves: `python -m meshlite.cli.reference > docs/cli.md`."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import click

from meshlite.cli.main import FAMILIES, root

HEAD = """# Command line

<!-- Made from the commands: python -m meshlite.cli.reference > docs/cli.md -->

Every list and status takes `-o json`, `-o yaml` or `-o table`. With `json` and `yaml`, stdout carries the
value alone; progress, remarks and errors go to stderr. The shapes below are stable: fields may be added,
none change or go.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed; stderr says what, where, why, and what to do next |
| 2 | wrong usage |

`MESHLITE_DEBUG=1` shows the traceback behind an unexpected error. Settings come from `--config FILE` or
`/etc/meshlite/meshlite.yaml`, then from `MESHLITE_<NAME>` variables ([operations](operations.md) lists them).
"""


def reference() -> str:
    """The whole page, as Markdown."""
    return "\n".join([HEAD, *_families()]).rstrip() + "\n"


def _families() -> Iterator[str]:
    context = click.Context(root, info_name="meshlite")
    for heading, verbs in FAMILIES.items():
        yield f"## {heading}\n"
        for name in verbs:
            command = root.get_command(context, name)
            assert command is not None
            yield from _verb(command, click.Context(command, parent=context, info_name=name))


def _verb(command: click.Command, context: click.Context) -> Iterator[str]:
    depth = "###" if context.parent and context.parent.parent is None else "####"
    yield f"{depth} {context.command_path}\n"
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield from _help(cleandoc(command.help or ""))
    records = [param.get_help_record(context) for param in command.params]
    rows = [record for record in records if record and record[1]]
    if rows:
        yield "| option | |\n|---|---|"
        yield "\n".join(f"| `{_cell(option)}` | {_cell(text)} |" for option, text in rows)
        yield ""
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            yield from _verb(part, click.Context(part, parent=context, info_name=name))


def _help(text: str) -> Iterator[str]:
    """Paragraphs as they are; what click is told not to wrap (after \\b) as a block of code."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield "```\n" + paragraph.removeprefix("\b\n") + "\n```\n"
        else:
            yield paragraph + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    click.echo(reference(), nl=False)
