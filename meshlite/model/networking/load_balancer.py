"""How a client spreads its requests over the endpoints of a service.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#LoadBalancerSettings
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from meshlite.model.message import Message
from meshlite.model.scalars import (
    Bool,
    Duration,
    NonNegative,
    PositiveDuration,
    Share,
    UInt32,
    UInt64,
    by_number,
)

_SimpleLB = Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]
SimpleLB = Annotated[_SimpleLB, by_number(_SimpleLB)]


class RingHash(Message):
    """0: Istio's default, 1024."""

    minimum_ring_size: UInt64 = 0


class MagLev(Message):
    """A prime below 5000011; absent: Envoy's default, 65537."""

    table_size: UInt64 = 0


class Attribute(Message):
    name: str
    value: str = ""


class HTTPCookie(Message):
    """Absent `ttl`: the cookie is never made, only read. Zero: a session cookie."""

    name: str
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[Attribute, ...] = ()


class ConsistentHashLB(Message):
    oneofs: ClassVar = (
        ("http_header_name", "http_cookie", "use_source_ip", "http_query_parameter_name"),
        ("ring_hash", "maglev"),
    )

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: Bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None
    minimum_ring_size: UInt64 = 0


class Distribute(Message):
    """`from_` a locality (region/zone/subzone, may end in `*`) `to` others, with shares that sum to 100."""

    from_: str = ""
    to: dict[str, UInt32] = {}


class Failover(Message):
    from_: str = ""
    to: str = ""


class LocalityLoadBalancerSetting(Message):
    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: Bool | None = None


class ZoneAwareLoadBalancerSetting(Message):
    enabled: Bool | None = None
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    min_cluster_size: UInt64 | None = None


class BackendUtilization(Message):
    error_utilization_penalty_percent: UInt32 = 0
    metric_names_for_computing_utilization: tuple[str, ...] = ()
    weight_expiration_period: Duration | None = None
    weight_stabilization_period: Duration | None = None
    weight_update_period: Duration | None = None


class WarmupConfiguration(Message):
    """Absent: 10 percent to begin with, growing linearly (aggression 1)."""

    duration: PositiveDuration
    minimum_percent: Share | None = None
    aggression: NonNegative | None = None


class LoadBalancerSettings(Message):
    """UNSPECIFIED, or nothing set, is LEAST_REQUEST; LEAST_CONN is its old name."""

    oneofs: ClassVar = (("simple", "consistent_hash", "backend_utilization"),)

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    backend_utilization: BackendUtilization | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup_duration_secs: PositiveDuration | None = None
    warmup: WarmupConfiguration | None = None
