"""Resources of which only one can count: the one that was applied first does, and the others are told.

Source: https://istio.io/latest/docs/reference/config/security/peer_authentication/ and
https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from meshlite.model.analysis.codes import FIRST_WINS
from meshlite.model.analysis.hosts import Hosts, scopes
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding
from meshlite.model.message import Message
from meshlite.model.networking import DestinationRule
from meshlite.model.security import PeerAuthentication

T = TypeVar("T", bound=Message)


def first_applied(scene: Scene) -> Iterator[Finding]:
    yield from _peers(scene.all(PeerAuthentication))
    yield from _rules(scene)


def _peers(policies: Sequence[Subject[PeerAuthentication]]) -> Iterator[Finding]:
    """One policy for a mesh, a namespace, a set of workloads."""
    for first, later in _grouped(policies, [(p.namespace, _labels(p.spec)) for p in policies]):
        reason = f"has no effect: {first.title} is for the same workloads and was applied first"
        yield finding(FIRST_WINS, later, ("metadata", "name"), reason)


def _labels(spec: PeerAuthentication) -> frozenset[tuple[str, str]]:
    return frozenset(spec.selector.match_labels.items()) if spec.selector else frozenset()


def _rules(scene: Scene) -> Iterator[Finding]:
    """DestinationRules of a namespace for one host are merged; what both say is taken from the first."""
    hosts = Hosts(scene)
    rules = scene.all(DestinationRule)
    for first, later in _grouped(rules, [_rule_key(rule, hosts) for rule in rules]):
        if first.spec.traffic_policy and later.spec.traffic_policy:
            reason = f"has no effect: that of {first.title}, applied first, holds for {later.spec.host}"
            yield finding(FIRST_WINS, later, ("spec", "trafficPolicy"), reason)
        names = {subset.name for subset in first.spec.subsets}
        for place, subset in enumerate(later.spec.subsets):
            if subset.name in names:
                reason = f"has no effect: {first.title}, applied first, defines subset {subset.name}"
                yield finding(FIRST_WINS, later, ("spec", "subsets", place), reason)


def _rule_key(rule: Subject[DestinationRule], hosts: Hosts) -> Hashable:
    chosen = rule.spec.workload_selector
    labels: Mapping[str, str] = chosen.match_labels if chosen else {}
    return (
        rule.namespace,
        hosts.resolved(rule.spec.host, rule.namespace),
        scopes(rule.spec.export_to, rule.namespace),
        frozenset(labels.items()),
    )


def _grouped(
    subjects: Sequence[Subject[T]], keys: Sequence[Hashable]
) -> Iterator[tuple[Subject[T], Subject[T]]]:
    """Every later one with the first of its group."""
    first: dict[Hashable, Subject[T]] = {}
    for subject, key in zip(subjects, keys, strict=True):
        known = first.setdefault(key, subject)
        if known is not subject:
            yield known, subject
