"""Decides which endpoints come first for callers at some place, and how places share what comes.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#LocalityLoadBalancerSetting
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from meshlite.model.locality import HOSTNAME, REGION, SUBZONE, ZONE, Locality, fits
from meshlite.model.networking import (
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
    TrafficPolicy,
    ZoneAwareLoadBalancerSetting,
)
from meshlite.model.networking.load_balancer import Distribute
from meshlite.translate.plan.cluster import Endpoint
from meshlite.translate.plan.rules import Rule

Labels = Mapping[str, str]
Shares = tuple[tuple[Locality, int], ...]

_ELSEWHERE, _NOT_CHOSEN = 3, 4
_SCALE = 10_000
_MINIMUM = 6
"""Envoy's own least number of endpoints for zones to be kept apart."""


@dataclass(frozen=True)
class Here:
    """Where requests come from. `labels`: the callers' own, with their place and node.

    `callers`: how many workloads call from each place of the mesh.
    """

    place: Locality
    labels: Labels
    callers: Mapping[Locality, int]


@dataclass(frozen=True)
class There:
    """An endpoint with what is known of its place."""

    endpoint: Endpoint
    place: Locality
    labels: Labels


@dataclass(frozen=True)
class Order:
    """What a rule says about places, over Istio's default: nearest first once failing ones are left out.

    Without outlier detection nothing is ever found to fail, so then only shares count.
    """

    locality: LocalityLoadBalancerSetting | None = None
    zones: ZoneAwareLoadBalancerSetting | None = None
    detects: bool = False

    def weighted(self, here: Locality) -> bool:
        """Whether `arranged` gives shares."""
        return self._zoned or self._shared(here) is not None

    @property
    def _zoned(self) -> bool:
        return self.zones is not None and self.zones.enabled is not False

    @property
    def _off(self) -> bool:
        return self.locality is not None and self.locality.enabled is False

    @property
    def _priority(self) -> tuple[str, ...]:
        if self._zoned and self.zones is not None:
            return self.zones.failover_priority
        if self.locality is None or self._off or self.locality.distribute or not self.detects:
            return ()
        return self.locality.failover_priority

    def arranged(self, here: Here, found: Sequence[There]) -> tuple[tuple[Endpoint, ...], Shares]:
        """The endpoints that count, each with its priority, and the shares of places."""
        if self.zones is not None:
            return self._by_zone(here, found) if self._zoned else (_plain(found), ())
        if self._off:
            return _plain(found), ()
        shared = self._shared(here.place)
        if shared is not None:
            return _distributed(shared.to, found)
        if not self.detects or (self.locality is not None and self.locality.distribute):
            return _plain(found), ()
        ranked = [(one, self._ranked(here, one)) for one in found]
        return _placed(ranked), ()

    def _ranked(self, here: Here, one: There) -> tuple[int, int]:
        """By labels, then by region, zone and subzone; the latter only counts beside labels if asked for."""
        label_rank = _label_rank(self._priority, here.labels, one.labels)
        failover = self.locality.failover if self.locality is not None else ()
        if self._priority and not failover:
            return label_rank, 0
        rank = _distance(here.place, one.place)
        target = next((part.to for part in failover if part.from_ == here.place.region), one.place.region)
        if rank == _ELSEWHERE and one.place.region != target:
            rank = _NOT_CHOSEN
        return label_rank, rank

    def _shared(self, here: Locality) -> Distribute | None:
        """What is written for callers at this place."""
        if self.locality is None or self._off or self.zones is not None:
            return None
        return next((part for part in self.locality.distribute if fits(here, part.from_)), None)

    def _by_zone(self, here: Here, found: Sequence[There]) -> tuple[tuple[Endpoint, ...], Shares]:
        """The caller's region first, and within it each zone's callers with its own endpoints, as far as
        these are enough for them; the rest is taken on by zones that have endpoints to spare.
        """
        assert self.zones is not None
        target = next((part.to for part in self.zones.failover if part.from_ == here.place.region), None)
        ranked = []
        for one in found:
            near = one.place.region == here.place.region
            rank = 0 if near else 1 if one.place.region == target else 2
            ranked.append((one, (_label_rank(self._priority, here.labels, one.labels), rank)))
        endpoints = _placed(ranked)
        first = Counter(one.place for one in endpoints if one.priority == 0)
        least = self.zones.min_cluster_size if self.zones.min_cluster_size is not None else _MINIMUM
        weights = dict(Counter(one.place for one in endpoints))
        if first.total() >= least and first[here.place] and len(first) > 1:
            weights |= _zone_weights(here, first)
        return endpoints, tuple(sorted(weights.items()))


