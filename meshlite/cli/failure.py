"""What the command line says when something cannot be done: what, where, why, and what to do next."""

from __future__ import annotations

import sys
from typing import IO, Any

import click


class Failure(click.ClickException):
    """Ends a verb with exit code 1. `what` is a clause; the other parts are optional sentences."""

    def __init__(self, what: str, *, where: str = "", why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.where, self.why, self.next_step = where, why, next_step

    def show(self, file: IO[Any] | None = None) -> None:
        colour = None if (file or sys.stderr).isatty() else False
        from meshlite.cli.output import printable

        click.secho(f"error: {printable(self.message)}", file=file, err=file is None, fg="red", color=colour)
        for label, text in (("where", self.where), ("why", self.why), ("next", self.next_step)):
            if text:
                body = printable(text).replace("\n", "\n         ")
                click.echo(f"  {label + ':':<6} {body}", file=file, err=file is None)


class WrongSettings(Failure):
    """Nothing can be asked or started with such settings."""


class Unreachable(Failure):
    """A process of meshlite does not answer on its socket; `status` and `down` go on without it."""
