"""What filters of a route must keep to: each with its own settings, and none that contradict each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from meshlite.model.faults import Fault
from meshlite.model.gateway_api import GRPCRouteFilter, HTTPRouteFilter, PathModifier
from meshlite.model.gateway_api.filters import CORS, ExternalAuth, RequestMirror
from meshlite.model.gateway_api.references import BackendObjectReference
from meshlite.model.located import Path

Filter = HTTPRouteFilter | GRPCRouteFilter

_FIELDS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestMirror": "request_mirror",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "CORS": "cors",
    "ExternalAuth": "external_auth",
    "ExtensionRef": "extension_ref",
}
_ONCE = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")


def filters(given: Sequence[Filter], at: Path) -> Iterator[Fault]:
    counts: Counter[str] = Counter(part.type for part in given)
    for name in _ONCE:
        if counts[name] > 1:
            yield Fault(at, f"{name} may be there once only")
    if counts["RequestRedirect"] and counts["URLRewrite"]:
        yield Fault(at, "RequestRedirect and URLRewrite exclude each other")
    for place, part in enumerate(given):
        yield from _filter(part, (*at, place))


def backend(ref: BackendObjectReference, at: Path) -> Iterator[Fault]:
    if ref.group == "" and ref.kind == "Service" and ref.port is None:
        yield Fault((*at, "port"), "is required for a Service")


def _filter(part: Filter, at: Path) -> Iterator[Fault]:
    for name, field in _FIELDS.items():
        alias = _alias(part, field)
        value = getattr(part, field, None)
        if value is None and name == part.type:
            yield Fault((*at, alias), f"is required with type {part.type}")
        elif value is not None and name != part.type:
            yield Fault((*at, alias), f"is not for type {part.type}")
    if part.request_mirror is not None:
        yield from _mirror(part.request_mirror, (*at, "requestMirror"))
    if isinstance(part, HTTPRouteFilter):
        yield from _http_filter(part, at)


def _http_filter(part: HTTPRouteFilter, at: Path) -> Iterator[Fault]:
    if part.request_redirect is not None and part.request_redirect.path is not None:
        yield from _path(part.request_redirect.path, (*at, "requestRedirect", "path"))
    if part.url_rewrite is not None and part.url_rewrite.path is not None:
        yield from _path(part.url_rewrite.path, (*at, "urlRewrite", "path"))
    if part.cors is not None:
        yield from _cors(part.cors, (*at, "cors"))
    if part.external_auth is not None:
        yield from _external_auth(part.external_auth, (*at, "externalAuth"))


def _alias(part: Filter, field: str) -> str:
    info = type(part).model_fields.get(field)
    return (info.alias if info else None) or field


def _mirror(mirror: RequestMirror, at: Path) -> Iterator[Fault]:
    yield from backend(mirror.backend_ref, (*at, "backendRef"))
    if mirror.percent is not None and mirror.fraction is not None:
        yield Fault((*at, "fraction"), "percent and fraction exclude each other")
    if mirror.fraction is not None and mirror.fraction.numerator > mirror.fraction.denominator:
        yield Fault((*at, "fraction", "numerator"), "is larger than the denominator")


def _path(path: PathModifier, at: Path) -> Iterator[Fault]:
    full, prefix = path.replace_full_path, path.replace_prefix_match
    for name, type_, value in (
        ("replaceFullPath", "ReplaceFullPath", full),
        ("replacePrefixMatch", "ReplacePrefixMatch", prefix),
    ):
        if value is None and path.type == type_:
            yield Fault((*at, name), f"is required with type {path.type}")
        elif value is not None and path.type != type_:
            yield Fault((*at, name), f"is not for type {path.type}")


def _cors(cors: CORS, at: Path) -> Iterator[Fault]:
    for name, values in (
        ("allowOrigins", cors.allow_origins),
        ("allowMethods", cors.allow_methods),
        ("allowHeaders", cors.allow_headers),
    ):
        if "*" in values and len(values) > 1:
            yield Fault((*at, name), "* already means all: leave out the others")


def _external_auth(auth: ExternalAuth, at: Path) -> Iterator[Fault]:
    yield from backend(auth.backend_ref, (*at, "backendRef"))
    for name, protocol, value in (("grpc", "GRPC", auth.grpc), ("http", "HTTP", auth.http)):
        if value is None and auth.protocol == protocol:
            yield Fault((*at, name), f"is required with protocol {protocol}")
        elif value is not None and auth.protocol != protocol:
            yield Fault((*at, name), f"is not for protocol {auth.protocol}")
