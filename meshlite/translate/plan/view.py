"""Puts together what each group of callers, and each gateway, finds of the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshlite.translate.memo import Looked, Memo
from meshlite.translate.plan.attachment import Side
from meshlite.translate.plan.caller import Caller
from meshlite.translate.plan.destinations import (
    Destinations,
    destinations,
)
from meshlite.translate.plan.gateway import Opened
from meshlite.translate.plan.gateway_patches import patches as gateway_patches
from meshlite.translate.plan.mesh import Mesh
from meshlite.translate.plan.outbound import Outbound, outbound
from meshlite.translate.plan.patch import (
    selected,
)
from meshlite.translate.plan.resources import Report, tell
from meshlite.translate.plan.route import RouteTable, Text
from meshlite.translate.plan.routing import Selected, claim, select
from meshlite.translate.plan.rules import Rule
from meshlite.translate.plan.scope import Scope
from meshlite.translate.plan.tables import table


@dataclass(frozen=True)
class Seen:
    view: Destinations
    outbound: Outbound
    tables: tuple[RouteTable, ...]


def view_of(memo: Memo, mesh: Mesh, usual: Mapping[str, Rule | None], caller: Caller) -> Destinations:
    side = Side(caller.namespace, caller.has)
    patches = selected(mesh.filters, side, "SIDECAR_OUTBOUND", {})
    extensions = mesh.extensions(side, "CLIENT")
    inputs = (mesh.services, mesh.rules, usual, caller, mesh.scope(caller), patches, extensions)
    return memo.of(("view", caller), destinations, *inputs)


def gates(
    memo: Memo,
    mesh: Mesh,
    usual: Mapping[str, Rule | None],
    found: tuple[Opened, ...],
) -> Mapping[Caller, Destinations]:
    """Gateways as callers. What Sidecars and patches say of workloads' outbound side is not theirs."""
    views = {}
    for one in found:
        caller, patches = one.gate.caller(mesh.selectors), gateway_patches(one, mesh.filters)
        inputs = (mesh.services, mesh.rules, usual, caller, Scope(), patches, (), True)
        views[caller] = memo.of(("view", caller), destinations, *inputs)
    return views


def seen_by(
    memo: Memo,
    view: Destinations,
    mesh: Mesh,
    fenced: Text,
    away: frozenset[str],
    report: Report,
) -> Seen:
    caller = view.caller
    owners = mesh.by_key
    known = Looked(view.known.services)
    claims = memo.each(("claims", caller), claim, owners, caller, view.scope, known)
    selected, told = memo.of(("selected", caller), select, claims, view.services, view.known)
    tell(told, report)
    ports = _table_ports(view, selected)
    tables = []
    for port in ports:
        made, told = memo.within(("table", caller, port), table, view, port, selected, owners, fenced)
        tell(told, report)
        tables.append(made)
    judged = mesh.guards.by_service
    connections = {fqdn: tuple(owners[key] for key in keys) for fqdn, keys in selected.connections.items()}
    taken, told = memo.of(("outbound", caller), outbound, view, connections, ports, fenced, judged, away)
    tell(told, report)
    return Seen(view, taken, tuple(tables))


def _table_ports(view: Destinations, selected: Selected) -> tuple[int, ...]:
    strangers = {port for stranger in selected.strangers for port in stranger.ports}
    bound = {one.port.number for one in view.scope.bound if one.port.http != "none"}
    return tuple(sorted(strangers.union(bound, view.services.http_ports)))
