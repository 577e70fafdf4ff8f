"""Istio's verdict on one HTTP rule of a VirtualService."""

from __future__ import annotations

import http
from collections.abc import Iterator

from meshlite.model.faults import Fault, suggest
from meshlite.model.located import Path
from meshlite.model.networking.http_route import (
    CorsPolicy,
    Headers,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
)
from meshlite.model.rules import forms
from meshlite.model.rules.destination import destination, weighted
from meshlite.model.rules.http_match import http_match, string_match

RETRY_ON = frozenset(
    (
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    )
)
"""Conditions of Envoy's router filter: x-envoy-retry-on and x-envoy-retry-grpc-on."""

GRPC_STATUS = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""gRPC's codes by number. Source: https://grpc.io/docs/guides/status-codes/"""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"))
_STATUSES = frozenset(str(int(status)) for status in http.HTTPStatus)


def http_route(route: HTTPRoute, for_mesh: bool, at: Path) -> Iterator[Fault]:
    """`for_mesh`: the VirtualService is for workloads, not for gateways alone."""
    yield from _conflicts(route, at)
    for place, match in enumerate(route.match):
        yield from http_match(match, for_mesh, (*at, "match", place))
    yield from weighted(route.route, (*at, "route"))
    yield from _headers(route.headers, (*at, "headers"))
    for place, part in enumerate(route.route):
        yield from _headers(part.headers, (*at, "route", place, "headers"))
    yield from _authority(route, at)
    if route.mirror:
        yield from destination(route.mirror, (*at, "mirror"))
    for place, mirror in enumerate(route.mirrors):
        yield from destination(mirror.destination, (*at, "mirrors", place, "destination"))
    if route.mirror_percent is not None:
        yield Fault((*at, "mirrorPercent"), "is deprecated: write mirrorPercentage", warning=True)
    if route.redirect:
        yield from _redirect(route.redirect, route, (*at, "redirect"))
    if route.direct_response:
        yield from _direct_response(route.direct_response, (*at, "directResponse"))
    if route.rewrite:
        yield from _rewrite(route.rewrite, (*at, "rewrite"))
    if route.retries:
        yield from retry(route.retries, (*at, "retries"))
    if route.fault:
        yield from _fault(route.fault, (*at, "fault"))
    if route.cors_policy:
        yield from _cors(route.cors_policy, (*at, "corsPolicy"))


def _conflicts(route: HTTPRoute, at: Path) -> Iterator[Fault]:
    given = [name for name in ("redirect", "direct_response", "route", "delegate") if getattr(route, name)]
    if not given:
        yield Fault(at, "needs a route, a redirect or a directResponse")
    exclusive = {
        "redirect": ("route", "direct_response", "fault", "rewrite"),
        "direct_response": ("route", "fault", "rewrite"),
        "delegate": ("route", "redirect"),
        "mirror": ("mirrors",),
    }
    names = {"direct_response": "directResponse"}
    for one, others in exclusive.items():
        for other in others:
            if getattr(route, one) and getattr(route, other):
                shown = names.get(one, one)
                yield Fault((*at, names.get(other, other)), f"cannot be combined with {shown} in one rule")


def _headers(headers: Headers | None, at: Path) -> Iterator[Fault]:
    for side in ("request", "response"):
        operations = getattr(headers, side, None)
        if operations is None:
            continue
        for name in ("set", "add"):
            for key, value in getattr(operations, name).items():
                host = side == "request" and forms.is_authority(key)
                if reason := ("" if host else forms.header_to_change(key)) or forms.header_value(value):
                    yield Fault((*at, side, name, key), reason)
        for place, key in enumerate(operations.remove):
            if reason := forms.header_to_change(key):
                yield Fault((*at, side, "remove", place), reason)


def _authority(route: HTTPRoute, at: Path) -> Iterator[Fault]:
    """A request gets one new host, from one place."""
    found: list[tuple[str, ...]] = (
        [("rewrite", "authority")] if route.rewrite and route.rewrite.authority else []
    )
    operations = route.headers.request if route.headers else None
    if operations:
        for name, values in (("set", operations.set), ("add", operations.add)):
            found += [("headers", "request", name, key) for key in values if forms.is_authority(key)]
    for extra in found[1:]:
        yield Fault((*at, *extra), f"the host is already set by {'.'.join(found[0])}")


