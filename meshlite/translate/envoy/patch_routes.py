"""Patches of route tables, virtual hosts and routes."""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy import schema
from meshlite.translate.envoy.patch import (
    MESSAGES,
    Patched,
    Work,
    edited,
    merge_patch,
    merges,
    set_list,
)
from meshlite.translate.envoy.route import DESTINATION
from meshlite.translate.plan.patch import ROUTES, Patch
from meshlite.translate.translation import Encoded

_ACTIONS = {"ROUTE": "route", "REDIRECT": "redirect", "DIRECT_RESPONSE": "direct_response"}
_OF_HOST = (
    "typed_per_filter_config",
    "request_headers_to_add",
    "request_headers_to_remove",
    "response_headers_to_add",
    "response_headers_to_remove",
)
"""Fields that mean the same for a virtual host and for a route."""

_OF_ACTION = ("rate_limits", "retry_policy", "request_mirror_policies")
"""Fields of a virtual host that a route has within its action."""


def table(encoded: Encoded, patches: tuple[Patch, ...]) -> Patched:
    work = Work()
    message: Any = schema.message(schema.ROUTES).FromString(encoded.body)
    patch_table(work, message, patches)
    return work.done(message)


def patch_table(work: Work, table: Any, patches: tuple[Patch, ...]) -> None:
    """In Istio's order: the table, what is in it, and at last what is added to it."""
    fitting = [one for one in patches if one.apply_to in ROUTES and _table_fits(one, table.name)]
    for patch in (one for one in fitting if one.apply_to == "ROUTE_CONFIGURATION" and merges(one)):
        if (source := work.value(patch)) is not None:
            work.found(patch)
            merge_patch(patch, table, source)
    owners = {domain: host for host in table.virtual_hosts for domain in host.domains if domain != "*"}
    for host in list(table.virtual_hosts):
        for route in host.routes:
            if (owner := owners.get(_dialled(route))) is not None and owner is not host:
                _dialled_route(work, route, owner, fitting)
    kept = [host for host in table.virtual_hosts if _host(work, host, fitting)]
    for patch in (one for one in fitting if one.apply_to == "VIRTUAL_HOST" and one.operation == "ADD"):
        if (source := work.value(patch)) is not None:
            kept = edited(work, patch, kept, None, source)
    set_list(table, "virtual_hosts", kept)


def _table_fits(patch: Patch, name: str) -> bool:
    """`9080/shop` is what Istio calls 9080; `inbound|9080||4000` is its inbound|9080||.

    Of a gateway's `http.8080` only the port is told, of `https.443.https.web.shop` all of it.
    """
    match = patch.routes
    if match is None:
        return True
    known = name.partition("/")[0]
    if known.startswith(("http.", "https.")):
        return match.name in ("", known, name) and _gateway_fits(match, known)
    if known.startswith("inbound|"):
        known = known.rpartition("|")[0] + "|"
    parts = known.split("|")
    port = parts[1] if len(parts) > 1 else known
    if match.port_name or match.gateway:
        return False
    return match.name in ("", known, name) and match.port_number in (0, int(port) if port.isdigit() else -1)


def _gateway_fits(match: Any, name: str) -> bool:
    kind, port, *rest = name.split(".")
    port_name, gateway, namespace = rest if kind == "https" and len(rest) == 3 else ("", "", "")
    return bool(
        match.port_number in (0, int(port))
        and match.port_name in ("", port_name)
        and match.gateway in ("", f"{namespace}/{gateway}")
    )


def _host(work: Work, host: Any, patches: list[Patch]) -> bool:
    """Whether the virtual host is still there."""
    for patch in (one for one in patches if one.apply_to == "VIRTUAL_HOST" and _host_fits(one, host)):
        if patch.operation == "REMOVE":
            work.found(patch)
            return False
        if (merges(patch) or patch.operation == "REPLACE") and (source := work.value(patch)) is not None:
            work.found(patch)
            if merges(patch):
                merge_patch(patch, host, source)
            else:
                host.CopyFrom(source)
    _routes(work, host, patches)
    return True


