"""Makes the plan for one node: puts together what the other modules here decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshlite.model.mesh import Snapshot
from meshlite.model.networking import (
    Gateway,
    Sidecar,
)
from meshlite.translate.memo import Memo
from meshlite.translate.node import Module, NodeView
from meshlite.translate.plan.arriving import arriving
from meshlite.translate.plan.attachment import Side
from meshlite.translate.plan.authentication import StrictPolicy
from meshlite.translate.plan.caller import Caller
from meshlite.translate.plan.catalog import Catalog
from meshlite.translate.plan.destinations import (
    Destinations,
    clusters,
    endpoints,
    uses,
    usual,
)
from meshlite.translate.plan.gateway import Opened, opened, with_gateways
from meshlite.translate.plan.gateway_guards import guarded
from meshlite.translate.plan.gateway_patches import extended, side
from meshlite.translate.plan.gateway_patches import patches as gateway_patches
from meshlite.translate.plan.gateway_routes import Edge, edge
from meshlite.translate.plan.household import Household, called_side, households, listeners_of, strictness
from meshlite.translate.plan.ingress import with_ingress
from meshlite.translate.plan.listener import Listener
from meshlite.translate.plan.mesh import Mesh, mesh_of
from meshlite.translate.plan.nodeplan import NodePlan
from meshlite.translate.plan.patch import (
    CLUSTERS,
    LISTENERS,
    Added,
    AddedListener,
    added,
    mentioned,
)
from meshlite.translate.plan.plugins import Mode, report_missing, wanted
from meshlite.translate.plan.resources import Report, of_kind, read, tell
from meshlite.translate.plan.route import within
from meshlite.translate.plan.tunnel import AS_BYTES, Arriving, far, tunnel, tunnels, with_certificates
from meshlite.translate.plan.view import Seen, gates, seen_by, view_of


def plan(
    memo: Memo, snapshot: Snapshot, node: NodeView, report: Report
) -> tuple[NodePlan, Mapping[str, StrictPolicy]]:
    """The plan, and which ports of each attachment are strict.

    What is wrong with a resource is told to `report` and stays with it.
    """
    resources, told = memo.within("resources", read, snapshot.resources)
    tell(told, report)
    found = opened(snapshot.workloads, node, of_kind(resources, Gateway), report)
    snapshot, node = with_gateways(snapshot, node, found)
    workloads = with_ingress(snapshot.workloads, of_kind(resources, Sidecar))
    snapshot = snapshot.model_copy(update={"workloads": workloads})
    ways_out = tunnels(snapshot, node)
    mesh = mesh_of(memo, snapshot, node, ways_out, resources, report)
    residents = tuple(households(snapshot, node, mesh, report))
    callers = sorted({resident.caller for resident in residents}, key=lambda caller: caller.name)
    followed = memo.of("usual", usual, mesh.services, mesh.rules)
    views = tuple(view_of(memo, mesh, followed, caller) for caller in callers)
    gated = gates(memo, mesh, followed, found)
    fenced = within(node.virtual_network, node.virtual_network6)
    away = memo.same("far", far(mesh.replicas))
    seen = {view.caller: seen_by(memo, view, mesh, fenced, away, report) for view in views}
    edges = _edges(memo, found, gated, mesh, snapshot, report)
    doors = tuple(door for resident in residents for door in resident.doors)
    chains = {(door.workload, door.port): door.name for door in doors}
    every = (*views, *gated.values())
    chained, judged = _chained(residents, mesh), mesh.guards.by_service
    used = memo.of("uses", uses, mesh.services, followed, every, chained, judged)
    streamed = memo.same("streamed", _streamed(seen.values()))
    domain = snapshot.trust_domain
    inputs = (mesh.services, mesh.replicas, mesh.rules, chains, chained, judged, node, domain)
    inside = memo.within("arriving", arriving, *inputs) if ways_out else Arriving()
    open = {one.gate.attachment: edge.ports for one, edge in zip(found, edges, strict=True)}
    strict = {one.attachment.key: strictness(one, mesh.authentication, open) for one in residents}
    decided = NodePlan(
        with_certificates(_listeners(residents, seen, strict, node, snapshot), ways_out),
        (
            *(table for caller in callers for table in seen[caller].tables),
            *(table for edge in edges for table in edge.tables),
        ),
        (*memo.within("clusters", clusters, used, mesh.replicas, node, domain, streamed), *inside.clusters),
        (
            *memo.within("endpoints", endpoints, used, mesh.replicas, chains, node, domain, streamed),
            *inside.endpoints,
        ),
        node.mark,
        tuple(door.cluster for door in doors),
        _added_clusters(every, residents, mesh.services),
        (*_added_listeners(seen, residents), *_added_at_gateways(found, mesh)),
        _modules(mesh, views, residents, found, report),
        with_certificates((listener for edge in edges for listener in edge.listeners), ways_out),
        tunnel(snapshot, node, inside.ways) if ways_out else None,
    )
    return decided, strict


def _listeners(
    residents: Iterable[Household],
    seen: Mapping[Caller, Seen],
    strict: Mapping[str, StrictPolicy],
    node: NodeView,
    snapshot: Snapshot,
) -> Iterator[Listener]:
    for one in residents:
        yield from listeners_of(one, seen[one.caller], strict[one.attachment.key], node, snapshot)


def _streamed(seen: Iterable[Seen]) -> frozenset[str]:
    """Clusters of requests that bytes are sent to, as well."""
    chains = [chain for one in seen for chain in one.outbound.tcp]
    named = [chain.cluster for chain in chains]
    shared = [name for chain in chains for name, _ in chain.shares]
    return frozenset(name.removesuffix(AS_BYTES) for name in (*named, *shared) if name.endswith(AS_BYTES))


def _modules(
    mesh: Mesh,
    views: tuple[Destinations, ...],
    residents: tuple[Household, ...],
    found: tuple[Opened, ...],
    report: Report,
) -> tuple[Module, ...]:
    """What the extensions of this node need."""
    callers = [Side(view.caller.namespace, view.caller.has) for view in views]
    calling: list[tuple[Side, Mode]] = [(one, "CLIENT") for one in (*callers, *map(side, found))]
    called: list[tuple[Side, Mode]] = [(called_side(one.owner), "SERVER") for one in residents]
    modules = wanted(mesh.plugins, (*calling, *called))
    tell(report_missing(mesh.plugins, modules, mesh.modules), report)
    return modules


def _chained(residents: tuple[Household, ...], mesh: Mesh) -> frozenset[str]:
    """Services with a replica that has inbound chains."""
    workloads = {door.workload for resident in residents for door in resident.doors}
    if not workloads:
        return frozenset()
    return frozenset(
        service.fqdn
        for service in (*mesh.services.services.values(), *mesh.services.others)
        if any(replica.workload.id in workloads for replica in mesh.replicas.get(service.key, ()))
    )


def _added_clusters(
    views: tuple[Destinations, ...], residents: tuple[Household, ...], services: Catalog
) -> tuple[Added, ...]:
    """Each once: clusters are the whole node's."""
    patches = (patch for view in views for patch in added(view.patches, CLUSTERS))
    inward = (patch for one in residents for patch in added(one.side.patches, CLUSTERS))
    once = {(patch.key, patch.place): patch for patch in (*patches, *inward)}
    return tuple(mentioned(patch, services.services) for patch in once.values())