def _redirect(redirect: HTTPRedirect, route: HTTPRoute, at: Path) -> Iterator[Fault]:
    fields = (redirect.uri, redirect.prefix_rewrite, redirect.authority, redirect.scheme)
    if not any(fields) and redirect.port is None and redirect.derive_port is None:
        yield Fault(at, "must change at least one of uri, prefixRewrite, authority, scheme and port")
    if redirect.uri and redirect.prefix_rewrite:
        yield Fault((*at, "prefixRewrite"), "cannot be combined with uri")
    if redirect.prefix_rewrite and any(match.uri and match.uri.prefix is None for match in route.match):
        yield Fault((*at, "prefixRewrite"), "needs every uri of the rule to be matched by prefix")
    if redirect.scheme not in ("", "http", "https"):
        yield Fault((*at, "scheme"), "must be http or https")
    if redirect.redirect_code not in (0, 301, 302, 303, 307, 308):
        yield Fault((*at, "redirectCode"), "must be 301, 302, 303, 307 or 308")


def _direct_response(response: HTTPDirectResponse, at: Path) -> Iterator[Fault]:
    body = response.body
    size = len((body.string or "").encode() or body.bytes or b"") if body else 0
    if size > 2**20:
        yield Fault((*at, "body"), "is larger than 1 MiB")
    elif size > 100 * 2**10:
        yield Fault((*at, "body"), "is large: every node proxy keeps it in memory", warning=True)


def _rewrite(rewrite: HTTPRewrite, at: Path) -> Iterator[Fault]:
    regex = rewrite.uri_regex_rewrite
    if rewrite.uri and regex:
        yield Fault((*at, "uriRegexRewrite"), "cannot be combined with uri")
    if not (rewrite.uri or rewrite.authority or regex):
        yield Fault(at, "must change at least one of uri, uriRegexRewrite and authority")
    if regex and not (regex.match and regex.rewrite):
        yield Fault((*at, "uriRegexRewrite"), "needs both match and rewrite")
    elif regex and (reason := forms.pattern(regex.match)):
        yield Fault((*at, "uriRegexRewrite", "match"), reason)


def retry(retries: HTTPRetry, at: Path) -> Iterator[Fault]:
    if not retries.attempts and (
        retries.per_try_timeout or retries.retry_on or retries.retry_remote_localities
    ):
        yield Fault(at, "attempts is 0, which turns retries off: set attempts, or leave the rest out")
    for condition in retries.retry_on.split(",") if retries.retry_on else ():
        if condition not in RETRY_ON and condition not in _STATUSES:
            hint = suggest(condition.strip(), RETRY_ON)
            yield Fault((*at, "retryOn"), f"{condition!r} is no condition that Envoy retries on{hint}")


def _fault(fault: HTTPFaultInjection, at: Path) -> Iterator[Fault]:
    if fault.delay is None and fault.abort is None:
        yield Fault(at, "needs a delay or an abort")
    if fault.delay:
        if fault.delay.fixed_delay is None and fault.delay.exponential_delay is None:
            yield Fault((*at, "delay"), "has no fixedDelay, so nothing is delayed", warning=True)
        if fault.delay.percent:
            yield Fault((*at, "delay", "percent"), "is deprecated: write percentage", warning=True)
    if fault.abort:
        status = fault.abort.grpc_status
        if status is not None and status not in GRPC_STATUS:
            hint = suggest(status, GRPC_STATUS)
            yield Fault((*at, "abort", "grpcStatus"), f"{status!r} is no gRPC code{hint}")
        elif status is None and fault.abort.http_status is None and fault.abort.http2_error is None:
            yield Fault((*at, "abort"), "has no httpStatus, so nothing is aborted", warning=True)


def _cors(cors: CorsPolicy, at: Path) -> Iterator[Fault]:
    if cors.allow_origin:
        yield Fault((*at, "allowOrigin"), "is deprecated: write allowOrigins", warning=True)
    for place, origin in enumerate(cors.allow_origins):
        if not (origin.exact or origin.prefix or origin.regex):
            yield Fault((*at, "allowOrigins", place), "must have an exact, prefix or regex that is not empty")
        else:
            yield from string_match(origin, (*at, "allowOrigins", place))
    for place, method in enumerate(cors.allow_methods):
        if method not in _METHODS:
            hint = suggest(method, _METHODS)
            yield Fault((*at, "allowMethods", place), f"{method!r} is not an HTTP method{hint}")
    for name, headers in (("allowHeaders", cors.allow_headers), ("exposeHeaders", cors.expose_headers)):
        for place, header in enumerate(headers):
            if reason := forms.token(header):
                yield Fault((*at, name, place), reason)
    if cors.max_age is not None and cors.max_age.microseconds:
        yield Fault((*at, "maxAge"), "must be whole seconds")
