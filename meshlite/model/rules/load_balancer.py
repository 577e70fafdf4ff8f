"""Istio's verdict on load balancing, localities included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.networking.load_balancer import (
    ConsistentHashLB,
    Failover,
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
)

MAGLEV_LIMIT = 5000011
_TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")


def load_balancer(settings: LoadBalancerSettings, has_outlier_detection: bool, at: Path) -> Iterator[Fault]:
    if settings.consistent_hash:
        yield from _consistent_hash(settings.consistent_hash, (*at, "consistentHash"))
    locality, zones = settings.locality_lb_setting, settings.zone_aware_lb_setting
    if locality and zones:
        yield Fault((*at, "zoneAwareLbSetting"), "cannot be combined with localityLbSetting")
    if locality:
        yield from _locality(locality, (*at, "localityLbSetting"))
    if zones:
        yield from _zones(zones, (*at, "zoneAwareLbSetting"))
    for setting in (locality, zones):
        if setting and (setting.failover or setting.failover_priority) and not has_outlier_detection:
            yield Fault(at, "failover has no effect without outlierDetection", warning=True)
    if settings.warmup and settings.warmup.aggression == 0:
        yield Fault((*at, "warmup", "aggression"), "must be greater than 0")
    if settings.warmup_duration_secs is not None:
        yield Fault((*at, "warmupDurationSecs"), "is deprecated: write warmup.duration", warning=True)


def _consistent_hash(chosen: ConsistentHashLB, at: Path) -> Iterator[Fault]:
    if chosen.http_cookie:
        here = (*at, "httpCookie")
        if not chosen.http_cookie.name:
            yield Fault((*here, "name"), "must not be empty")
        seen: set[str] = set()
        for place, attribute in enumerate(chosen.http_cookie.attributes):
            if not attribute.name or attribute.name in seen:
                reason = "is given twice" if attribute.name else "must not be empty"
                yield Fault((*here, "attributes", place, "name"), reason)
            seen.add(attribute.name)
    if chosen.minimum_ring_size:
        yield Fault((*at, "minimumRingSize"), "is deprecated: write ringHash.minimumRingSize", warning=True)
        if chosen.ring_hash or chosen.maglev:
            yield Fault((*at, "minimumRingSize"), "cannot be combined with ringHash or maglev")
    if chosen.maglev:
        size = chosen.maglev.table_size
        if not 1 < size < MAGLEV_LIMIT or not _is_prime(size):
            yield Fault((*at, "maglev", "tableSize"), f"must be a prime number below {MAGLEV_LIMIT}")


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, isqrt(number) + 1))


def _locality(setting: LocalityLoadBalancerSetting, at: Path) -> Iterator[Fault]:
    if setting.distribute and setting.failover:
        yield Fault((*at, "failover"), "cannot be combined with distribute")
    if setting.failover and any(name in _TOPOLOGY for name in setting.failover_priority):
        yield Fault((*at, "failoverPriority"), "cannot name region, zone or subzone beside failover")
    for place, part in enumerate(setting.distribute):
        here = (*at, "distribute", place, "to")
        if any(not 1 <= weight <= 100 for weight in part.to.values()) or sum(part.to.values()) != 100:
            yield Fault(here, "must have shares from 1 to 100 that sum to 100")
        yield from _localities(list(part.to), here)
    yield from _localities([part.from_ for part in setting.distribute], (*at, "distribute"))
    yield from _failover(setting.failover, (*at, "failover"))


def _zones(setting: ZoneAwareLoadBalancerSetting, at: Path) -> Iterator[Fault]:
    for place, name in enumerate(setting.failover_priority):
        if name in _TOPOLOGY:
            yield Fault((*at, "failoverPriority", place), "regions and zones are handled without it")
    if setting.min_cluster_size == 0:
        yield Fault((*at, "minClusterSize"), "must be at least 1")
    yield from _failover(setting.failover, (*at, "failover"))


def _failover(parts: Sequence[Failover], at: Path) -> Iterator[Fault]:
    for place, part in enumerate(parts):
        if part.from_ == part.to:
            yield Fault((*at, place), "must name two different regions")
        if any(sign in region for region in (part.from_, part.to) for sign in "/*"):
            yield Fault((*at, place), "names regions only, without zone and without *")


def _localities(names: Sequence[str], at: Path) -> Iterator[Fault]:
    """`region/zone/subzone`, from the left; `*` may end one; none may lie inside another."""
    taken: list[tuple[str, ...]] = []
    for name in names:
        parts = tuple(name.split("/", 2))
        if not all(parts) or "*" in name.removesuffix("*"):
            yield Fault(at, f"{name!r} is not a locality: region/zone/subzone, * at the end")
            continue
        known = parts[:-1] if parts[-1] == "*" else parts
        if any(known[: len(other)] == other or other[: len(known)] == known for other in taken):
            yield Fault(at, f"{name} overlaps with one before it")
        taken.append(known)
