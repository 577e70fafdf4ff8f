"""Where VirtualServices send to: hosts, ports and subsets that nobody has: IST0101, IST0112, IST0140."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import INGRESS_RULES, NOT_FOUND, PORT_REQUIRED
from meshlite.model.analysis.hosts import Hosts
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding
from meshlite.model.dangling import destinations
from meshlite.model.names import gateway_hosts
from meshlite.model.networking import DestinationRule, VirtualService


def destination_hosts(scene: Scene) -> Iterator[Finding]:
    hosts = Hosts(scene)
    services = scene.all(VirtualService)
    for service in services:
        for at, target in destinations(service.spec):
            if hosts.resolved(target.host, service.namespace) in gateway_hosts():
                continue
            declared = hosts.find(target.host, service.namespace, service.spec.export_to)
            if declared is None:
                reason = f"nothing in the mesh is called {target.host}"
                yield finding(NOT_FOUND, service, (*at, "host"), reason, absent=True)
            elif target.port is None and len(declared.ports) > 1:
                ports = ", ".join(map(str, declared.ports))
                yield finding(PORT_REQUIRED, service, at, f"{target.host} has ports {ports}: say which")
            elif target.port is not None and target.port.number not in declared.ports:
                reason = f"{target.host} has no port {target.port.number}"
                yield finding(NOT_FOUND, service, (*at, "port"), reason, absent=True)
        yield from _ingress(service, services)


def _ingress(
    service: Subject[VirtualService], services: tuple[Subject[VirtualService], ...]
) -> Iterator[Finding]:
    """A gateway sends to the host itself; what another VirtualService says of it is for the mesh."""
    if not service.spec.gateways:
        return
    for place, rule in enumerate(service.spec.http):
        for number, part in enumerate(rule.route):
            if part.destination.subset:
                continue
            for other in services:
                for target in _own_subsets(other.spec):
                    if target == part.destination.host:
                        at = ("spec", "http", place, "route", number, "destination", "host")
                        reason = f"the subsets of {other.title} have no effect on what comes in here"
                        yield finding(INGRESS_RULES, service, at, reason)


def _own_subsets(spec: VirtualService) -> Iterator[str]:
    for rule in spec.http:
        for part in rule.route:
            if part.destination.subset:
                yield from (host for host in spec.hosts if host == part.destination.host)


def destination_subsets(scene: Scene) -> Iterator[Finding]:
    hosts = Hosts(scene)
    known: dict[str, set[str]] = {}
    for rule in scene.all(DestinationRule):
        name = hosts.resolved(rule.spec.host, rule.namespace)
        known.setdefault(name, set()).update(subset.name for subset in rule.spec.subsets)
    for service in scene.all(VirtualService):
        for at, target in destinations(service.spec):
            name = hosts.resolved(target.host, service.namespace)
            if target.subset and target.subset not in known.get(name, ()):
                reason = f"no DestinationRule defines subset {target.subset} of {target.host}"
                absent = name not in known
                yield finding(NOT_FOUND, service, (*at, "subset"), reason, absent=absent)