def _host_fits(patch: Patch, host: Any) -> bool:
    match = patch.routes.vhost if patch.routes is not None else None
    if match is None:
        return True
    return match.name in ("", host.name) and (not match.domain_name or match.domain_name in host.domains)


def _routes(work: Work, host: Any, patches: list[Patch]) -> None:
    fitting = [one for one in patches if one.apply_to == "HTTP_ROUTE" and _host_fits(one, host)]
    kept = [route for route in host.routes if _route(work, route, fitting)]
    for patch in (one for one in fitting if one.operation == "ADD" or one.operation.startswith("INSERT_")):
        if (source := work.value(patch)) is None:
            continue
        named = patch.routes is not None and patch.routes.vhost is not None and patch.routes.vhost.route
        if named and patch.operation == "INSERT_FIRST" and not any(_route_fits(patch, one) for one in kept):
            continue
        kept = edited(work, patch, kept, _fitting(patch) if named else None, source)
    set_list(host, "routes", kept)


def _fitting(patch: Patch) -> Any:
    return lambda route: _route_fits(patch, route)


def _route(work: Work, route: Any, patches: list[Patch]) -> bool:
    """Whether the route is still there."""
    for patch in (one for one in patches if _route_fits(one, route)):
        if patch.operation == "REMOVE":
            work.found(patch)
            return False
        if merges(patch) and (source := work.value(patch)) is not None:
            work.found(patch)
            merge_patch(patch, route, source)
    return True


def _route_fits(patch: Patch, route: Any) -> bool:
    vhost = patch.routes.vhost if patch.routes is not None else None
    match = vhost.route if vhost is not None else None
    if match is None:
        return True
    if match.name not in ("", route.name):
        return False
    return match.action == "ANY" or route.WhichOneof("action") == _ACTIONS[match.action]


def _dialled(route: Any) -> str:
    """The service's own address, for a route of those who name no host and dialled it."""
    for matcher in route.match.filter_state:
        if matcher.key == DESTINATION:
            text = matcher.string_match
            return str(text.exact or text.safe_regex.regex.partition("|")[0].replace("\\", ""))
    return ""


def _dialled_route(work: Work, route: Any, owner: Any, patches: list[Patch]) -> None:
    """Who dials a service and names another host meets the same patches as who names the service."""
    for patch in (one for one in patches if one.apply_to == "VIRTUAL_HOST" and merges(one)):
        if patch.routes is None or patch.routes.vhost is None or not _host_fits(patch, owner):
            continue
        if (source := work.value(patch)) is not None:
            merge_patch(patch, route, _as_route(source, route))
    own = [one for one in patches if one.apply_to == "HTTP_ROUTE" and _host_fits(one, owner)]
    for patch in own:
        if patch.routes is None or patch.routes.vhost is None:
            continue
        if merges(patch) and _route_fits(patch, route) and (source := work.value(patch)) is not None:
            merge_patch(patch, route, source)


def _as_route(host: Any, route: Any) -> Any:
    """What a virtual host's patch says, said of a route."""
    made: Any = schema.message(MESSAGES["HTTP_ROUTE"])()
    for name in _OF_HOST:
        _copy(host, made, name)
    if route.HasField("route"):
        for name in _OF_ACTION:
            _copy(host, made.route, name)
    return made


def _copy(source: Any, into: Any, name: str) -> None:
    descriptor = source.DESCRIPTOR.fields_by_name[name]
    if descriptor.is_repeated:
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            for key, item in getattr(source, name).items():
                getattr(into, name)[key].CopyFrom(item)
        else:
            getattr(into, name).extend(getattr(source, name))
    elif source.HasField(name):
        getattr(into, name).CopyFrom(getattr(source, name))