def order(policy: TrafficPolicy) -> Order:
    balancer = policy.load_balancer
    detects = policy.outlier_detection is not None
    if balancer is None:
        return Order(detects=detects)
    return Order(balancer.locality_lb_setting, balancer.zone_aware_lb_setting, detects)


def _distributed(to: Mapping[str, int], found: Sequence[There]) -> tuple[tuple[Endpoint, ...], Shares]:
    """Shares as written; within one entry by the number of endpoints. Who is not named gets nothing."""
    counts = Counter(one.place for one in found)
    shares: dict[Locality, int] = {}
    for written, share in to.items():
        places = [place for place in counts if place not in shares and fits(place, written)]
        total = sum(counts[place] for place in places)
        shares |= {place: ceil(counts[place] * share / total) for place in places}
    kept = [(one, (0, 0)) for one in found if one.place in shares]
    return _placed(kept), tuple(sorted(shares.items()))


def _plain(found: Sequence[There]) -> tuple[Endpoint, ...]:
    return tuple(one.endpoint for one in found)


def _placed(ranked: Sequence[tuple[There, tuple[int, int]]]) -> tuple[Endpoint, ...]:
    """With priorities counted from 0 without gaps, as Envoy wants them."""
    ranks = sorted({rank for _, rank in ranked})
    made = [replace(one.endpoint, place=one.place, priority=ranks.index(rank)) for one, rank in ranked]
    return tuple(sorted(made, key=lambda one: (one.priority, one.place)))


def _distance(here: Locality, there: Locality) -> int:
    """How many of region, zone and subzone differ, from the narrow end."""
    if here.region != there.region:
        return _ELSEWHERE
    if here.zone != there.zone:
        return 2
    return 0 if here.subzone == there.subzone else 1


def _label_rank(names: Sequence[str], here: Labels, there: Labels) -> int:
    """How many of the labels, from the first that differs on, are not shared."""
    for place, name in enumerate(names):
        key, given, value = name.partition("=")
        if (value if given else here.get(key, "")) != there.get(key, ""):
            return len(names) - place
    return 0


def _zone_weights(here: Here, endpoints: Mapping[Locality, int]) -> dict[Locality, int]:
    """Envoy's own zone aware routing, reckoned with endpoints that are ready and callers that there are.

    Every place keeps a weight of 1, for when the others have nobody left.
    Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/zone_aware
    """
    callers = {place: here.callers.get(place, 0) for place in {*endpoints, here.place}}
    total, supply = sum(callers.values()) or 1, sum(endpoints.values())
    spare = {place: endpoints.get(place, 0) / supply - count / total for place, count in callers.items()}
    if spare[here.place] >= 0:
        return {place: _SCALE if place == here.place else 1 for place in endpoints}
    own = (endpoints[here.place] / supply) / (callers[here.place] / total)
    extra = sum(value for value in spare.values() if value > 0)
    return {
        place: max(
            1,
            round(_SCALE * own)
            if place == here.place
            else round(_SCALE * (1 - own) * max(spare[place], 0) / extra),
        )
        for place in endpoints
    }


def caller_keys(rule: Rule) -> frozenset[str]:
    """Labels of callers, other than of their place, on whose values a rule's order of endpoints depends."""
    names = {name for one in _balancers(rule) for name in _keys(one)}
    return frozenset(names - {REGION, ZONE, SUBZONE, HOSTNAME})


def zoned(rule: Rule) -> bool:
    """Whether it looks at how many callers there are."""
    return any(one.zone_aware_lb_setting is not None for one in _balancers(rule))


def _balancers(rule: Rule) -> Iterator[LoadBalancerSettings]:
    for policy in (rule.policy, *(subset.traffic_policy for subset in rule.subsets)):
        if policy is not None:
            parts = (policy.load_balancer, *(port.load_balancer for port in policy.port_level_settings))
            yield from (part for part in parts if part is not None)


def _keys(balancer: LoadBalancerSettings) -> Iterator[str]:
    for one in (balancer.locality_lb_setting, balancer.zone_aware_lb_setting):
        yield from (name for name in one.failover_priority if "=" not in name) if one is not None else ()


def labels_of(place: Locality, node: str, own: Labels) -> dict[str, str]:
    """A workload's labels with those that Kubernetes and Istio give it for its place and node."""
    return {**place.labels, HOSTNAME: node, **own}
