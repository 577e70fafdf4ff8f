"""Decides what declared hosts are to callers, and which endpoints stand behind them.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address

from meshlite.model.external import External, Part, declared, port_protocol
from meshlite.model.locality import PATTERN
from meshlite.model.mesh import HostAddress
from meshlite.model.names import CLUSTER_SUFFIX, resolve_known, virtual_forms
from meshlite.model.networking import ServiceEntry, WorkloadEntry
from meshlite.model.workload import Workload
from meshlite.translate.memo import Looked, Memo
from meshlite.translate.plan.caller import matches
from meshlite.translate.plan.catalog import Callee, Catalog, Replica, Replicas, ServicePort, service_port
from meshlite.translate.plan.cluster import Discovery
from meshlite.translate.plan.resources import Applied, Told

UNIX = "unix://"
_LOCALITY = "istio-locality"
"""A label that says where an endpoint is, with dots for slashes."""
_DISCOVERY: Mapping[str, Discovery] = {
    "NONE": "original",
    "STATIC": "eds",
    "DNS": "strict_dns",
    "DNS_ROUND_ROBIN": "logical_dns",
    "DYNAMIC_DNS": "dynamic",
}


def with_declared(
    memo: Memo,
    services: Catalog,
    replicas: Replicas,
    entries: tuple[Applied[ServiceEntry], ...],
    workloads: tuple[Applied[WorkloadEntry], ...],
    hosts: tuple[HostAddress, ...],
    network6: str,
) -> tuple[Catalog, Replicas, Told]:
    """The services that are found by what runs, and those that are declared; what stands behind all of them.

    `hosts`: virtual addresses of declared ones; `network6`: where their IPv6 forms are, if any.
    """
    if not entries and not workloads:
        return services, replicas, ()
    found, told = declared(tuple((entry.resource, entry.spec) for entry in entries))
    virtual = {host.key: virtual_forms(host.address, network6) for host in hosts}
    callees = [memo.of(one.key, _callee, one, virtual.get(one.key, ()), Looked(replicas)) for one in found]
    first = {**{service.fqdn: service for service in reversed(callees)}, **services.services}
    others = tuple(service for service in callees if first[service.fqdn] is not service)
    behind = {**replicas, **_joined(services, replicas, workloads)}
    by_namespace = _by_namespace(replicas, workloads)
    for one in found:
        chosen = by_namespace.get(one.namespace, _NOBODY) if _selects(one) else _NOBODY
        behind[one.key] = memo.of(("behind", one.key), _replicas, one, *chosen, Looked(replicas))
    union = Catalog({fqdn: first[fqdn] for fqdn in sorted(first)}, others)
    told = (*told, *_overshadowed(found, services), *_unresolved(found, workloads))
    return memo.same("union", union), behind, told


Candidates = tuple[tuple[Replica, ...], tuple[Applied[WorkloadEntry], ...]]
"""Workloads and WorkloadEntries of a namespace, for selectors to choose from."""

_NOBODY: Candidates = ((), ())


def _by_namespace(
    replicas: Replicas, workloads: tuple[Applied[WorkloadEntry], ...]
) -> Mapping[str, Candidates]:
    found: dict[str, tuple[list[Replica], list[Applied[WorkloadEntry]]]] = {}
    for group in replicas.values():
        for replica in group:
            found.setdefault(replica.workload.namespace, ([], []))[0].append(replica)
    for entry in workloads:
        found.setdefault(entry.namespace, ([], []))[1].append(entry)
    return {namespace: (tuple(run), tuple(written)) for namespace, (run, written) in found.items()}


def _selects(one: External) -> bool:
    return any(part.selector is not None for part in one.parts)


def _overshadowed(found: Iterable[External], services: Catalog) -> Iterator[tuple[str, str]]:
    for one in found:
        service = services.services.get(one.host)
        if service is not None and service.namespace == one.namespace:
            reason = (
                f"host {one.host} is a service of the mesh in this namespace: the entry has no effect on it"
            )
            yield from ((key, reason) for key in one.keys)


def _unresolved(
    found: Iterable[External], workloads: tuple[Applied[WorkloadEntry], ...]
) -> Iterator[tuple[str, str]]:
    """WorkloadEntries whose address is a name, where nobody resolves it."""
    resolving = [(one.namespace, part.selector) for one in found if _by_name(one) for part in one.parts]
    for entry in workloads:
        resolved = any(
            namespace == entry.namespace and selector is not None and matches(selector, _labels(entry))
            for namespace, selector in resolving
        )
        if not (resolved or _dialable(entry.spec.address)):
            reason = f"address {entry.spec.address} is a name, for a ServiceEntry with resolution: DNS only"
            yield entry.key, reason


def _by_name(one: External) -> bool:
    return one.resolution in ("DNS", "DNS_ROUND_ROBIN")


def _dialable(address: str) -> bool:
    """Whether it is an address, not a name that must be resolved first."""
    if address.startswith(UNIX):
        return True
    try:
        ip_address(address)
    except ValueError:
        return False
    return True


def _joined(services: Catalog, replicas: Replicas, workloads: tuple[Applied[WorkloadEntry], ...]) -> Replicas:
    """Services of the mesh of which WorkloadEntries are endpoints, too, with all their replicas.

    An entry is one as a container is: by the label `meshlite.service`, else `app`, in its namespace.
    """
    known = {(service.namespace, service.name): service for service in services.services.values()}
    found: dict[str, tuple[Replica, ...]] = {}
    for entry in workloads:
        labels = _labels(entry)
        service = known.get((entry.namespace, labels.get("meshlite.service") or labels.get("app") or ""))
        if service is not None and _dialable(entry.spec.address):
            own = entry.spec.ports
            targets = {port.number: own.get(port.name, port.number) for port in service.ports.values()}
            before = found.get(service.key, replicas.get(service.key, ()))
            found[service.key] = (*before, _entry_replica(entry, service.name, targets))
    return found


def _callee(one: External, virtual: tuple[str, ...], known: Replicas) -> Callee:
    """The host as callers see it. `virtual`: its virtual addresses, if any; `known`: services of the mesh."""
    exact = tuple(text for text in one.addresses if "/" not in text)
    return Callee(
        name=one.host,
        namespace=one.namespace,
        fqdn=one.host,
        virtual=tuple(filter(None, (*virtual, *exact))),
        ports=_ports(one),
        aliases=(),
        addressed=dict.fromkeys(one.ports, ()),
        ranges=tuple(text for text in one.addresses if "/" in text),
        discovery=_discovery(one, known),
        key=one.key,
        export_to=one.export_to,
        from_caller=any(_loopback(entry.address) for part in one.parts for entry in part.endpoints),
        certified=one.subject_alt_names,
        resources=frozenset(key.rpartition("/")[2] for key in one.keys),
    )


def _ports(one: External) -> Mapping[int, ServicePort]:
    found = {}
    for number, port in sorted(one.ports.items()):
        protocol = port_protocol(port.protocol) or "auto"
        if protocol != "udp":
            override = port.target_port if one.resolution == "NONE" else 0
            found[number] = service_port(number, protocol, port.name, override)
    return found


def _discovery(one: External, known: Replicas) -> Discovery:
    """Names of services of the mesh are no names for DNS: it does not know them."""
    found = _DISCOVERY[one.resolution]
    if not _by_name(one):
        return found
    entries = [entry for part in one.parts for entry in part.endpoints]
    settled = bool(entries) and all(_service(entry.address, one.namespace, known) for entry in entries)
    return "eds" if settled else found


def _service(address: str, namespace: str, known: Replicas) -> str:
    """The FQDN of the service of the mesh that an endpoint's address names; empty for any other."""
    name = resolve_known(address, namespace, known)
    return name if name in known and name.endswith(f".{CLUSTER_SUFFIX}") else ""


