"""What this node knows first-hand, laid over the server's snapshot. Pure: no step waits for the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from meshlite.agent.capture import Attached
from meshlite.config import Settings
from meshlite.model import names, visibility
from meshlite.model.external import External, port_protocol
from meshlite.model.mesh import NodeRecord, Service, Snapshot
from meshlite.model.workload import Found, Workload, shared_aliases
from meshlite.translate.node import Attachment, NodeView


def members(founds: Iterable[Found], record: NodeRecord | None) -> tuple[Found, ...]:
    """Those that belong in the mesh: by their own word, else because their project is in it."""
    return tuple(found for found in founds if _belongs(found, record))


def _belongs(found: Found, record: NodeRecord | None) -> bool:
    if found.enable is not None:
        return found.enable
    return record is not None and (
        record.everything or bool(found.project and found.project in record.projects)
    )


def effective(snapshot: Snapshot, settings: Settings, own: Iterable[Workload]) -> Snapshot:
    """The snapshot with this node's own workloads in place of what the server knows of them.

    New services get the virtual address that the server will most likely give them, too.
    """
    others = [workload for workload in snapshot.workloads if workload.node != settings.node]
    workloads = tuple(sorted([*others, *own], key=lambda workload: workload.id))
    services = {service.fqdn: service for service in snapshot.services}
    for workload in workloads:
        if workload.service_fqdn not in services:
            taken = {service.address for service in services.values()}
            taken |= {host.address for host in snapshot.hosts}
            address = names.virtual_address(workload.service_fqdn, settings.virtual_network, taken)
            services[workload.service_fqdn] = Service(
                name=workload.service,
                namespace=workload.namespace,
                address=address,
                export_to=workload.export_to,
            )
    return snapshot.model_copy(
        update={
            "trust_domain": snapshot.trust_domain if snapshot.version else settings.trust_domain,
            "workloads": workloads,
            "services": tuple(services[name] for name in sorted(services)),
        }
    )


def view(
    settings: Settings, found: Iterable[Found], attached: Mapping[str, Attached], ipv6: bool = False
) -> NodeView:
    """This node as translate sees it: each attached namespace with the workloads that live in it.

    `ipv6`: the host itself has it.
    """
    found = tuple(found)
    residents: dict[str, list[Workload]] = {}
    for item in found:
        if item.namespace is not None:
            residents.setdefault(item.namespace.key, []).append(item.workload)
    return NodeView(
        name=settings.node,
        attachments=tuple(
            _attachment(held, residents[held.namespace])
            for _, held in sorted(attached.items())
            if held.namespace in residents
        ),
        outbound_port=settings.ports.outbound,
        inbound_port=settings.ports.inbound,
        mark=settings.proxy_mark,
        tunnel=settings.ports.tunnel,
        same_host=settings.same_host,
        virtual_network=settings.virtual_network,
        virtual_network6=settings.virtual_network6 if any(map(has_ipv6, found)) else "",
        locality=settings.locality,
        host_workloads={
            item.workload.id: item.workload.addresses[0]
            for item in found
            if item.namespace is None and item.workload.addresses
        },
        ipv6=ipv6,
    )


def has_ipv6(found: Found) -> bool:
    """Whether it has an IPv6 address that others may know, so that its programs may dial IPv6."""
    return any(":" in interface for interface in found.interfaces)


def dual_stack(founds: Iterable[Found], attached: Mapping[str, Attached]) -> frozenset[str]:
    """Attachments of namespaces whose programs may dial IPv6."""
    spaces = {found.namespace.key for found in founds if found.namespace and has_ipv6(found)}
    return frozenset(key for key, held in attached.items() if held.namespace in spaces)


def owners_first(found: Found) -> tuple[bool, str]:
    """To sort by: who made a namespace comes before those that joined it."""
    return (bool(found.namespace and found.namespace.joined), found.workload.id)


def leavers(founds: Iterable[Found], members: Iterable[Found], spaces: Set[str]) -> tuple[Found, ...]:
    """Those who live in `spaces`, namespaces that are served, and are no members any more."""
    ids = {found.workload.id for found in members}
    return tuple(
        found
        for found in founds
        if found.workload.id not in ids and found.namespace and found.namespace.key in spaces
    )


def _attachment(held: Attached, residents: list[Workload]) -> Attachment:
    """Its owner is the workload it was attached for; where that has ended, the first that is left.

    Its listeners may open before its link is made; who dialled the link then would reach strangers.
    """
    ids = tuple(sorted(workload.id for workload in residents))
    return Attachment(
        key=held.key,
        path=held.path,
        link=held.link if held.linked else "",
        owner=held.key if held.key in ids else ids[0],
        workloads=ids,
        own_addresses=tuple(sorted({address for workload in residents for address in workload.addresses})),
        ipv6=held.ipv6,
    )


def hosts(
    snapshot: Snapshot, externals: tuple[External, ...], namespace: str, network6: str = ""
) -> Mapping[str, tuple[str, ...]]:
    """What a workload of `namespace` finds in its hosts file: address -> names, shortest first.

    `network6`: where virtual addresses have IPv6 forms, for who has IPv6; empty for others.

    Short names and aliases are the namespace's own; a service's name wins over a neighbour's alias, and both
    over the name of a declared host (`externals`). Names of single replicas are left to the engine's DNS.
    """
    services = [s for s in snapshot.services if visibility.visible(s.export_to, s.namespace, namespace)]
    declared = visibility.seen(externals, (service.fqdn for service in services), namespace)
    replaced = {one.host for one in declared}
    lines = _Lines()
    own = {service.name for service in services if service.namespace == namespace}
    for service in services:
        if service.fqdn not in replaced:
            first, *others = names.answers(service.fqdn, namespace)
            replicas = snapshot.workloads_by_service.get(service.fqdn, ())
            extra = sorted(shared_aliases(replicas) - own) if service.namespace == namespace else []
            for address in names.virtual_forms(service.address, network6):
                lines.add(service.fqdn, address, (first, *extra, *others))
    virtual = {host.key: names.virtual_forms(host.address, network6) for host in snapshot.hosts}
    for one in declared:
        for address in _dialled(one, virtual):
            lines.add(one.key, address, names.answers(one.host, namespace))
    return lines.entries


class _Lines:
    """Each name leads to the service that had it first."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[str, ...]] = {}
        self._owners: dict[str, str] = {}

    def add(self, owner: str, address: str, wanted: Iterable[str]) -> None:
        names = dict.fromkeys(wanted)
        free = tuple(name for name in names if self._owners.setdefault(name, owner) == owner)
        if free:
            self.entries[address] = self.entries.get(address, ()) + free


def _dialled(one: External, virtual: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Addresses to give to those who ask for its name. None where its own ones must do.

    That is so for wildcards, which no file can list, for what UDP is spoken to, since addresses of the mesh
    carry TCP only, and for the caller itself.
    """
    protocols = {port_protocol(port.protocol) for port in one.ports.values()}
    if one.wildcard or not protocols or "udp" in protocols or one.host == "localhost":
        return ()
    return tuple(filter(None, (*virtual.get(one.key, ()), *(a for a in one.addresses if "/" not in a))))
