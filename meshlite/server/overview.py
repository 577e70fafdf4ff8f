"""A service with what stands behind it and what shapes it, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from meshlite.model.made import made_from
from meshlite.model.mesh import Problem, Resource, Service, Snapshot
from meshlite.model.names import ROOT_NAMESPACE, qualified_names, resolve_known
from meshlite.model.networking import DestinationRule
from meshlite.model.security import PeerAuthentication
from meshlite.model.wire import Endpoint, ServiceView, Subset
from meshlite.model.workload import Port, PortOrigin, Workload
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
    return tuple(_view(service, snapshot, policies, rules, problems) for service in snapshot.services)


def _view(
    service: Service,
    snapshot: Snapshot,
    policies: tuple[Applied[PeerAuthentication], ...],
    rules: tuple[Applied[DestinationRule], ...],
    problems: Iterable[Problem],
) -> ServiceView:
    workloads = snapshot.workloads_by_service.get(service.fqdn, ())
    known = snapshot.services_by_fqdn
    resources = [r for r in snapshot.resources if _concerns(r, service, workloads, known)]
    own_rules = [rule for rule in rules if any(rule.resource is resource for resource in resources)]
    ordered = sorted(resources, key=lambda resource: resource.sequence)
    keys = tuple(dict.fromkeys(key for r in ordered for key in made_from(r.annotations) or (r.key,)))
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
        resources=keys,
        problems=tuple(dict.fromkeys(problem.reason for problem in problems if problem.resource in keys)),
    )


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


def _concerns(
    resource: Resource, service: Service, workloads: Iterable[Workload], known: Mapping[str, Service]
) -> bool:
    """The resource names the service as a host, or selects its workloads."""
    if resource.kind == "PeerAuthentication":
        return _selects(resource, service, workloads)
    return any(
        _covers(resolve_known(host, resource.namespace, known), service.fqdn)
        for host in _hosts(resource.spec)
    )


def _selects(resource: Resource, service: Service, workloads: Iterable[Workload]) -> bool:
    if resource.namespace not in (service.namespace, ROOT_NAMESPACE):
        return False
    selector = resource.spec.get("selector")
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    if not isinstance(labels, dict) or not labels:
        return True
    own = resource.namespace == service.namespace != ROOT_NAMESPACE
    return own and any(labels.items() <= workload.labels.items() for workload in workloads)


def _covers(host: str, fqdn: str) -> bool:
    return host in (fqdn, "*") or (host.startswith("*.") and fqdn.endswith(host[1:]))


def _hosts(spec: object) -> Iterator[str]:
    """Every `host` and `hosts` in a spec, however deep."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key == "host" and isinstance(value, str):
                yield value
            elif key == "hosts" and isinstance(value, list):
                yield from (host for host in value if isinstance(host, str))
            else:
                yield from _hosts(value)
    elif isinstance(spec, list):
        for item in spec:
            yield from _hosts(item)
