"""Decides which clusters exist, how they are used, and which replicas stand behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from meshlite.model.locality import Locality, locality
from meshlite.model.networking import Subset
from meshlite.translate.memo import Memo
from meshlite.translate.node import NodeView
from meshlite.translate.plan.caller import Caller, matches, selector
from meshlite.translate.plan.catalog import Callee, Catalog, Replica, Replicas, ServicePort, alone
from meshlite.translate.plan.cluster import (
    Cluster,
    Endpoint,
    EndpointSet,
    Http,
    LoadBalancer,
    Policy,
    Tunnelled,
)
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.guard import NOTHING, Guard
from meshlite.translate.plan.guards import ServiceGuard
from meshlite.translate.plan.locality import Here, There, caller_keys, labels_of, order, zoned
from meshlite.translate.plan.patch import CLUSTERS, ROUTES, Patch, about, of
from meshlite.translate.plan.policy import effective, policy
from meshlite.translate.plan.resources import Told
from meshlite.translate.plan.rules import Rule, Rules
from meshlite.translate.plan.scope import Scope, scoped
from meshlite.translate.plan.tunnel import AS_BYTES, by_node, identities, server_name


@dataclass(frozen=True)
class Destinations:
    """What one group of callers finds: services, the rule it follows for each (FQDN), and clusters.

    `services`: those it sees; `known`: all that it may call, since a route may lead to one that it does not
    see. `apart`: the services for which it follows another rule than callers of the service's own namespace
    do, or one that looks at its labels, and those of which it means another of the same host than most do.
    Clusters are shared with those, except for these services. `patches`, `extensions`: of what goes out.
    `plain`: what nobody declared is called by HTTP/1.1, as gateways do: their clients' HTTP/2 says nothing of
    it.
    """

    services: Catalog
    caller: Caller
    rules: Mapping[str, Rule | None]
    apart: frozenset[str]
    known: Catalog
    scope: Scope
    patches: tuple[Patch, ...] = ()
    extensions: tuple[Extension, ...] = ()
    plain: bool = False

    @property
    def of_routes(self) -> tuple[Patch, ...]:
        return of(self.patches, ROUTES)

    @property
    def unknown(self) -> str:
        """The cluster for calls to what the mesh does not know."""
        return self.cluster(*self.scope.proxy) if self.scope.proxy is not None else self.scope.unknown

    def cluster(self, fqdn: str, subset: str, port: int) -> str:
        """The name of a cluster, also of one that does not exist: requests to it get 503."""
        return _name(fqdn, subset, port, self.among(fqdn))

    def among(self, fqdn: str) -> str:
        """Whose clusters of a service these are, if they are not everybody's."""
        return self.caller.name if fqdn in self.apart else ""

    def policy(self, fqdn: str, subset: str, port: int) -> Policy:
        rule = self.rules.get(fqdn)
        return policy(rule, rule.subset(subset) if rule is not None else None, port)

    def balancer(self, fqdn: str, subset: str, port: int) -> LoadBalancer:
        return self.policy(fqdn, subset, port).balancer

    def has(self, fqdn: str, subset: str) -> bool:
        rule = self.rules.get(fqdn)
        return not subset or (rule is not None and rule.subset(subset) is not None)


def _name(fqdn: str, subset: str, port: int, among: str) -> str:
    return f"outbound|{port}|{subset}|{fqdn}" + (f"|{among}" if among else "")


def usual(services: Catalog, rules: Rules) -> Mapping[str, Rule | None]:
    """The rules that callers of each service's own namespace follow for it."""
    return {
        service.fqdn: rules.of(service.fqdn, service.namespace, Caller(service.namespace))
        for service in services.services.values()
    }


