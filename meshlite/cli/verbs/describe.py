"""`meshlite describe`: one service, with all that decides what happens to its traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from meshlite.cli.failure import Failure
from meshlite.cli.output import BAD, DIM, GOOD, WARN, Output, columns, emit, output_option, paint, plain, say
from meshlite.cli.services import told
from meshlite.cli.settings import places_of, server_of

ORIGINS = {
    "label": "the container's label meshlite.ports",
    "resource": "a resource's port name",
    "image": "what is known of the image",
    "exposed": "EXPOSE or the Compose file",
    "listening": "what the process listens on",
}
MODES = {
    "STRICT": "only mesh identities get in",
    "PERMISSIVE": "mesh identities and plain connections get in",
    "DISABLE": "mesh identities and plain connections get in",
    "mixed": "differs between replicas or ports",
}
RESOLUTIONS = {
    "NONE": "connections go where the caller dials",
    "STATIC": "its endpoints are written",
    "DNS": "all addresses that DNS has for it",
    "DNS_ROUND_ROBIN": "one of the addresses that DNS has for it",
    "DYNAMIC_DNS": "the address that DNS has for the name that is asked for",
}


def complete_service(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of services for the shell's completion; silent while no mesh runs."""
    try:
        services = server_of(places_of(ctx)).get("/v1/services", timeout=1.0)["services"]
    except Failure:
        return []
    return [
        CompletionItem(s["name"], help=s["namespace"]) for s in services if s["name"].startswith(incomplete)
    ]


@click.command(short_help="All about one service: names, ports, endpoints, rules.")
@click.argument("service", shell_complete=complete_service)
@click.option("-n", "--namespace", default="", help="Namespace, if the name is in several.")
@output_option
@click.pass_context
def describe(ctx: click.Context, service: str, namespace: str, output: Output) -> None:
    """Show one SERVICE (by any of its names): what it answers to, its ports and where their protocols were
    learnt, endpoints, subsets, and the resources that shape it, in the order in which a request meets them.

    \b
    meshlite describe reviews
    JSON: the service as GET /v1/services has it.
    """
    server = server_of(places_of(ctx))
    found = server.get("/v1/services", namespace=namespace)["services"]
    chosen = choose(found, service)
    emit(chosen, output, lambda: _show(chosen))


def choose(services: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one service that answers to `name`; raises Failure for none and for several."""
    matches = [s for s in services if name in (s["name"], s["fqdn"], *s["names"])]
    if not matches:
        near = ", ".join(sorted({s["name"] for s in services})[:12])
        raise Failure(f"there is no service {name}", why=f"the mesh has: {near or 'none'}")
    if len(matches) > 1:
        places = ", ".join(s["namespace"] for s in matches)
        raise Failure(
            f"there are {len(matches)} services {name}", why=f"in {places}", next_step="add -n NAMESPACE"
        )
    return matches[0]


def _show(service: dict[str, Any]) -> None:
    head = click.style(f"{service['name']} in {service['namespace']}", bold=True)
    say(f"{head}  {service['address'] or 'no address: it is known by the name that is asked for'}")
    say(f"  names  {', '.join(service['names'])}")
    if service["declared_by"]:
        entries = ", ".join(told(key) for key in service["declared_by"])
        say(f"  from   {entries}, {service['location']}")
        say(f"  found  {service['resolution']}: {RESOLUTIONS[service['resolution']]}")
    if service["mode"] != "none":
        say(f"  mTLS   {service['mode']}: {MODES[service['mode']]}")
    _section("Ports", ("PORT", "PROTOCOL", "LEARNT FROM"), [_port(port) for port in service["ports"]])
    headings = ("NAME", "VERSION", "NODE", "HEALTH", "CAPTURED")
    _section("Endpoints", headings, [_endpoint(endpoint) for endpoint in service["endpoints"]])
    subsets = [_subset(subset) for subset in service["subsets"]]
    if subsets:
        _section("Subsets", ("NAME", "LABELS", "READY"), subsets)
    if service["shaped_by"]:
        rows: list[Sequence[str]] = [
            (*_key(shape["resource"]), plain(shape["role"])) for shape in service["shaped_by"]
        ]
        _section("Shaped by, as a request meets them", ("KIND", "NAMESPACE", "NAME", "WHAT IT DOES"), rows)
    for conflict in service["conflicts"]:
        text = f"conflict [{conflict['code']}]: {conflict['resource']}: {conflict['message']}"
        say(click.style(text, fg=WARN))
    for problem in service["problems"]:
        say(click.style(f"problem: {problem}", fg=BAD))


def _section(title: str, headings: Sequence[str], rows: list[Sequence[str]]) -> None:
    say()
    say(click.style(title, bold=True))
    if rows:
        columns(headings, rows)
    else:
        say(click.style("none", fg=DIM))


def _port(port: dict[str, Any]) -> Sequence[str]:
    protocol = "found out from the first bytes" if port["protocol"] == "auto" else port["protocol"]
    return (str(port["number"]), protocol, ORIGINS.get(port["origin"], port["origin"]))


def _endpoint(endpoint: dict[str, Any]) -> Sequence[str]:
    colour = GOOD if endpoint["health"] == "healthy" else WARN
    captured = "yes" if endpoint["captured"] else paint(f"no: {endpoint['reason'] or 'not yet'}", WARN)
    if endpoint["address"]:
        captured = plain(f"written: {endpoint['address']}")
    return (
        plain(endpoint["name"]),
        plain(endpoint["version"] or "-"),
        plain(endpoint["node"] or "-"),
        paint(endpoint["health"], colour),
        captured,
    )


def _subset(subset: dict[str, Any]) -> Sequence[str]:
    labels = ", ".join(f"{key}={value}" for key, value in subset["labels"].items())
    colour = GOOD if subset["ready"] else BAD
    return (
        plain(subset["name"]),
        plain(labels or "all"),
        paint(f"{subset['ready']}/{subset['total']}", colour),
    )


def _key(key: str) -> Sequence[str]:
    return tuple(plain(part) for part in key.split("/", 2))
