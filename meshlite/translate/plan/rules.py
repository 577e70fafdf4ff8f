"""Decides which DestinationRule a caller follows for a service, and merges the rules of one host.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/ and its lookup order: the
caller's namespace, then the service's, then the root namespace.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from meshlite.model.names import ROOT_NAMESPACE, resolve_known
from meshlite.model.networking import DestinationRule, Subset, TrafficPolicy
from meshlite.translate.plan.caller import Caller, Selector, selector
from meshlite.translate.plan.resources import Applied, private, visible


@dataclass(frozen=True)
class Rule:
    """What all rules of one host in one namespace say together. `keys`: the resources it comes from."""

    host: str
    namespace: str
    export_to: tuple[str, ...]
    wanted: Selector
    policy: TrafficPolicy | None
    subsets: tuple[Subset, ...]
    keys: tuple[str, ...]

    def subset(self, name: str) -> Subset | None:
        return next((subset for subset in self.subsets if subset.name == name), None)

    def for_caller(self, caller: Caller) -> bool:
        """A rule with a workload selector is for those clients of its own namespace only."""
        if self.wanted:
            return self.namespace == caller.namespace and self.wanted in caller.selectors
        return visible(self.export_to, self.namespace, caller.namespace)


@dataclass(frozen=True)
class Group:
    """The merged rules of one namespace; those with a selector first, then in order of application."""

    rules: tuple[Rule, ...]

    @cached_property
    def _by_host(self) -> Mapping[str, tuple[Rule, ...]]:
        found: dict[str, list[Rule]] = {}
        for rule in self.rules:
            found.setdefault(rule.host, []).append(rule)
        return {host: tuple(rules) for host, rules in found.items()}

    @cached_property
    def _wild(self) -> tuple[Rule, ...]:
        """The closest first."""
        wild = (rule for rule in self.rules if rule.host.startswith("*"))
        return tuple(sorted(wild, key=lambda rule: closeness(rule.host), reverse=True))

    def best(self, fqdn: str, caller: Caller, own: bool = False) -> Rule | None:
        """The rule whose host fits most closely: the name itself, else the longest wildcard.

        `own`: leave out what the root namespace has for everybody.
        """
        fitting = chain(self._by_host.get(fqdn, ()), (rule for rule in self._wild if fits(rule.host, fqdn)))
        return next(
            (rule for rule in fitting if rule.for_caller(caller) and not (own and _public(rule))), None
        )


_NONE = Group(())


@dataclass(frozen=True)
class Rules:
    """Merged rules by namespace."""

    by_namespace: Mapping[str, Group]

    def every(self) -> Iterator[Rule]:
        return (rule for group in self.by_namespace.values() for rule in group.rules)

    def of(self, fqdn: str, namespace: str, caller: Caller) -> Rule | None:
        """The rule that `caller` follows for the service `fqdn` of `namespace`."""
        steps = (caller.namespace, namespace, ROOT_NAMESPACE)
        for step, owner in enumerate(steps):
            group = self.by_namespace.get(owner, _NONE)
            best = group.best(fqdn, caller, own=step == 0 and owner == ROOT_NAMESPACE)
            if best is not None:
                return best
        return None


def _public(rule: Rule) -> bool:
    return not (rule.wanted or private(rule.export_to, rule.namespace))


def rules(applied: Iterable[Applied[DestinationRule]], services: Collection[str]) -> Rules:
    """`services`: the FQDNs of the mesh's."""
    grouped: dict[str, dict[tuple[str, Selector, tuple[str, ...]], Rule]] = {}
    alike: dict[tuple[str, str, Selector], list[tuple[str, Selector, tuple[str, ...]]]] = {}
    for one in applied:
        rule = _rule(one, services)
        group = grouped.setdefault(rule.namespace, {})
        key = (rule.host, rule.wanted, tuple(sorted(rule.export_to)))
        keys = alike.setdefault((rule.namespace, rule.host, rule.wanted), [])
        for known in keys:
            if known != key and _wider(rule, group[known]):
                group[known] = _merged(group[known], rule)
        if key in group:
            group[key] = _merged(group[key], rule)
        else:
            group[key] = rule
            keys.append(key)
    return Rules(
        {
            namespace: Group(tuple(sorted(group.values(), key=lambda rule: not rule.wanted)))
            for namespace, group in grouped.items()
        }
    )


def _rule(one: Applied[DestinationRule], services: Collection[str]) -> Rule:
    spec = one.spec
    wanted = spec.workload_selector.match_labels if spec.workload_selector is not None else {}
    return Rule(
        resolve_known(spec.host, one.namespace, services),
        one.namespace,
        spec.export_to,
        selector(wanted),
        spec.traffic_policy,
        spec.subsets,
        (one.key,),
    )


def _wider(one: Rule, other: Rule) -> bool:
    """Whether all that see `other` see `one`, too; then it is a part of what they see."""
    if not other.export_to or "*" in other.export_to:
        return False
    return all(visible(one.export_to, one.namespace, _meant(name, other)) for name in other.export_to)


def _meant(name: str, rule: Rule) -> str:
    return rule.namespace if name == "." else name


def _merged(first: Rule, later: Rule) -> Rule:
    """Subsets of both, the first of a name counts; the policy of the first that has one."""
    known = {subset.name for subset in first.subsets}
    return Rule(
        first.host,
        first.namespace,
        first.export_to,
        first.wanted,
        first.policy if first.policy is not None else later.policy,
        first.subsets + tuple(subset for subset in later.subsets if subset.name not in known),
        first.keys + later.keys,
    )


def fits(host: str, fqdn: str) -> bool:
    return host == fqdn or host == "*" or (host.startswith("*.") and fqdn.endswith(host[1:]))


def closeness(host: str) -> tuple[bool, int]:
    return not host.startswith("*"), len(host)
