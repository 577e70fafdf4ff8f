"""Makes the plan for one node: puts together what the other modules here decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from meshlite.model.extensions import TrafficExtension, WasmPlugin
from meshlite.model.mesh import Snapshot
from meshlite.model.names import resolve_known
from meshlite.model.networking import (
    DestinationRule,
    EnvoyFilter,
    Gateway,
    ServiceEntry,
    Sidecar,
    VirtualService,
    WorkloadEntry,
)
from meshlite.model.rate_limit import RateLimit
from meshlite.model.security import PeerAuthentication
from meshlite.model.workload import Workload
from meshlite.translate.memo import Looked, Memo
from meshlite.translate.node import Attachment, Module, ModuleState, NodeView
from meshlite.translate.plan import inbound
from meshlite.translate.plan.action import mirrors
from meshlite.translate.plan.attachment import Has, Side
from meshlite.translate.plan.authentication import Resident, StrictPolicy, strict_policy
from meshlite.translate.plan.caller import Caller, Selector, caller, matches, selector
from meshlite.translate.plan.catalog import Callee, Catalog, Replicas, catalog, labels
from meshlite.translate.plan.confinement import confined
from meshlite.translate.plan.delegate import delegated
from meshlite.translate.plan.destinations import (
    Destinations,
    clusters,
    destinations,
    endpoints,
    report_unused,
    uses,
    usual,
)
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.external import with_declared
from meshlite.translate.plan.gateway import Opened, opened, with_gateways
from meshlite.translate.plan.gateway_guards import guarded
from meshlite.translate.plan.gateway_patches import extended, side
from meshlite.translate.plan.gateway_patches import patches as gateway_patches
from meshlite.translate.plan.gateway_routes import Edge, edge
from meshlite.translate.plan.guard import NOTHING
from meshlite.translate.plan.guards import Book, Guarding, book, guards
from meshlite.translate.plan.inbound import Door, Guards, ServerSide
from meshlite.translate.plan.ingress import ingress, with_ingress
from meshlite.translate.plan.listener import Entrance, Listener, Source
from meshlite.translate.plan.locality import caller_keys
from meshlite.translate.plan.nodeplan import NodePlan
from meshlite.translate.plan.outbound import Outbound, outbound
from meshlite.translate.plan.patch import (
    CLUSTERS,
    LISTENERS,
    Added,
    AddedListener,
    added,
    inward,
    mentioned,
    of,
    ordered,
    selected,
)
from meshlite.translate.plan.patch import selectors as patching
from meshlite.translate.plan.plugins import Mode, Plugin, chosen, plugins, report_missing, wanted
from meshlite.translate.plan.plugins import selectors as plugging
from meshlite.translate.plan.resources import Applied, Read, Report, of_kind, read, tell
from meshlite.translate.plan.route import RouteTable, Text, within
from meshlite.translate.plan.routing import Selected, select
from meshlite.translate.plan.rules import Rule, Rules, rules
from meshlite.translate.plan.scope import Scope, report_overlaid, scope
from meshlite.translate.plan.scope import selectors as scoping
from meshlite.translate.plan.tables import table
from meshlite.translate.plan.trust import Trust


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
    mesh = _mesh(memo, snapshot, node, resources, report)
    residents = tuple(_residents(snapshot, node, mesh, report))
    callers = sorted({resident.caller for resident in residents}, key=lambda caller: caller.name)
    followed = memo.of("usual", usual, mesh.services, mesh.rules)
    views = tuple(_view(memo, mesh, followed, caller) for caller in callers)
    gates = _gates(memo, mesh, followed, found)
    fenced = within(node.virtual_network, node.virtual_network6)
    seen = {view.caller: _seen(memo, view, mesh, fenced, report) for view in views}
    edges = _edges(memo, found, gates, mesh, snapshot, report)
    doors = tuple(door for resident in residents for door in resident.doors)
    chains = {(door.workload, door.port): door.name for door in doors}
    every = (*views, *gates.values())
    used = memo.of(
        "uses", uses, mesh.services, followed, every, _chained(residents, mesh), mesh.guards.by_service
    )
    open = {one.gate.attachment: edge.ports for one, edge in zip(found, edges, strict=True)}
    strict = {one.attachment.key: _strict(one, mesh.authentication, open) for one in residents}
    listeners = (
        listener
        for resident in residents
        for listener in _listeners(
            resident,
            seen[resident.caller],
            strict[resident.attachment.key],
            node,
            snapshot,
        )
    )
    decided = NodePlan(
        tuple(listeners),
        (
            *(table for caller in callers for table in seen[caller].tables),
            *(table for edge in edges for table in edge.tables),
        ),
        memo.within("clusters", clusters, used, mesh.replicas, node),
        memo.within("endpoints", endpoints, used, mesh.replicas, chains, node),
        node.mark,
        tuple(door.cluster for door in doors),
        _added_clusters(every, residents, mesh.services),
        (*_added_listeners(seen, residents), *_added_at_gateways(found, mesh)),
        _modules(mesh, views, residents, found, report),
        tuple(listener for edge in edges for listener in edge.listeners),
    )
    return decided, strict


def policies(snapshot: Snapshot, node: NodeView) -> Book:
    """What calls are judged by: for telling, since a plan has it in many places."""
    memo = Memo()
    resources, _ = memo.within("resources", read, snapshot.resources)
    return _mesh(memo, snapshot, node, resources, lambda key, reason: None).book


@dataclass(frozen=True)
class _Mesh:
    """What is the same for all callers."""

    services: Catalog
    replicas: Replicas
    rules: Rules
    virtual_services: tuple[Applied[VirtualService], ...]
    authentication: tuple[Applied[PeerAuthentication], ...]
    sidecars: tuple[Applied[Sidecar], ...]
    unknown: str
    filters: tuple[Applied[EnvoyFilter], ...]
    plugins: tuple[Plugin, ...]
    modules: Mapping[Module, ModuleState]
    selectors: tuple[Selector, ...]
    book: Book
    guards: Guarding

    def scope(self, caller: Caller) -> Scope:
        return scope(self.sidecars, self.unknown, caller)

    def extensions(self, side: Side, mode: Mode) -> tuple[Extension, ...]:
        return chosen(self.plugins, side, mode, self.modules)


@dataclass(frozen=True)
class _Resident:
    """A captured namespace with the workloads in it, and the group of callers it belongs to."""

    attachment: Attachment
    owner: Workload
    workloads: tuple[Workload, ...]
    caller: Caller
    side: ServerSide
    guards: Guards
    doors: tuple[Door, ...]


@dataclass(frozen=True)
class _Seen:
    view: Destinations
    outbound: Outbound
    tables: tuple[RouteTable, ...]


def _mesh(memo: Memo, snapshot: Snapshot, node: NodeView, resources: Read, report: Report) -> _Mesh:
    services, replicas = memo.within("catalog", catalog, snapshot.services, snapshot.workloads, node)
    entries, workload_entries = of_kind(resources, ServiceEntry), of_kind(resources, WorkloadEntry)
    services, replicas, told = memo.within(
        "declared",
        with_declared,
        services,
        replicas,
        entries,
        workload_entries,
        snapshot.hosts,
        node.virtual_network6,
    )
    tell(told, report)
    applied = of_kind(resources, DestinationRule)
    destination_rules = memo.of("rules", rules, applied, Looked(services.services))
    sidecars = of_kind(resources, Sidecar)
    settings = snapshot.settings
    trusted = settings.envoy_filter == "trusted"
    patches, told = memo.of("confined", confined, of_kind(resources, EnvoyFilter), trusted)
    tell(told, report)
    filters = ordered(patches)
    wasm, extensions = of_kind(resources, WasmPlugin), of_kind(resources, TrafficExtension)
    plugged = memo.of("plugins", plugins, wasm, extensions, trusted)
    known = Looked(services.services)
    virtual_services, told = memo.of("delegated", delegated, of_kind(resources, VirtualService), known)
    tell(told, report)
    selectors = memo.of(
        "selectors", _selectors, destination_rules, virtual_services, sidecars, filters, plugged
    )
    domains = Trust(snapshot.trust_domain, settings.trust_domain_aliases)
    providers = settings.extension_providers
    written, told = memo.within("book", book, resources, domains, snapshot.key_sets, providers, services)
    tell(told, report)
    copied = memo.of("copied", _copied, virtual_services, Looked(services.services))
    report_unused(destination_rules, services, report)
    tell(report_overlaid(sidecars), report)
    return _Mesh(
        services,
        replicas,
        destination_rules,
        virtual_services,
        of_kind(resources, PeerAuthentication),
        sidecars,
        snapshot.outbound_traffic_policy,
        filters,
        plugged,
        node.modules,
        _told_apart(memo, selectors, destination_rules, snapshot.workloads),
        written,
        memo.within("guards", guards, services, replicas, written, copied),
    )


def _told_apart(
    memo: Memo, selectors: tuple[Selector, ...], rules: Rules, workloads: tuple[Workload, ...]
) -> tuple[Selector, ...]:
    """All labels that callers are told apart by; of some each value that there is."""
    keys = memo.of("label keys", _label_keys, rules)
    found = ((key, labels(workload).get(key, "")) for key in keys for workload in workloads)
    values = {(pair,) for pair in found if pair[1]}
    return memo.same("told apart", tuple(sorted({*selectors, *values})) if values else selectors)


def _label_keys(rules: Rules) -> frozenset[str]:
    return frozenset[str]().union(*(caller_keys(rule) for rule in rules.every()))


def _copied(
    virtual_services: tuple[Applied[VirtualService], ...], known: Mapping[str, Callee]
) -> frozenset[str]:
    """Hosts that copies of requests are sent to."""
    return frozenset(
        resolve_known(destination.host, one.namespace, known)
        for one in virtual_services
        for rule in one.spec.http
        for destination, _ in mirrors(rule)
    )


def _selectors(
    rules: Rules,
    virtual_services: tuple[Applied[VirtualService], ...],
    sidecars: tuple[Applied[Sidecar], ...],
    filters: tuple[Applied[EnvoyFilter], ...],
    plugins: tuple[Plugin, ...],
) -> tuple[Selector, ...]:
    """All labels that a resource tells callers apart by."""
    selectors = {rule.wanted for rule in rules.every() if rule.wanted}
    blocks = (
        block
        for one in virtual_services
        for routes in (one.spec.http, one.spec.tls, one.spec.tcp)
        for route in routes
        for block in route.match
    )
    selectors |= {selector(block.source_labels) for block in blocks if block.source_labels}
    selectors |= {selector(labels) for labels in (*scoping(sidecars), *patching(filters), *plugging(plugins))}
    return tuple(sorted(selectors))


def _residents(snapshot: Snapshot, node: NodeView, mesh: _Mesh, report: Report) -> Iterator[_Resident]:
    by_id = {workload.id: workload for workload in snapshot.workloads}
    for attachment in sorted(node.attachments, key=lambda attachment: attachment.key):
        owner = by_id.get(attachment.owner)
        if owner is None:
            report(attachment.owner, "this captured workload is not in the snapshot; it gets no listeners")
            continue
        workloads = tuple(by_id[id] for id in attachment.workloads if id in by_id)
        group = caller(owner.namespace, labels(owner), mesh.selectors)
        side = _server_side(mesh, owner)
        workloads = workloads or (owner,)
        own = _guards(mesh, workloads)
        doors = inbound.doors(attachment, workloads, side, own, node.mark)
        yield _Resident(attachment, owner, workloads, group, side, own, doors)


def _guards(mesh: _Mesh, workloads: tuple[Workload, ...]) -> Guards:
    """Neighbours in a namespace who are guarded differently have inbound chains that tell them apart."""
    known = mesh.guards
    found = {one.id: known.by_workload.get(one.id, NOTHING) for one in workloads}
    apart = any(one.id in known.apart for one in workloads) or len({*found.values()}) > 1
    return Guards(found, apart)


def _view(memo: Memo, mesh: _Mesh, usual: Mapping[str, Rule | None], caller: Caller) -> Destinations:
    side = Side(caller.namespace, caller.has)
    patches = selected(mesh.filters, side, "SIDECAR_OUTBOUND", {})
    extensions = mesh.extensions(side, "CLIENT")
    inputs = (mesh.services, mesh.rules, usual, caller, mesh.scope(caller), patches, extensions)
    return memo.of(("view", caller), destinations, *inputs)


def _gates(
    memo: Memo,
    mesh: _Mesh,
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


def _server_side(mesh: _Mesh, workload: Workload) -> ServerSide:
    side = _called(workload)
    patches = selected(mesh.filters, side, "SIDECAR_INBOUND", {})
    extensions, (places, pool) = mesh.extensions(side, "SERVER"), ingress(mesh.sidecars, workload)
    limit = RateLimit.of(workload.rate_limit)
    return ServerSide(inward(patches, workload.service_fqdn), extensions, places, pool, limit)


def _called(workload: Workload) -> Side:
    return Side(workload.namespace, _has(workload), workload.service)


def _has(workload: Workload) -> Has:
    known = labels(workload)
    return lambda wanted: matches(wanted.items(), known)


def _modules(
    mesh: _Mesh,
    views: tuple[Destinations, ...],
    residents: tuple[_Resident, ...],
    found: tuple[Opened, ...],
    report: Report,
) -> tuple[Module, ...]:
    """What the extensions of this node need."""
    callers = [Side(view.caller.namespace, view.caller.has) for view in views]
    calling: list[tuple[Side, Mode]] = [(one, "CLIENT") for one in (*callers, *map(side, found))]
    called: list[tuple[Side, Mode]] = [(_called(one.owner), "SERVER") for one in residents]
    modules = wanted(mesh.plugins, (*calling, *called))
    tell(report_missing(mesh.plugins, modules, mesh.modules), report)
    return modules


def _chained(residents: tuple[_Resident, ...], mesh: _Mesh) -> frozenset[str]:
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
    views: tuple[Destinations, ...], residents: tuple[_Resident, ...], services: Catalog
) -> tuple[Added, ...]:
    """Each once: clusters are the whole node's."""
    patches = (patch for view in views for patch in added(view.patches, CLUSTERS))
    inward = (patch for one in residents for patch in added(one.side.patches, CLUSTERS))
    once = {(patch.key, patch.place): patch for patch in (*patches, *inward)}
    return tuple(mentioned(patch, services.services) for patch in once.values())


