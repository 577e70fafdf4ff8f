"""`meshlite certs`: the leaf certificates that the mesh's authority has issued and that are still valid."""

from __future__ import annotations

import time
from typing import Any

import click

from meshlite.cli.output import BAD, GOOD, WARN, Output, columns, emit, output_option, paint, plain
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.span import left as age
from meshlite.cli.verbs.get import clock

BACKDATED = 300.0
"""Seconds by which the server has certificates begin before they are made."""


@click.command(short_help="Certificates that the mesh has issued.")
@click.option("--all", "everything", is_flag=True, help="Also those that have been renewed since.")
@output_option
@click.pass_context
def certs(ctx: click.Context, everything: bool, output: Output) -> None:
    """List certificates: for each identity and node the newest one, its age, what it has left, its issuer.

    Keys are made on the nodes and never leave them; the server knows certificates only.

    \b
    JSON: [{"serial", "identity", "node", "not_before", "not_after", "signer", "chain"}], times in seconds
          since 1970; chain: names of the issuer and of those above it, the root last.
    """
    answer = server_of(places_of(ctx)).get("/v1/certificates")
    issued = [row | {"chain": answer["chains"].get(row["signer"], [])} for row in answer["certificates"]]
    rows = issued if everything else newest(issued)
    emit(rows, output, lambda: _table(rows, time.time()))


def newest(issued: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest certificate of each identity on each node, in order of identity."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(issued, key=lambda row: row["not_after"]):
        latest[row["identity"], row["node"]] = row
    return [latest[key] for key in sorted(latest)]


def _table(rows: list[dict[str, Any]], now: float) -> None:
    columns(
        ("IDENTITY", "NODE", "SERIAL", "AGE", "VALID UNTIL", "LEFT", "ISSUER"),
        [
            (
                plain(row["identity"]),
                plain(row["node"]),
                plain(row["serial"][:16]),
                age(max(1.0, now - row["not_before"] - BACKDATED)),
                clock(row["not_after"]),
                left(row["not_before"], row["not_after"], now),
                plain(" < ".join(row["chain"]) or "-"),
            )
            for row in rows
        ],
    )


def left(not_before: float, not_after: float, now: float) -> str:
    """Time left, painted: renewal happens at half life, so less than a third left means that it fails."""
    seconds = not_after - now
    if seconds <= 0:
        return paint("expired", BAD)
    text = f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02}m"
    return paint(text, GOOD if seconds > (not_after - not_before) / 3 else WARN)
