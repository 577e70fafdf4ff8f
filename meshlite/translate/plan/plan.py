"""Makes the plan for one node: puts together what the other modules here decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meshlite.model.mesh import Snapshot
from meshlite.model.networking import DestinationRule, VirtualService
from meshlite.model.security import PeerAuthentication
from meshlite.model.workload import Workload
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.plan import inbound
from meshlite.translate.plan.authentication import Resident, StrictPolicy, strict_policy
from meshlite.translate.plan.caller import Caller, Selector, caller, selector
from meshlite.translate.plan.catalog import Catalog, catalog, labels
from meshlite.translate.plan.destinations import Destinations, clusters, destinations, report_unused, usual
from meshlite.translate.plan.listener import Entrance, Listener, Source
from meshlite.translate.plan.nodeplan import NodePlan
from meshlite.translate.plan.outbound import Outbound, outbound
from meshlite.translate.plan.resources import Applied, Memory, Report, of_kind
from meshlite.translate.plan.route import RouteTable, Text, within
from meshlite.translate.plan.routing import Context, Selected, select
from meshlite.translate.plan.rules import Rules, rules
from meshlite.translate.plan.tables import table


def plan(
    snapshot: Snapshot, node: NodeView, resources: Memory, report: Report
) -> tuple[NodePlan, Mapping[str, StrictPolicy]]:
    """The plan, and which ports of each attachment are strict.

    What is wrong with a resource is told to `report` and stays with it.
    """
    mesh = _mesh(snapshot, node, resources, report)
    residents = tuple(_residents(snapshot, node, mesh, report))
    callers = sorted({resident.caller for resident in residents}, key=lambda caller: caller.name)
    followed = usual(mesh.services, mesh.rules)
    views = {caller: destinations(mesh.services, mesh.rules, followed, caller) for caller in callers}
    seen = {caller: _seen(views[caller], mesh, within(node.virtual_network), report) for caller in callers}
    made = tuple(clusters(mesh.services, followed, views.values(), node.mark))
    policies = of_kind(resources, PeerAuthentication)
    strict = {resident.attachment.key: _strict(resident, policies) for resident in residents}
    decided = NodePlan(
        tuple(
            listener
            for resident in residents
            for listener in _listeners(
                resident, seen[resident.caller].outbound, strict[resident.attachment.key], node, snapshot
            )
        ),
        tuple(table for caller in callers for table in seen[caller].tables),
        tuple(cluster for cluster, _ in made),
        tuple(endpoints for _, endpoints in made),
        node.mark,
    )
    return decided, strict


@dataclass(frozen=True)
class _Mesh:
    """What is the same for all callers."""

    services: Catalog
    rules: Rules
    virtual_services: tuple[Applied[VirtualService], ...]
    selectors: tuple[Selector, ...]


@dataclass(frozen=True)
class _Resident:
    """A captured namespace with the workloads in it, and the group of callers it belongs to."""

    attachment: Attachment
    owner: Workload
    workloads: tuple[Workload, ...]
    caller: Caller


@dataclass(frozen=True)
class _Seen:
    outbound: Outbound
    tables: tuple[RouteTable, ...]


def _mesh(snapshot: Snapshot, node: NodeView, resources: Memory, report: Report) -> _Mesh:
    services = catalog(snapshot, node)
    destination_rules = rules(of_kind(resources, DestinationRule), services)
    virtual_services = of_kind(resources, VirtualService)
    report_unused(destination_rules, services, report)
    selectors = {rule.wanted for rule in destination_rules.every() if rule.wanted}
    blocks = (block for one in virtual_services for rule in one.spec.http for block in rule.match)
    selectors |= {selector(block.source_labels) for block in blocks if block.source_labels}
    return _Mesh(services, destination_rules, virtual_services, tuple(sorted(selectors)))


def _residents(snapshot: Snapshot, node: NodeView, mesh: _Mesh, report: Report) -> Iterator[_Resident]:
    by_id = {workload.id: workload for workload in snapshot.workloads}
    for attachment in sorted(node.attachments, key=lambda attachment: attachment.key):
        owner = by_id.get(attachment.owner)
        if owner is None:
            report(attachment.owner, "this captured workload is not in the snapshot; it gets no listeners")
            continue
        workloads = tuple(by_id[id] for id in attachment.workloads if id in by_id)
        group = caller(owner.namespace, labels(owner), mesh.selectors)
        yield _Resident(attachment, owner, workloads or (owner,), group)


def _seen(view: Destinations, mesh: _Mesh, fenced: Text, report: Report) -> _Seen:
    selected = select(mesh.virtual_services, view.caller, mesh.services, report)
    ports = _table_ports(mesh.services, selected)
    tables = (
        table(Context(view.caller, port, mesh.services, view, report), selected, fenced) for port in ports
    )
    return _Seen(outbound(mesh.services, view, ports, fenced), tuple(tables))


def _table_ports(services: Catalog, selected: Selected) -> tuple[int, ...]:
    strangers = {port for stranger in selected.strangers for port in stranger.ports}
    return tuple(sorted(strangers.union(services.http_ports)))


def _strict(resident: _Resident, policies: tuple[Applied[PeerAuthentication], ...]) -> StrictPolicy:
    owner, *_ = others = [resident.owner, *(one for one in resident.workloads if one != resident.owner)]
    return strict_policy(policies, _selected(owner), map(_selected, others[1:]))


def _selected(workload: Workload) -> Resident:
    ports = tuple(port.number for port in workload.ports if port.protocol != "udp")
    return Resident(workload.namespace, labels(workload), ports)


def _listeners(
    resident: _Resident, outbound: Outbound, strict: StrictPolicy, node: NodeView, snapshot: Snapshot
) -> Iterator[Listener]:
    attachment, owner = resident.attachment, resident.owner
    identity = str(owner.identity(snapshot.trust_domain))
    entrance = Entrance(
        f"outbound/{attachment.key}",
        False,
        ("127.0.0.1", "::1") if attachment.ipv6 else ("127.0.0.1",),
        node.outbound_port,
        Source(identity, f"{owner.namespace}/{owner.name}", attachment.path),
        outbound.silent_ports,
    )
    yield Listener(entrance, outbound.http, outbound.tcp, outbound.chooser)
    if strict.closed:
        return
    entrance = Entrance(
        f"inbound/{attachment.key}",
        True,
        ("0.0.0.0", "::") if attachment.ipv6 else ("0.0.0.0",),
        node.inbound_port,
        Source("", "unknown", attachment.path),
        inbound.silent_ports(resident.workloads),
        owner.service_fqdn,
    )
    yield Listener(entrance, (inbound.HTTP,), (inbound.TCP,), inbound.chooser(resident.workloads))
