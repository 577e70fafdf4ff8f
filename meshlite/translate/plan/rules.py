"""Decides which DestinationRule a caller follows for a service, and merges the rules of one host.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/ and its lookup order: the
caller's namespace, then the service's, then the root namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from meshlite.model.names import ROOT_NAMESPACE, resolve_known
from meshlite.model.networking import DestinationRule, Subset, TrafficPolicy
from meshlite.translate.plan.caller import Caller, Selector, selector
from meshlite.translate.plan.catalog import Catalog
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
class Rules:
    """Merged rules by namespace; those with a selector first, then in order of application."""

    by_namespace: Mapping[str, tuple[Rule, ...]]

    def every(self) -> Iterator[Rule]:
        return (rule for group in self.by_namespace.values() for rule in group)

    def of(self, fqdn: str, namespace: str, caller: Caller) -> Rule | None:
        """The rule that `caller` follows for the service `fqdn` of `namespace`."""
        own = self.by_namespace.get(caller.namespace, ())
        if caller.namespace == ROOT_NAMESPACE:
            own = tuple(rule for rule in own if rule.wanted or private(rule.export_to, rule.namespace))
        for step in (own, self.by_namespace.get(namespace, ()), self.by_namespace.get(ROOT_NAMESPACE, ())):
            best = _best(step, fqdn, caller)
            if best is not None:
                return best
        return None


def rules(applied: Iterable[Applied[DestinationRule]], services: Catalog) -> Rules:
    grouped: dict[str, dict[tuple[str, Selector, tuple[str, ...]], Rule]] = {}
    for one in applied:
        rule = _rule(one, services)
        group = grouped.setdefault(rule.namespace, {})
        key = (rule.host, rule.wanted, tuple(sorted(rule.export_to)))
        group[key] = _merged(group[key], rule) if key in group else rule
    return Rules(
        {
            namespace: tuple(sorted(group.values(), key=lambda rule: not rule.wanted))
            for namespace, group in grouped.items()
        }
    )


def _rule(one: Applied[DestinationRule], services: Catalog) -> Rule:
    spec = one.spec
    wanted = spec.workload_selector.match_labels if spec.workload_selector is not None else {}
    return Rule(
        resolve_known(spec.host, one.namespace, services.services),
        one.namespace,
        spec.export_to,
        selector(wanted),
        spec.traffic_policy,
        spec.subsets,
        (one.key,),
    )


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


def _best(candidates: Iterable[Rule], fqdn: str, caller: Caller) -> Rule | None:
    """The rule whose host fits most closely: the name itself, else the longest wildcard."""
    fitting = [rule for rule in candidates if fits(rule.host, fqdn) and rule.for_caller(caller)]
    return max(fitting, key=lambda rule: closeness(rule.host), default=None)


def fits(host: str, fqdn: str) -> bool:
    return host == fqdn or host == "*" or (host.startswith("*.") and fqdn.endswith(host[1:]))


def closeness(host: str) -> tuple[bool, int]:
    return not host.startswith("*"), len(host)
