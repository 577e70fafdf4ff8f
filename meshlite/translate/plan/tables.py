"""Decides what a group of callers finds on one port: virtual hosts with their names, and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from meshlite.model.names import qualified_names
from meshlite.translate.plan.catalog import Callee
from meshlite.translate.plan.cluster import BLACK_HOLE, PASSTHROUGH
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


def table(context: Context, selected: Selected, fenced: Text) -> RouteTable:
    """All virtual hosts of a port. The last one takes requests that name no known host.

    Such a request goes where the client dialled: to a service known by its address, through to the original
    destination otherwise; but not to a `fenced` address, which only services have.
    """
    names = _Names()
    services = context.services.on_port(context.port)
    callable = tuple(service for service in services if service.ports[context.port].http != "none")
    found = {service.fqdn: _routes(service, context, selected) for service in callable}
    hosts = []
    for service in callable:
        domains = names.take(_domains(service, context))
        hosts.append(VirtualHost(f"{service.fqdn}:{context.port}", domains, found[service.fqdn]))
    for service in callable:
        hosts += _replicas(service, context, names)
    hosts += _strangers(context, selected, names)
    dialled = (
        route
        for service in callable
        for route in _dialled(found[service.fqdn], one_of(service.addresses(context.port)))
    )
    rest = VirtualHost("allow_any", ("*",), (*dialled, _fence(fenced), _PASSTHROUGH))
    return RouteTable(context.caller.table(context.port), (*(host for host in hosts if host.domains), rest))


@dataclass(frozen=True)
class _Names:
    """Each name leads to one virtual host only: Envoy refuses a table where two claim the same."""

    taken: set[str] = field(default_factory=set)

    def take(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        free = tuple(name for name in dict.fromkeys(wanted) if name not in self.taken)
        self.taken.update(free)
        return free


def _routes(service: Callee, context: Context, selected: Selected) -> tuple[Route, ...]:
    """A VirtualService none of whose rules is for these callers on this port leaves the default in place."""
    owner = selected.by_service.get(service.fqdn)
    made = routes(owner, context) if owner is not None else ()
    return made or (default_route(service, context),)


def _domains(service: Callee, context: Context) -> tuple[str, ...]:
    """The names a service is called by, without ports: a Host header's port is not looked at."""
    near = (service.name, *service.aliases) if service.namespace == context.caller.namespace else ()
    return (*near, *qualified_names(service.name, service.namespace), service.address)


def _replicas(service: Callee, context: Context, names: _Names) -> Iterator[VirtualHost]:
    """Who names a replica's address means that one: no VirtualService applies, as in Istio."""
    for replica in service.addressed[context.port]:
        cluster = context.destinations.cluster(service.fqdn, replica.subset, context.port)
        route = Route(Match(), Forward((Target(cluster),)), name="default")
        domains = tuple(f"[{one}]" if ":" in one else one for one in replica.addresses)
        yield VirtualHost(f"{domains[0]}:{context.port}", names.take(domains), (route,))


def _strangers(context: Context, selected: Selected, names: _Names) -> Iterator[VirtualHost]:
    for stranger in selected.strangers:
        if context.port in stranger.ports and (made := routes(stranger.owner, context)):
            yield VirtualHost(f"{stranger.host}:{context.port}", names.take((stranger.host,)), made)


def _dialled(routes: tuple[Route, ...], address: Text) -> Iterator[Route]:
    """The routes of a service for requests to its address; what they do not take, nothing else may take."""
    for route in routes:
        yield replace(route, match=replace(route.match, destination=address))
    if not routes[-1].match.everything:
        yield Route(Match(destination=address), Respond(HTTPStatus.NOT_FOUND))


def _fence(fenced: Text) -> Route:
    return Route(Match(destination=fenced), Forward((Target(BLACK_HOLE),)), name="block_all")


_PASSTHROUGH = Route(Match(), Forward((Target(PASSTHROUGH),)), name="allow_any")
