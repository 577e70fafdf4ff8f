"""`meshlite status`: is everything well, and if not, what is not."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from meshlite.cli import services
from meshlite.cli.client import Client
from meshlite.cli.failure import Failure, WrongSettings
from meshlite.cli.output import BAD, DIM, GOOD, WARN, Output, columns, emit, output_option, paint, plain, say
from meshlite.cli.settings import agent_of, front_of, places_of, server_of
from meshlite.cli.supervision import troubles

Document = dict[str, Any]


@click.command(short_help="Health of the mesh at a glance.")
@output_option
@click.pass_context
def status(ctx: click.Context, output: Output) -> None:
    """Show the health of server, agent and node proxy, services with ready endpoints, and what is wrong.

    Exit code 1 if a part is down. Problems of single resources or containers are shown and do not fail.
    With --server it is all as that server has it: agents and proxies of every node, and nothing of this host.

    \b
    JSON: {"healthy", "node", "projects", "everything", "projects_known",
           "parts": [{"name", "state", "healthy", "version", "detail"}],
           "services": [{"namespace", "name", "address", "mode", "declared_by", "resolution",
                         "ports", "ready", "total"}],
           "uncaptured": [{"namespace", "name", "node", "reason"}],
           "problems": [{"resource", "reason"}]}
    """
    settings = places_of(ctx)
    server, elsewhere = server_of(settings), front_of(ctx).server is not None
    health, found, nodes = (_ask(server, f"/v1/{name}") for name in ("health", "services", "nodes"))
    if elsewhere:
        value = summary_elsewhere(health, found, nodes)
    else:
        local, failing = _ask(agent_of(settings), "/v1/status"), troubles(settings.paths.run)
        value = summary(settings.node, health, found, nodes, local, failing)
    emit(value, output, lambda: _show(value))
    if not value["healthy"]:
        here = "meshlite up -d starts what is missing; meshlite doctor checks this host"
        there = "on the host that is named, meshlite status and meshlite doctor say more"
        down = [part for part in value["parts"] if not part["healthy"]]
        raise Failure(
            f"the mesh is not well: {', '.join(part['name'] for part in down)}",
            why="; ".join(part["detail"] for part in down if part["detail"]),
            next_step=there if elsewhere else here,
        )


def summary(
    node: str,
    health: Document,
    found: Document,
    nodes: Document,
    agent: Document,
    failing: Mapping[str, str] = MappingProxyType({}),
) -> Document:
    """The status document from the four answers; an answer {"unreachable": why} stands for a dead part.

    `failing`: a sentence on each part that keeps ending.
    """
    parts = [_server(health), _agent(agent), _proxy(agent.get("proxy", {}))]
    for part in parts:
        if sentence := failing.get(part["name"]):
            part["detail"] = sentence
    rows = nodes.get("nodes", [])
    node = agent.get("node", node)
    record: Document = next((row["record"] for row in rows if row["record"]["name"] == node), agent)
    views = found.get("services", [])
    unknown = "unreachable" in nodes and "unreachable" in agent
    return {
        "healthy": all(part["healthy"] for part in parts),
        "node": node,
        "projects": list(record.get("projects", [])),
        "everything": bool(record.get("everything")),
        "projects_known": not unknown,
        "parts": parts,
        "services": [_service(view) for view in views],
        "uncaptured": _uncaptured(views, agent),
        "problems": [*health.get("problems", ()), *_problems(views, rows, agent)],
    }


def summary_elsewhere(health: Document, found: Document, nodes: Document) -> Document:
    """The same, of a server on another host: what it says of its nodes, and no word of this host."""
    rows, views = nodes.get("nodes", []), found.get("services", [])
    parts = [_server(health), *(part for row in rows if row["joined"] or row["alive"] for part in _node(row))]
    return {
        "healthy": all(part["healthy"] for part in parts),
        "node": "",
        "projects": sorted({project for row in rows for project in row["record"]["projects"]}),
        "everything": any(row["record"]["everything"] for row in rows),
        "projects_known": "unreachable" not in nodes,
        "parts": parts,
        "services": [_service(view) for view in views],
        "uncaptured": _uncaptured(views, {}),
        "problems": [*health.get("problems", ()), *_problems(views, rows, {})],
    }


def _node(row: Document) -> list[Document]:
    """Agent and proxy of a node, as it told the server last."""
    name, told = row["record"]["name"], row.get("status") or {}
    if not row["alive"]:
        return [_part(f"agent {name}", "silent", False, detail="nothing is heard of it")]
    agent = _part(f"agent {name}", "connected", True, told.get("version", ""))
    proxy = told.get("proxy")
    return [agent, *([{**_proxy(proxy), "name": f"proxy {name}"}] if proxy else [])]


def _ask(client: Client, path: str) -> Document:
    try:
        answer: Document = client.get(path, timeout=5.0)
        return answer
    except WrongSettings:
        raise
    except Failure as failure:
        return {"unreachable": f"{failure.message} ({failure.where}: {failure.why})"}


def _part(name: str, state: str, healthy: bool, version: str = "", detail: str = "") -> Document:
    return {"name": name, "state": state, "healthy": healthy, "version": version, "detail": detail}


def _server(health: Document) -> Document:
    if why := health.get("unreachable"):
        return _part("server", "down", False, detail=why)
    return _part("server", health["status"], health["status"] == "ok", health["version"])


def _agent(agent: Document) -> Document:
    if why := agent.get("unreachable"):
        return _part("agent", "down", False, detail=why)
    link = agent["server"]
    detail = (
        ""
        if link["connected"]
        else f"works from its own copy; the server: {link.get('error') or 'not connected'}"
    )
    return _part(
        "agent",
        "connected" if link["connected"] else "cut off",
        bool(link["connected"]),
        agent["version"],
        detail,
    )


def _proxy(proxy: Document) -> Document:
    if not proxy:
        return _part("proxy", "unknown", False, detail="the agent would know")
    live = proxy["state"] == "running"
    detail = proxy.get("error") or ("" if live else f"restarts: {proxy.get('restarts', 0)}")
    return _part("proxy", proxy["state"], live, proxy.get("version", ""), detail)


def _service(view: Document) -> Document:
    ready = sum(endpoint["ready"] for endpoint in view["endpoints"])
    kept = {key: view[key] for key in ("namespace", "name", "address", "mode", "declared_by", "resolution")}
    ports = [port["number"] for port in view["ports"]]
    return {**kept, "ports": ports, "ready": ready, "total": len(view["endpoints"])}


def _uncaptured(views: list[Document], agent: Document) -> list[Document]:
    """Workloads whose traffic does not pass the proxy, on all nodes; this one's also with the server down."""
    found: dict[str, Document] = {}
    for view in views:
        for endpoint in view["endpoints"]:
            if not (endpoint["captured"] or endpoint["address"]):
                row = {key: endpoint[key] for key in ("name", "node", "reason")}
                found[endpoint["workload"]] = {"namespace": view["namespace"], **row}
    for workload in agent.get("workloads", []):
        if not workload["captured"]:
            row = {key: workload[key] for key in ("namespace", "name", "reason")}
            found[workload["id"]] = {**row, "node": agent["node"]}
    return [
        {key: row[key] for key in ("namespace", "name", "node", "reason")}
        for row in sorted(found.values(), key=lambda row: (row["namespace"], row["name"]))
    ]


