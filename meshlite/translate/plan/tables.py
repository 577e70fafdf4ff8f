"""Decides what a group of callers finds on one port: virtual hosts with their names, and the rest."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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


def table(
    memo: Memo, view: Destinations, port: int, selected: Selected, fenced: Text
) -> tuple[RouteTable, Told]:
    """All virtual hosts of a port, and what is wrong with resources. The last host takes requests that name
    no known one.

    Such a request goes where the client dialled: to a service or replica known by its address, and otherwise
    where the scope says; but not to a `fenced` address, which only services have.
    """
    found = _Found(memo, view, port)
    names = _Names()
    services = view.services.on_port(port)
    callable = tuple(service for service in services if service.ports[port].http != "none")
    served = [(service.fqdn, found.served(service, selected)) for service in callable]
    hosts = [found.host(fqdn, names.take(one.domains), one.routes) for fqdn, one in served]
    replicas = [replica for service in callable for replica in found.replicas(service)]
    hosts += [found.host(one.domains[0], names.take(one.domains), one.routes) for one in replicas]
    hosts += _strangers(found, selected, names)
    dialled = [route for one in (*(one for _, one in served), *replicas) for route in one.dialled]
    name, unknown = _unknown(view.unknown, fenced)
    rest = VirtualHost(name, ("*",), (*dialled, *unknown))
    whole = (*(host for host in hosts if host.domains), memo.same("rest", rest))
    return RouteTable(view.caller.table(port), whole, view.of_routes), tuple(found.told)


@dataclass(frozen=True)
class _Names:
    """Each name leads to one virtual host only: Envoy refuses a table where two claim the same."""

    taken: set[str] = field(default_factory=set)

    def take(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """`wanted` has each name once."""
        free = wanted
        if not self.taken.isdisjoint(wanted):
            free = tuple(name for name in wanted if name not in self.taken)
        self.taken.update(free)
        return free


@dataclass(frozen=True, slots=True)
class _Served:
    """What callers find at a service or replica: its names, what is done with requests that name it, and with
    those that only dial its address; and what is wrong with resources."""

    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    dialled: tuple[Route, ...]
    told: Told


@dataclass(frozen=True)
class _Found:
    """What callers find on one port, remembered by service; `told`: what is wrong with resources."""

    memo: Memo
    view: Destinations
    port: int
    told: list[tuple[str, str]] = field(default_factory=list)

    def served(self, service: Callee, selected: Selected) -> _Served:
        return self._made(("service", service.fqdn), service, selected.by_service.get(service.fqdn))

    def replicas(self, service: Callee) -> Iterator[_Served]:
        """Who calls a replica's own address, whatever name it has for it, means that one."""
        for replica in service.addressed[self.port]:
            cluster = self.view.cluster(service.fqdn, replica.subset, self.port)
            yield self.memo.of(("replica", service.fqdn, replica.subset), _replica, replica, cluster)

    def stranger(self, host: str, owner: Applied[VirtualService]) -> tuple[Route, ...]:
        return self._made(("stranger", host), None, owner).routes

    def host(self, name: str, domains: tuple[str, ...], routes: tuple[Route, ...]) -> VirtualHost:
        return self.memo.of(("host", name), VirtualHost, f"{name}:{self.port}", domains, routes)

    def _made(self, name: Hashable, service: Callee | None, owner: Applied[VirtualService] | None) -> _Served:
        view = self.view
        known, rules = Looked(view.known.services), Looked(view.rules)
        inputs = (service, owner, view.caller, self.port, known, rules, view.apart, view.scope)
        made = self.memo.of(name, _served, *inputs)
        self.told.extend(made.told)
        return made


def _served(
    service: Callee | None,
    owner: Applied[VirtualService] | None,
    caller: Caller,
    port: int,
    services: Mapping[str, Callee],
    rules: Mapping[str, Rule | None],
    apart: frozenset[str],
    scope: Scope,
) -> _Served:
    """A VirtualService none of whose rules is for these callers on this port leaves the default in place."""
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


def _replica(replica: Addressed, cluster: str) -> _Served:
    """No VirtualService applies, as in Istio."""
    route = Route(Match(), Forward((Target(cluster),)), name="default")
    domains = _once(map(_bracketed, replica.addresses))
    return _Served(domains, (route,), _dialled((route,), one_of(_once(replica.addresses))), ())


def _bracketed(address: str) -> str:
    """As a Host header has it."""
    return f"[{address}]" if ":" in address else address


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _strangers(found: _Found, selected: Selected, names: _Names) -> Iterator[VirtualHost]:
    for stranger in selected.strangers:
        if found.port in stranger.ports and (made := found.stranger(stranger.host, stranger.owner)):
            yield found.host(stranger.host, names.take((stranger.host,)), made)


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
