"""What routes must keep to: parents that can be told apart, matches that can be met, rewrites that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from meshlite.model.faults import Fault
from meshlite.model.gateway_api import (
    GRPCRoute,
    GRPCRouteMatch,
    GRPCRouteRule,
    HTTPRoute,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
    L4RouteRule,
    ParentReference,
    TCPRoute,
    TLSRoute,
)
from meshlite.model.gateway_api.grpc_route import GRPCHeaderMatch
from meshlite.model.gateway_api.http_route import (
    HTTPHeaderMatch,
    HTTPPathMatch,
    HTTPQueryParamMatch,
    SessionPersistence,
)
from meshlite.model.located import Path
from meshlite.model.mesh import GATEWAY_API, Resource
from meshlite.model.rules import forms
from meshlite.model.rules.gateway_api.filters import backend, filters

_SPEC: Path = ("spec",)
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_NOT_IN_PATH = ("//", "/./", "/../", "%2f", "%2F", "#")
_SERVICE = re.compile(r"(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_MOST_MATCHES = 128
_PARENTS = (
    (GATEWAY_API, "Gateway"),
    (GATEWAY_API, "ListenerSet"),
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
)


def http_route(spec: HTTPRoute, resource: Resource) -> Iterator[Fault]:
    yield from _parents(spec.parent_refs)
    yield from _rules(spec.rules)
    for place, rule in enumerate(spec.rules):
        at = (*_SPEC, "rules", place)
        for number, match in enumerate(rule.matches):
            yield from _http_match(match, (*at, "matches", number))
        yield from filters(rule.filters, (*at, "filters"))
        yield from _redirects(rule, at)
        for number, ref in enumerate(rule.backend_refs):
            yield from backend(ref, (*at, "backendRefs", number))
            yield from filters(ref.filters, (*at, "backendRefs", number, "filters"))
            yield from _prefixes(ref.filters, rule, (*at, "backendRefs", number, "filters"))
        yield from _timeouts(rule, at)
        if rule.session_persistence is not None:
            yield from _sessions(rule.session_persistence, (*at, "sessionPersistence"))


def grpc_route(spec: GRPCRoute, resource: Resource) -> Iterator[Fault]:
    yield from _parents(spec.parent_refs)
    yield from _rules(spec.rules)
    for place, rule in enumerate(spec.rules):
        at = (*_SPEC, "rules", place)
        for number, match in enumerate(rule.matches):
            yield from _grpc_match(match, (*at, "matches", number))
        yield from filters(rule.filters, (*at, "filters"))
        for number, ref in enumerate(rule.backend_refs):
            yield from backend(ref, (*at, "backendRefs", number))
            yield from filters(ref.filters, (*at, "backendRefs", number, "filters"))
        if rule.session_persistence is not None:
            yield from _sessions(rule.session_persistence, (*at, "sessionPersistence"))


def tls_route(spec: TLSRoute, resource: Resource) -> Iterator[Fault]:
    """Before v1alpha3 a TLSRoute could do without hostnames."""
    if not spec.hostnames and not resource.api_version.endswith("/v1alpha2"):
        yield Fault((*_SPEC, "hostnames"), "needs at least 1")
    for place, host in enumerate(spec.hostnames):
        if forms.is_address(host):
            yield Fault(
                (*_SPEC, "hostnames", place), "must be a name: clients send no address as server name"
            )
    yield from _l4_route(spec.parent_refs, spec.rules, resource)


def tcp_route(spec: TCPRoute, resource: Resource) -> Iterator[Fault]:
    yield from _l4_route(spec.parent_refs, spec.rules, resource)


def _l4_route(
    parents: Sequence[ParentReference], rules: Sequence[L4RouteRule], resource: Resource
) -> Iterator[Fault]:
    yield from _parents(parents)
    if len(rules) > 1 and not resource.api_version.endswith("/v1alpha2"):
        yield Fault((*_SPEC, "rules"), "takes one rule only: nothing could choose between several")
    yield from _names(rules)
    for place, rule in enumerate(rules):
        for number, ref in enumerate(rule.backend_refs):
            yield from backend(ref, (*_SPEC, "rules", place, "backendRefs", number))


def _parents(parents: Sequence[ParentReference]) -> Iterator[Fault]:
    """The same parent may be named several times only by different listeners or ports."""
    if not parents:
        yield Fault((*_SPEC, "parentRefs"), "is empty: the route attaches to nothing", warning=True)
    seen: dict[tuple[str, str, str | None, str], list[tuple[str | None, int | None]]] = {}
    for place, parent in enumerate(parents):
        if (parent.group, parent.kind) not in _PARENTS:
            reason = f"{parent.kind} of group {parent.group or 'core'} is no parent here: it is passed over"
            yield Fault((*_SPEC, "parentRefs", place), reason, warning=True)
        key = (parent.group, parent.kind, parent.namespace, parent.name)
        parts = seen.setdefault(key, [])
        part = (parent.section_name, parent.port)
        alike = all((part[0] is None, part[1] is None) == (o[0] is None, o[1] is None) for o in parts)
        if part in parts or not alike:
            reason = f"{parent.name} is a parent twice: tell them apart, all by sectionName or all by port"
            yield Fault((*_SPEC, "parentRefs", place), reason)
        parts.append(part)


def _rules(rules: Sequence[HTTPRouteRule | GRPCRouteRule]) -> Iterator[Fault]:
    total = sum(len(rule.matches) for rule in rules)
    if total > _MOST_MATCHES:
        yield Fault(
            (*_SPEC, "rules"), f"has {total} matches; at most {_MOST_MATCHES} are allowed in one route"
        )
    yield from _names(rules)


def _names(rules: Sequence[HTTPRouteRule | GRPCRouteRule | L4RouteRule]) -> Iterator[Fault]:
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if rule.name and rule.name in seen:
            yield Fault((*_SPEC, "rules", place, "name"), f"{rule.name} is the name of another rule")
        seen.add(rule.name or "")


def _http_match(match: HTTPRouteMatch, at: Path) -> Iterator[Fault]:
    yield from _path(match.path, (*at, "path", "value"))
    yield from _conditions(match.headers, (*at, "headers"))
    yield from _conditions(match.query_params, (*at, "queryParams"))


def _conditions(
    conditions: Sequence[HTTPHeaderMatch | HTTPQueryParamMatch | GRPCHeaderMatch], at: Path
) -> Iterator[Fault]:
    seen: set[str] = set()
    for place, condition in enumerate(conditions):
        if condition.type == "RegularExpression" and (reason := forms.pattern(condition.value)):
            yield Fault((*at, place, "value"), reason)
        if condition.name in seen:
            yield Fault((*at, place, "name"), f"{condition.name} is given twice")
        seen.add(condition.name)


def _path(path: HTTPPathMatch, at: Path) -> Iterator[Fault]:
    text = path.value
    if path.type == "RegularExpression":
        if reason := forms.pattern(text):
            yield Fault(at, reason)
        return
    if not text.startswith("/"):
        yield Fault(at, "must begin with /")
    found = [part for part in _NOT_IN_PATH if part in text]
    found += [end for end in ("/..", "/.") if text.endswith(end)]
    for part in found:
        yield Fault(at, f"must not contain {part}, which no request has in its path once it is normalised")
    if not found and not _PATH.fullmatch(text):
        yield Fault(at, "has characters that a path cannot have: write them as %XX")


def _redirects(rule: HTTPRouteRule, at: Path) -> Iterator[Fault]:
    if rule.backend_refs and any(part.request_redirect is not None for part in rule.filters):
        yield Fault((*at, "backendRefs"), "RequestRedirect sends nothing to backends: leave out one of them")
    yield from _prefixes(rule.filters, rule, (*at, "filters"))


def _prefixes(given: Sequence[HTTPRouteFilter], rule: HTTPRouteRule, at: Path) -> Iterator[Fault]:
    """A prefix can be replaced only where one prefix was matched."""
    fits = len(rule.matches) == 0 or (len(rule.matches) == 1 and rule.matches[0].path.type == "PathPrefix")
    for place, part in enumerate(given):
        for name, changed in (("requestRedirect", part.request_redirect), ("urlRewrite", part.url_rewrite)):
            path = changed.path if changed is not None else None
            if path is not None and path.type == "ReplacePrefixMatch" and not fits:
                reason = "needs a rule with exactly one match, of type PathPrefix"
                yield Fault((*at, place, name, "path", "replacePrefixMatch"), reason)


def _timeouts(rule: HTTPRouteRule, at: Path) -> Iterator[Fault]:
    limits = rule.timeouts
    if limits is None or limits.request is None or limits.backend_request is None:
        return
    if limits.request and limits.backend_request > limits.request:
        yield Fault((*at, "timeouts", "backendRequest"), "is longer than the timeout of the whole request")


def _sessions(sessions: SessionPersistence, at: Path) -> Iterator[Fault]:
    for name, type_, value in (
        ("cookie", "Cookie", sessions.cookie),
        ("header", "Header", sessions.header),
    ):
        if value is None and sessions.type == type_:
            yield Fault((*at, name), f"is required with type {sessions.type}")
        elif value is not None and sessions.type != type_:
            yield Fault((*at, name), f"is not for type {sessions.type}")


def _grpc_match(match: GRPCRouteMatch, at: Path) -> Iterator[Fault]:
    method = match.method
    if method is not None:
        here = (*at, "method")
        if not method.service and not method.method:
            yield Fault(here, "needs a service, a method, or both")
        for name, text, form in (
            ("service", method.service, _SERVICE),
            ("method", method.method, _METHOD),
        ):
            if not text:
                continue
            if method.type == "Exact" and not form.fullmatch(text):
                yield Fault((*here, name), f"{text} is not the name of a gRPC {name}")
            elif method.type == "RegularExpression" and (reason := forms.pattern(text)):
                yield Fault((*here, name), reason)
    yield from _conditions(match.headers, (*at, "headers"))