def destinations(
    services: Catalog,
    rules: Rules,
    usual: Mapping[str, Rule | None],
    caller: Caller,
    scope: Scope,
    patches: tuple[Patch, ...],
    extensions: tuple[Extension, ...],
    plain: bool = False,
) -> Destinations:
    known = services.seen(caller.namespace)
    followed = {fqdn: rules.of(fqdn, service.namespace, caller) for fqdn, service in known.services.items()}
    patched = of(patches, CLUSTERS)
    keys = {key for wanted in caller.selectors for key, _ in wanted}
    apart = frozenset(
        fqdn
        for fqdn, rule in followed.items()
        if rule != usual[fqdn]
        or known.services[fqdn] is not services.services[fqdn]
        or about(patched, fqdn)
        or (plain and any(port.http == "client" for port in known.services[fqdn].ports.values()))
        or (keys and rule is not None and not keys.isdisjoint(caller_keys(rule)))
    )
    return Destinations(
        scoped(known, scope), caller, followed, apart, known, scope, patches, extensions, plain
    )


@dataclass(frozen=True, slots=True)
class Use:
    """A service as callers use it that follow the same rule for it; `among`: see Destinations.

    `labels`: what is known of these callers' labels.
    """

    service: Callee
    rule: Rule | None
    among: str = ""
    chained: bool = False
    patches: tuple[Patch, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    guard: Guard = NOTHING
    plain: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.service.fqdn, self.among

    def name(self, subset: str, port: int) -> str:
        return _name(self.service.fqdn, subset, port, self.among)

    @property
    def subsets(self) -> tuple[Subset | None, ...]:
        """None: all replicas."""
        return (None, *(self.rule.subsets if self.rule is not None else ()))


def uses(
    services: Catalog,
    usual: Mapping[str, Rule | None],
    views: tuple[Destinations, ...],
    chained: frozenset[str],
    guards: Mapping[str, ServiceGuard],
) -> tuple[Use, ...]:
    """Every service, once for all callers that share it, and again for those that do not.

    `chained`: services with a replica here that has inbound chains.
    """
    shared = (
        Use(service, usual[fqdn], chained=fqdn in chained, guard=guards[service.key].guard)
        for fqdn, service in services.services.items()
    )
    own = (
        Use(
            view.known.services[fqdn],
            view.rules[fqdn],
            view.caller.name,
            fqdn in chained,
            of(view.patches, CLUSTERS),
            _labels(view.caller),
            guards[view.known.services[fqdn].key].guard,
            view.plain,
        )
        for view in views
        for fqdn in sorted(view.apart)
    )
    return (*shared, *own)


Chains = Mapping[tuple[str, int], str]
"""The listener of the inbound chain of a workload (id) for a port."""


def _labels(caller: Caller) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({pair for wanted in caller.selectors for pair in wanted}))


def clusters(
    memo: Memo,
    uses: tuple[Use, ...],
    replicas: Replicas,
    node: NodeView,
    trust_domain: str,
    streamed: frozenset[str],
) -> tuple[Cluster, ...]:
    """A cluster for each port of every service and subset.

    And for each replica that callers may dial by its own address: who does so means that one, well or not.
    `streamed`: names of clusters of requests that bytes are sent to, as well.
    """
    heres = _heres(memo, uses, replicas, node)
    afar = _afar(memo, replicas, trust_domain, streamed)
    found = {
        use.key: (use, _resolved(use.service, replicas), here, afar.get(use.service.key, _NEAR))
        for use, here in zip(uses, heres, strict=True)
    }
    made = memo.each("clusters", _clusters, found, node.mark)
    return tuple(chain.from_iterable(made.values()))


_Afar = tuple[tuple[str, ...], frozenset[str]]
"""Identities of a service's replicas on other nodes, and clusters of requests that bytes are sent to."""

_NEAR: _Afar = ((), frozenset())


def _afar(memo: Memo, replicas: Replicas, trust_domain: str, streamed: frozenset[str]) -> Mapping[str, _Afar]:
    """By the service's key; only those that have replicas on other nodes."""
    far = memo.each("identities", identities, replicas, trust_domain)
    return {key: (found, streamed) for key, found in far.items() if found}


def _resolved(service: Callee, replicas: Replicas) -> tuple[Replica, ...]:
    """Replicas that are part of their clusters, since their names must be resolved."""
    return replicas.get(service.key, ()) if service.discovery in ("strict_dns", "logical_dns") else ()


