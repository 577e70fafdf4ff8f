"""Short words for common traffic rules, turned into the VirtualService and DestinationRule they stand for.

What they write is theirs by an annotation, and they change nothing that somebody else wrote. Pure.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlite.model.kinds import find
from meshlite.model.mesh import Resource
from meshlite.model.names import fqdn, resolve_known

OWNED = "meshlite.io/shorthand"
"""Annotation of resources that shorthands may change."""

Rule = dict[str, Any]
"""An HTTP rule of a VirtualService, as JSON."""

Edit = Callable[[Rule], None]


_HTTP_ROUTES = ("HTTPRoute", "GRPCRoute")
"""Kinds of Gateway API that route what a VirtualService's `http` does."""


class NotOurs(ValueError):
    """Another resource shapes what is to be changed; `key` names it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True)
class Change:
    """Resources to apply together, then keys to delete."""

    apply: tuple[Resource, ...]
    delete: tuple[str, ...]


@dataclass(frozen=True)
class Requests:
    """Which requests of a service: all, or those with all of these headers and this path prefix."""

    headers: tuple[tuple[str, str], ...] = ()
    path: str = ""

    @property
    def all(self) -> bool:
        return not (self.headers or self.path)

    @property
    def match(self) -> list[dict[str, Any]]:
        found: dict[str, Any] = {}
        if self.headers:
            found["headers"] = {name: {"exact": value} for name, value in self.headers}
        if self.path:
            found["uri"] = {"prefix": self.path}
        return [found]


@dataclass(frozen=True)
class Target:
    """The service that is shaped, in its namespace. `declared`: keys of the ServiceEntries of a host."""

    name: str
    namespace: str
    declared: tuple[str, ...] = ()

    @property
    def fqdn(self) -> str:
        return self.name if self.declared else fqdn(self.name, self.namespace)

    def destination(self, version: str = "") -> dict[str, Any]:
        return {"host": self.name} | ({"subset": subset_name(version)} if version else {})


def subset_name(version: str) -> str:
    """A version as the name of a subset, which is a DNS label: `1.2` -> `1-2`."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", version).strip("-")[:63]


def split(target: Target, shares: Mapping[str, int]) -> Edit:
    """Send to versions, by shares in percent."""

    def edit(rule: Rule) -> None:
        parts = [
            {"destination": target.destination(version), "weight": share} for version, share in shares.items()
        ]
        rule["route"] = parts if len(parts) > 1 else [{"destination": parts[0]["destination"]}]

    return edit


def put(field: str, value: object) -> Edit:
    """Set a field of the rule."""

    def edit(rule: Rule) -> None:
        rule[field] = copy.deepcopy(value)

    return edit


def merged(field: str, value: Mapping[str, object]) -> Edit:
    """Set parts of a field, and leave its others."""

    def edit(rule: Rule) -> None:
        rule[field] = {**rule.get(field, {}), **copy.deepcopy(dict(value))}

    return edit


def without(field: str) -> Edit:
    def edit(rule: Rule) -> None:
        rule.pop(field, None)

    return edit


def unrouted(target: Target) -> Edit:
    """Send to every replica alike."""

    def edit(rule: Rule) -> None:
        rule["route"] = [{"destination": target.destination()}]

    return edit


def change(
    target: Target,
    resources: Sequence[Resource],
    known: Iterable[str],
    versions: Iterable[str],
    requests: Requests,
    edit: Edit,
    forget: bool = False,
    *,
    clear: bool = False,
) -> Change:
    """What to apply and delete so that `edit` holds for the requests; for all: in every rule.

    `known`: FQDNs of services. `versions`: all that subsets may have to be made for. `forget`: rules of their
    own for some requests go, those of the requests or all. `clear`: something is taken back, which may always
    be done. Raises NotOurs.
    """
    service = _owned(target, resources, "VirtualService", target.name)
    if service is None or not clear:
        _check(target, resources, frozenset(known))
    rules: list[Rule] = copy.deepcopy(list(service.spec["http"])) if service else []  # type: ignore[call-overload]
    rules = rules or [{"route": [{"destination": target.destination()}]}]
    if forget:
        rules = [rule for rule in rules if "match" not in rule or not _meant(rule, requests)]
    if forget and not requests.all:
        return _written(target, resources, frozenset(known), versions, _tidy(rules))
    if not requests.all and not any(rule.get("match") == requests.match for rule in rules):
        rules.append({"match": requests.match, **copy.deepcopy(_usual(rules))})
    for rule in rules:
        if _meant(rule, requests):
            edit(rule)
    return _written(target, resources, frozenset(known), versions, _tidy(rules))


def _meant(rule: Rule, requests: Requests) -> bool:
    return requests.all or rule.get("match") == requests.match


def _usual(rules: Sequence[Rule]) -> Rule:
    """The rule for all other requests."""
    return next(rule for rule in rules if "match" not in rule)


def _tidy(rules: Sequence[Rule]) -> list[Rule]:
    """The most particular first, the usual one last; without those that say no more than the usual one."""
    usual = _usual(rules)
    others = [rule for rule in rules if {**rule, "match": None} != {**usual, "match": None}]
    others.sort(key=lambda rule: sum(len(part) for part in rule["match"][0].values()), reverse=True)
    return [*others, usual]


