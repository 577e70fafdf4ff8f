"""`meshlite token`: join tokens, with which nodes come into the mesh."""

from __future__ import annotations

import time
from typing import Any

import click

from meshlite.cli.output import Output, columns, emit, note, output_option, plain
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.span import left, span
from meshlite.cli.verbs.get import clock


@click.group(short_help="Let nodes join: create, list and revoke join tokens.")
def token() -> None:
    """Let nodes join the mesh. A token is a secret: the server keeps a hash of it only."""


@token.command(short_help="Make a join token and show it, this once.")
@click.option("-n", "--namespace", "namespaces", multiple=True, help="The node's only ones; may be repeated.")
@click.option(
    "--ttl", type=span, metavar="TIME", default="1h", show_default=True, help="How long, e.g. 30m, 12h, 7d."
)
@click.option("--uses", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many nodes.")
@click.option("--node", default="", metavar="NAME", help="Only for this node, also where it joined before.")
@output_option
@click.pass_context
def create(
    ctx: click.Context, namespaces: tuple[str, ...], ttl: float, uses: int, node: str, output: Output
) -> None:
    """Make a join token. The secret goes to stdout, alone and never again.

    With --namespace a node that joins may speak for these namespaces only, and gets any identity in them;
    without, it gets the identities of workloads that it reports.

    \b
    meshlite token create --ttl 30m > token
    meshlite token create --namespace shop --node vm-1
    JSON: {"token", "expires", "id"}
    """
    body = {"namespaces": list(namespaces) or None, "ttl_seconds": ttl, "uses": uses, "node": node}
    made = server_of(places_of(ctx)).call("POST", "/v1/tokens", body).body
    emit(made, output, lambda: click.echo(made["token"]))
    note(f"token {made['id']}, for {left(ttl)}: on the node, meshlite agent --token-file FILE")


@token.command("list", short_help="Join tokens that can still be used.")
@output_option
@click.pass_context
def listed(ctx: click.Context, output: Output) -> None:
    """List join tokens that can still be used; without their secrets, which nobody has.

    \b
    JSON: [{"id", "namespaces", "node", "uses", "expires", "created", "author"}]
    """
    rows = server_of(places_of(ctx)).get("/v1/tokens")["tokens"]
    emit(rows, output, lambda: _table(rows, time.time()))


@token.command(short_help="Let nobody join with a token any more.")
@click.argument("id")
@click.pass_context
def revoke(ctx: click.Context, id: str) -> None:
    """Let nobody join with token ID any more. Nodes that have joined with it stay."""
    server_of(places_of(ctx)).call("DELETE", f"/v1/tokens/{id}")
    note(f"token {id} revoked")


def _table(rows: list[dict[str, Any]], now: float) -> None:
    columns(
        ("ID", "NAMESPACES", "NODE", "USES LEFT", "LEFT", "CREATED", "BY"),
        [
            (
                plain(row["id"]),
                plain("any" if row["namespaces"] is None else ", ".join(row["namespaces"])),
                plain(row["node"] or "any"),
                plain(row["uses"]),
                plain(left(row["expires"] - now)),
                plain(clock(row["created"]) if row["created"] else ""),
                plain(row["author"]),
            )
            for row in rows
        ],
    )
