"""Decides what a group of callers finds on one port: virtual hosts with their names, and the rest."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from meshlite.model.names import answers
from meshlite.model.networking import VirtualService
from meshlite.translate.memo import Looked, Memo
from meshlite.translate.plan.caller import Caller
from meshlite.translate.plan.catalog import Addressed, Callee, Catalog
from meshlite.translate.plan.cluster import BLACK_HOLE, PASSTHROUGH
from meshlite.translate.plan.destinations import Destinations
from meshlite.translate.plan.resources import Applied, Told
from meshlite.translate.plan.route import (
    Forward,
    Match,
    Respond,
    Route,
    RouteTable,
    Target,
    Text,
    VirtualHost,
    one_of,
)
from meshlite.translate.plan.routing import Context, Selected, default_route, routes
from meshlite.translate.plan.rules import Rule
from meshlite.translate.plan.scope import Scope

Owners = Mapping[str, Applied[VirtualService]]
"""VirtualServices by key."""


def table(
    memo: Memo, view: Destinations, port: int, selected: Selected, owners: Owners, fenced: Text
) -> tuple[RouteTable, Told]:
    """All virtual hosts of a port, and what is wrong with resources. The last host takes requests that name
    no known one.

    Such a request goes where the client dialled: to a service or replica known by its address, and otherwise
    where the scope says; but not to a `fenced` address, which only services have.
    """
    services = tuple(one for one in view.services.on_port(port) if one.ports[port].http != "none")
    by_service = selected.by_service
    wanted = {one.fqdn: (one, owners[key] if (key := by_service.get(one.fqdn)) else None) for one in services}
    strange = {one.host: (None, owners[one.owner]) for one in selected.strangers if port in one.ports}
    shared = (view.caller, port, view.apart, view.scope)
    known, rules = view.known.services, view.rules
    served = memo.each("services", _served, wanted, *shared, Looked(known), Looked(rules))
    strangers = memo.each("strangers", _served, strange, *shared, Looked(known), Looked(rules))
    replicas = memo.each("replicas", _replica, _addressed(view, services, port))
    hosts = _hosts(memo, port, served, replicas, {host: one for host, one in strangers.items() if one.routes})
    dialled = [route for group in (served, replicas) for one in group.values() for route in one.dialled]
    name, unknown = _unknown(view.unknown, fenced)
    rest = memo.same("rest", VirtualHost(name, ("*",), (*dialled, *unknown)))
    told = tuple(problem for group in (served, strangers) for one in group.values() for problem in one.told)
    return RouteTable(view.caller.table(port), (*hosts, rest), view.of_routes), told


Replicated = Mapping[tuple[str, str], tuple[Addressed, str]]
"""Replicas that may be called by an address of their own, with their clusters, by service and subset."""


def _addressed(view: Destinations, services: Iterable[Callee], port: int) -> Replicated:
    """Who calls a replica's own address, whatever name it has for it, means that one."""
    return {
        (service.fqdn, replica.subset): (replica, view.cluster(service.fqdn, replica.subset, port))
        for service in services
        for replica in service.addressed[port]
    }


@dataclass(frozen=True, slots=True)
class _Served:
    """What callers find at a service or replica: its names, what is done with requests that name it, and with
    those that only dial its address; and what is wrong with resources."""

    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    dialled: tuple[Route, ...]
    told: Told


def _hosts(
    memo: Memo,
    port: int,
    served: Mapping[str, _Served],
    replicas: Mapping[tuple[str, str], _Served],
    strangers: Mapping[str, _Served],
) -> tuple[VirtualHost, ...]:
    """Services first, then replicas by the first name that is theirs, then strangers."""
    found: dict[Hashable, tuple[str, tuple[str, ...], tuple[Route, ...]]]
    found = {fqdn: (fqdn, one.domains, one.routes) for fqdn, one in served.items()}
    found |= {key: ("", one.domains, one.routes) for key, one in replicas.items()}
    found |= {("stranger", host): (host, (host,), one.routes) for host, one in strangers.items()}
    free = memo.of("names", _free, tuple(domains for _, domains, _ in found.values()))
    wanted = {
        key: (name or names[0], names, routes)
        for (key, (name, _, routes)), names in zip(found.items(), free, strict=True)
        if names
    }
    return tuple(memo.each("hosts", _host, wanted, port).values())


