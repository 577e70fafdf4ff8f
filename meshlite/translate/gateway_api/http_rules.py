"""Rules of HTTPRoutes and GRPCRoutes as rules of VirtualServices, and the order in which they are tried.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule, which says what comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from meshlite.model.gateway_api import GRPCRoute, GRPCRouteMatch, HTTPRoute, HTTPRouteMatch, HTTPRouteRule
from meshlite.model.gateway_api.grpc_route import GRPCBackendRef, GRPCMethodMatch
from meshlite.model.gateway_api.http_route import HTTPBackendRef, HTTPRouteRetry
from meshlite.model.mesh import Resource
from meshlite.model.scalars import write_duration
from meshlite.translate.gateway_api import http_filters
from meshlite.translate.gateway_api.backends import backend, weighted
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.http_filters import Rule, Unusable
from meshlite.translate.gateway_api.world import World
from meshlite.translate.plan.resources import Applied

_RETRY_ON = ("connect-failure", "refused-stream", "unavailable", "cancelled")
_ATTEMPTS = 2
_RANKS = ("regex", "prefix", "exact")


@dataclass(frozen=True)
class Made:
    """Rules, one for each match; `wrong`: the last thing that is wrong with them."""

    rules: tuple[Rule, ...]
    wrong: Complaint | None = None


def http_rules(one: Applied[HTTPRoute], world: World, for_mesh: bool) -> Made:
    def each() -> Iterator[tuple[Rule, Complaint | None]]:
        for place, rule in enumerate(one.spec.rules):
            made: Rule = {"name": rule.name or f"{one.namespace}.{one.resource.name}.{place}"}
            wrong = http_filters.apply(made, rule.filters, one.resource, world, for_mesh)
            _limits(made, rule)
            wrong = _targets(made, rule.backend_refs, one.resource, world, for_mesh) or wrong
            for match in rule.matches:
                yield {**made, "match": [_http_match(match)]}, wrong
            if not rule.matches:
                yield made, wrong

    return _collected(each())


def grpc_rules(one: Applied[GRPCRoute], world: World, for_mesh: bool) -> Made:
    def each() -> Iterator[tuple[Rule, Complaint | None]]:
        for place, rule in enumerate(one.spec.rules):
            made: Rule = {"name": rule.name or f"{one.namespace}.{one.resource.name}.{place}"}
            wrong = http_filters.apply(made, rule.filters, one.resource, world, for_mesh)
            wrong = _targets(made, rule.backend_refs, one.resource, world, for_mesh) or wrong
            for match in rule.matches:
                yield {**made, "match": [_grpc_match(match)]}, wrong
            if not rule.matches:
                yield made, wrong

    return _collected(each())


def in_order(rules: Sequence[Rule]) -> list[Rule]:
    """Closest first: exact path, longest prefix, pattern; a method; most headers, parameters; as given."""
    return sorted(rules, key=_rank, reverse=True) if len(rules) > 1 else list(rules)


def at_port(rules: Sequence[Rule], port: int | None) -> list[Rule]:
    """The rules for one port of a service alone."""
    if port is None:
        return list(rules)
    return [
        {**rule, "match": [{**match, "port": port} for match in rule.get("match") or [{}]]} for rule in rules
    ]


def _rank(rule: Rule) -> tuple[Any, ...]:
    if not rule.get("match"):
        return (False,)
    [match] = rule["match"]
    [(kind, value)] = match.get("uri", {"": ""}).items()
    rank = _RANKS.index(kind) if kind in _RANKS else -1
    counts = len(match.get("headers", ())), len(match.get("queryParams", ()))
    return True, rank, len(value), "method" in match, *counts


def _collected(rules: Iterator[tuple[Rule, Complaint | None]]) -> Made:
    """All rules, or none where one of them makes the route unusable."""
    made: list[Rule] = []
    wrong: Complaint | None = None
    try:
        for rule, complaint in rules:
            made.append(rule)
            wrong = complaint or wrong
    except Unusable as unusable:
        return Made((), unusable.complaint)
    return Made(tuple(made), wrong)


def _targets(
    made: Rule,
    refs: Sequence[HTTPBackendRef | GRPCBackendRef],
    route: Resource,
    world: World,
    for_mesh: bool,
) -> Complaint | None:
    """Put the destinations into the rule; without any the answer is 500. Raises Unusable."""
    used = weighted(refs)
    if "redirect" in made:
        return None
    if not used:
        made["directResponse"] = {"status": 500}
        made.pop("rewrite", None)
        return None
    wrong: Complaint | None = None
    rows: list[Rule] = []
    for ref, weight in used:
        found = backend(ref, route, world, for_mesh)
        if found.wrong is not None and found.hopeless:
            raise Unusable(found.wrong)
        wrong = found.wrong or wrong
        row: Rule = {"destination": found.destination}
        if weight:
            row["weight"] = weight
        if changes := http_filters.backend_headers(ref.filters):
            row["headers"] = changes
        rows.append(row)
    made["route"] = rows
    return wrong


def _limits(made: Rule, rule: HTTPRouteRule) -> None:
    """Retries and timeouts. Without retries, one try may take as long as the whole request."""
    if rule.retry is not None:
        made["retries"] = _retries(rule.retry)
    limits = rule.timeouts
    if limits is None:
        return
    if limits.request:
        made["timeout"] = write_duration(limits.request)
    if limits.backend_request and rule.retry is not None:
        made["retries"]["perTryTimeout"] = write_duration(limits.backend_request)
    elif limits.backend_request:
        made["timeout"] = write_duration(limits.backend_request)


def _retries(retry: HTTPRouteRetry) -> Rule:
    conditions = (*_RETRY_ON, *map(str, retry.codes))
    attempts = _ATTEMPTS if retry.attempts is None else retry.attempts
    made: Rule = {"attempts": attempts, "retryOn": ",".join(conditions)}
    if retry.backoff:
        made["backoff"] = write_duration(retry.backoff)
    return made


def _http_match(match: HTTPRouteMatch) -> Rule:
    made: Rule = {"uri": _path(match.path.type, match.path.value)}
    if found := _conditions(((one.name, one.type, one.value) for one in match.headers), str.lower):
        made["headers"] = found
    if found := _conditions(((one.name, one.type, one.value) for one in match.query_params), str):
        made["queryParams"] = found
    if match.method:
        made["method"] = {"exact": match.method}
    return made


def _path(kind: str, value: str) -> dict[str, str]:
    if kind == "PathPrefix":
        return {"prefix": value.removesuffix("/") or "/"}
    return {"exact" if kind == "Exact" else "regex": value}


def _conditions(
    wanted: Iterator[tuple[str, str, str]], meant: Callable[[str], str]
) -> dict[str, dict[str, str]]:
    """By name; of several that mean one name the first counts."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for name, kind, value in wanted:
        found.setdefault(meant(name), (name, {"exact" if kind == "Exact" else "regex": value}))
    return dict(found.values())


def _grpc_match(match: GRPCRouteMatch) -> Rule:
    made: Rule = {}
    if match.method is not None:
        made["uri"] = _grpc_path(match.method)
    if found := _conditions(((one.name, one.type, one.value) for one in match.headers), str.lower):
        made["headers"] = found
    return made


def _grpc_path(wanted: GRPCMethodMatch) -> dict[str, str]:
    """gRPC calls are requests for /package.Service/Method."""
    service, method = wanted.service, wanted.method
    if wanted.type == "Exact":
        if service and method:
            return {"exact": f"/{service}/{method}"}
        return {"prefix": f"/{service}/"} if service else {"regex": f"/[^/]+/{method}"}
    return {"regex": f"/{service or '[^/]+'}/{method or '.+'}"}
