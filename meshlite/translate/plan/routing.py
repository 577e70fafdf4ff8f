"""Decides where HTTP requests go: VirtualServices turned into routes for one group of callers on one port.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/ and its order of precedence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshlite.model.made import of_gateway_api
from meshlite.model.names import canonical_namespace, resolve_known
from meshlite.model.networking import (
    Destination,
    HTTPMatchRequest,
    HTTPRoute,
    HTTPRouteDestination,
    VirtualService,
)
from meshlite.translate.plan import action
from meshlite.translate.plan.caller import Caller
from meshlite.translate.plan.catalog import Callee, Catalog
from meshlite.translate.plan.cluster import LoadBalancer
from meshlite.translate.plan.destinations import Destinations
from meshlite.translate.plan.elements import by_element
from meshlite.translate.plan.match import match
from meshlite.translate.plan.resources import Applied, Report, Told, private, visible
from meshlite.translate.plan.route import Forward, Mirror, Redirect, Respond, Retry, Route, Target
from meshlite.translate.plan.rules import closeness, fits
from meshlite.translate.plan.scope import Scope

MESH = "mesh"

LONE_PORT = 80
"""The only port on which Istio routes a VirtualService none of whose hosts is in the mesh."""

_RETRY = Retry(2, "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes")
_RETRY_UNSENT = Retry(2, f"{_RETRY.on},reset-before-request")


def default_retry(service: Callee | None, port: int) -> Retry:
    """Istio's for callers, and the condition that Istio has on the called side, since one pass is both.

    Ports known to be HTTP/2 do without the latter, as in Istio: it harms gRPC streams.
    """
    known = service.ports.get(port) if service is not None else None
    return _RETRY if known is not None and known.http == "http2" else _RETRY_UNSENT


@dataclass(frozen=True, slots=True)
class Claim:
    """Which hosts a VirtualService wants among those that a group of callers may call. `owner`: its key.

    `hosts`: for HTTP, as written and as meant. `connections`: for TLS and TCP. The lowest `rank` comes first.
    """

    owner: str
    written: str
    rank: int
    hosts: tuple[tuple[str, str], ...]
    connections: tuple[str, ...]


@dataclass(frozen=True)
class Stranger:
    """A host that is no service of the mesh, routed by `owner` for who names it on one of the `ports`."""

    host: str
    owner: str
    ports: frozenset[int]


@dataclass(frozen=True)
class Selected:
    """The VirtualServices (keys) that a group of callers follows: by service (FQDN), and for other hosts.

    One has all HTTP of a host. `connections`: for TLS and TCP all that name the service count, in order.
    """

    by_service: Mapping[str, str]
    strangers: tuple[Stranger, ...]
    connections: Mapping[str, tuple[str, ...]]


def claim(
    one: Applied[VirtualService], caller: Caller, scope: Scope, services: Mapping[str, Callee]
) -> Claim | None:
    """None: these callers do not follow it."""
    if not _for(one, caller, services, scope):
        return None
    spec = one.spec
    meant = [(written, resolve_known(written, one.namespace, services)) for written in spec.hosts]
    return Claim(
        one.key,
        one.written,
        rank(one),
        tuple(meant) if spec.http else (),
        tuple(host for _, host in meant) if spec.tls or spec.tcp else (),
    )


def select(claims: Mapping[str, Claim | None], seen: Catalog, all: Catalog) -> tuple[Selected, Told]:
    """Who owns each host: private resources first, then public ones; within these the first applied."""
    told: list[tuple[str, str]] = []
    candidates = sorted((one for one in claims.values() if one is not None), key=lambda one: one.rank)
    owners: dict[str, Claim] = {}
    named: dict[str, list[str]] = {}
    for one in candidates:
        for host in one.connections:
            named.setdefault(host, []).append(one.owner)
        for written, host in one.hosts:
            owner = owners.setdefault(host, one)
            if owner is not one:
                reason = f"host {written} already belongs to {owner.written}, which was applied before"
                told.append((one.owner, reason))
    wild = sorted((host for host in owners if host.startswith("*")), key=closeness, reverse=True)
    by_service: dict[str, str] = {}
    for fqdn in seen.services:
        closest = fqdn if fqdn in owners else next((host for host in wild if fits(host, fqdn)), None)
        if closest is not None:
            by_service[fqdn] = owners[closest].owner
    connections = _connections(named, all.services, candidates) if named else {}
    return Selected(by_service, tuple(_strangers(owners, by_service, all)), connections), tuple(told)


def _connections(
    named: Mapping[str, list[str]], services: Iterable[str], order: Sequence[Claim]
) -> dict[str, tuple[str, ...]]:
    """By service all that have a host which means it, in `order`. Only wildcards are compared with each."""
    places = {one.owner: place for place, one in enumerate(order)}
    wild = [host for host in named if host.startswith("*")]
    found: dict[str, tuple[str, ...]] = {}
    for fqdn in services:
        hosts = [host for host in wild if fits(host, fqdn)]
        ones = {owner for host in (fqdn, *hosts) for owner in named.get(host, ())}
        if ones:
            found[fqdn] = tuple(sorted(ones, key=places.__getitem__))
    return found


def _strangers(
    owners: Mapping[str, Claim], by_service: Mapping[str, str], services: Catalog
) -> Iterator[Stranger]:
    """As in Istio: on the HTTP ports of the services that its VirtualService has, else on port 80 only."""
    strangers = {host: one.owner for host, one in owners.items() if not _reaches(host, services.services)}
    ports: dict[str, set[int]] = {owner: set() for owner in strangers.values()}
    for fqdn, owner in by_service.items() if strangers else ():
        if owner in ports:
            ports[owner] |= services.services[fqdn].http_ports
    for host, owner in strangers.items():
        yield Stranger(host, owner, frozenset(ports[owner] or {LONE_PORT}))


def _reaches(host: str, services: Mapping[str, Callee]) -> bool:
    """Whether a host means some service of the mesh. Only wildcards are compared with each."""
    if not host.startswith("*"):
        return host in services
    return host == "*" or any(fits(host, fqdn) for fqdn in services)


def _for(one: Applied[VirtualService], caller: Caller, services: Mapping[str, Callee], scope: Scope) -> bool:
    bound = not one.spec.gateways or MESH in one.spec.gateways
    bound = bound or any(MESH in gateways for gateways in _named_gateways(one.spec))
    if not (bound and visible(one.spec.export_to, one.namespace, caller.namespace)):
        return False
    if scope.whole:
        return True
    return scope.sees(
        one.namespace, tuple(resolve_known(host, one.namespace, services) for host in one.spec.hosts)
    )


def _named_gateways(spec: VirtualService) -> Iterator[tuple[str, ...]]:
    """What single matches say beside the resource's own gateways."""
    for rules in (spec.http, spec.tls, spec.tcp):
        yield from (match.gateways for rule in rules for match in rule.match)


