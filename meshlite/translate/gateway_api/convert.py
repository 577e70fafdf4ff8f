"""Gateway API's resources -> Istio's, and the status of each. Pure, total, deterministic.

The order of work can be read here: gateways first, since routes attach to their listeners; then routes;
then policies, which say which gateways use what the routes send to; status last, which counts routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from meshlite.model.gateway_api import GRPCRoute, HTTPRoute, TCPRoute, TLSRoute
from meshlite.model.mesh import GATEWAY_API, Resource
from meshlite.translate.gateway_api import backend_tls, gateways, status
from meshlite.translate.gateway_api.conditions import Status
from meshlite.translate.gateway_api.gateways import AGateway
from meshlite.translate.gateway_api.http_rules import Made, grpc_rules, http_rules
from meshlite.translate.gateway_api.l4_rules import L4Made, tcp_rules, tls_rules
from meshlite.translate.gateway_api.parents import Attachments, Owner, Parent, attachments
from meshlite.translate.gateway_api.virtual_services import Part, http_parts, l4_services, merged
from meshlite.translate.gateway_api.world import World
from meshlite.translate.plan.resources import Applied

Route = TypeVar("Route", HTTPRoute, GRPCRoute, TLSRoute, TCPRoute)
Rules = TypeVar("Rules", Made, L4Made)
Parents = Mapping[Owner, Sequence[Parent]]


@dataclass(frozen=True)
class Conversion:
    """Istio's resources, and by the key of each of Gateway API's what its status is."""

    resources: tuple[Resource, ...]
    statuses: Mapping[str, Status]


@dataclass(frozen=True)
class _Routes:
    """What all routes come to: parts that are yet to be merged, finished services, and status."""

    parts: tuple[Part, ...]
    services: tuple[Resource, ...]
    attachments: Mapping[str, Attachments]
    statuses: Mapping[str, Status]


def convert(world: World) -> Conversion:
    ours = gateways.ours(world)
    routes = _routes(world, gateways.parents(ours))
    targets = backend_tls.targets(world)
    made = (
        *(resource for gateway in ours for resource in gateway.resources()),
        *merged(routes.parts),
        *routes.services,
        *backend_tls.destination_rules(targets, world),
    )
    users = _users(world)
    statuses = {
        **_gateway_statuses(world, ours, routes),
        **routes.statuses,
        **{one.key: backend_tls.status(one, targets, users, world) for one in world.policies},
    }
    return Conversion(made, {key: value for key, value in statuses.items() if value})


def _routes(world: World, parents: Parents) -> _Routes:
    parts: list[Part] = []
    services: list[Resource] = []
    found: dict[str, Attachments] = {}
    statuses: dict[str, Status] = {}

    def attach(
        one: Applied[Route], hosts: Sequence[str], rules: Callable[[Applied[Route], World, bool], Rules]
    ) -> dict[bool, Rules]:
        found[one.key] = attachments(one.resource, one.spec.parent_refs, hosts, parents, world)
        made = {for_mesh: rules(one, world, for_mesh) for for_mesh in found[one.key].sides}
        wrong = {for_mesh: result.wrong for for_mesh, result in made.items()}
        statuses[one.key] = status.route(one.resource, one.spec.parent_refs, found[one.key], wrong)
        return made

    for http in world.http_routes:
        made = attach(http, http.spec.hostnames, http_rules)
        parts += http_parts(http.resource, http.spec.hostnames, found[http.key], made, world)
    for grpc in world.grpc_routes:
        made = attach(grpc, grpc.spec.hostnames, grpc_rules)
        parts += http_parts(grpc.resource, grpc.spec.hostnames, found[grpc.key], made, world)
    for tls in world.tls_routes:
        l4 = attach(tls, tls.spec.hostnames, tls_rules)
        services += l4_services(tls.resource, "tls", tls.spec.hostnames, found[tls.key], l4, world)
    for tcp in world.tcp_routes:
        l4 = attach(tcp, (), tcp_rules)
        services += l4_services(tcp.resource, "tcp", (), found[tcp.key], l4, world)
    parts.sort(key=lambda part: (part.route.sequence, part.route.namespace, part.route.name))
    return _Routes(tuple(parts), tuple(services), found, statuses)


def _gateway_statuses(world: World, ours: Sequence[AGateway], routes: _Routes) -> dict[str, Status]:
    attached = status.attached(routes.attachments.values())
    statuses = {one.key: status.gateway_class(one) for one in world.classes}
    statuses |= {one.applied.key: status.gateway(one, attached, world) for one in ours}
    statuses |= {one.key: status.unmanaged_gateway(one) for one in gateways.unmanaged(world)}
    statuses |= {
        one.key: status.pending_gateway(one, world) for one in world.gateways if one.key not in statuses
    }
    statuses |= {one.key: status.listener_set(one, ours, attached, world) for one in world.listener_sets}
    return statuses


def _users(world: World) -> Mapping[tuple[str, str, str], Sequence[tuple[str, str]]]:
    """Backends (kind, namespace, name) -> Gateways (namespace, name) whose routes send to them."""
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    routes: list[Applied[HTTPRoute] | Applied[GRPCRoute] | Applied[TLSRoute] | Applied[TCPRoute]]
    routes = [*world.http_routes, *world.grpc_routes, *world.tls_routes, *world.tcp_routes]
    for route in routes:
        wanted = [
            (ref.namespace or route.namespace, ref.name)
            for ref in route.spec.parent_refs
            if (ref.group, ref.kind) == (GATEWAY_API, "Gateway")
        ]
        for rule in route.spec.rules:
            for ref in rule.backend_refs:
                key = (ref.kind, ref.namespace or route.namespace, ref.name)
                found.setdefault(key, []).extend(wanted)
    return found
