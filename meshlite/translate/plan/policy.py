"""Decides how callers use one port of a service or subset: a DestinationRule's word over Istio's defaults.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#TrafficPolicy
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from meshlite.model.networking import (
    ConnectionPoolSettings,
    ConsistentHashLB,
    LoadBalancerSettings,
    OutlierDetection,
    Subset,
    TcpKeepalive,
    TrafficPolicy,
    TunnelSettings,
    WarmupConfiguration,
)
from meshlite.model.networking.destination_rule import RetryBudget as RetryBudgetSpec
from meshlite.translate.plan.client_tls import client_tls
from meshlite.translate.plan.cluster import (
    CONNECT_TIMEOUT,
    UNLIMITED,
    Keepalive,
    LoadBalancer,
    Outliers,
    Policy,
    Pool,
    RetryBudget,
    Tunnelling,
    Warmup,
)
from meshlite.translate.plan.route import HashKey
from meshlite.translate.plan.rules import Rule

_RING_SIZE = 1024
_PROXY_PROTOCOL: Mapping[str, Literal[1, 2]] = {"V1": 1, "V2": 2}


def policy(rule: Rule | None, subset: Subset | None, port: int) -> Policy:
    """The policy for a port, where the subset's parts replace the rule's."""
    if rule is None:
        return Policy()
    settings = effective(rule, subset, port)
    limits = settings.connection_pool
    http = limits.http if limits is not None else None
    upgrade = {"UPGRADE": True, "DO_NOT_UPGRADE": False}.get(http.h2_upgrade_policy) if http else None
    return Policy(
        _balancer(settings.load_balancer),
        pool(limits, settings.retry_budget),
        _outliers(settings.outlier_detection),
        upgrade,
        http.use_client_protocol if http else False,
        client_tls(settings.tls, rule.namespace),
        _PROXY_PROTOCOL[settings.proxy_protocol.version] if settings.proxy_protocol else 0,
        _tunnel(settings.tunnel) if settings.tunnel else None,
    )


def effective(rule: Rule | None, subset: Subset | None, port: int) -> TrafficPolicy:
    """What the rule says for a port of a subset, all told."""
    settings = _settings(rule.policy if rule is not None else None, port)
    if subset is not None and subset.traffic_policy is not None:
        settings = _overridden(settings, _settings(subset.traffic_policy, port), subset.traffic_policy, port)
    return settings


def _settings(policy: TrafficPolicy | None, port: int) -> TrafficPolicy:
    """What counts for a port: settings for it replace the general ones as a whole, even with nothing."""
    if policy is None:
        return TrafficPolicy()
    for settings in policy.port_level_settings:
        if settings.port.number == port:
            return policy.model_copy(
                update={
                    "load_balancer": settings.load_balancer,
                    "connection_pool": settings.connection_pool,
                    "outlier_detection": settings.outlier_detection,
                    "tls": settings.tls,
                }
            )
    return policy


def _overridden(
    base: TrafficPolicy, settings: TrafficPolicy, written: TrafficPolicy, port: int
) -> TrafficPolicy:
    """`base` with the parts that a subset's policy has; all four where it has settings for the port."""
    whole = any(one.port.number == port for one in written.port_level_settings)
    parts = ("load_balancer", "connection_pool", "outlier_detection", "tls")
    replaced = {
        part: getattr(settings, part) for part in parts if whole or getattr(settings, part) is not None
    }
    for part in ("tunnel", "proxy_protocol", "retry_budget"):
        if getattr(settings, part) is not None:
            replaced[part] = getattr(settings, part)
    return base.model_copy(update=replaced)


def _tunnel(settings: TunnelSettings) -> Tunnelling:
    return Tunnelling(settings.target_host, settings.target_port, settings.protocol == "POST")


def _balancer(settings: LoadBalancerSettings | None) -> LoadBalancer:
    if settings is None:
        return LoadBalancer()
    if settings.consistent_hash is not None:
        return _consistent(settings.consistent_hash)
    warmup = _warmup(settings)
    match settings.simple:
        case "ROUND_ROBIN":
            return LoadBalancer("round_robin", warmup=warmup)
        case "RANDOM" | "PASSTHROUGH":
            return LoadBalancer("random")
        case _:
            return LoadBalancer("least_request", warmup=warmup)


