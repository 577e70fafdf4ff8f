"""The steps of an HTTP request: virtual host, VirtualService, route, and what is done on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import re2

from meshlite.model.names import resolve_known
from meshlite.model.networking import HTTPMatchRequest, VirtualService
from meshlite.translate.explain.connection import Dialled
from meshlite.translate.explain.request import Request, unmet
from meshlite.translate.explain.scene import Scene
from meshlite.translate.explain.story import PassedOver, Step
from meshlite.translate.plan.resources import Applied, visible
from meshlite.translate.plan.route import (
    MILLION,
    Fault,
    Forward,
    Redirect,
    Respond,
    Route,
    RouteTable,
    VirtualHost,
)
from meshlite.translate.plan.routing import origin
from meshlite.translate.plan.rules import fits


def virtual_host(table: RouteTable, request: Request) -> tuple[VirtualHost | None, Step]:
    """As Envoy chooses: the exact name, else the longest wildcard before or behind, else `*`."""
    fitting = (
        (host, domain) for host in table.hosts for domain in host.domains if _covers(domain, request.host)
    )
    host, domain = max(
        fitting,
        key=lambda pair: (pair[1] == request.host, pair[1].startswith("*."), len(pair[1])),
        default=(None, ""),
    )
    if host is None:
        return None, Step("virtual host", "none: 404", why=f"no host of {table.name} has the name")
    why = f"its name {domain} fits best" if domain != "*" else "no other has the name"
    return host, Step("virtual host", host.name, why=why)


def _covers(domain: str, host: str) -> bool:
    host = host.lower()
    if domain.startswith("*"):
        return host.endswith(domain[1:])
    return host.startswith(domain[:-1]) if domain.endswith("*") else host == domain


def route(host: VirtualHost, request: Request, dialled: Dialled, scene: Scene) -> tuple[Route | None, Step]:
    """The first route that the request meets, with those before it and why they were passed over."""
    passed: list[PassedOver] = []
    for one in host.routes:
        reason = unmet(one.match, request, dialled.address)
        if not reason:
            owner = one.origin.partition(" ")[0]
            everything = (*_others(owner, dialled, scene), *_unmade(owner, host, scene, one.origin), *passed)
            decision = f"route {one.name}" if one.name else "this route"
            why = (
                "it is the first that the request meets"
                if one.origin
                else _DEFAULTS.get(one.name, "it is the default")
            )
            return one, Step("route", decision, one.origin, why, everything)
        if one.origin:
            passed.append(PassedOver(one.origin, reason))
    return None, Step(
        "route", "none: 404", why="the request meets no route of its virtual host", passed_over=tuple(passed)
    )


_FIRST = "it is the first that the request meets"
_DEFAULTS = {
    "default": "no VirtualService routes it",
    "allow_any": "the mesh does not know it and passes it on",
    "block_all": "the mesh does not know it and refuses it",
}


def _others(owner: str, dialled: Dialled, scene: Scene) -> Iterator[PassedOver]:
    """Other VirtualServices that have the host."""
    if dialled.service is None:
        return
    known = scene.snapshot.services_by_fqdn
    for one in scene.virtual_services:
        hosts = {resolve_known(host, one.namespace, known) for host in one.spec.hosts}
        if one.key != owner and any(fits(host, dialled.service.fqdn) for host in hosts):
            yield PassedOver(one.key, _why_not(one, owner, dialled.service.fqdn in hosts, scene))


def _why_not(one: Applied[VirtualService], owner: str, exact: bool, scene: Scene) -> str:
    if one.spec.gateways and "mesh" not in one.spec.gateways:
        return f"it is for gateways: {', '.join(one.spec.gateways)}"
    if not visible(one.spec.export_to, one.namespace, scene.source.namespace):
        return f"it is not exported to namespace {scene.source.namespace}"
    if not one.spec.http:
        return "it has no rules for HTTP"
    if not owner:
        return "none of its rules is for this source and port"
    if not exact:
        return f"its wildcard fits less closely than the host of {owner}"
    return f"{owner} has the host already: applied first, or exported more narrowly"


def _unmade(owner: str, host: VirtualHost, scene: Scene, chosen: str) -> Iterator[PassedOver]:
    """Matches of the owner that are for other sources, ports or gateways, up to the one that was chosen."""
    made = {one.origin for one in host.routes}
    found = next((one for one in scene.virtual_services if one.key == owner), None)
    for place, rule in enumerate(found.spec.http if found else ()):
        for number, block in enumerate(rule.match):
            here = origin(owner, place, number)
            if here == chosen:
                return
            if here not in made:
                yield PassedOver(here, f"it is for other callers: {_callers(block)}")
        if origin(owner, place, None) == chosen:
            return


def _callers(block: HTTPMatchRequest) -> str:
    wanted = {
        "port": block.port,
        "gateways": ", ".join(block.gateways),
        "sourceNamespace": block.source_namespace,
        "sourceLabels": ", ".join(f"{key}={value}" for key, value in block.source_labels.items()),
    }
    return "; ".join(f"{name} {value}" for name, value in wanted.items() if value) or "its gateways"


def on_the_way(route: Route) -> tuple[str, ...]:
    """What happens to the request besides being sent somewhere, in clauses."""
    done = [*_faults(route.fault)] if route.fault else []
    if isinstance(route.action, Forward):
        done += _forwarding(route.action)
    changes = route.headers.request
    names = [name for name, _ in (*changes.set, *changes.add)] + list(changes.remove)
    if names:
        done.append(f"changes headers {', '.join(names)}")
    return tuple(done)


def _faults(fault: Fault) -> Iterator[str]:
    if fault.delay is not None and fault.delay_share:
        yield f"delayed by {fault.delay.total_seconds():g} s for {percent(fault.delay_share)} of requests"
    if fault.abort_share:
        code = fault.http_status if fault.http_status is not None else f"gRPC status {fault.grpc_status}"
        yield f"aborted with {code} for {percent(fault.abort_share)} of requests"


def _forwarding(action: Forward) -> Iterator[str]:
    if action.timeout is not None:
        yield f"ends after {action.timeout.total_seconds():g} s"
    if action.retry is not None and action.retry.attempts:
        yield f"tried again up to {action.retry.attempts} times on {action.retry.on}"
    if action.prefix:
        yield f"rewrites the matched path to {action.prefix}"
    if action.pattern:
        yield f"rewrites {action.pattern} in the path to {action.substitution}"
    if action.host:
        yield f"rewrites the host to {action.host}"
    for mirror in action.mirrors:
        yield f"copies {percent(mirror.share)} of requests to {mirror.cluster}"


def arriving(request: Request, route: Route) -> Request:
    """The request as its destination sees it, after what the route rewrites."""
    action = route.action
    if not isinstance(action, Forward):
        return request
    path, mark, query = request.path.partition("?")
    if action.prefix:
        rest = path[len(route.match.path.value) :] if route.match.path.kind in _PREFIXES else ""
        path = action.prefix + rest
    elif action.pattern:
        path = re2.sub(action.pattern, action.substitution, path)
    changes = route.headers.request
    gone = {name.lower() for name in (*changes.remove, *(name for name, _ in changes.set))}
    headers = {name: value for name, value in request.headers.items() if name.lower() not in gone}
    headers |= dict((*changes.set, *changes.add))
    return replace(request, host=action.host or request.host, path=path + mark + query, headers=headers)


_PREFIXES = ("prefix", "elements")


def percent(millionths: int) -> str:
    return f"{millionths * 100 / MILLION:g} %"


def answered(action: Redirect | Respond) -> str:
    """What the caller gets without anybody being asked."""
    if isinstance(action, Respond):
        return f"answered with {action.status}"
    host, path = action.host or "(same host)", action.path or action.prefix or "/(same path)"
    place = f"{action.scheme or 'http'}://{host}{f':{action.port}' if action.port else ''}{path}"
    return f"redirected with {action.code} to {place}"