def _heres(memo: Memo, uses: tuple[Use, ...], replicas: Replicas, node: NodeView) -> Iterable[Here]:
    """For each use what is known of where its callers are."""
    kinds = memo.of("kinds", _kinds, uses)
    place = locality(node.locality)
    callers: Mapping[Locality, int] = {}
    if any(counted for _, counted in kinds):
        workloads = (replica.workload for group in replicas.values() for replica in group)
        callers = Counter(locality(workload.locality) for workload in workloads if workload.captured)
    wanted = {kind: kind for kind in kinds}
    made = memo.each("here", _here, wanted, place, node.name, callers)
    return map(made.__getitem__, kinds)


_Kind = tuple[tuple[tuple[str, str], ...], bool]
"""Labels of callers, and whether it matters how many there are."""


def _kinds(uses: tuple[Use, ...]) -> tuple[_Kind, ...]:
    return tuple((use.labels, use.rule is not None and zoned(use.rule)) for use in uses)


def _here(kind: _Kind, place: Locality, node: str, callers: Mapping[Locality, int]) -> Here:
    own, counted = kind
    return Here(place, labels_of(place, node, dict(own)), callers if counted else {})


def endpoints(
    memo: Memo,
    uses: tuple[Use, ...],
    replicas: Replicas,
    chains: Chains,
    node: NodeView,
    trust_domain: str,
    streamed: frozenset[str],
) -> tuple[EndpointSet, ...]:
    """The endpoints of each cluster."""
    afar = _afar(memo, replicas, trust_domain, streamed)
    found = {
        use.key: (
            use,
            replicas.get(use.service.key, ()),
            chains if use.chained else {},
            here,
            afar.get(use.service.key, _NEAR),
        )
        for use, here in zip(uses, _heres(memo, uses, replicas, node), strict=True)
        if use.service.discovery == "eds"
    }
    return tuple(chain.from_iterable(memo.each("sets", _endpoint_sets, found).values()))


def _tunnelled(
    use: Use, port: ServicePort, subset: Subset | None, policy: Policy, far: tuple[str, ...]
) -> Tunnelled | None:
    """How replicas on other nodes are reached, `far` being their identities. None where there are none."""
    if not far or use.service.discovery != "eds":
        return None
    chosen = selector(subset.labels) if subset is not None else ()
    wrapped = policy.tls is not None or bool(policy.proxy_protocol)
    streams = wrapped or _http(port, policy, use.plain) == "none"
    return Tunnelled(server_name(use.service, port.number, chosen), far, streams)


def _clusters(wanted: tuple[Use, tuple[Replica, ...], Here, _Afar], mark: int) -> tuple[Cluster, ...]:
    use, resolved, here, (far, streamed) = wanted
    service, made = use.service, []
    for port in service.ports.values():
        for subset in use.subsets:
            name = use.name(subset.name if subset is not None else "", port.number)
            followed = policy(use.rule, subset, port.number)
            tunnel = _tunnelled(use, port, subset, followed, far)
            one = replace(cluster(use, port, name, followed, mark), tunnel=tunnel)
            places = order(effective(use.rule, subset, port.number))
            if service.discovery in ("strict_dns", "logical_dns"):
                found = tuple(_endpoints(resolved, port.number, subset, {}))
                names = EndpointSet(name, *places.arranged(here, found))
                how = service.discovery if len(names.endpoints) == 1 else "strict_dns"
                one = replace(one, names=names, discovery=how)
            one = _weighted(one) if places.weighted(here.place) else one
            made += [one, *_twin(one, streamed)]
        single = replace(policy(use.rule, None, port.number), balancer=LoadBalancer(), outliers=None)
        for replica in service.addressed[port.number]:
            made.append(cluster(use, port, use.name(replica.subset, port.number), single, mark))
    return tuple(made)


def _twin(cluster: Cluster, streamed: frozenset[str]) -> tuple[Cluster, ...]:
    """The same for bytes, where bytes are sent to it and replicas are on other nodes."""
    tunnel = cluster.tunnel
    if tunnel is None or tunnel.streams or cluster.name not in streamed:
        return ()
    streams = replace(tunnel, streams=True)
    return (replace(cluster, name=cluster.name + AS_BYTES, http="none", guard=NOTHING, tunnel=streams),)