def _added_listeners(
    seen: Mapping[Caller, Seen], residents: tuple[Household, ...]
) -> tuple[AddedListener, ...]:
    """One for each workload, in its own network namespace."""
    return tuple(
        AddedListener(patch, one.attachment.key, one.attachment.path)
        for one in residents
        for patch in (
            *added(seen[one.caller].view.patches, LISTENERS),
            *added(one.side.patches, LISTENERS),
        )
    )


def _added_at_gateways(found: tuple[Opened, ...], mesh: Mesh) -> Iterator[AddedListener]:
    for one in found:
        key = one.gate.attachment or one.gate.workload.name
        for patch in added(gateway_patches(one, mesh.filters), LISTENERS):
            yield AddedListener(patch, f"gateway/{key}", one.gate.path)


def _edges(
    memo: Memo,
    found: tuple[Opened, ...],
    views: Mapping[Caller, Destinations],
    mesh: Mesh,
    snapshot: Snapshot,
    report: Report,
) -> tuple[Edge, ...]:
    trust_domain, normalization = snapshot.trust_domain, snapshot.settings.path_normalization
    edges = []
    for one in found:
        view, name = views[one.gate.caller(mesh.selectors)], ("edge", one.gate.workload.id)
        made, told = memo.within(name, edge, one, mesh.virtual_services, view, trust_domain)
        tell(told, report)
        made = guarded(made, one, view, mesh.book, mesh.guards.by_service, normalization)
        edges.append(extended(made, one, mesh.filters, mesh.plugins, mesh.modules))
    return tuple(edges)