def _host(made: tuple[str, tuple[str, ...], tuple[Route, ...]], port: int) -> VirtualHost:
    name, domains, routes = made
    return VirtualHost(f"{name}:{port}", domains, routes)


def _free(wanted: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Each name leads to one virtual host only, the first: Envoy refuses a table where two claim the same."""
    taken: set[str] = set()
    found = []
    for names in wanted:
        free = names
        if not taken.isdisjoint(names):
            free = tuple(name for name in names if name not in taken)
        taken.update(free)
        found.append(free)
    return tuple(found)


def _served(
    wanted: tuple[Callee | None, Applied[VirtualService] | None],
    caller: Caller,
    port: int,
    apart: frozenset[str],
    scope: Scope,
    services: Mapping[str, Callee],
    rules: Mapping[str, Rule | None],
) -> _Served:
    """A VirtualService none of whose rules is for these callers on this port leaves the default in place.

    `wanted`: a service, None for a stranger, and who has its HTTP.
    """
    service, owner = wanted
    told: list[tuple[str, str]] = []
    known = Catalog(services)
    view = Destinations(known, caller, rules, apart, known, scope)
    context = Context(caller, port, known, view, lambda resource, reason: told.append((resource, reason)))
    made = routes(owner, context) if owner is not None else ()
    if service is None:
        return _Served((), made, (), tuple(told))
    made = made or (default_route(service, context),)
    dialled = _dialled(made, one_of(service.virtual)) if service.virtual else ()
    return _Served(_domains(service, caller.namespace), made, dialled, tuple(told))


def _domains(service: Callee, namespace: str) -> tuple[str, ...]:
    """The names a service is called by, without ports: a Host header's port is not looked at."""
    first, *others = answers(service.fqdn, namespace)
    near = service.aliases if service.namespace == namespace else ()
    return _once((first, *near, *others, *map(_bracketed, service.virtual)))


def _replica(wanted: tuple[Addressed, str]) -> _Served:
    """No VirtualService applies, as in Istio."""
    replica, cluster = wanted
    route = Route(Match(), Forward((Target(cluster),)), name="default")
    domains = _once(map(_bracketed, replica.addresses))
    return _Served(domains, (route,), _dialled((route,), one_of(_once(replica.addresses))), ())


def _bracketed(address: str) -> str:
    """As a Host header has it."""
    return f"[{address}]" if ":" in address else address


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _dialled(routes: tuple[Route, ...], address: Text) -> tuple[Route, ...]:
    """The routes of a service for requests to its address; what they do not take, nothing else may take."""
    made = [replace(route, match=replace(route.match, destination=address)) for route in routes]
    if not routes[-1].match.everything:
        made.append(Route(Match(destination=address), Respond(HTTPStatus.NOT_FOUND)))
    return tuple(made)


def _fence(fenced: Text) -> Route:
    return Route(Match(destination=fenced), Forward((Target(BLACK_HOLE),)), name="block_all")


def _unknown(cluster: str, fenced: Text) -> tuple[str, tuple[Route, ...]]:
    """What becomes of requests to what the mesh does not know, under Istio's name for it."""
    if cluster == BLACK_HOLE:
        return "block_all", (Route(Match(), Respond(HTTPStatus.BAD_GATEWAY), name="block_all"),)
    passed = Route(Match(), Forward((Target(cluster),)), name="allow_any")
    return "allow_any", (passed,) if cluster != PASSTHROUGH else (_fence(fenced), passed)