def _endpoint_sets(
    wanted: tuple[Use, tuple[Replica, ...], Chains, Here, _Afar],
) -> tuple[EndpointSet, ...]:
    use, replicas, chains, here, (far, streamed) = wanted
    made = []
    for port, known in use.service.ports.items():
        for subset in use.subsets:
            name = use.name(subset.name if subset is not None else "", port)
            tunnel = _tunnelled(use, known, subset, policy(use.rule, subset, port), far)
            places = order(effective(use.rule, subset, port))
            found = tuple(_endpoints(replicas, port, subset, chains, tunnel))
            made.append(EndpointSet(name, *places.arranged(here, found)))
            if tunnel is not None and not tunnel.streams and name in streamed:
                found = tuple(_endpoints(replicas, port, subset, chains, replace(tunnel, streams=True)))
                made.append(EndpointSet(name + AS_BYTES, *places.arranged(here, found)))
        for replica in alone(replicas, port):
            made.append(EndpointSet(use.name(replica.subset, port), (endpoint(replica, port, chains),)))
    return tuple(made)


def cluster(use: Use, port: ServicePort, name: str, policy: Policy, mark: int) -> Cluster:
    service, http = use.service, _http(port, policy, use.plain)
    original = service.discovery == "original"
    if policy.tls is not None and policy.tls.roots and not policy.tls.names:
        policy = replace(policy, tls=replace(policy.tls, names=service.certified))
    elsewhere = original or service.discovery == "dynamic"
    guard = use.guard.settled(port.number, ()) if http != "none" else NOTHING
    return Cluster(
        name,
        service.fqdn,
        service.name,
        service.namespace,
        http,
        replace(policy, balancer=LoadBalancer("original")) if elsewhere else policy,
        mark,
        use.chained,
        use.patches,
        service.discovery,
        override=port.override,
        from_caller=service.from_caller or original,
        guard=guard,
    )


def _weighted(cluster: Cluster) -> Cluster:
    balancer = replace(cluster.policy.balancer, weighted=True)
    return replace(cluster, policy=replace(cluster.policy, balancer=balancer))


def _http(port: ServicePort, policy: Policy, plain: bool) -> Http:
    """The rule's wish over the port's protocol; only an upgrade makes HTTP of a port that is not.

    `plain`: see Destinations. Source: Istio's page on protocol selection, HTTP gateway protocol selection.
    """
    if policy.upgrade:
        return "http2"
    if policy.client_protocol and port.http != "none":
        return "client"
    return "http1" if plain and port.http == "client" else port.http


def _endpoints(
    replicas: tuple[Replica, ...],
    port: int,
    subset: Subset | None,
    chains: Chains,
    tunnel: Tunnelled | None = None,
) -> Iterator[There]:
    wanted = tuple(subset.labels.items()) if subset is not None else ()
    ready = [one for one in replicas if one.ready and one.listens(port) and matches(wanted, one.labels)]
    near = [(one, endpoint(one, port, chains)) for one in ready if one.through is None]
    away = [
        (one, Endpoint(*one.through, one.workload.name, tunnel=tunnel))
        for one in ready
        if one.through and tunnel
    ]
    found = (*sorted(near, key=lambda pair: pair[0].dial), *by_node(away))
    for replica, made in found:
        place = locality(replica.workload.locality)
        yield There(made, place, labels_of(place, replica.workload.node, replica.labels))


def endpoint(replica: Replica, port: int, chains: Chains) -> Endpoint:
    own = replica.targets.get(port, port) if replica.targets is not None else port
    workload = replica.workload
    chain = chains.get((workload.id, own), "")
    return Endpoint(replica.dial, own, workload.name, workload.version, chain, replica.weight)


def unused(rules: Rules, services: Mapping[str, Callee]) -> Told:
    """Which rules are about hosts that the mesh does not have."""
    return tuple(
        (key, f"host {rule.host} is not in the mesh: the rule has no effect")
        for rule in rules.every()
        if not rule.host.startswith("*") and rule.host not in services
        for key in rule.keys
    )
