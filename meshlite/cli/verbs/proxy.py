"""`meshlite proxy-status` and `proxy-config`: this host's node proxy, as agent and Envoy see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from meshlite.cli.output import BAD, GOOD, WARN, Output, columns, emit, note, output_option, paint, plain, say
from meshlite.cli.settings import agent_of, places_of

Row = dict[str, Any]
KINDS = ("listeners", "clusters", "routes", "endpoints", "secrets", "all")
STATES = {"active": GOOD, "static": GOOD, "warming": WARN, "draining": WARN}


@click.command(short_help="State of this host's node proxy.")
@output_option
@click.pass_context
def proxy_status(ctx: click.Context, output: Output) -> None:
    """Show whether the node proxy runs and has what the agent wants it to have, type by type.

    \b
    JSON: {"proxy": {"state", "pid", "epoch", "restarts", "uptime_seconds", "connected", "synced",
                     "version", "error"},
           "streams": [{"id", "connected", "synced", "types": {CDS|EDS|LDS|RDS|SDS:
                        {"wanted", "sent", "acked", "rejected"}}}],
           "rejected": [{"type", "resource", "version", "reason", "since"}], "last_sync_ms"}
    """
    value = agent_of(places_of(ctx)).get("/v1/proxy/status")
    emit(value, output, lambda: _show_status(value))


@click.command(short_help="What the node proxy has been told.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("workload", required=False, default="")
@output_option
@click.pass_context
def proxy_config(ctx: click.Context, kind: str, workload: str, output: Output) -> None:
    """Show Envoy's own configuration of this host's node proxy: everything, or what concerns one WORKLOAD.

    WORKLOAD is a container's name or id, what Compose calls it, or any name of a service. Keys are never
    shown.

    \b
    meshlite proxy-config routes productpage
    meshlite proxy-config clusters reviews -o yaml
    JSON: {KIND: [{"name", "version", "updated", "state", "config"}]}; with `all` one list for each kind.
    """
    value = agent_of(places_of(ctx)).get(f"/v1/proxy/config/{kind}", timeout=30.0, workload=workload)
    emit(value, output, lambda: _show_config(value))
    if "secrets" in value and not value["secrets"] and output == "table":
        note(
            "no secrets: the proxy needs keys for calls between hosts and at gateways only, and none now; "
            "meshlite certs lists those of the mesh's workloads"
        )


def _show_status(value: Mapping[str, Any]) -> None:
    proxy = value["proxy"]
    colour = GOOD if proxy["state"] == "running" and proxy["synced"] else BAD
    state = f"{proxy['state']}, {'synchronised' if proxy['synced'] else 'not synchronised'}"
    say(f"node proxy: {click.style(state, fg=colour)}, pid {proxy['pid']}, epoch {proxy['epoch']}")
    say(f"up for {proxy['uptime_seconds']:.0f} s, {proxy['restarts']} restarts since the agent started")
    if proxy.get("error"):
        say(click.style(f"last error: {proxy['error']}", fg=BAD))
    rows = [
        (
            plain(stream["id"]),
            name,
            *(str(counts[key]) for key in ("wanted", "sent", "acked")),
            _rejected(counts),
        )
        for stream in value["streams"]
        for name, counts in stream["types"].items()
    ]
    say()
    columns(("STREAM", "TYPE", "WANTED", "SENT", "ACKED", "REJECTED"), rows)
    for row in value["rejected"]:
        say(click.style(f"\nrejected: {row['type']} {row['resource']}: {row['reason']}", fg=BAD))


def _rejected(counts: Mapping[str, int]) -> str:
    return paint(str(counts["rejected"]), BAD) if counts["rejected"] else "0"


def _show_config(value: Mapping[str, list[Row]]) -> None:
    for index, (kind, rows) in enumerate(value.items()):
        if len(value) > 1:
            say(("\n" if index else "") + click.style(kind, bold=True))
        headings, cells = TABLES[kind]
        columns(
            ("NAME", "STATE", *headings),
            [(plain(row["name"]), _state(row), *cells(row["config"])) for row in rows],
        )


def _state(row: Row) -> str:
    return paint(row["state"], STATES.get(row["state"], WARN))


def _listener(config: Row) -> Sequence[str]:
    addresses = [
        config.get("address"),
        *(extra.get("address") for extra in config.get("additional_addresses", [])),
    ]
    chains = len(config.get("filter_chains", [])) + bool(config.get("default_filter_chain"))
    return (", ".join(plain(_address(address)) for address in addresses if address), str(chains))


def _cluster(config: Row) -> Sequence[str]:
    kind = config.get("type") or (config.get("cluster_type") or {}).get("name") or "STATIC"
    policy = config.get("lb_policy", "")
    return (plain(kind), plain(policy.lower().replace("_", " ") or "-"))


def _routes(config: Row) -> Sequence[str]:
    hosts = config.get("virtual_hosts", [])
    names = [host["name"] for host in hosts]
    return (
        str(sum(len(host.get("routes", [])) for host in hosts)),
        plain(", ".join(names[:4]) + _more(names, 4)),
    )


def _endpoints(config: Row) -> Sequence[str]:
    members = [
        (_address(member["endpoint"]["address"]), member.get("health_status", "HEALTHY"))
        for locality in config.get("endpoints", [])
        for member in locality.get("lb_endpoints", [])
    ]
    shown = [paint(address, GOOD if health == "HEALTHY" else WARN) for address, health in members[:6]]
    return (str(len(members)), ", ".join(shown) + _more(members, 6))


def _secret(config: Row) -> Sequence[str]:
    kind = (
        "certificate"
        if "tls_certificate" in config
        else "trusted roots"
        if "validation_context" in config
        else "-"
    )
    return (kind,)


def _more(items: Sequence[object], shown: int) -> str:
    return f" and {len(items) - shown} more" if len(items) > shown else ""


def _address(address: Row) -> str:
    """Envoy's address message as text: address:port, or the path of a unix socket."""
    if pipe := address.get("pipe"):
        return str(pipe["path"])
    socket = address.get("socket_address") or {}
    host = socket.get("address", "")
    return f"[{host}]:{socket.get('port_value')}" if ":" in host else f"{host}:{socket.get('port_value')}"


TABLES: Mapping[str, tuple[tuple[str, ...], Callable[[Row], Sequence[str]]]] = {
    "listeners": (("ADDRESSES", "CHAINS"), _listener),
    "clusters": (("TYPE", "POLICY"), _cluster),
    "routes": (("ROUTES", "HOSTS"), _routes),
    "endpoints": (("COUNT", "ENDPOINTS"), _endpoints),
    "secrets": (("WHAT",), _secret),
}
"""Kind -> the columns after name and state, and what stands in them."""