def rank(one: Applied[VirtualService]) -> int:
    if private(one.spec.export_to, one.namespace):
        return 0
    return 2 if not one.spec.export_to or "*" in one.spec.export_to else 1


@dataclass(frozen=True)
class Context:
    """What routes are made for: a group of callers that dials one port, or a gateway (namespace/name)."""

    caller: Caller
    port: int
    services: Catalog
    destinations: Destinations
    report: Report
    gateway: str = MESH


def bound(owner: Applied[VirtualService], names: tuple[str, ...], gateway: str) -> bool:
    """Whether `gateway` is among names as `owner` writes them; without any, `owner` is for the mesh."""
    if not names:
        return gateway == MESH
    return any(gateway_name(name, owner.namespace) == gateway for name in names)


def gateway_name(written: str, namespace: str) -> str:
    """`mesh`, or namespace/name. Old forms are understood as in Istio: name.namespace and longer."""
    if written == MESH:
        return MESH
    space, slash, name = written.partition("/")
    if not slash:
        name, dot, rest = written.partition(".")
        space = rest.partition(".")[0] if dot else namespace
    return f"{canonical_namespace(namespace if space == '.' else space)}/{name}"


def routes(owner: Applied[VirtualService], context: Context) -> tuple[Route, ...]:
    """The routes of a VirtualService in order, up to the first that takes everything."""
    made: list[Route] = []
    for place, rule in enumerate(owner.spec.http):
        for number, block in enumerate(rule.match or (None,)):
            if not _applies(owner, block, context):
                continue
            route = _route(owner, place, rule, block, context)
            if route is None:
                continue
            made.append(replace(route, origin=origin(owner.key, place, number if rule.match else None)))
            if route.match.everything:
                return tuple(made)
    return tuple(made)


def origin(key: str, rule: int, block: int | None) -> str:
    """Where a route comes from: a rule of a VirtualService, and which of its matches."""
    return f"{key} spec.http[{rule}]" + (f".match[{block}]" if block is not None else "")


def default_route(service: Callee, context: Context) -> Route:
    """What callers get without a VirtualService."""
    balancer = context.destinations.balancer(service.fqdn, "", context.port)
    cluster = context.destinations.cluster(service.fqdn, "", context.port)
    forward = Forward(
        (Target(cluster),),
        retry=action.kept_on_host(default_retry(service, context.port), balancer),
        hash_keys=action.hash_keys(balancer),
    )
    return Route(match(None), forward, name="default")


