"""Decides which clusters exist, how they are used, and which replicas stand behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshlite.model.networking import Subset
from meshlite.translate.plan.caller import Caller, matches
from meshlite.translate.plan.catalog import Callee, Catalog, Replica, ServicePort
from meshlite.translate.plan.cluster import Cluster, Endpoint, EndpointSet, Http, LoadBalancer, Policy
from meshlite.translate.plan.policy import policy
from meshlite.translate.plan.resources import Report
from meshlite.translate.plan.rules import Rule, Rules


@dataclass(frozen=True)
class Destinations:
    """What one group of callers finds. Clusters are shared with all callers that follow the same rule."""

    services: Catalog
    rules: Rules
    caller: Caller

    def cluster(self, fqdn: str, subset: str, port: int) -> str:
        """The name of a cluster, also of one that does not exist: requests to it get 503."""
        name = f"outbound|{port}|{subset}|{fqdn}"
        service = self.services.services.get(fqdn)
        return f"{name}|{self.caller.name}" if service is not None and self.apart(service) else name

    def policy(self, fqdn: str, subset: str, port: int) -> Policy:
        rule = self.rule(fqdn)
        return policy(rule, rule.subset(subset) if rule is not None else None, port)

    def balancer(self, fqdn: str, subset: str, port: int) -> LoadBalancer:
        return self.policy(fqdn, subset, port).balancer

    def rule(self, fqdn: str) -> Rule | None:
        service = self.services.services.get(fqdn)
        return self.rules.of(fqdn, service.namespace if service is not None else "", self.caller)

    def known(self, fqdn: str, subset: str) -> bool:
        rule = self.rule(fqdn)
        return not subset or (rule is not None and rule.subset(subset) is not None)

    def apart(self, service: Callee) -> bool:
        """Whether these callers follow another rule for a service than the service's own namespace does."""
        usual = self.rules.of(service.fqdn, service.namespace, Caller(service.namespace))
        return self.rules.of(service.fqdn, service.namespace, self.caller) is not usual


def clusters(
    services: Catalog, rules: Rules, callers: Iterable[Caller], mark: int
) -> Iterator[tuple[Cluster, EndpointSet]]:
    """Every port of every service and subset, once for all callers that share it."""
    callers = tuple(callers)
    for service in services.services.values():
        usual = Destinations(services, rules, Caller(service.namespace))
        apart = (Destinations(services, rules, caller) for caller in callers)
        for view in (usual, *(view for view in apart if view.apart(service))):
            yield from _of_service(service, view, mark)


def _of_service(service: Callee, view: Destinations, mark: int) -> Iterator[tuple[Cluster, EndpointSet]]:
    rule = view.rule(service.fqdn)
    subsets: tuple[Subset | None, ...] = (None, *(rule.subsets if rule is not None else ()))
    for port in service.ports.values():
        for subset in subsets:
            name = view.cluster(service.fqdn, subset.name if subset is not None else "", port.number)
            settings = policy(rule, subset, port.number)
            cluster = Cluster(
                name, service.fqdn, service.name, service.namespace, _http(port, settings), settings, mark
            )
            yield cluster, EndpointSet(name, tuple(_endpoints(service.replicas, port.number, subset)))


def _http(port: ServicePort, policy: Policy) -> Http:
    """The rule's wish over the port's protocol; only an upgrade makes HTTP of a port that is not."""
    if policy.upgrade:
        return "http2"
    return "client" if policy.client_protocol and port.http != "none" else port.http


def _endpoints(replicas: tuple[Replica, ...], port: int, subset: Subset | None) -> Iterator[Endpoint]:
    wanted = tuple(subset.labels.items()) if subset is not None else ()
    for replica in sorted(replicas, key=lambda replica: replica.dial):
        if replica.ready and replica.listens(port) and matches(wanted, replica.labels):
            yield Endpoint(replica.dial, port, replica.workload.name, replica.workload.version)


def report_unused(rules: Rules, services: Catalog, report: Report) -> None:
    """Say which rules are about hosts that the mesh does not have."""
    for rule in rules.every():
        if not rule.host.startswith("*") and rule.host not in services.services:
            for key in rule.keys:
                report(key, f"host {rule.host} is not in the mesh: the rule has no effect")
