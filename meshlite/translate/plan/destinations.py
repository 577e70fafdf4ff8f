"""Decides which clusters exist, how they are used, and which replicas stand behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from meshlite.model.networking import Subset
from meshlite.translate.plan.caller import Caller, matches
from meshlite.translate.plan.catalog import Callee, Catalog, Replica, ServicePort
from meshlite.translate.plan.cluster import Cluster, Endpoint, EndpointSet, Http, LoadBalancer, Policy
from meshlite.translate.plan.policy import policy
from meshlite.translate.plan.resources import Report
from meshlite.translate.plan.rules import Rule, Rules


@dataclass(frozen=True)
class Destinations:
    """What one group of callers finds: the rule they follow for each service (FQDN), and clusters.

    `apart`: the services for which they follow another rule than callers of the service's own namespace do.
    Clusters are shared with those, except for these services.
    """

    services: Catalog
    caller: Caller
    rules: Mapping[str, Rule | None]
    apart: frozenset[str] = frozenset()

    def cluster(self, fqdn: str, subset: str, port: int) -> str:
        """The name of a cluster, also of one that does not exist: requests to it get 503."""
        name = f"outbound|{port}|{subset}|{fqdn}"
        return f"{name}|{self.caller.name}" if fqdn in self.apart else name

    def policy(self, fqdn: str, subset: str, port: int) -> Policy:
        rule = self.rules.get(fqdn)
        return policy(rule, rule.subset(subset) if rule is not None else None, port)

    def balancer(self, fqdn: str, subset: str, port: int) -> LoadBalancer:
        return self.policy(fqdn, subset, port).balancer

    def known(self, fqdn: str, subset: str) -> bool:
        rule = self.rules.get(fqdn)
        return not subset or (rule is not None and rule.subset(subset) is not None)


def usual(services: Catalog, rules: Rules) -> Mapping[str, Rule | None]:
    """The rules that callers of each service's own namespace follow for it."""
    return {
        service.fqdn: rules.of(service.fqdn, service.namespace, Caller(service.namespace))
        for service in services.services.values()
    }


def destinations(
    services: Catalog, rules: Rules, usual: Mapping[str, Rule | None], caller: Caller
) -> Destinations:
    followed = {
        service.fqdn: rules.of(service.fqdn, service.namespace, caller)
        for service in services.services.values()
    }
    apart = frozenset(fqdn for fqdn, rule in followed.items() if rule is not usual[fqdn])
    return Destinations(services, caller, followed, apart)


def clusters(
    services: Catalog, usual: Mapping[str, Rule | None], views: Iterable[Destinations], mark: int
) -> Iterator[tuple[Cluster, EndpointSet]]:
    """Every port of every service and subset, once for all callers that share it.

    And every replica that callers may dial by its own address: who does so means that one, healthy or not.
    """
    shared = Destinations(services, Caller(""), usual)
    for service in services.services.values():
        yield from _of_service(service, shared, mark)
    for view in views:
        for fqdn in sorted(view.apart):
            yield from _of_service(services.services[fqdn], view, mark)


def _of_service(service: Callee, view: Destinations, mark: int) -> Iterator[tuple[Cluster, EndpointSet]]:
    rule = view.rules[service.fqdn]
    subsets: tuple[Subset | None, ...] = (None, *(rule.subsets if rule is not None else ()))
    for port in service.ports.values():
        for subset in subsets:
            name = view.cluster(service.fqdn, subset.name if subset is not None else "", port.number)
            cluster = _cluster(service, port, name, policy(rule, subset, port.number), mark)
            yield cluster, EndpointSet(name, tuple(_endpoints(service.replicas, port.number, subset)))
        alone = replace(policy(rule, None, port.number), balancer=LoadBalancer(), outliers=None)
        for replica in service.addressed[port.number]:
            name = view.cluster(service.fqdn, replica.subset, port.number)
            cluster = _cluster(service, port, name, alone, mark)
            yield cluster, EndpointSet(name, (_endpoint(replica, port.number),))


def _cluster(service: Callee, port: ServicePort, name: str, policy: Policy, mark: int) -> Cluster:
    return Cluster(name, service.fqdn, service.name, service.namespace, _http(port, policy), policy, mark)


def _http(port: ServicePort, policy: Policy) -> Http:
    """The rule's wish over the port's protocol; only an upgrade makes HTTP of a port that is not."""
    if policy.upgrade:
        return "http2"
    return "client" if policy.client_protocol and port.http != "none" else port.http


def _endpoints(replicas: tuple[Replica, ...], port: int, subset: Subset | None) -> Iterator[Endpoint]:
    wanted = tuple(subset.labels.items()) if subset is not None else ()
    for replica in sorted(replicas, key=lambda replica: replica.dial):
        if replica.ready and replica.listens(port) and matches(wanted, replica.labels):
            yield _endpoint(replica, port)


def _endpoint(replica: Replica, port: int) -> Endpoint:
    return Endpoint(replica.dial, port, replica.workload.name, replica.workload.version)


def report_unused(rules: Rules, services: Catalog, report: Report) -> None:
    """Say which rules are about hosts that the mesh does not have."""
    for rule in rules.every():
        if not rule.host.startswith("*") and rule.host not in services.services:
            for key in rule.keys:
                report(key, f"host {rule.host} is not in the mesh: the rule has no effect")
