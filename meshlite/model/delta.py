"""The change between two snapshots: compute it, apply it. Both sides of the snapshot stream use this file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from meshlite.model.mesh import HostAddress, KeySet, NodeRecord, Resource, Service, Snapshot
from meshlite.model.wire import Delta
from meshlite.model.workload import Workload

T = TypeVar("T")


def whole(snapshot: Snapshot) -> Delta:
    """The delta for somebody who has nothing, or something that cannot be built upon."""
    return Delta(
        version=snapshot.version,
        full=True,
        trust_domain=snapshot.trust_domain,
        outbound_traffic_policy=snapshot.outbound_traffic_policy,
        nodes=snapshot.nodes,
        services=snapshot.services,
        workloads=snapshot.workloads,
        resources=snapshot.resources,
        hosts=snapshot.hosts,
        settings=snapshot.settings,
        key_sets=snapshot.key_sets,
        trust=snapshot.trust,
    )


def difference(old: Snapshot, new: Snapshot) -> Delta:
    """What to change in `old` to get `new`."""
    nodes, removed_nodes = _changes(old.nodes, new.nodes, _node)
    services, removed_services = _changes(old.services, new.services, _service)
    workloads, removed_workloads = _changes(old.workloads, new.workloads, _workload)
    resources, removed_resources = _changes(old.resources, new.resources, _resource)
    hosts, removed_hosts = _changes(old.hosts, new.hosts, _host)
    key_sets, removed_key_sets = _changes(old.key_sets, new.key_sets, _key_set)
    return Delta(
        version=new.version,
        trust_domain=new.trust_domain,
        outbound_traffic_policy=new.outbound_traffic_policy,
        nodes=nodes,
        services=services,
        workloads=workloads,
        resources=resources,
        hosts=hosts,
        settings=new.settings,
        key_sets=key_sets,
        trust=new.trust if new.trust != old.trust else None,
        removed_nodes=removed_nodes,
        removed_services=removed_services,
        removed_workloads=removed_workloads,
        removed_resources=removed_resources,
        removed_hosts=removed_hosts,
        removed_key_sets=removed_key_sets,
    )


def merge(snapshot: Snapshot, delta: Delta) -> Snapshot:
    """The snapshot after `delta`. A heartbeat (same version, not full) returns `snapshot` itself."""
    if delta.version == snapshot.version and not delta.full:
        return snapshot
    base = Snapshot() if delta.full else snapshot
    return Snapshot(
        version=delta.version,
        trust_domain=delta.trust_domain,
        outbound_traffic_policy=delta.outbound_traffic_policy,
        nodes=_merged(base.nodes, delta.nodes, delta.removed_nodes, _node),
        services=_merged(base.services, delta.services, delta.removed_services, _service),
        workloads=_merged(base.workloads, delta.workloads, delta.removed_workloads, _workload),
        resources=_merged(base.resources, delta.resources, delta.removed_resources, _resource),
        hosts=_merged(base.hosts, delta.hosts, delta.removed_hosts, _host),
        settings=delta.settings,
        key_sets=_merged(base.key_sets, delta.key_sets, delta.removed_key_sets, _key_set),
        trust=base.trust if delta.trust is None else delta.trust,
    )


def _node(record: NodeRecord) -> str:
    return record.name


def _service(service: Service) -> str:
    return service.fqdn


def _workload(workload: Workload) -> str:
    return workload.id


def _resource(resource: Resource) -> str:
    return resource.key


def _host(host: HostAddress) -> str:
    return host.key


def _key_set(keys: KeySet) -> str:
    return keys.uri


def _changes(
    old: Iterable[T], new: Iterable[T], key: Callable[[T], str]
) -> tuple[tuple[T, ...], tuple[str, ...]]:
    before: Mapping[str, T] = {key(item): item for item in old}
    after: Mapping[str, T] = {key(item): item for item in new}
    changed = tuple(
        item
        for name, item in after.items()
        if (known := before.get(name)) is not item and known != item  # most are the very same
    )
    return changed, tuple(name for name in before if name not in after)


def _merged(
    old: Iterable[T], changed: Iterable[T], removed: Iterable[str], key: Callable[[T], str]
) -> tuple[T, ...]:
    """Sorted by key, as the server sorts: an agent's copy is equal to the server's, not just alike."""
    items = {key(item): item for item in old} | {key(item): item for item in changed}
    for name in removed:
        items.pop(name, None)
    return tuple(items[name] for name in sorted(items))
