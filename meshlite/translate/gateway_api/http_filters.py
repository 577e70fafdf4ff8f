"""Filters of HTTP and gRPC routes, as parts of a VirtualService's rule.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproutefilter and
https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from meshlite.model.gateway_api import (
    CORS,
    GRPCRouteFilter,
    HeaderModifier,
    HTTPRouteFilter,
    RequestMirror,
    RequestRedirect,
    URLRewrite,
)
from meshlite.model.gateway_api.filters import HTTPHeader
from meshlite.model.mesh import Resource
from meshlite.translate.gateway_api.backends import backend
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.world import World

Rule = dict[str, Any]

_ANY_ORIGIN = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$"
_WHOLE_PATH = "/.*"


class Unusable(Exception):
    """A rule has something that makes the whole route wrong. Raised here, caught where rules are made."""

    def __init__(self, complaint: Complaint) -> None:
        self.complaint = complaint


def apply(
    rule: Rule,
    filters: Sequence[HTTPRouteFilter | GRPCRouteFilter],
    route: Resource,
    world: World,
    for_mesh: bool,
) -> Complaint | None:
    """Put the filters into the rule; what is wrong with a mirror is returned. Raises Unusable."""
    wrong: Complaint | None = None
    for part in filters:
        if part.request_header_modifier is not None:
            rule.setdefault("headers", {})["request"] = headers(part.request_header_modifier)
        elif part.response_header_modifier is not None:
            rule.setdefault("headers", {})["response"] = headers(part.response_header_modifier)
        elif part.request_mirror is not None:
            found, complaint = _mirror(part.request_mirror, route, world, for_mesh)
            if complaint is not None:
                wrong = complaint
            else:
                rule.setdefault("mirrors", []).append(found)
        elif isinstance(part, HTTPRouteFilter) and part.request_redirect is not None:
            rule["redirect"] = _redirect(part.request_redirect)
        elif isinstance(part, HTTPRouteFilter) and part.url_rewrite is not None:
            if rewrite := _rewrite(part.url_rewrite):
                rule["rewrite"] = rewrite
        elif isinstance(part, HTTPRouteFilter) and part.cors is not None:
            rule["corsPolicy"] = _cors(part.cors)
        else:
            raise Unusable(Complaint("InvalidFilter", f"filters of type {part.type} are not supported"))
    return wrong


def backend_headers(filters: Sequence[HTTPRouteFilter | GRPCRouteFilter]) -> Rule:
    """Header changes for one backend alone. Raises Unusable for filters of any other kind."""
    made: Rule = {}
    for part in filters:
        if part.request_header_modifier is not None:
            made["request"] = headers(part.request_header_modifier)
        elif part.response_header_modifier is not None:
            made["response"] = headers(part.response_header_modifier)
        else:
            message = f"filters of type {part.type} are not supported for one backend alone"
            raise Unusable(Complaint("InvalidFilter", message))
    return made


def headers(changes: HeaderModifier) -> Rule:
    made = {"add": _values(changes.add), "set": _values(changes.set), "remove": list(changes.remove)}
    return {name: value for name, value in made.items() if value}


def _values(given: Sequence[HTTPHeader]) -> dict[str, str]:
    """Values are literal here and may hold variables there, so percent signs are doubled."""
    found: dict[str, str] = {}
    for header in given:
        found.setdefault(header.name.lower(), header.value.replace("%", "%%"))
    return found


def _mirror(
    mirror: RequestMirror, route: Resource, world: World, for_mesh: bool
) -> tuple[Rule, Complaint | None]:
    target = backend(mirror.backend_ref, route, world, for_mesh)
    made: Rule = {"destination": target.destination}
    if mirror.fraction is not None:
        share = 100 * mirror.fraction.numerator / mirror.fraction.denominator
        made["percentage"] = {"value": share if share == 0 else max(share, 0.0001)}
    elif mirror.percent is not None:
        made["percentage"] = {"value": float(mirror.percent)}
    return made, target.wrong


def _redirect(redirect: RequestRedirect) -> Rule:
    made: Rule = {"redirectCode": redirect.status_code}
    if redirect.hostname:
        made["authority"] = redirect.hostname
    if redirect.scheme:
        made["scheme"] = redirect.scheme
    if redirect.port is not None:
        made["port"] = redirect.port
    else:
        made["derivePort"] = "FROM_PROTOCOL_DEFAULT" if redirect.scheme else "FROM_REQUEST_PORT"
    if redirect.path is not None and redirect.path.replace_full_path is not None:
        made["uri"] = redirect.path.replace_full_path
    elif redirect.path is not None and redirect.path.replace_prefix_match is not None:
        made["prefixRewrite"] = redirect.path.replace_prefix_match.removesuffix("/") or "/"
    return made


def _rewrite(rewrite: URLRewrite) -> Rule:
    """An empty prefix takes the matched one away: `/`, which the path keeps in any case."""
    made: Rule = {}
    path = rewrite.path
    if path is not None and path.replace_prefix_match is not None:
        made["uri"] = path.replace_prefix_match.removesuffix("/") or "/"
    elif path is not None and path.replace_full_path is not None:
        literal = path.replace_full_path.replace("\\", "\\\\")
        made["uriRegexRewrite"] = {"match": _WHOLE_PATH, "rewrite": literal}
    if rewrite.hostname:
        made["authority"] = rewrite.hostname
    return made


def _cors(cors: CORS) -> Rule:
    made: Rule = {
        "allowOrigins": [_origin(origin) for origin in cors.allow_origins],
        "allowMethods": list(cors.allow_methods),
        "allowHeaders": list(cors.allow_headers),
        "exposeHeaders": list(cors.expose_headers),
        "allowCredentials": cors.allow_credentials or None,
        "maxAge": f"{cors.max_age}s" if "max_age" in cors.model_fields_set else None,
        "unmatchedPreflights": "IGNORE",
    }
    return {name: value for name, value in made.items() if value}


def _origin(origin: str) -> dict[str, str]:
    if origin == "*":
        return {"regex": _ANY_ORIGIN}
    if "*" not in origin:
        return {"exact": origin}
    if origin.count("*") == 1 and origin.endswith("*"):
        return {"prefix": origin.removesuffix("*")}
    return {"regex": f"^{re.escape(origin).replace('/', '/').replace(chr(92) + '*', '.*')}$"}