def _applies(owner: Applied[VirtualService], block: HTTPMatchRequest | None, context: Context) -> bool:
    if block is None:
        return bound(owner, owner.spec.gateways, context.gateway)
    if block.port and block.port != context.port:
        return False
    if block.gateways:
        return bound(owner, block.gateways, context.gateway)
    if not bound(owner, owner.spec.gateways, context.gateway):
        return False
    namespaced = not block.source_namespace or block.source_namespace == context.caller.namespace
    return namespaced and context.caller.has(block.source_labels)


def _route(
    owner: Applied[VirtualService],
    number: int,
    rule: HTTPRoute,
    block: HTTPMatchRequest | None,
    context: Context,
) -> Route | None:
    taken: Forward | Redirect | Respond | None
    if rule.redirect is not None:
        taken = action.redirect(rule.redirect, context.port)
    elif rule.direct_response is not None:
        taken = action.respond(rule.direct_response)
    else:
        taken = _forward(owner, number, rule, context)
    if taken is None:
        return None
    name = ".".join(part for part in (rule.name, block.name if block else "") if part)
    lone = rule.route[0] if len(rule.route) == 1 and isinstance(taken, Forward) else None
    of_api = of_gateway_api(owner.resource)
    made = Route(
        match(block, of_api),
        taken,
        name,
        action.header_changes(rule.headers, lone.headers if lone else None),
        action.fault(rule.fault),
        action.cors(rule.cors_policy),
        block.stat_prefix if block else "",
    )
    return by_element(made) if of_api else made


def _forward(
    owner: Applied[VirtualService], number: int, rule: HTTPRoute, context: Context
) -> Forward | None:
    parts = [part for part in rule.route if part.weight or len(rule.route) == 1]
    if not parts:
        context.report(owner.key, f"spec.http[{number}].route: all weights are 0; the rule has no effect")
        return None
    lone = len(rule.route) == 1
    host, port = place(owner, parts[0].destination, context)
    targets = tuple(_target(owner, part, not lone, context) for part in parts)
    balancers = tuple(_balancer(owner, part.destination, context) for part in parts)
    mirrors = tuple(
        Mirror(destination_cluster(owner, destination, context), share)
        for destination, share in action.mirrors(rule)
    )
    default = default_retry(context.services.services.get(host), port)
    default = action.kept_on_host(default, balancers[0]) if lone else default
    retry = action.retry(rule.retries, default)
    return action.forward(rule, targets, retry, mirrors, action.hash_keys(*balancers))


def _target(
    owner: Applied[VirtualService], part: HTTPRouteDestination, shared: bool, context: Context
) -> Target:
    """A destination; its header changes stay with it only where it shares the route with others."""
    headers = action.header_changes(part.headers) if shared else action.header_changes(None)
    host = action.new_host(part.headers)
    return Target(destination_cluster(owner, part.destination, context), part.weight or 1, headers, host)


def place(owner: Applied[VirtualService], destination: Destination, context: Context) -> tuple[str, int]:
    """The FQDN and port meant: the port written, the service's only one, or the one that was dialled."""
    host = resolve_known(destination.host, owner.namespace, context.services.services)
    service = context.services.services.get(host)
    if destination.port is not None:
        return host, destination.port.number
    only = service.only_port if service is not None else None
    return host, only if only is not None else context.port


def destination_cluster(
    owner: Applied[VirtualService],
    destination: Destination,
    context: Context,
    failure: str = "requests to it get 503",
) -> str:
    """Its cluster's name, also where there is none, which is reported with what then happens."""
    host, port = place(owner, destination, context)
    service = context.services.services.get(host)
    if service is None and of_gateway_api(owner.resource):
        pass  # its status says so, and requests get 500
    elif service is None:
        context.report(owner.key, f"host {destination.host} is not in the mesh: {failure}")
    elif service.ports and port not in service.ports:
        context.report(owner.key, f"host {destination.host} has no port {port}: {failure}")
    elif not context.destinations.has(host, destination.subset):
        reason = f"no DestinationRule gives host {destination.host} the subset {destination.subset}"
        context.report(owner.key, f"{reason}: {failure}")
    return context.destinations.cluster(host, destination.subset, port)


def _balancer(owner: Applied[VirtualService], destination: Destination, context: Context) -> LoadBalancer:
    host, port = place(owner, destination, context)
    return context.destinations.balancer(host, destination.subset, port)