def _problems(views: list[Document], nodes: list[Document], agent: Document) -> list[Document]:
    """What is wrong with resources and captured containers, each once. This host's agent knows best of it."""
    here = agent.get("node") if "problems" in agent else None
    told = [row for row in nodes if row.get("status") and row["alive"]]
    others = [row["status"] for row in told if row["record"]["name"] != here]
    reports = [*others, agent] if here else others
    said = [row for report in reports for key in ("problems", "rejected") for row in report.get(key, [])]
    pairs = [(row["resource"], row["reason"]) for row in said]
    inside = [end for view in views for end in view["endpoints"]] + agent.get("workloads", [])
    pairs += [(one["name"], one["reason"]) for one in inside if one["captured"] and one["reason"]]
    pairs += [
        (f"{view['name']}.{view['namespace']}", reason) for view in views for reason in view["problems"]
    ]
    return [{"resource": resource, "reason": reason} for resource, reason in dict.fromkeys(pairs)]


def _show(value: Mapping[str, Any]) -> None:
    columns(("PART", "STATE", "VERSION", "DETAIL"), [_part_cells(part) for part in value["parts"]])
    none = "none" if value["projects_known"] else "not known while server and agent are down"
    projects = (
        ("all on this host" if value["node"] else "all of a host")
        if value["everything"]
        else ", ".join(value["projects"]) or none
    )
    place = f" on {value['node']}" if value["node"] else ""
    say(f"\nprojects in the mesh{place}: {click.style(projects, bold=True)}")
    if value["services"]:
        say()
        cells = [_service_cells(service) for service in value["services"]]
        columns(("NAMESPACE", "SERVICE", "ADDRESS", "READY", "MTLS", "FROM"), cells)
    if value["uncaptured"]:
        say(click.style("\nnot captured: their traffic does not pass the mesh", bold=True))
        outside = [tuple(plain(cell or "-") for cell in row.values()) for row in value["uncaptured"]]
        columns(("NAMESPACE", "NAME", "NODE", "REASON"), outside)
    for problem in value["problems"]:
        say(click.style(f"\nproblem: {problem['resource']}: {problem['reason']}", fg=WARN))


def _part_cells(part: Document) -> tuple[str, ...]:
    state = paint(part["state"], GOOD if part["healthy"] else BAD)
    return (part["name"], state, plain(part["version"] or "-"), paint(part["detail"], DIM))


def _service_cells(service: Document) -> tuple[str, ...]:
    ready, total = service["ready"], service["total"]
    name = (plain(service["namespace"]), plain(service["name"]), plain(service["address"] or "-"))
    return (*name, services.ready(service, ready, total), services.mode(service), services.origin(service))
