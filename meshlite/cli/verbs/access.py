"""`meshlite access`: bearer tokens with which people ask the server from elsewhere, each with a role."""

from __future__ import annotations

import time
from typing import Any

import click

from meshlite.cli.output import Output, columns, emit, note, output_option, plain
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.span import left, span
from meshlite.cli.verbs.get import clock


@click.group(short_help="Let people use the mesh from elsewhere, with a role.")
def access() -> None:
    """Let people, and programs that act for them, ask the server from elsewhere with a bearer token.

    \b
    viewer    looks
    operator  changes resources, too
    admin     makes tokens and removes nodes, too
    """


@access.command(short_help="Make somebody's bearer token and show it, this once.")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), required=True)
@click.option(
    "--ttl", type=span, metavar="TIME", default="30d", show_default=True, help="How long, e.g. 12h, 30d."
)
@output_option
@click.pass_context
def create(ctx: click.Context, name: str, role: str, ttl: float, output: Output) -> None:
    """Make a bearer token for NAME. The secret goes to stdout, alone and never again.

    \b
    meshlite access create ann --role operator --ttl 12h > token
    meshlite --server https://10.0.0.5:7443 --token-file token status
    JSON: {"token", "access": {"name", "role", "expires", "created", "author"}}
    """
    body = {"name": name, "role": role, "ttl_seconds": ttl}
    made = server_of(places_of(ctx)).call("POST", "/v1/access", body).body
    emit(made, output, lambda: click.echo(made["token"]))
    note(f"{name} may call as {role} for {left(ttl)}: meshlite --server URL --token-file FILE …")


@access.command("list", short_help="Which people may call, and as what.")
@output_option
@click.pass_context
def listed(ctx: click.Context, output: Output) -> None:
    """List who may call from elsewhere; without their secrets, which the server does not have.

    \b
    JSON: [{"name", "role", "expires", "created", "author"}]
    """
    rows = server_of(places_of(ctx)).get("/v1/access")["access"]
    emit(rows, output, lambda: _table(rows, time.time()))


@access.command(short_help="Take somebody's access away, at once.")
@click.argument("name")
@click.pass_context
def revoke(ctx: click.Context, name: str) -> None:
    """Take NAME's access away: the next request with the token is refused."""
    server_of(places_of(ctx)).call("DELETE", f"/v1/access/{name}")
    note(f"{name} has no access any more")


def _table(rows: list[dict[str, Any]], now: float) -> None:
    columns(
        ("NAME", "ROLE", "LEFT", "CREATED", "BY"),
        [
            (
                plain(row["name"]),
                plain(row["role"]),
                plain(left(row["expires"] - now)),
                plain(clock(row["created"])),
                plain(row["author"]),
            )
            for row in rows
        ],
    )
