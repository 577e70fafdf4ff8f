"""A service with what stands behind it and what shapes it, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from meshlite.model.analysis.analyze import conflicts
from meshlite.model.analysis.stage import of_mesh
from meshlite.model.made import made_from
from meshlite.model.mesh import Problem, Resource, Service, Snapshot
from meshlite.model.names import qualified_names
from meshlite.model.networking import DestinationRule
from meshlite.model.security import PeerAuthentication
from meshlite.model.wire import AnalysisMessage, Endpoint, ServiceView, Subset
from meshlite.model.workload import Port, PortOrigin, Workload
from meshlite.server.shaping import shaping
from meshlite.translate.memo import Memo
from meshlite.translate.plan.authentication import Resident, strict_policy
from meshlite.translate.plan.resources import Applied, of_kind, read

_TRUST: tuple[PortOrigin, ...] = ("label", "resource", "image", "exposed", "listening")


def overview(snapshot: Snapshot, reported: Iterable[Problem]) -> tuple[ServiceView, ...]:
    """All services of the snapshot. `reported`: what nodes say is wrong with resources."""
    applied, told = read(Memo(), snapshot.resources)
    problems = [*reported, *(Problem(resource=key, reason=reason) for key, reason in told)]
    policies = of_kind(applied, PeerAuthentication)
    rules = of_kind(applied, DestinationRule)
    rivals = tuple(conflicts(of_mesh(snapshot)))
    return tuple(_view(service, snapshot, policies, rules, problems, rivals) for service in snapshot.services)


def _view(
    service: Service,
    snapshot: Snapshot,
    policies: tuple[Applied[PeerAuthentication], ...],
    rules: tuple[Applied[DestinationRule], ...],
    problems: Iterable[Problem],
    rivals: Iterable[AnalysisMessage],
) -> ServiceView:
    workloads = snapshot.workloads_by_service.get(service.fqdn, ())
    shapes = shaping(service, workloads, snapshot.resources, snapshot.services_by_fqdn)
    keys = {shape.resource for shape in shapes}
    own_rules = [
        rule for rule in rules if keys.intersection(made_from(rule.resource.annotations) or (rule.key,))
    ]
    ports = _ports(workloads)
    return ServiceView(
        name=service.name,
        namespace=service.namespace,
        fqdn=service.fqdn,
        address=service.address,
        names=(service.name, *qualified_names(service.name, service.namespace)),
        ports=ports,
        endpoints=tuple(_endpoint(workload) for workload in workloads),
        subsets=tuple(_subset(s.name, s.labels, workloads) for rule in own_rules for s in rule.spec.subsets),
        mode=_mode(policies, service, workloads, ports),
        resources=tuple(shape.resource for shape in shapes),
        shaped_by=shapes,
        problems=tuple(dict.fromkeys(problem.reason for problem in problems if problem.resource in keys)),
        conflicts=tuple(rival for rival in rivals if rival.resource in keys),
    )


def _written(resource: Resource) -> tuple[str, ...]:
    """Keys of the resources that people wrote for it."""
    return made_from(resource.annotations) or (resource.key,)


def _endpoint(workload: Workload) -> Endpoint:
    return Endpoint(
        workload=workload.id,
        name=workload.name,
        node=workload.node,
        version=workload.version,
        health=workload.health,
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
    ready = sum(workload.health == "healthy" for workload in members)
    return Subset(name=name, labels=dict(labels), ready=ready, total=len(members))


def _mode(
    policies: tuple[Applied[PeerAuthentication], ...],
    service: Service,
    workloads: Iterable[Workload],
    ports: tuple[Port, ...],
) -> Literal["STRICT", "PERMISSIVE", "mixed"]:
    numbers = tuple(port.number for port in ports)
    residents = [Resident(w.namespace, w.labels, numbers) for w in workloads]
    found = [strict_policy(policies, one) for one in residents or [Resident(service.namespace, {}, numbers)]]
    strict = {policy.strict(number) for policy in found for number in numbers or (0,)}
    if len(strict) > 1:
        return "mixed"
    return "STRICT" if strict == {True} else "PERMISSIVE"