def _loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _replicas(
    one: External,
    workloads: tuple[Replica, ...],
    entries: tuple[Applied[WorkloadEntry], ...],
    known: Replicas,
) -> tuple[Replica, ...]:
    """What stands behind it. `workloads`, `entries`: those of its namespace, for selectors to choose from."""
    return tuple(replica for part in one.parts for replica in _of_part(one, part, workloads, entries, known))


def _of_part(
    one: External,
    part: Part,
    workloads: tuple[Replica, ...],
    entries: tuple[Applied[WorkloadEntry], ...],
    known: Replicas,
) -> Iterator[Replica]:
    if part.selector is not None:
        for replica in workloads:
            if matches(part.selector, replica.labels):
                yield _moved(replica, _targets(part, {}))
        for entry in entries:
            usable = _by_name(one) or _dialable(entry.spec.address)
            if usable and matches(part.selector, _labels(entry)):
                yield _entry_replica(entry, one.host, _targets(part, entry.spec.ports))
    elif part.endpoints or not _by_name(one):
        for place, spec in enumerate(part.endpoints):
            targets = _targets(part, spec.ports)
            if service := _service(spec.address, one.namespace, known):
                yield from (_moved(replica, targets) for replica in known[service])
            else:
                yield _replica(f"{one.host}/{place}", spec, spec.labels, one.namespace, one.host, targets)
    else:
        spec = WorkloadEntry(address=one.host)
        yield _replica(one.host, spec, {}, one.namespace, one.host, _targets(part, {}))


def _targets(part: Part, own: Mapping[str, int]) -> Mapping[int, int]:
    """Service port -> the endpoint's port: its own word, else the entry's, else the same."""
    return {port.number: own.get(port.name) or port.target_port or port.number for port in part.ports}


def _moved(replica: Replica, targets: Mapping[int, int]) -> Replica:
    """A workload of the mesh behind another name, which says on which of its ports it is called."""
    return replace(replica, addresses=(), targets=targets)


def _labels(entry: Applied[WorkloadEntry]) -> Mapping[str, str]:
    """Labels of a WorkloadEntry, of which those in its metadata count more."""
    return {**entry.spec.labels, **entry.resource.labels}


def _entry_replica(entry: Applied[WorkloadEntry], service: str, targets: Mapping[int, int]) -> Replica:
    return _replica(entry.resource.name, entry.spec, _labels(entry), entry.namespace, service, targets)


def _replica(
    name: str,
    spec: WorkloadEntry,
    labels: Mapping[str, str],
    namespace: str,
    service: str,
    targets: Mapping[int, int],
) -> Replica:
    place = spec.locality or labels.get(_LOCALITY, "").replace(".", "/")
    workload = Workload(
        id=f"{namespace}/{name}",
        node="",
        name=name,
        service=service,
        namespace=namespace,
        service_account=spec.service_account,
        version=labels.get("version", ""),
        labels=dict(labels),
        locality=place if re.match(PATTERN, place) else "",
        source="resource",
    )
    return Replica(workload, labels, spec.address, (), targets, spec.weight)
