"""`meshlite audit`: the server's log of changes and refusals."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.cli.output import BAD, GOOD, Output, columns, emit, output_option, paint, plain, say
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.span import span
from meshlite.cli.verbs.get import clock


@click.command(short_help="Who changed what, and who was refused.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="How many."
)
@click.option("--since", type=span, metavar="TIME", default=None, help="Only the last, e.g. 30m, 12h, 7d.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones, a line each, until Ctrl-C.")
@output_option
@click.pass_context
def audit(ctx: click.Context, limit: int, since: float | None, follow: bool, output: Output) -> None:
    """Show the newest entries of the audit log: who asked for a change or was refused, from where, and what
    became of it.

    Entries are chained by hashes. Should one have been changed or taken out, exit code 1 says so.

    \b
    meshlite audit --since 1h
    JSON: [{"number", "time", "who", "source", "action", "subject", "status", "reason", "previous", "hash"}]
    """
    server = server_of(places_of(ctx))
    start = str(int(time.time() - since)) if since else ""
    answer = server.get("/v1/audit", limit=str(limit), since=start)
    rows = answer["entries"]
    if follow:
        _follow(server, rows, output)
    emit(rows, output, lambda: _table(rows))
    if not answer["intact"]:
        raise Failure(
            "the audit log was tampered with", why="an entry was changed or is missing: the hashes do not fit"
        )


def _follow(server: Client, rows: list[dict[str, Any]], output: Output) -> None:
    """Never returns: Ctrl-C ends it."""
    last = 0
    while True:
        for row in rows:
            if output == "json":
                click.echo(json.dumps(row))
            else:
                say(line(row))
            last = row["number"]
        time.sleep(1.0)
        rows = server.get("/v1/audit", limit="1000", after=str(last))["entries"]


def line(row: dict[str, Any]) -> str:
    """An entry as a line for people."""
    reason = f": {row['reason']}" if row["reason"] else ""
    what = f"{row['action']} {row['subject']}".rstrip()
    return f"{clock(row['time'])}  {row['who']} ({row['source']})  {what}  {row['status']}{reason}"


def _table(rows: list[dict[str, Any]]) -> None:
    columns(
        ("TIME", "WHO", "FROM", "ACTION", "SUBJECT", "RESULT"),
        [
            (
                plain(clock(row["time"])),
                plain(row["who"]),
                plain(row["source"]),
                plain(row["action"]),
                plain(row["subject"]),
                paint(f"{row['status']} {row['reason']}".rstrip(), GOOD if row["status"] < 300 else BAD),
            )
            for row in rows
        ],
    )
