"""Steps with their times, told as they happen: a spinner on a terminal, plain lines elsewhere; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import click

from meshlite.cli.output import say


@dataclass
class Step:
    """What a running step may say about its outcome."""

    detail: str = ""


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Tell that `title` is under way, and when it ends whether it went well and how long it took."""
    current, begun = Step(), time.monotonic()
    try:
        with _spinner(title):
            yield current
    except BaseException:
        _line(click.style("✗", fg="red"), title, "", begun)
        raise
    _line(click.style("✓", fg="green"), title, current.detail, begun)


def _spinner(title: str) -> AbstractContextManager[object]:
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(title)


def _line(sign: str, title: str, detail: str, begun: float) -> None:
    seconds = click.style(f"{time.monotonic() - begun:6.2f} s", fg="bright_black")
    say(f"{sign} {title:<28} {seconds}  {detail}".rstrip(), err=True)
