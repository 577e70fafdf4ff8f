"""`meshlite get`: lists of resources, and of what the mesh has found: services, workloads, nodes, events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
from click.shell_completion import CompletionItem

from meshlite.cli import services
from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.cli.output import BAD, GOOD, WARN, Output, columns, emit, output_option, paint, plain
from meshlite.cli.settings import places_of, server_of
from meshlite.model.names import ROOT_NAMESPACE, kind_key

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Listing:
    """One thing the mesh has found and can list: where the server has it, and its columns for people."""

    path: str
    envelope: str
    headings: tuple[str, ...]
    cells: Callable[[Row], Sequence[str]]
    name: Callable[[Row], str]
    namespace: Callable[[Row], str]


def _service(row: Row) -> Sequence[str]:
    ready = sum(endpoint["ready"] for endpoint in row["endpoints"])
    total = len(row["endpoints"])
    ports = " ".join(f"{port['number']}/{port['protocol']}" for port in row["ports"])
    return (
        plain(row["namespace"]),
        plain(row["name"]),
        plain(row["address"] or "-"),
        plain(ports or "-"),
        services.ready(row, ready, total),
        services.mode(row),
        services.origin(row),
    )


def _workload(row: Row) -> Sequence[str]:
    captured = paint("yes", GOOD) if row["captured"] else paint("no", WARN)
    colour = GOOD if row["health"] == "healthy" else WARN
    return (
        plain(row["namespace"]),
        plain(row["name"]),
        plain(row["service"]),
        plain(row["version"] or "-"),
        plain(row["node"]),
        paint(row["health"], colour),
        captured,
        plain(row["reason"] or "-"),
    )


def _node(row: Row) -> Sequence[str]:
    projects = "all" if row["record"]["everything"] else ", ".join(row["record"]["projects"])
    alive = paint("alive", GOOD) if row["alive"] else paint("silent", BAD)
    return (
        plain(row["record"]["name"]),
        plain(row["record"]["address"] or "-"),
        alive,
        str(row["workloads"]),
        plain(projects or "-"),
    )


def _event(row: Row) -> Sequence[str]:
    return (clock(row["time"]), plain(row["kind"]), plain(row["subject"]), plain(row["message"]))


LISTINGS: Mapping[str, Listing] = {
    "services": Listing(
        "/v1/services",
        "services",
        ("NAMESPACE", "NAME", "ADDRESS", "PORTS", "READY", "MTLS", "FROM"),
        _service,
        lambda row: str(row["name"]),
        lambda row: str(row["namespace"]),
    ),
    "workloads": Listing(
        "/v1/workloads",
        "workloads",
        ("NAMESPACE", "NAME", "SERVICE", "VERSION", "NODE", "HEALTH", "CAPTURED", "REASON"),
        _workload,
        lambda row: str(row["name"]),
        lambda row: str(row["namespace"]),
    ),
    "nodes": Listing(
        "/v1/nodes",
        "nodes",
        ("NAME", "ADDRESS", "STATE", "WORKLOADS", "PROJECTS"),
        _node,
        lambda row: str(row["record"]["name"]),
        lambda row: "",
    ),
    "events": Listing(
        "/v1/events",
        "events",
        ("TIME", "KIND", "SUBJECT", "MESSAGE"),
        _event,
        lambda row: str(row["subject"]),
        lambda row: "",
    ),
}
SHORT = {"svc": "services", "service": "services", "wl": "workloads", "workload": "workloads"} | {
    "no": "nodes",
    "node": "nodes",
    "ev": "events",
    "event": "events",
}


def complete_kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds for the shell's completion: plural names."""
    from meshlite.model.kinds import KINDS

    known = dict.fromkeys(kind.plural for kind in KINDS if kind.taken and kind.enforced)
    names = ("all", *LISTINGS, *known)
    return [CompletionItem(name) for name in names if name.startswith(incomplete.lower())]


@click.command(short_help="List resources, services, workloads or nodes.")
@click.argument("kind", shell_complete=complete_kind)
@click.argument("name", required=False)
@click.option("-n", "--namespace", default="", help="Only this namespace [default: all].")
@click.option(
    "-A", "--all-namespaces", is_flag=True, help="All namespaces; the default, taken for habit's sake."
)
@output_option
@click.pass_context
def get(
    ctx: click.Context, kind: str, name: str | None, namespace: str, all_namespaces: bool, output: Output
) -> None:
    """List resources of KIND (names of Istio and Gateway API: virtualservices, vs, dr, httproutes; or all),
    or what was found: services, workloads, nodes, events.

    \b
    meshlite get vs
    meshlite get vs reviews -o yaml      (ready to edit and apply again)
    JSON: a list of manifests or records; with NAME one of them.
    """
    if namespace and all_namespaces:
        raise click.UsageError("-n and -A exclude each other")
    server = server_of(places_of(ctx))
    key = SHORT.get(kind.lower(), kind.lower())
    if listing := LISTINGS.get(key):
        rows = server.get(listing.path, namespace=namespace if key in ("services", "workloads") else "")
        found = [row for row in rows[listing.envelope] if name in (None, listing.name(row))]
        _print(found, name, f"{key.removesuffix('s')} {name}", output, lambda: _table(listing, found))
        return
    resources = _resources(server, kind, name, namespace)
    manifests = [manifest(resource) for resource in resources]
    if output == "yaml":
        _require(manifests, name, f"{kind} {name}")
        print_documents(manifests)
        return
    _print(manifests, name, f"{kind} {name}", output, lambda: _resource_table(resources))


