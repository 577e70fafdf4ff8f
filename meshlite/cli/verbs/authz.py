"""`meshlite authz check`: what the policies of a destination would make of one call, and which decides it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from meshlite.cli.claims import claimed
from meshlite.cli.failure import Failure
from meshlite.cli.output import BAD, DIM, GOOD, WARN, Output, emit, output_option
from meshlite.cli.verbs.explain import call_options, find_source, pairs, read_mesh

if TYPE_CHECKING:
    from meshlite.translate.explain.verdict import Verdict

_COLOURS = {"allowed": GOOD, "denied": BAD, "asked": WARN, "depends": WARN}
OUTSIDE = "outside"
"""A caller that has no identity of the mesh."""


@click.group(short_help="What policies would make of a call.")
def authz() -> None:
    """What the policies of a service would make of a call. No call is made."""


@authz.command(short_help="Would this call be allowed, and which policy decides that?")
@call_options
@output_option
@click.pass_context
def check(
    ctx: click.Context, /, source: str, destination: str, namespace: str, output: Output, **more: Any
) -> None:
    """Say what the policies of DESTINATION make of a call of SOURCE that arrives as given: after what routes
    may rewrite (`explain` follows them, too). What dry runs and audits would note is shown.

    SOURCE is a service, service.namespace, a container's name, ingressgateway, or outside: a caller without
    an identity. Exit code 0 if all replicas allow it, else 1.

    \b
    meshlite authz check web api --method POST --path /v1/orders
    meshlite authz check outside reviews
    meshlite authz check web api --jwt-claim sub=ann --jwt-claim groups=admin
    JSON: {"allowed": bool, "verdicts": [{"decision": allowed|denied|asked|depends, "by", "why", "status",
           "audited": [rule], "trial": [said], "replicas": [name]}]}
    """
    found = _verdicts(ctx, source, destination, namespace, more)
    rows = [{**asdict(one.judgement), "replicas": one.replicas} for one in found]
    allowed = all(one.judgement.decision == "allowed" for one in found)
    value = {"allowed": allowed, "verdicts": [_plain(row) for row in rows]}
    emit(value, output, lambda: _show(found))
    if not allowed:
        ctx.exit(1)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}


def _verdicts(
    ctx: click.Context, source: str, destination: str, namespace: str, more: dict[str, Any]
) -> tuple[Verdict, ...]:
    from meshlite.translate.explain.request import Request
    from meshlite.translate.explain.request import destination as parse
    from meshlite.translate.explain.verdict import verdicts

    mesh = read_mesh(ctx, more["snapshot"])
    caller = None if source == OUTSIDE else find_source(mesh, source, namespace)
    try:
        host, port, path = parse(destination)
        request = Request(
            host,
            more["port"] or port,
            more["path"] or path or "/",
            more["method"].upper(),
            pairs(more["headers"]),
            http=not more["tcp"],
            claims=claimed(more["claims"]),
        )
        return verdicts(mesh, caller, request)
    except ValueError as error:
        raise Failure(str(error)) from error


def _show(found: tuple[Verdict, ...]) -> None:
    for one in found:
        judgement = one.judgement
        status = f" with {judgement.status}" if judgement.status and judgement.decision == "denied" else ""
        word = click.style(f"{judgement.decision}{status}", fg=_COLOURS[judgement.decision], bold=True)
        by = f"  by {judgement.by}" if judgement.by else ""
        where = f"  at {', '.join(one.replicas)}" if len(found) > 1 else ""
        click.echo(f"{word}{by}{where}")
        notes = (judgement.why, *(f"noted by {name}" for name in judgement.audited))
        trial = (f"dry run: it {said}" for said in judgement.trial)
        for text in (*notes, *trial):
            if text:
                click.echo(click.style(f"  {text}", fg=DIM))
