"""Short words for who may call whom, turned into the AuthorizationPolicy that they stand for. Pure.

What they write is theirs by shorthand's annotation, and they change nothing that somebody else wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from meshlite.model.mesh import Resource
from meshlite.model.shorthand import OWNED, Change, NotOurs, written
from meshlite.model.workload import Workload

Action = Literal["ALLOW", "DENY"]
Rule = dict[str, Any]
"""A rule of an AuthorizationPolicy, as JSON."""

NOBODY = "deny-all"
"""The name of a namespace's default denial."""

_LABELS = ("app", "com.docker.compose.service")
"""Labels that tell a service's replicas from others, where they do; `app` is known of each."""

_KIND = "AuthorizationPolicy"


@dataclass(frozen=True)
class Calls:
    """Which calls: all, or those with one of the methods, of the paths and on one of the ports."""

    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()

    @property
    def all(self) -> bool:
        return not (self.methods or self.paths or self.ports)

    @property
    def operation(self) -> dict[str, list[str]]:
        said = {"methods": self.methods, "paths": self.paths, "ports": self.ports}
        return {name: list(values) for name, values in said.items() if values}


@dataclass(frozen=True)
class Guarded:
    """The service that calls go to, and the labels by which policies choose its replicas."""

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)


def chosen_by(
    name: str, replicas: Iterable[Workload], neighbours: Iterable[Workload]
) -> Mapping[str, str] | None:
    """Labels that all replicas of a service have and no neighbour has; None: nothing tells them apart."""
    replicas = tuple(replicas)
    if not replicas:
        return {"app": name}
    for label in _LABELS:
        values = {_value(one, label) for one in replicas}
        value = values.pop()
        if value and not values and not any(_value(one, label) == value for one in neighbours):
            return {label: value}
    return None


def _value(workload: Workload, label: str) -> str:
    return workload.labels.get(label, workload.service if label == "app" else "")


def principals(workloads: Iterable[Workload]) -> dict[str, list[str]]:
    """The identities of a caller's replicas; `cluster.local` is the mesh's own trust domain in policies."""
    return {"principals": sorted({one.identity("cluster.local").principal for one in workloads})}


def granted(
    guarded: Guarded,
    action: Action,
    source: Mapping[str, Any],
    calls: Calls,
    resources: Sequence[Resource],
) -> Change:
    """What to apply so that the rule is there, too. Raises NotOurs."""
    held = _held(_name(guarded, action), guarded.namespace, resources)
    rule: Rule = {"from": [{"source": dict(source)}]}
    if not calls.all:
        rule["to"] = [{"operation": calls.operation}]
    rules = _rules(held)
    return Change((_policy(guarded, action, rules if rule in rules else [*rules, rule]),), ())


def withdrawn(
    guarded: Guarded,
    action: Action,
    source: Mapping[str, Any],
    calls: Calls,
    resources: Sequence[Resource],
) -> Change:
    """What to apply or delete so that rules for the source are gone: those for the calls, or all."""
    held = _held(_name(guarded, action), guarded.namespace, resources)
    if held is None:
        return Change((), ())
    left = [rule for rule in _rules(held) if not _meant(rule, source, calls)]
    if not left:
        return Change((), (held.key,))
    return Change((_policy(guarded, action, left),), ()) if left != _rules(held) else Change((), ())


def closed(namespace: str, resources: Sequence[Resource]) -> Change:
    """Nobody may call anything in the namespace, unless another policy allows it. Raises NotOurs."""
    _held(NOBODY, namespace, resources)
    return Change((written(_KIND, NOBODY, namespace, {}),), ())


def opened(namespace: str, resources: Sequence[Resource]) -> Change:
    held = _held(NOBODY, namespace, resources)
    return Change((), (held.key,) if held is not None else ())


def _name(guarded: Guarded, action: Action) -> str:
    return f"{guarded.name}-{action.lower()}"


def _meant(rule: Rule, source: Mapping[str, Any], calls: Calls) -> bool:
    same = rule.get("from") == [{"source": dict(source)}]
    return same and (calls.all or rule.get("to") == [{"operation": calls.operation}])


def _held(name: str, namespace: str, resources: Iterable[Resource]) -> Resource | None:
    for resource in resources:
        if (resource.kind, resource.namespace, resource.name) == (_KIND, namespace, name):
            if OWNED not in resource.annotations:
                raise NotOurs(resource.key)
            return resource
    return None


def _rules(held: Resource | None) -> list[Rule]:
    rules = held.spec.get("rules") if held is not None else None
    return [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []


def _policy(guarded: Guarded, action: Action, rules: Sequence[Rule]) -> Resource:
    spec: dict[str, object] = {
        "selector": {"matchLabels": dict(guarded.labels)},
        "action": action,
        "rules": list(rules),
    }
    return written(_KIND, _name(guarded, action), guarded.namespace, spec)