def _written(
    target: Target,
    resources: Sequence[Resource],
    known: frozenset[str],
    versions: Iterable[str],
    rules: list[Rule],
) -> Change:
    """The VirtualService with the rules, and a DestinationRule for subsets that nobody else defines."""
    last = [rule for rule in _rules(target, resources, known) if OWNED in rule.annotations]
    others = [rule for rule in _rules(target, resources, known) if OWNED not in rule.annotations]
    theirs = {str(subset.get("name")) for rule in others for subset in _subsets(rule)}
    apply, delete = [], [rule.key for rule in last]
    if wanted := sorted(_used(rules) - theirs):
        rule = _subset_rule(target, resources, last, wanted, versions)
        apply, delete = [rule], [key for key in delete if key != rule.key]
    if rules != [{"route": [{"destination": target.destination()}]}]:
        spec: dict[str, object] = {"hosts": [target.name], "http": rules}
        apply.append(written("VirtualService", target.name, target.namespace, spec))
    elif service := _owned(target, resources, "VirtualService", target.name):
        delete.insert(0, service.key)
    return Change(tuple(apply), tuple(delete))


def _subset_rule(
    target: Target,
    resources: Iterable[Resource],
    last: Sequence[Resource],
    wanted: Iterable[str],
    versions: Iterable[str],
) -> Resource:
    """Subsets by the label `version`; those of versions that are gone stay as they were."""
    made = {subset_name(version): {"version": version} for version in versions}
    before = {str(subset.get("name")): subset.get("labels") for rule in last for subset in _subsets(rule)}
    subsets = [{"name": name, "labels": made.get(name) or before.get(name) or {}} for name in wanted]
    taken = {r.name for r in resources if (r.kind, r.namespace) == ("DestinationRule", target.namespace)}
    free = f"{target.name}-versions" if target.name in taken else target.name
    name = last[0].name if last else free
    spec: dict[str, object] = {"host": target.name, "subsets": subsets}
    return written("DestinationRule", name, target.namespace, spec)


def written(kind: str, name: str, namespace: str, spec: dict[str, object]) -> Resource:
    """A resource that a verb writes, marked as such."""
    known = find(kind)
    assert known is not None
    return Resource(
        api_version=known.api_version,
        kind=kind,
        name=name,
        namespace=namespace,
        annotations={OWNED: "true"},
        spec=spec,
    )


def _owned(target: Target, resources: Iterable[Resource], kind: str, name: str) -> Resource | None:
    for resource in resources:
        if (resource.kind, resource.namespace, resource.name) == (kind, target.namespace, name):
            if OWNED not in resource.annotations:
                raise NotOurs(resource.key)
            return resource
    return None


def _check(target: Target, resources: Iterable[Resource], known: frozenset[str]) -> None:
    """Nothing else may route the service within the mesh: the first applied would win, without a word."""
    own = f"VirtualService/{target.namespace}/{target.name}"
    for resource in resources:
        if resource.key != own and _routes(resource, target, known):
            raise NotOurs(resource.key)


def _routes(resource: Resource, target: Target, known: frozenset[str]) -> bool:
    """Whether it decides about the service's HTTP requests within the mesh."""
    if resource.kind in _HTTP_ROUTES:
        return any(_parent(reference, resource, target) for reference in _rows(resource.spec, "parentRefs"))
    if resource.kind != "VirtualService":
        return False
    gateways, hosts = _texts(resource.spec.get("gateways")), _texts(resource.spec.get("hosts"))
    names = {resolve_known(host, resource.namespace, known) for host in hosts}
    return target.fqdn in names and (not gateways or "mesh" in gateways)


def _parent(reference: Mapping[str, Any], route: Resource, target: Target) -> bool:
    """Whether a route's parent is the service, by itself or by the ServiceEntry of a host."""
    name, namespace = str(reference.get("name")), str(reference.get("namespace") or route.namespace)
    if reference.get("kind") == "ServiceEntry":
        return f"ServiceEntry/{namespace}/{name}" in target.declared
    named = (reference.get("kind"), name, namespace) == ("Service", target.name, target.namespace)
    return named and not target.declared


def _rules(target: Target, resources: Iterable[Resource], known: frozenset[str]) -> list[Resource]:
    """The DestinationRules of the service's namespace for it."""
    return [
        resource
        for resource in resources
        if resource.kind == "DestinationRule"
        and resource.namespace == target.namespace
        and resolve_known(str(resource.spec.get("host")), resource.namespace, known) == target.fqdn
    ]


def _subsets(rule: Resource) -> list[dict[str, Any]]:
    return _rows(rule.spec, "subsets")


def _rows(spec: Mapping[str, object], field: str) -> list[dict[str, Any]]:
    """The messages of a repeated field."""
    rows = spec.get(field)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _used(rules: Iterable[Rule]) -> set[str]:
    return {str(place["subset"]) for place in _destinations(rules) if place.get("subset")}


def _destinations(rules: Iterable[Rule]) -> Iterator[dict[str, Any]]:
    for rule in rules:
        for part in (*rule.get("route", ()), *rule.get("mirrors", ())):
            yield part["destination"]


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
