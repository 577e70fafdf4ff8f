"""`python -m bench [--quick] [--only NAME]`: measures and shows tables; a full run writes the README."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from bench import effect, footprint, hop, machine, policies, report, routable, signing, together, translation
from bench.figures import Options, Part, document

HERE = Path(__file__).parent

PARTS: dict[str, tuple[str, Callable[[Options], Part]]] = {
    "hop": (hop.TITLE, hop.measure),
    "policies": (policies.TITLE, policies.measure),
    "effect": (effect.TITLE, effect.measure),
    "routable": (routable.TITLE, routable.measure),
    "together": (together.TITLE, together.measure),
    "footprint": (footprint.TITLE, footprint.measure),
    "translation": (translation.TITLE, translation.measure),
    "signing": (signing.TITLE, signing.measure),
}
"""What is measured, in this order."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Few and short samples: to see that it works.")
@click.option(
    "--only", type=click.Choice(list(PARTS)), multiple=True, help="Measure this part only; repeatable."
)
def main(quick: bool, only: tuple[str, ...]) -> None:
    """Measure what meshlite costs and how quick it is. Needs root, an engine, and no mesh on this host."""
    if os.geteuid() != 0:
        sys.exit("error: this needs root: it enters network namespaces. Try: sudo make bench")
    # Who ends us ends what we have started, too: as an exception, so that every `finally` runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=120 if not sys.stdout.isatty() else None)
    parts = [run(name, Options(quick), console) for name in only or PARTS]
    facts = machine.facts()
    written = write(parts, facts)
    console.print(f"\nall numbers: {written}", highlight=False)
    failed = [part for part in parts if part.error]
    if not (quick or only):
        readme = HERE / "README.md"
        readme.write_text(report.put_between(readme.read_text(), report.markdown(parts, facts)))
        console.print(f"tables: {readme}", highlight=False)
    sys.exit(1 if failed else 0)


def run(name: str, options: Options, console: Console) -> Part:
    """One part. What goes wrong in it becomes its error, and the others are measured all the same."""
    title, measure = PARTS[name]
    console.print(f"· measuring: {title}", style="dim")
    try:
        part = measure(options)
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        part = Part(name, title, error=f"{error or type(error).__name__}\n{notes}".strip())
    report.show(part, console)
    return part


def write(parts: list[Part], facts: dict[str, str]) -> Path:
    folder = HERE / "out"
    folder.mkdir(exist_ok=True)
    file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(json.dumps(document(parts, facts), indent=1))
    return file


if __name__ == "__main__":
    main()