def _warmup(settings: LoadBalancerSettings) -> Warmup | None:
    warmup: WarmupConfiguration | None = settings.warmup
    if warmup is not None:
        return Warmup(
            warmup.duration,
            warmup.aggression if warmup.aggression is not None else 1.0,
            warmup.minimum_percent if warmup.minimum_percent is not None else 10.0,
        )
    return Warmup(settings.warmup_duration_secs) if settings.warmup_duration_secs is not None else None


def _consistent(settings: ConsistentHashLB) -> LoadBalancer:
    key = hash_key(settings)
    if settings.maglev is not None:
        return LoadBalancer("maglev", settings.maglev.table_size, hash_key=key)
    size = settings.ring_hash.minimum_ring_size if settings.ring_hash else settings.minimum_ring_size
    return LoadBalancer("ring_hash", size or _RING_SIZE, hash_key=key)


def hash_key(settings: ConsistentHashLB) -> HashKey | None:
    if settings.http_header_name is not None:
        return HashKey("header", settings.http_header_name)
    if settings.http_query_parameter_name is not None:
        return HashKey("query", settings.http_query_parameter_name)
    if settings.http_cookie is not None:
        cookie = settings.http_cookie
        attributes = tuple((attribute.name, attribute.value) for attribute in cookie.attributes)
        return HashKey("cookie", cookie.name, cookie.path, cookie.ttl, attributes)
    return HashKey("address") if settings.use_source_ip else None


def pool(settings: ConnectionPoolSettings | None, budget: RetryBudgetSpec | None = None) -> Pool:
    """Limits of connections to one cluster, also to a workload's own app."""
    tcp = settings.tcp if settings else None
    http = settings.http if settings else None
    tcp_idle = tcp.idle_timeout if tcp else None
    return Pool(
        connections=(tcp.max_connections if tcp else 0) or UNLIMITED,
        pending=(http.http1_max_pending_requests if http else 0) or UNLIMITED,
        requests=(http.http2_max_requests if http else 0) or UNLIMITED,
        retries=(http.max_retries if http else 0) or UNLIMITED,
        retry_budget=_budget(budget),
        connect_timeout=(tcp.connect_timeout if tcp else None) or CONNECT_TIMEOUT,
        keepalive=_keepalive(tcp.tcp_keepalive) if tcp and tcp.tcp_keepalive else None,
        tcp_idle=tcp_idle,
        http_idle=http.idle_timeout if http and http.idle_timeout is not None else tcp_idle,
        lifetime=tcp.max_connection_duration if tcp else None,
        requests_per_connection=http.max_requests_per_connection if http else 0,
        streams=http.max_concurrent_streams if http else 0,
        ping_interval=http.http2_keep_alive.interval if http and http.http2_keep_alive else None,
        ping_timeout=http.http2_keep_alive.timeout if http and http.http2_keep_alive else None,
    )


def _budget(settings: RetryBudgetSpec | None) -> RetryBudget | None:
    if settings is None:
        return None
    percent = settings.percent if settings.percent is not None else 20.0
    return RetryBudget(percent, settings.min_retry_concurrency or 3, settings.budget_interval)


def _keepalive(settings: TcpKeepalive) -> Keepalive:
    return Keepalive(settings.probes, settings.time, settings.interval)


def _outliers(settings: OutlierDetection | None) -> Outliers | None:
    if settings is None:
        return None
    split = settings.split_external_local_origin_errors
    return Outliers(
        errors=settings.consecutive_5xx_errors,
        gateway_errors=settings.consecutive_gateway_errors,
        split_local=split,
        local_errors=(settings.consecutive_local_origin_failures or 0) if split else 0,
        interval=settings.interval,
        ejection=settings.base_ejection_time,
        maximum_percent=settings.max_ejection_percent,
        codes=settings.outlier_detection_http_error_codes,
        panic_percent=settings.min_health_percent,
    )