def manifest(resource: Row) -> dict[str, Any]:
    """A stored resource in the form Istio's YAML has, ready to be applied again."""
    metadata: dict[str, Any] = {"name": resource["name"], "namespace": resource["namespace"]}
    for key in ("labels", "annotations"):
        if resource[key]:
            metadata[key] = resource[key]
    metadata["generation"] = resource["generation"]
    made = {
        "apiVersion": resource["api_version"],
        "kind": resource["kind"],
        "metadata": metadata,
        "spec": resource["spec"],
    }
    return made | ({"status": resource["status"]} if resource.get("status") else {})


def summary(resource: Row) -> str:
    """What a resource is about, in a few words for a table."""
    spec = resource["spec"]
    if words := _gateway_api(spec, resource.get("status") or {}):
        return words
    if hosts := spec.get("hosts"):
        return ", ".join(hosts)
    if host := spec.get("host"):
        names = [subset["name"] for subset in spec.get("subsets", [])]
        return f"{host} ({', '.join(names)})" if names else str(host)
    if mode := spec.get("mtls", {}).get("mode"):
        labels = (spec.get("selector") or {}).get("matchLabels", {})
        chosen = ", ".join(f"{key}={value}" for key, value in labels.items())
        everybody = "the mesh" if resource["namespace"] == ROOT_NAMESPACE else "the namespace"
        return f"{mode} for {chosen or everybody}"
    return "-"


def _gateway_api(spec: Row, status: Row) -> str:
    """A Gateway's listeners or a route's hosts and parents, and what stands against them."""
    if "listeners" in spec:
        words = ", ".join(f"{row['name']} {row['protocol']}:{row['port']}" for row in spec["listeners"])
    elif "parentRefs" in spec:
        parents = ", ".join(f"{row.get('kind', 'Gateway')} {row['name']}" for row in spec["parentRefs"])
        words = f"{', '.join(spec.get('hostnames', ())) or 'all hosts'} of {parents}"
    else:
        return ""
    parts = (status, *status.get("parents", ()))
    rows = [row for part in parts for row in part.get("conditions", ()) if row["status"] != "True"]
    reasons = ", ".join(dict.fromkeys(str(row["reason"]) for row in rows))
    return f"{words} ({reasons})" if reasons else words


def clock(seconds: float) -> str:
    """A time in seconds since 1970 as local time for people."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _resources(server: Client, kind: str, name: str | None, namespace: str) -> list[Row]:
    known = [] if kind.lower() == "all" else known_kinds(server, kind)
    rows = server.get("/v1/resources", kind=known[0]["name"] if known else "", namespace=namespace)
    keys = {one["key"] for one in known}
    found = [row for row in rows["resources"] if name in (None, row["name"])]
    return [row for row in found if not known or _kind(row) in keys]


def known_kinds(server: Client, kind: str) -> list[Row]:
    """The kinds that go by that name, as the server has them. Failure where there is none."""
    kinds = server.get("/v1/kinds")["kinds"]
    if found := [one for one in kinds if kind.lower() in one["words"]]:
        return found
    raise _no_kind(kind, [word for one in kinds for word in one["words"]])


def _no_kind(kind: str, words: Sequence[str]) -> Failure:
    """With what may have been meant."""
    from difflib import get_close_matches

    names = ["all", *LISTINGS, *SHORT, *words]
    close = get_close_matches(kind.lower(), [name for name in names if name], n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    kinds = f"Istio's kinds (vs, dr, pa, …), {', '.join(LISTINGS)}, all"
    return Failure(f"there is no kind {kind}", next_step=f"{meant}There are: {kinds}")


def _print(rows: list[Any], name: str | None, what: str, output: Output, table: Callable[[], None]) -> None:
    _require(rows, name, what)
    if name and output != "table" and len(rows) > 1:
        places = ", ".join(
            row.get("namespace") or row.get("metadata", {}).get("namespace", "") for row in rows
        )
        raise Failure(
            f"there are {len(rows)} of that name", why=f"in namespaces {places}", next_step="add -n NAMESPACE"
        )
    emit(rows[0] if name and output != "table" else rows, output, table)


def _require(rows: list[Any], name: str | None, what: str) -> None:
    if name and not rows:
        raise Failure(f"there is no {what}", next_step="leave out the name to list all")


def print_documents(manifests: list[dict[str, Any]]) -> None:
    import yaml

    click.echo(yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True), nl=False)


def _table(listing: Listing, rows: list[Row]) -> None:
    columns(listing.headings, [listing.cells(row) for row in rows])


def _kind(resource: Row) -> str:
    """With its API group where Istio has a kind of that name, too."""
    return kind_key(str(resource["api_version"]).rpartition("/")[0], str(resource["kind"]))


def _resource_table(resources: Sequence[Row]) -> None:
    columns(
        ("NAMESPACE", "KIND", "NAME", "CHANGES", "ABOUT"),
        [
            tuple(plain(cell) for cell in (r["namespace"], _kind(r), r["name"], r["generation"], summary(r)))
            for r in resources
        ],
    )