def _added_listeners(
    seen: Mapping[Caller, _Seen], residents: tuple[_Resident, ...]
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


def _added_at_gateways(found: tuple[Opened, ...], mesh: _Mesh) -> Iterator[AddedListener]:
    for one in found:
        key = one.gate.attachment or one.gate.workload.name
        for patch in added(gateway_patches(one, mesh.filters), LISTENERS):
            yield AddedListener(patch, f"gateway/{key}", one.gate.path)


def _seen(
    memo: Memo,
    view: Destinations,
    mesh: _Mesh,
    fenced: Text,
    report: Report,
) -> _Seen:
    caller = view.caller
    virtual_services = mesh.virtual_services
    selected, told = memo.of(
        ("selected", caller), select, virtual_services, caller, view.services, view.known, view.scope
    )
    tell(told, report)
    ports = _table_ports(view.services, selected)
    tables = []
    for port in ports:
        made, told = memo.within(("table", caller, port), table, view, port, selected, fenced)
        tell(told, report)
        tables.append(made)
    connections, judged = selected.connections, mesh.guards.by_service
    taken, told = memo.of(("outbound", caller), outbound, view, connections, ports, fenced, judged)
    tell(told, report)
    return _Seen(view, taken, tuple(tables))


def _edges(
    memo: Memo,
    found: tuple[Opened, ...],
    views: Mapping[Caller, Destinations],
    mesh: _Mesh,
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


def _table_ports(services: Catalog, selected: Selected) -> tuple[int, ...]:
    strangers = {port for stranger in selected.strangers for port in stranger.ports}
    return tuple(sorted(strangers.union(services.http_ports)))


def _strict(
    resident: _Resident,
    policies: tuple[Applied[PeerAuthentication], ...],
    open: Mapping[str, frozenset[int]],
) -> StrictPolicy:
    """`open`: ports of gateways, by attachment."""
    owner, *_ = others = [resident.owner, *(one for one in resident.workloads if one != resident.owner)]
    policy = strict_policy(policies, _selected(owner), map(_selected, others[1:]))
    return replace(policy, gateways=open.get(resident.attachment.key, frozenset()))


def _selected(workload: Workload) -> Resident:
    ports = tuple(port.number for port in workload.ports if port.protocol != "udp")
    return Resident(workload.namespace, labels(workload), ports)


def _listeners(
    resident: _Resident, seen: _Seen, strict: StrictPolicy, node: NodeView, snapshot: Snapshot
) -> Iterator[Listener]:
    attachment, owner, outbound = resident.attachment, resident.owner, seen.outbound
    identity = str(owner.identity(snapshot.trust_domain))
    normalization = snapshot.settings.path_normalization
    entrance = Entrance(
        f"outbound/{attachment.key}",
        False,
        ("127.0.0.1", "::1") if attachment.ipv6 else ("127.0.0.1",),
        node.outbound_port,
        Source(identity, f"{owner.namespace}/{owner.name}", attachment.path),
        outbound.silent_ports,
        normalization=normalization,
    )
    patches = of(seen.view.patches, LISTENERS)
    yield Listener(entrance, outbound.http, outbound.tcp, outbound.chooser, patches)
    service = owner.service_fqdn
    yield from inbound.door_listeners(resident.doors, attachment, service, resident.side, normalization)
    if strict.closed:
        return
    entrance = Entrance(
        f"inbound/{attachment.key}",
        True,
        ("0.0.0.0", "::") if attachment.ipv6 else ("0.0.0.0",),
        node.inbound_port,
        Source("", "unknown", attachment.path),
        inbound.silent_ports(resident.workloads),
        service,
        normalization,
    )
    guard = resident.guards.of(resident.workloads[0])
    yield inbound.listener(entrance, resident.workloads, resident.doors, resident.side, guard)
