"""A service with what stands behind it and what shapes it, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from meshlite.model.analysis.analyze import conflicts
from meshlite.model.analysis.stage import of_mesh
from meshlite.model.external import External, declared, port_protocol
from meshlite.model.made import made_from
from meshlite.model.mesh import Problem, Service, Snapshot
from meshlite.model.names import qualified_names
from meshlite.model.networking import DestinationRule, ServiceEntry, WorkloadEntry
from meshlite.model.security import PeerAuthentication
from meshlite.model.wire import AnalysisMessage, Endpoint, ServiceView, Subset
from meshlite.model.workload import Port, PortOrigin, Workload
from meshlite.server.shaping import Shaped, shaping
from meshlite.translate.memo import Memo
from meshlite.translate.node import NodeView
from meshlite.translate.plan.authentication import Resident, StrictPolicy, strict_policy
from meshlite.translate.plan.catalog import Replica, Replicas, catalog
from meshlite.translate.plan.external import with_declared
from meshlite.translate.plan.resources import Applied, Read, of_kind, read

_TRUST: tuple[PortOrigin, ...] = ("label", "resource", "image", "exposed", "listening")
Mode = Literal["STRICT", "PERMISSIVE", "mixed", "none"]


@dataclass(frozen=True)
class _Mesh:
    """What all services are looked at against. `behind`: replicas by service, written ones among them."""

    snapshot: Snapshot
    behind: Replicas
    policies: tuple[Applied[PeerAuthentication], ...]
    rules: tuple[Applied[DestinationRule], ...]
    problems: tuple[Problem, ...]
    rivals: tuple[AnalysisMessage, ...]


@dataclass(frozen=True)
class _Subject:
    """A service that was found, or a host that is declared (`by`). `ports` None: what its workloads say."""

    name: str
    namespace: str
    fqdn: str
    address: str
    names: tuple[str, ...]
    by: External | None = None
    ports: tuple[Port, ...] | None = None


def overview(snapshot: Snapshot, reported: Iterable[Problem]) -> tuple[ServiceView, ...]:
    """All services, then declared hosts. `reported`: what nodes say is wrong with resources."""
    applied, told = read(Memo(), snapshot.resources)
    mesh = _Mesh(
        snapshot,
        _behind(snapshot, applied),
        of_kind(applied, PeerAuthentication),
        of_kind(applied, DestinationRule),
        (*reported, *(Problem(resource=key, reason=reason) for key, reason in told)),
        tuple(conflicts(of_mesh(snapshot))),
    )
    found, _ = declared(tuple((one.resource, one.spec) for one in of_kind(applied, ServiceEntry)))
    hosts = sorted(found, key=lambda one: (one.namespace, one.host))
    subjects = [_found(service) for service in snapshot.services]
    taken = {(one.fqdn, one.namespace) for one in subjects}
    subjects += [_declared(one, snapshot) for one in hosts if (one.host, one.namespace) not in taken]
    return tuple(_view(subject, mesh) for subject in subjects)


def _behind(snapshot: Snapshot, applied: Read) -> Replicas:
    """What stands behind each service and host, by their keys; only nodes know where workloads are."""
    services, replicas = catalog(Memo(), snapshot.services, snapshot.workloads, NodeView(""), {})
    entries, written = of_kind(applied, ServiceEntry), of_kind(applied, WorkloadEntry)
    return with_declared(Memo(), services, replicas, entries, written, snapshot.hosts, "")[1]


def _found(service: Service) -> _Subject:
    names = (service.name, *qualified_names(service.name, service.namespace))
    return _Subject(service.name, service.namespace, service.fqdn, service.address, names)


def _declared(one: External, snapshot: Snapshot) -> _Subject:
    virtual = (host.address for host in snapshot.hosts if host.key == one.key)
    ports = tuple(
        Port(
            number=port.number,
            protocol=port_protocol(port.protocol) or "auto",
            name=port.name,
            origin="resource",
        )
        for port in sorted(one.ports.values(), key=lambda port: port.number)
    )
    address = next(virtual, "") or ", ".join(one.addresses)
    return _Subject(one.host, one.namespace, one.host, address, (one.host,), one, ports)


def _view(subject: _Subject, mesh: _Mesh) -> ServiceView:
    by = subject.by
    replicas = mesh.behind.get(by.key if by else subject.fqdn, ())
    members = tuple(replica.workload for replica in replicas)
    running = tuple(workload for workload in members if workload.source != "resource")
    written = frozenset(f"WorkloadEntry/{one.id}" for one in members if one.source == "resource")
    shaped = Shaped(subject.name, subject.namespace, subject.fqdn, by.keys if by else (), written)
    shapes = shaping(shaped, running, mesh.snapshot.resources, mesh.snapshot.services_by_fqdn)
    keys = {shape.resource for shape in shapes}
    rules = [
        rule for rule in mesh.rules if keys.intersection(made_from(rule.resource.annotations) or (rule.key,))
    ]
    ports = _ports(running) if subject.ports is None else subject.ports
    told = [problem.reason for problem in mesh.problems if problem.resource in keys]
    return ServiceView(
        name=subject.name,
        namespace=subject.namespace,
        fqdn=subject.fqdn,
        address=subject.address,
        names=subject.names,
        ports=ports,
        endpoints=tuple(_endpoint(replica) for replica in replicas),
        subsets=tuple(_subset(s.name, s.labels, members) for rule in rules for s in rule.spec.subsets),
        mode="none" if by and not running else _mode(mesh.policies, subject.namespace, running, ports),
        declared_by=by.keys if by else (),
        resolution=by.resolution if by else "",
        location=by.location if by else "",
        resources=tuple(shape.resource for shape in shapes),
        shaped_by=shapes,
        problems=tuple(dict.fromkeys([*told, *_unguarded(mesh.policies, running, ports)])),
        conflicts=tuple(rival for rival in mesh.rivals if rival.resource in keys),
    )


def _endpoint(replica: Replica) -> Endpoint:
    workload = replica.workload
    return Endpoint(
        workload=workload.id,
        name=workload.name,
        address=replica.dial if workload.source == "resource" else "",
        node=workload.node,
        version=workload.version,
        health=workload.health,
        ready=workload.ready,
        captured=workload.captured,
        reason=workload.reason,
    )


def _ports(workloads: Iterable[Workload]) -> tuple[Port, ...]:
    """Each number once, as the most trusted origin describes it."""
    found = [port for workload in workloads for port in workload.ports]
    best = {port.number: port for port in sorted(found, key=lambda port: -_TRUST.index(port.origin))}
    return tuple(best[number] for number in sorted(best))


def _subset(name: str, labels: Mapping[str, str], workloads: Iterable[Workload]) -> Subset:
    members = [workload for workload in workloads if labels.items() <= workload.labels.items()]
    ready = sum(workload.ready for workload in members)
    return Subset(name=name, labels=dict(labels), ready=ready, total=len(members))


def _mode(
    policies: tuple[Applied[PeerAuthentication], ...],
    namespace: str,
    workloads: Iterable[Workload],
    ports: tuple[Port, ...],
) -> Mode:
    """What holds, not what is wished: who is not captured lets everybody in."""
    numbers = tuple(port.number for port in ports)
    found = [(w.captured, _policy(policies, w.namespace, w.labels, numbers)) for w in workloads]
    found = found or [(True, _policy(policies, namespace, {}, numbers))]
    strict = {held and policy.strict(number) for held, policy in found for number in numbers or (0,)}
    if len(strict) > 1:
        return "mixed"
    return "STRICT" if strict == {True} else "PERMISSIVE"


def _policy(
    policies: tuple[Applied[PeerAuthentication], ...],
    namespace: str,
    labels: Mapping[str, str],
    numbers: tuple[int, ...],
) -> StrictPolicy:
    return strict_policy(policies, Resident(namespace, dict(labels), numbers))


def _unguarded(
    policies: tuple[Applied[PeerAuthentication], ...], workloads: Iterable[Workload], ports: tuple[Port, ...]
) -> Iterator[str]:
    """Replicas that a policy wants STRICT and that nobody can hold to it."""
    numbers = tuple(port.number for port in ports)
    for workload in workloads:
        policy = _policy(policies, workload.namespace, workload.labels, numbers)
        if not workload.captured and workload.reason and any(policy.strict(n) for n in numbers or (0,)):
            yield f"STRICT does not hold for {workload.name}, which {workload.reason}"
